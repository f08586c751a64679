"""`groundswell simulate`: the simulator as a server of its own."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable

from engine.simulator.faults import CATALOGUE, Faults
from engine.simulator.latency import Latency
from engine.simulator.quotas import Quota
from engine.simulator.server import LOOPBACK, Simulator


def _fault(text: str) -> tuple[str, float]:
    kind, _, chance = text.partition("=")
    if kind not in CATALOGUE:
        raise argparse.ArgumentTypeError(f"fault {kind!r} is not known; --list-faults names them all")
    try:
        probability = float(chance or 1)
    except ValueError:
        probability = -1.0
    if not 0 <= probability <= 1:
        raise argparse.ArgumentTypeError(f"{text}: the chance must be a number from 0 to 1, as in {kind}=0.05")
    return kind, probability


def _at_least(low: float, convert: Callable[[str], float]) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = convert(text)
        except ValueError:
            value = low - 1
        if not low <= value < float("inf"):
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {low:g} upwards")
        return value

    return parse


def _port(text: str) -> int:
    if not (text.isdecimal() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; give a number from 0 to 65535")
    return int(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `simulate` to a parser."""
    number = _at_least(0, float)
    parser.add_argument("--host", choices=LOOPBACK, default="127.0.0.1", help="loopback only (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=0, metavar="P", help="0 takes a free one (default)")
    quota = parser.add_argument_group("quotas, per model")
    quota.add_argument("--rpm", type=number, metavar="N", help="requests per minute")
    quota.add_argument("--rpd", type=number, metavar="N", help="requests per day")
    quota.add_argument("--tpm", type=number, metavar="N", help="input tokens per minute")
    quota.add_argument("--ipm", type=number, metavar="N", help="images per minute")
    quota.add_argument("--usd-per-10min", type=number, metavar="USD", help="spend per ten minutes")
    quota.add_argument(
        "--window",
        choices=("fixed", "sliding", "bucket"),
        default="sliding",
        help="how they are counted (default: %(default)s)",
    )
    quota.add_argument("--count-rejected", action="store_true", help="rejected calls use up quota, too")
    answers = parser.add_argument_group("answers")
    answers.add_argument(
        "--latency", type=number, default=0.0, metavar="S", help="median waiting time in seconds (default: 0)"
    )
    answers.add_argument(
        "--latency-sigma", type=number, default=0.0, metavar="SIGMA", help="lognormal spread, such as 0.3 (default: 0)"
    )
    answers.add_argument("--text-latency", type=number, metavar="S", help="the same for calls without a picture")
    answers.add_argument(
        "--picture",
        choices=("drawn", "pool", "tiny"),
        default="drawn",
        help="drawn from each prompt, out of a pool of some drawn before, or a few pixels (default: %(default)s)",
    )
    answers.add_argument("--format", choices=("png", "jpeg"), default="png", help="of pictures (default: %(default)s)")
    answers.add_argument("--gzip", action="store_true", help="compress where the client takes it, as Google does")
    answers.add_argument("--chunked", action="store_true", help="send no Content-Length")
    answers.add_argument("--api-key", metavar="KEY", help="accept this key only (default: any)")
    answers.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"), help="serve https with these files")
    chance = parser.add_argument_group("faults")
    chance.add_argument(
        "--fault",
        type=_fault,
        action="append",
        default=[],
        metavar="KIND=CHANCE",
        help="such as http_503=0.05; may be repeated",
    )
    chance.add_argument(
        "--seed", type=int, default=0, metavar="N", help="faults and waiting times depend on it (default: 0)"
    )
    chance.add_argument("--list-faults", action="store_true", help="print the catalogue of faults and end")


async def serve(options: argparse.Namespace) -> None:
    """Serve until interrupted. The first line of output names the base URL."""
    text = options.text_latency
    simulator = Simulator(
        host=options.host,
        port=options.port,
        latency=Latency(median_s=options.latency, sigma=options.latency_sigma),
        text_latency=None if text is None else Latency(median_s=text, sigma=options.latency_sigma),
        quotas=Quota(
            rpm=options.rpm,
            rpd=options.rpd,
            tpm=options.tpm,
            ipm=options.ipm,
            usd_per_10min=options.usd_per_10min,
            window=options.window,
            count_rejected=options.count_rejected,
        ),
        faults=Faults(dict(options.fault), seed=options.seed),
        seed=options.seed,
        picture=options.picture,
        format=options.format,
        api_key=options.api_key,
        tls=tuple(options.tls) if options.tls else None,
        gzip=options.gzip,
        chunked=options.chunked,
    )
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    async with simulator:
        key = options.api_key or "key-of-the-simulator"
        _say(f"listening on {simulator.base_url}")
        _say(f"export GOOGLE_GEMINI_BASE_URL={simulator.base_url} GOOGLE_API_KEY={key}")
        _say(f"counts: curl {simulator.base_url}/_sim/stats    end: Ctrl-C")
        await ended.wait()


def run(options: argparse.Namespace) -> int:
    """Run the command; the exit code."""
    if options.list_faults:
        for kind in CATALOGUE.values():
            _say(f"{kind.name:28} {kind.of:8} {kind.says}")
        return 0
    try:
        asyncio.run(serve(options))
    except (OSError, ValueError) as e:
        sys.stderr.write(f"groundswell simulate: {e}\n")
        return 2
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(argv: list[str] | None = None) -> int:
    """`python -m engine.simulator`."""
    parser = argparse.ArgumentParser(prog="groundswell simulate", description=__doc__)
    add_arguments(parser)
    return run(parser.parse_args(argv))
