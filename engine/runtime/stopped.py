"""Why no call is admitted any more, in words that say what to do next."""

from __future__ import annotations

from engine.core.breaker import Breaker
from engine.core.cost import Purse
from engine.errors import EngineError, ProviderError
from schemas.outcome import ErrorKind

ADVICE = {
    ErrorKind.NO_QUOTA: "this project has no quota or credit for the model: check its plan and billing in AI Studio",
    ErrorKind.AUTH: "give a valid key in GOOGLE_API_KEY (a leaked or disabled key must be replaced)",
    ErrorKind.MODEL: "choose a model that this key can use: `groundswell doctor` lists them",
    ErrorKind.REGION: "the API is not offered here or needs billing: enable billing or use Vertex AI",
    ErrorKind.INTERNAL: "this is a fault of ours; events.jsonl has the details",
}
"""What to do after an error with which no call can work."""


class Stopped(EngineError):
    """No call will be admitted. `reason`: budget, daily_quota, down, fatal, or what `Admission.close` was told."""

    def __init__(self, reason: str, detail: str, exit_code: int) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.exit_code = exit_code


def by_order(reason: str) -> Stopped:
    """Somebody wanted the run to end."""
    return Stopped(reason, f"stopped: {reason}", 130 if reason in {"interrupted", "left"} else 1)


def fatal(model: str, error: ProviderError) -> Stopped:
    """No call of this run can work."""
    return Stopped("fatal", f"{model}: {error.message.rstrip('.')}. Next: {ADVICE[error.kind]}", 2)


def all_invalid(model: str, error: ProviderError, same: int) -> Stopped:
    """So many requests in a row were called invalid in the same words: what is asked is wrong, not one prompt."""
    return Stopped(
        "fatal",
        f"{model} called {same} requests in a row invalid, with the same words: {error.message.rstrip('.')}. "
        "Next: change what is asked (model, size, aspect ratio, prompts)",
        2,
    )


def starved(model: str, seconds: float) -> Stopped:
    """A model only ever turned calls away."""
    return Stopped(
        "down",
        f"{model} has turned away every call for {seconds / 60:.0f} minutes. Next: run the same command later",
        1,
    )


def silent(model: str, breaker: Breaker) -> Stopped:
    """The far side did not answer for so long that it is given up."""
    return Stopped(
        "down",
        f"{model} did not answer {breaker.failures} calls in a row, the last time with: {breaker.last.rstrip('.')}. "
        "Next: check the network and the address, then run the same command again",
        1,
    )


def out_of_money(model: str, purse: Purse, hold_usd: float) -> Stopped:
    """The budget does not hold another call."""
    return Stopped(
        "budget",
        f"the budget of ${purse.budget_usd:.2f} is used up: ${purse.spent_usd:.4f} spent, and the next call of "
        f"{model} needs about ${hold_usd:.4f}. Next: raise --budget (budget.usd) and run the same command",
        4,
    )


def day_over(detail: str) -> Stopped:
    """The day's quota is used up, and waiting for the next day is not wanted."""
    return Stopped("daily_quota", f"{detail}. Next: run the same command then", 4)
