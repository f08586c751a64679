"""Error answers that come instead of a generated one: what Google sends, per kind of fault."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from engine.simulator import wire
from schemas.models import ModelInfo

JSON_TYPE = "application/json; charset=UTF-8"
_HTML = (
    b"<!DOCTYPE html>\n<html><head><title>%b</title></head><body><h1>%b</h1><p>The server encountered a temporary "
    b"error and could not complete your request.</p></body></html>\n"
)


class Reply(Struct, frozen=True, kw_only=True):
    """An HTTP answer before it is sent; its body in pieces that need not be joined."""

    status: int = 200
    body: tuple[bytes, ...] = ()
    content_type: str = JSON_TYPE
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def length(self) -> int:
        return sum(map(len, self.body))


def reply(status: int, body: Any, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    """A JSON answer."""
    return Reply(status=status, body=(wire.encode(body),), headers=headers)


def refusal(kind: str, model: ModelInfo) -> Reply:
    """The answer that this kind of fault sends instead of a generated one."""
    if kind.startswith("http_") and kind != "http_429":
        status = int(kind.removeprefix("http_"))
        return reply(status, wire.error(status))
    name = model.name
    match kind:
        case "http_429":
            return reply(429, wire.quota_error(name, (("rpm", 500),), 2.5))
        case "quota_bare":
            return reply(429, wire.error(429))
        case "quota_retry_after":
            return reply(429, wire.error(429), (("Retry-After", "3"),))
        case "quota_zero":
            return reply(429, wire.quota_error(name, (("rpm", 0), ("free", 0), ("tpm", 0)), 20.99, tier="FreeTier"))
        case "quota_day":
            return reply(429, wire.quota_error(name, (("rpd", 1000),), 47.2))
        case "quota_spend":
            return reply(429, wire.quota_error(name, (("usd_per_10min", 10),), 34.0))
        case "quota_prepay":
            return reply(429, wire.error(429, wire.PREPAY_DEPLETED))
        case "quota_disagrees":
            return reply(429, wire.quota_error(name, (("tpm", 3_000_000),), 51.386192716, retry_info_s=14))
        case "bad_key":
            return reply(400, wire.bad_key())
        case "leaked_key":
            return reply(403, wire.error(403, wire.LEAKED_KEY))
        case "disabled_api":
            return reply(403, wire.error(403, wire.DISABLED, details=(wire.error_info("SERVICE_DISABLED"),)))
        case "wrong_region":
            return reply(400, wire.error(400, wire.WRONG_REGION, status="FAILED_PRECONDITION"))
        case "no_billing":
            return reply(400, wire.error(400, wire.NO_BILLING, status="FAILED_PRECONDITION"))
        case "html_200":
            page = _HTML % (b"Welcome to the network", b"Please sign in")
            return Reply(status=200, body=(page,), content_type="text/html; charset=UTF-8")
        case "html_502":
            page = _HTML % (b"502 Server Error", b"Error: Server Error")
            return Reply(status=502, body=(page,), content_type="text/html; charset=UTF-8")
        case "error_in_200":
            return reply(200, wire.error(503))
        case "empty_200":
            return Reply(status=200)
        case _:
            raise AssertionError(f"{kind} is not answered by an error")
