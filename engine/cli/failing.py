"""How a command ends badly: one message, one exit code, no traceback, no secret."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

from engine.errors import EngineError, leaf_of
from engine.settings import Secret, find_credentials, redact

INTERRUPTED = "run the same command again; it carries on where this one stopped"
BUG = "report it with the file named here; the same command carries on"


def guarded(run: Callable[[argparse.Namespace], int], args: argparse.Namespace, *, as_json: bool = False) -> int:
    """Run a command; every exception becomes a message on stderr and an exit code, as `told` does it."""
    try:
        return run(args)
    except BaseException as error:  # noqa: BLE001 - the outermost frame: nothing may escape as a traceback
        return told(error, as_json=as_json)


def told(error: BaseException, *, as_json: bool = False) -> int:
    """Say what went wrong on stderr, and as the one object on stdout if `as_json`; gives the exit code.

    The object: `error` (the message), `kind` (the name of the error's type), `exit_code`, `next_step`.
    """
    error = leaf_of(error)
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, KeyboardInterrupt):
        return _end("interrupted", "Interrupted", 130, INTERRUPTED, as_json)
    if isinstance(error, BrokenPipeError):
        # The reader of our output went away; nothing more can be said there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if isinstance(error, EngineError):
        # Most messages end in what to do; where it is marked as such it can be told apart.
        _, marked, step = str(error).partition("Next: ")
        return _end(str(error), type(error).__name__, error.exit_code, step if marked else error.next_step, as_json)
    kept = _keep_traceback(error)
    message = f"unexpected error: {type(error).__name__}: {error}\nThis is a bug; the details are in {kept}"
    return _end(message, type(error).__name__, 1, BUG, as_json)


def _end(message: str, kind: str, code: int, next_step: str, as_json: bool) -> int:
    secret = _known_secret()
    message, next_step = redact(message, secret), redact(next_step, secret)
    for line in message.splitlines() or [""]:
        sys.stderr.write(f"groundswell: {line}\n")
    if as_json:
        told = {"error": message, "kind": kind, "exit_code": code, "next_step": next_step}
        sys.stdout.write(json.dumps(told, ensure_ascii=False) + "\n")
    return code


def _known_secret() -> Secret | None:
    try:
        return find_credentials(Path.cwd(), os.environ).key
    except Exception:  # noqa: BLE001 - whatever is wrong with the environment, the message must still go out
        return None


def _keep_traceback(error: BaseException) -> str:
    text = redact("".join(traceback.format_exception(error)), _known_secret())
    with tempfile.NamedTemporaryFile("w", prefix="groundswell-", suffix=".txt", delete=False) as file:
        file.write(text)
    return file.name
