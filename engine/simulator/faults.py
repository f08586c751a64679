"""The catalogue of what can go wrong on the far side, and the choice of which call it happens to.

A choice depends on the seed, on what is asked and on how often it was asked, never on the order in
which calls arrive: a run with faults is the same run whatever its concurrency.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from enum import Enum
from types import MappingProxyType

from msgspec import Struct

BLOCK_REASONS = (
    "SAFETY",
    "OTHER",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "IMAGE_SAFETY",
    "MODEL_ARMOR",
    "JAILBREAK",
)
FINISH_REASONS = (
    "MAX_TOKENS",
    "SAFETY",
    "RECITATION",
    "LANGUAGE",
    "OTHER",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "MALFORMED_FUNCTION_CALL",
    "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_OTHER",
    "NO_IMAGE",
    "IMAGE_RECITATION",
    "UNEXPECTED_TOOL_CALL",
    "MALFORMED_RESPONSE",
    "PUP_LIMITED_DISABLED",
    "CONTINUATION",
)
STATUSES = (400, 401, 403, 404, 408, 413, 429, 499, 500, 501, 502, 503, 504)


class Where(Enum):
    """At which point of an answer a fault sets in."""

    INSTEAD = "instead"
    """An error is sent and nothing is generated: not paid."""
    CONTENT = "content"
    """The model worked; what it made is not what was asked. Paid."""
    DELIVERY = "delivery"
    """The model worked; its answer is spoiled on the way. Paid."""


class FaultKind(Struct, frozen=True):
    """One way to fail. `of` says which calls it can happen to: `picture`, `text` or `any`."""

    name: str
    where: Where
    of: str
    says: str

    @property
    def paid(self) -> bool:
        """Whether Google would charge for such a call."""
        return self.where is not Where.INSTEAD and not self.name.startswith("block_")


def _catalogue() -> dict[str, FaultKind]:
    instead, content, delivery = Where.INSTEAD, Where.CONTENT, Where.DELIVERY
    rows = [
        *((f"http_{s}", instead, "any", f"status {s} with Google's error body") for s in STATUSES if s != 429),
        ("http_429", instead, "any", "429 per minute, with QuotaFailure and RetryInfo"),
        ("quota_bare", instead, "any", "429 without details, as shared capacity sends it"),
        ("quota_zero", instead, "any", "429 with limit: 0, as a project without billing gets it"),
        ("quota_day", instead, "any", "429 per day"),
        ("quota_spend", instead, "any", "429 for the spend of ten minutes"),
        ("quota_prepay", instead, "any", "429 for depleted prepayment credits"),
        ("quota_disagrees", instead, "any", "429 whose message says 51 s and whose RetryInfo says 14 s"),
        ("quota_retry_after", instead, "any", "429 without details, with a Retry-After header of 3 s"),
        ("bad_key", instead, "any", "400 API_KEY_INVALID"),
        ("leaked_key", instead, "any", "403 for a key reported as leaked"),
        ("disabled_api", instead, "any", "403 SERVICE_DISABLED"),
        ("wrong_region", instead, "any", "400 FAILED_PRECONDITION: location not supported"),
        ("no_billing", instead, "any", "400 FAILED_PRECONDITION: billing"),
        ("html_200", instead, "any", "a captive portal: an HTML page with status 200"),
        ("html_502", instead, "any", "a proxy's HTML page with status 502"),
        ("error_in_200", instead, "any", "an error object with status 200"),
        ("empty_200", instead, "any", "status 200 and no body"),
        ("hang", instead, "any", "never answers; the connection stays open"),
        ("close_before_headers", instead, "any", "closes the connection politely instead of answering"),
        ("no_candidate", content, "any", "an answer without candidates and without a reason"),
        ("no_parts", content, "any", "a candidate without parts that says STOP"),
        *((f"block_{r.lower()}", content, "any", f"promptFeedback.blockReason {r}") for r in BLOCK_REASONS),
        *((f"finish_{r.lower()}", content, "any", f"finishReason {r}") for r in FINISH_REASONS),
        ("text_for_picture", content, "picture", "words where a picture was asked for"),
        ("several_pictures", content, "picture", "three pictures in one answer"),
        ("thought_pictures", content, "picture", "two interim pictures marked as thoughts, then the real one"),
        ("wrong_mime", content, "picture", "a mime type that is not the picture's"),
        ("invalid_base64", content, "picture", "picture data that is not base64"),
        ("not_a_picture", content, "picture", "bytes that are no picture"),
        ("truncated_picture", content, "picture", "a picture cut off at two thirds"),
        ("corrupt_picture", content, "picture", "a picture with bytes turned over in its middle"),
        ("tiny_picture", content, "picture", "a picture of 1x1"),
        ("blank_picture", content, "picture", "a picture of one colour"),
        ("bomb_picture", content, "picture", "a small file whose header promises 60,000 x 60,000 pixels"),
        ("empty_picture", content, "picture", "picture data of zero bytes"),
        ("cut_json", content, "text", "MAX_TOKENS in the middle of the JSON"),
        ("schema_violation", content, "text", "JSON that breaks the requested schema"),
        ("prose", content, "text", "words where JSON was asked for"),
        ("fenced_json", content, "text", "the right JSON inside a Markdown fence"),
        ("placeholder_texts", content, "text", "JSON as asked for, with boilerplate instead of its sentences"),
        ("terse_texts", content, "text", "JSON as asked for, with two letters instead of its sentences"),
        ("foreign_texts", content, "text", "JSON as asked for, with its sentences in Spanish"),
        ("duplicate_keys", content, "text", "every first member of the JSON twice"),
        ("lone_surrogates", content, "text", r"half surrogate pairs (\ud800) in the strings of the JSON answer"),
        ("lone_surrogates_outside", content, "text", r"half surrogate pairs in the response around the answer"),
        ("deep_nesting", content, "text", "ten thousand arrays inside one another"),
        ("nan_numbers", content, "text", "NaN and Infinity where the JSON has values"),
        ("reset_before_headers", delivery, "any", "connection reset, nothing sent"),
        ("reset_after_headers", delivery, "any", "connection reset after the headers"),
        ("reset_mid_body", delivery, "any", "connection reset half way through the body"),
        ("length_long", delivery, "any", "Content-Length promises more than comes before the connection closes"),
        ("length_short", delivery, "any", "Content-Length promises less than the JSON needs"),
        ("truncated_json", delivery, "any", "a body that ends in the middle, with a Content-Length that agrees"),
        ("slow_drip", delivery, "any", "the body comes a few bytes at a time"),
        ("stalled_body", delivery, "any", "the body stops half way; the connection stays open"),
        ("endless_body", delivery, "any", "a chunked body that never ends"),
    ]
    return {name: FaultKind(name, where, of, says) for name, where, of, says in rows}


CATALOGUE: Mapping[str, FaultKind] = MappingProxyType(_catalogue())
"""Every fault by its name."""

Plan = str | None | Sequence[str | None]


class Faults:
    """Which calls fail, and how.

    `probabilities` are per kind and call, drawn from the seed. `script` names the nth
    generateContent call from 1. `when` looks for a substring in the prompt: one kind for every such
    call, or a sequence for the first, second … time the same thing is asked, then nothing
    (`{"march": ["http_500", None]}`). The script wins over `when`, that over chance.
    Raises ValueError for names that are not in the catalogue and for chances beyond 1.
    """

    def __init__(
        self,
        probabilities: Mapping[str, float] | None = None,
        *,
        script: Mapping[int, str] | None = None,
        when: Mapping[str, Plan] | None = None,
        seed: int = 0,
    ) -> None:
        self.probabilities = dict(probabilities or {})
        self.script = {int(n): kind for n, kind in (script or {}).items()}
        self.when: dict[str, str | tuple[str | None, ...]] = {
            needle: plan if isinstance(plan, str) else tuple(plan or ()) for needle, plan in (when or {}).items()
        }
        self.seed = seed
        for kind in self._names():
            if kind not in CATALOGUE:
                raise ValueError(f"fault {kind!r} is not known; use one of {', '.join(sorted(CATALOGUE))}")
        if any(not 0 <= p <= 1 for p in self.probabilities.values()) or sum(self.probabilities.values()) > 1 + 1e-9:
            raise ValueError(f"fault probabilities {self.probabilities} must each be from 0 to 1, together at most 1")

    def _names(self) -> set[str]:
        planned = {k for plan in self.when.values() for k in ((plan,) if isinstance(plan, str) else plan) if k}
        return {*self.probabilities, *self.script.values(), *planned}

    def __bool__(self) -> bool:
        return bool(self.probabilities or self.script or self.when)

    def __repr__(self) -> str:
        return f"Faults({self.probabilities}, script={self.script}, when={self.when}, seed={self.seed})"

    def choose(self, *, call: int, time: int, digest: str, text: str, picture: bool) -> FaultKind | None:
        """The fault of this call: the `call`th of all, the `time`th of the same question, both from 1."""
        name = self._planned(call, time, text) or self._drawn(time, digest)
        kind = CATALOGUE[name] if name is not None else None
        if kind is None or kind.of not in ("any", "picture" if picture else "text"):
            return None
        return kind

    def _planned(self, call: int, time: int, text: str) -> str | None:
        if call in self.script:
            return self.script[call]
        for needle, plan in self.when.items():
            if needle in text:
                if isinstance(plan, str):
                    return plan
                return plan[time - 1] if time <= len(plan) else None
        return None

    def _drawn(self, time: int, digest: str) -> str | None:
        if not self.probabilities:
            return None
        key = f"{self.seed}:{digest}:{time}".encode()
        draw = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest()) / 2**64
        for name, probability in self.probabilities.items():
            draw -= probability
            if draw < 0:
                return name
        return None
