"""`groundswell`: arguments in, public API in between, an exit code out.

Each command lives in a module of its own with `add_arguments(parser)` and `run(args) -> int`; only the
one that is asked for is imported, so that `--help` is quick. Errors of ours become one message on
stderr; whatever else escapes is a bug and says so, with its traceback in a file.
"""

from __future__ import annotations

import argparse
import importlib
import re
import sys
from collections.abc import Iterable
from typing import NoReturn

COMMANDS = {
    "demo": ("demo_command", "the whole pipeline on the embedded simulator: no key, no network"),
    "init": ("init_command", "write config/generation_config.yaml and config/.env.example, with comments"),
    "doctor": ("doctor_command", "check versions, configuration, key, connection, models, disk and prices"),
    "sources": ("sources_command", "load the three sources and show sampled combinations and prompts"),
    "estimate": ("estimate_command", "cost and time before anything is spent"),
    "run": ("run_command", "generate images and metadata; the same command resumes"),
    "status": ("status_command", "progress, rates, costs and failures of a run, also while it is live"),
    "qa": ("qa_command", "check every image and every text of a run, and write the report"),
    "review": ("review_command", "the page where people judge the images"),
    "export": ("export_command", "write a run as a dataset in the formats people train on and publish"),
    "verify": ("verify_command", "check every recorded image and log line; --repair mends"),
    "simulate": ("simulate_command", "the Gemini simulator as a server of its own"),
}
_EXITS = """\
exit codes:
  0    everything asked for is settled (refusals included)
  1    unexpected error, or work is left over: the last message says why
  2    bad usage or configuration; nothing was spent
  3    some jobs failed for good, verify found damage, or qa found critical issues
  4    stopped by the budget or the daily quota
  130  interrupted; everything paid for is on disk
"""


class _Misused(Exception):
    """A command line that says nothing we can do."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        name = self.prog.removeprefix("groundswell").strip()
        raise _Misused(f"{name}{': ' if name else ''}{message}; see `{self.prog} --help`")


def parser_for(command: str | None) -> argparse.ArgumentParser:
    """The parser; only `command`'s own arguments are loaded, or all of them for None."""
    parser = _Parser(
        prog="groundswell",
        description="Synthetic image datasets from Google Gemini, at the speed of your quota, resumable.",
        epilog=_EXITS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands", parser_class=_Parser)
    for name, (module, summary) in COMMANDS.items():
        sub = commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if command in (name, None):
            loaded = importlib.import_module(f"engine.cli.{module}")
            loaded.add_arguments(sub)
            sub.set_defaults(run=loaded.run, parser=sub)
    return parser


def call(argv: list[str]) -> int:
    """Run one command line; gives the exit code."""
    as_json = "--json" in argv
    try:
        args = _parsed(argv)
    except _Misused as misused:
        from engine.cli.failing import told
        from engine.errors import ConfigError

        return told(ConfigError(str(misused)), as_json=as_json)
    if args.version:
        from importlib.metadata import version

        sys.stdout.write(f"groundswell {version('groundswell')}\n")
        return 0
    if args.command is None:
        parser_for("").print_help()
        return 0
    from engine.cli.failing import guarded

    return guarded(args.run, args, as_json=as_json)


def _parsed(argv: list[str]) -> argparse.Namespace:
    named = next((word for word in argv if not word.startswith("-")), "")
    if named and named not in COMMANDS:
        raise _Misused(f"no command {named!r}{_meant(named, COMMANDS)}; see `groundswell --help`")
    parser = parser_for(named)
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        sub: argparse.ArgumentParser = getattr(args, "parser", parser)
        word = unknown[0]
        known = re.findall(r"--[a-z][a-z-]*", sub.format_help())
        guess = _meant(word.partition("=")[0], known) if word.startswith("-") else ""
        sub.error(f"{word} is no argument of this command{guess}")
    return args


def _meant(word: str, known: Iterable[str]) -> str:
    import difflib

    close = [name for name in difflib.get_close_matches(word, list(known), n=1) if name != word]
    return f" (did you mean {close[0]}?)" if close else ""


def main() -> NoReturn:
    """The console script."""
    sys.exit(call(sys.argv[1:]))
