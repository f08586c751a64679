"""Who may talk to the review server: the browser that opened the link, from the page itself.

A page of another site can reach 127.0.0.1 too. Host stops rebound names, Origin and Sec-Fetch-Site
stop other sites' requests, the token stops other users of the machine.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["BODY_BYTES_MAX", "Guard", "new_token"]

BODY_BYTES_MAX = 64 << 10
"""A decision with the longest notes and corrections is far smaller."""
OPEN_PATHS = frozenset({"/", "/review.js", "/review.css", "/favicon.ico"})
"""The page without any data; everything else needs the token."""

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def new_token() -> str:
    """A secret for one server's life."""
    return secrets.token_urlsafe(32)


class Guard:
    """ASGI middleware: turns away what does not come from the page, and sets the security headers."""

    def __init__(self, app: ASGIApp, *, token: str, port: int) -> None:
        self._app = app
        self._token = token
        self._hosts = frozenset({f"127.0.0.1:{port}", f"localhost:{port}"})
        # Cookies do not know ports: without it in the name two servers would take each other's.
        self._cookie = f"groundswell_review_{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        knows = self._matches(given)

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                out = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    out[name] = value
                out.setdefault("Cache-Control", "no-store")
                if knows:
                    out.append(
                        "Set-Cookie", f"{self._cookie}={self._token}; Path=/; HttpOnly; SameSite=Strict; Max-Age=604800"
                    )
            await send(message)

        problem = self._problem(scope, headers, knows)
        if problem is not None:
            status, text = problem
            await PlainTextResponse(text + "\n", status)(scope, receive, guarded)
            return
        await self._app(scope, _bounded(receive), guarded)

    def _matches(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._token.encode())

    def _problem(self, scope: Scope, headers: Headers, knows: bool) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if host not in self._hosts or len(headers.getlist("host")) != 1:
            return 421, "This server answers on 127.0.0.1 only."
        if scope["path"] in OPEN_PATHS and scope["method"] in {"GET", "HEAD"}:
            return None
        if headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
            return 403, "This request came from another site."
        if scope["method"] not in {"GET", "HEAD"}:
            if headers.get("origin") != f"http://{host}":
                return 403, "This request came from another site."
            if headers.get("content-type", "").split(";")[0].strip() != "application/json":
                return 415, "Send JSON."
            size = headers.get("content-length", "")
            if not size.isdigit() or int(size) > BODY_BYTES_MAX:
                return 413, f"Send at most {BODY_BYTES_MAX} bytes."
        cookie = cookie_parser(headers.get("cookie", "")).get(self._cookie, "")
        if not (knows or self._matches(cookie)):
            return 401, "Open the link that `groundswell review` printed."
        return None


def _bounded(receive: Receive) -> Receive:
    """The body, cut off where even a false Content-Length could not take it."""
    taken = 0

    async def bounded() -> Message:
        nonlocal taken
        message = await receive()
        if message["type"] == "http.request":
            taken += len(message.get("body", b""))
            if taken > BODY_BYTES_MAX:
                return {"type": "http.disconnect"}
        return message

    return bounded
