"""How a command ends badly: one message, one exit code, no traceback, no secret."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

from engine.errors import EngineError, leaf_of
from engine.settings import Secret, find_credentials, redact


def guarded(run: Callable[[argparse.Namespace], int], args: argparse.Namespace) -> int:
    """Run a command; every exception becomes a message on stderr and an exit code."""
    try:
        return run(args)
    except BaseExceptionGroup as group:
        return _told(leaf_of(group))
    except BaseException as error:  # noqa: BLE001 - the outermost frame: nothing may escape as a traceback
        return _told(error)


def _told(error: BaseException) -> int:
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, KeyboardInterrupt):
        _say("interrupted")
        return 130
    if isinstance(error, BrokenPipeError):
        # The reader of our output went away; nothing more can be said there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if isinstance(error, EngineError):
        _say(str(error))
        return error.exit_code
    kept = _keep_traceback(error)
    _say(f"unexpected error: {type(error).__name__}: {error}\nThis is a bug; the details are in {kept}")
    return 1


def _known_secret() -> Secret | None:
    try:
        return find_credentials(Path.cwd(), os.environ).key
    except Exception:  # noqa: BLE001 - whatever is wrong with the environment, the message must still go out
        return None


def _say(message: str) -> None:
    text = redact(message, _known_secret())
    for line in text.splitlines() or [""]:
        sys.stderr.write(f"groundswell: {line}\n")


def _keep_traceback(error: BaseException) -> str:
    text = redact("".join(traceback.format_exception(error)), _known_secret())
    with tempfile.NamedTemporaryFile("w", prefix="groundswell-", suffix=".txt", delete=False) as file:
        file.write(text)
    return file.name
