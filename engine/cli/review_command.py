"""`groundswell review`: the page where people judge images, its export, and the merge of what came back."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import json
import sys
import webbrowser
from pathlib import Path
from urllib.parse import quote

from engine.errors import ConfigError

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `groundswell review` to a parser."""
    parser.add_argument("dir", type=Path, metavar="DIR", help="the run to review")
    parser.add_argument("--port", type=int, help="port on 127.0.0.1 (default: 8765, or the next free one)")
    parser.add_argument("--sample", type=int, metavar="N", help="images in the sample (default: 5 %%, at least 10)")
    parser.add_argument("--seed", type=int, help="seed of the sample (default: the run's seed)")
    parser.add_argument("--reviewer", metavar="NAME", help="whose decisions these are (default: your user name)")
    parser.add_argument("--blind", action="store_true", help="hide what others decided until one has decided too")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    other = parser.add_mutually_exclusive_group()
    other.add_argument(
        "--static", type=Path, metavar="DEST", help="write the page to a file (.html) or a folder instead"
    )
    other.add_argument(
        "--merge", type=Path, metavar="FILE", nargs="+", help="add decisions that a static page let you download"
    )
    parser.add_argument("--draw", choices=("sample", "flagged", "all"), default="sample", help="what --static holds")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    """Do what the arguments ask for; returns the exit code. Ctrl-C ends a review well: 0."""
    # Imported here: the other commands should not pay for a web server.
    from engine.review import export_static, merge, open_board, serve
    from engine.review.queue import Filter

    if args.sample is not None and args.sample < 1:
        raise ConfigError(f"--sample {args.sample}: give how many images to look at, 1 or more")
    if args.reviewer is not None and not 1 <= len(args.reviewer.strip()) <= 64:
        raise ConfigError("--reviewer: give a name of 1 to 64 characters")
    name = args.reviewer.strip() if args.reviewer is not None else _user()
    board, pictures = open_board(args.dir, sample=args.sample, seed=args.seed, blind=args.blind, reviewer=name)
    for place in board.log.damaged:
        _say(f"{board.log.path}: the line at byte {place} is damaged and does not count")
    if args.merge:
        merged = merge(board.log, args.merge, board.catalogue.__contains__)
        for image_id in merged.unknown_images[:10]:
            _say(f"{image_id}: not in this run; its decisions were left out")
        _report(
            args.json,
            f"{merged.added} decisions added, {merged.known} known already",
            {"added": merged.added, "known": merged.known, "unknown_images": list(merged.unknown_images)},
        )
        return 0
    if args.static:
        written = export_static(board, pictures, args.static, Filter(draw=args.draw))
        for image_id in written.missing[:10]:
            _say(f"{image_id}: its picture is missing or damaged; run `groundswell verify {args.dir}`")
        _report(
            args.json,
            f"{written.path}: {written.images} images, {written.size_bytes / 1e6:.1f} MB. "
            f"Download the decisions there, then: groundswell review {args.dir} --merge FILE",
            {"path": written.path, "images": written.images, "size_bytes": written.size_bytes},
        )
        return 0

    def ready(link: str) -> None:
        if args.reviewer is not None:
            link += f"&reviewer={quote(name)}"
        _report(args.json, f"{len(board.catalogue)} images. Review them at\n\n  {link}\n", {"link": link})
        _say("The link holds a secret; keep it to yourself. Ctrl-C ends the review, every decision is on disk.")
        if args.open:
            webbrowser.open(link)

    try:
        asyncio.run(serve(board, pictures, port=args.port, on_ready=ready))
    except KeyboardInterrupt:
        _say("The review has ended; every decision is in log/reviews.jsonl.")
    return 0


def _user() -> str:
    try:
        return getpass.getuser()[:64] or "reviewer"
    except (OSError, KeyError):
        return "reviewer"


def _report(as_json: bool, text: str, data: dict[str, object]) -> None:
    sys.stdout.write((json.dumps(data) if as_json else text) + "\n")
    sys.stdout.flush()


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
