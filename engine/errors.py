"""Everything this engine raises, as one tree. Each message names the thing, the value and the next step.

EngineError                     exit 1
├── ConfigError                 exit 2   configuration or usage; collects all problems
│   └── RunMismatch             exit 2   the run directory holds a different question
├── RunLocked                   exit 2   another process writes this run
├── SourceError                 exit 2   a source or a prompt file cannot be used
├── StoreError                  exit 1   the disk refuses, or the log is damaged
│   ├── LogDamaged              exit 3   a bad line followed by good ones
│   └── NoRun                   exit 2   the folder holds no run
├── ProviderError               what a call to the far side ended in; becomes an Outcome
└── Fatal                       exit 2   no call can work: key, model, region, billing
"""

from __future__ import annotations

from collections.abc import Sequence

from schemas.outcome import ErrorKind, Usage


class EngineError(Exception):
    """Base of all errors of this engine. `str()` is what the user reads."""

    exit_code = 1
    next_step = "mend what the message names, then run the same command again; it carries on where it stopped"
    """What to do, for programs; the message itself says it in the terms of the case."""


class ConfigError(EngineError):
    """Problems of a configuration or a command line, all at once."""

    exit_code = 2
    next_step = "mend what the message names, then run the same command again; nothing was spent"

    def __init__(self, problems: Sequence[str] | str) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class RunMismatch(ConfigError):
    """The run directory was made by asking something else."""

    next_step = "choose another run directory for the new question, or set the old values back to continue"


class RunLocked(EngineError):
    """Another process writes this run."""

    exit_code = 2
    next_step = "let the other process end, or choose another run directory"


class SourceError(EngineError):
    """A source of context, or a prompt file, cannot be used."""

    exit_code = 2


class StoreError(EngineError):
    """The disk refuses (full, read-only, gone, I/O error). Nothing more may be paid for."""


class LogDamaged(StoreError):
    """A log has a bad line that good lines follow. Never dropped silently."""

    exit_code = 3


class NoRun(StoreError):
    """The folder holds no run."""

    exit_code = 2
    next_step = "give the folder that `groundswell run` wrote to"

    def __init__(self, folder: object) -> None:
        super().__init__(f"{folder}: holds no run (no run.json in it); {self.next_step}")


class Fatal(EngineError):
    """The far side will answer no call of this run: key, model, region or billing."""

    exit_code = 2


class ProviderError(EngineError):
    """A call that did not give a usable answer. `kind` decides what follows (engine.core.retry)."""

    def __init__(
        self,
        kind: ErrorKind,
        message: str,
        *,
        http_status: int | None = None,
        retry_after_s: float | None = None,
        quota_limit: float | None = None,
        quota_id: str | None = None,
        finish_reason: str | None = None,
        usage: Usage | None = None,
        bad_bytes: bytes | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.http_status = http_status
        self.retry_after_s = retry_after_s
        """Seconds to wait, the larger of RetryInfo, Retry-After and the message's own words."""
        self.quota_limit = quota_limit
        """The limit a 429 named (`quotaValue`, `limit: N`), in its own unit."""
        self.quota_id = quota_id
        self.finish_reason = finish_reason
        self.usage = usage
        self.bad_bytes = bad_bytes
        """Bytes to keep aside in quarantine/."""


def leaf_of(error: BaseException) -> BaseException:
    """The error that matters in an exception group: one of ours before anybody else's."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [leaf_of(inner) for inner in error.exceptions]
    return next((leaf for leaf in leaves if isinstance(leaf, EngineError)), leaves[0])
