"""`groundswell run`: notebooks 03 and 04 of the original. Starts or resumes, the same command."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

from engine.cli.arguments import how_many
from engine.errors import ConfigError

_EXAMPLES = """\
examples:
  groundswell run --simulate --images 20 --out runs/rehearsal
  groundswell run --images 500 --budget 25
  groundswell run --prompts mine.csv --out runs/mine
  groundswell run --out runs/mine --redo failed
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = _EXAMPLES
    parser.add_argument("dir", nargs="?", metavar="DIR", help="the run directory, as --out")
    parser.add_argument(
        "--config",
        metavar="F",
        help="configuration file, or the run.json of a run (default: the nearest config/generation_config.yaml)",
    )
    parser.add_argument("--out", metavar="DIR", help="run directory (default: output.output_dir)")
    parser.add_argument(
        "--images",
        type=how_many,
        metavar="N",
        help="how many images the run shall hold; of a prompt file the first (default: generation.num_images, or all)",
    )
    parser.add_argument("--prompts", metavar="FILE", help="JSONL, CSV or Parquet with prompts of your own")
    parser.add_argument(
        "--stages", default="image,metadata", metavar="S", help="image, metadata or both (default: %(default)s)"
    )
    parser.add_argument("--model", metavar="NAME", help="image model (default: generation.model)")
    parser.add_argument("--simulate", action="store_true", help="ask the embedded simulator: no key, no cost")
    parser.add_argument(
        "--base-url", metavar="URL", help="another server that speaks Gemini (default: GOOGLE_GEMINI_BASE_URL)"
    )
    parser.add_argument(
        "--budget", type=float, metavar="USD", help="hard cap on what the whole run may cost (default: budget.usd)"
    )
    parser.add_argument(
        "--redo",
        metavar="WHAT",
        help="ask again: failed, refused, qa, review, or by comma image ids (ID for all, ID:texts for its texts)",
    )
    parser.add_argument(
        "--share",
        default="1",
        metavar="PART",
        help="part of every limit for this process, such as 1/4 (default: %(default)s)",
    )
    parser.add_argument("--lease", metavar="FILE", help="share the whole limits with other processes through this file")
    parser.add_argument(
        "--no-wait", action="store_true", help="stop at a used-up daily quota (exit code 4), do not wait for it"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any configuration key, dotted, such as prompts.style=artistic; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, nothing else there")
    parser.add_argument("--quiet", action="store_true", help="no progress, only the last words")


def run(args: argparse.Namespace) -> int:
    """Run, tell, give the exit code."""
    from engine import settings as settings_
    from engine.cli.driving import drive, tell

    if args.dir and args.out and args.dir != args.out:
        raise ConfigError(f"{args.dir} and --out {args.out} name two run directories; give one of them")
    settings = settings_.load(args.config, overrides=overrides_of(args))
    options: dict[str, Any] = {
        "config": args.config,
        "overrides": overrides_of(args),
        "out": args.out or args.dir,
        "prompts": args.prompts,
        "stages": stages_of(args.stages),
        "base_url": args.base_url,
        "wait_for_day": not args.no_wait,
        "share": share_of(args.share),
        "lease": args.lease,
        "redo": redo_of(
            args.redo,
            Path(args.out or args.dir or settings.resolve(settings.config.output.output_dir)),
            stages=stages_of(args.stages),
            redo_max=settings.config.qa.max_redo,
        ),
    }
    with ExitStack() as stack:
        if args.simulate:
            if args.base_url:
                raise ConfigError("--simulate and --base-url contradict each other; give one of them")
            options |= simulated(stack)
        summary = drive(settings.config, options, quiet=args.quiet)
    code = tell(summary, as_json=args.json)
    if settings.config.validation.auto_validate and summary.stopped_by is None:
        return code or check_afterwards(Path(summary.run), settings.config)
    return code


def overrides_of(args: argparse.Namespace) -> dict[str, Any]:
    """The configuration keys that the command line sets."""
    overrides = assignments(args.set)
    if args.images is not None:
        overrides["generation.num_images"] = args.images
    if args.model is not None:
        overrides["generation.model"] = args.model
    if args.budget is not None:
        overrides["budget.usd"] = args.budget
    return overrides


def assignments(words: list[str]) -> dict[str, Any]:
    """`--set KEY=VALUE` words as dotted overrides; values are YAML."""
    import yaml

    overrides: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise ConfigError(f"--set {word!r}: write it as KEY=VALUE, such as rate_limiting.requests_per_minute=60")
        try:
            read = yaml.safe_load(value)
            # 16:9 is a ratio to everybody but YAML 1.1, which reads a number to the base of sixty.
            overrides[key] = value.strip() if isinstance(read, int | float) and ":" in value else read
        except yaml.YAMLError:
            raise ConfigError(f"--set {word!r}: the value is not valid YAML; quote it") from None
    return overrides


def stages_of(text: str) -> tuple[str, ...]:
    """`image,metadata` as a tuple, in the order of the pipeline."""
    names = {name.strip() for name in text.split(",") if name.strip()}
    unknown = names - {"image", "images", "metadata"}
    if unknown or not names:
        raise ConfigError(f"--stages {text!r}: choose image, metadata or image,metadata")
    return tuple(s for s in ("image", "metadata") if s in names or (s == "image" and "images" in names))


def share_of(text: str) -> float:
    """`1/4` or `0.25`."""
    try:
        share = float(Fraction(text))
    except (ValueError, ZeroDivisionError):
        share = -1.0
    if not 0 < share <= 1:
        raise ConfigError(f"--share {text!r}: give a part of the quota above 0 and at most 1, such as 1/4")
    return share


def redo_of(
    text: str | None, out: Path, *, stages: tuple[str, ...] = ("image", "metadata"), redo_max: int | None = None
) -> str | list[str] | dict[str, str] | None:
    """What to ask again: a status, or names of images and texts; of what QA rejected only what these stages make."""
    if text is None or text in {"failed", "refused"}:
        return text
    if text == "qa":
        from engine.qa import to_redo

        names = to_redo(out, redo_max=redo_max)
        return {name: why for name, why in names.items() if ("metadata" if ":" in name else "image") in stages}
    if text == "review":
        from engine.runtime.recovering import rejected_by_people
        from engine.store import RunDir

        return rejected_by_people(RunDir(out))
    return [word.strip() for word in text.split(",") if word.strip()]


def simulated(stack: ExitStack, **options: Any) -> dict[str, Any]:
    """Start the simulator for as long as the stack lives; where to reach it."""
    from engine.runtime.pipeline import SIMULATED_KEY
    from engine.simulator import Simulator

    simulator = stack.enter_context(Simulator.in_thread(**options))
    return {"base_url": simulator.base_url, "api_key": SIMULATED_KEY}


def check_afterwards(out: Path, config: Any) -> int:
    """QA after a run, if something changed since the last report."""
    report = out / "qa" / "report.json"
    logs = [p for p in (out / "log" / "images.jsonl", out / "log" / "metadata.jsonl") if p.exists()]
    if report.exists() and all(p.stat().st_mtime_ns <= report.stat().st_mtime_ns for p in logs):
        return 0
    from engine.cli.failing import told
    from engine.cli.qa_command import summary
    from engine.qa.model import Options
    from engine.qa.run import run_qa

    try:
        found = run_qa(out, options=Options(config=config))
    except Exception as error:  # noqa: BLE001 - the run's own summary is told already, and stays the answer
        return told(error)
    sys.stderr.write(summary(found, out))
    return found.exit_code
