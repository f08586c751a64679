"""Gemini, by the Developer API or by Vertex.

`open_gemini` gives a provider. Its `sdk` transport lets google-genai build, sign and send each
request. Its `fast` transport lets google-genai build and sign the first request of each shape,
catches it on the aiohttp session that the SDK was given, and sends later ones from that template over `lines`.
Both use one session's connector and one reading of answers (`answer`, `classify`), so they cannot differ in
meaning. What the fast transport relies on: `HttpOptions.aiohttp_client` (public) is used for
calls, and bodies are `json.dumps` of the request. If that ends, it falls back to `sdk`, warns
once, and tests/contracts/test_wire.py says what changed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

import aiohttp

from engine.errors import ConfigError, ProviderError
from engine.offload import threads
from engine.providers import classify, sdk, wire
from engine.providers.answer import read_answer
from engine.providers.base import Response
from engine.providers.http1 import Reply
from engine.providers.lines import Changed, Lines
from engine.providers.references import read_references
from engine.providers.template import (
    Caught,
    Template,
    TemplateError,
    Watch,
    marked,
    picture_mark,
    shape_of,
    tap,
    watching,
)
from schemas.job import Request
from schemas.outcome import ErrorKind

READERS = 4
"""Threads that read the pictures sent along."""
TEMPLATES_MAX = 256
TOKEN_FRESH_S = 60.0
"""A Vertex template is built anew after so long. google-auth renews tokens 3:45 minutes before they end,
so the one in a template of this age is always good."""

KEPT_BYTES = 16 * 1024 * 1024
"""glibc gives what was freed back to the system once it is more than twice the largest block it ever freed. A block of
this size, never touched, settles that; else the pages of each picture may be fetched anew, which takes as long as to
receive it."""

Transport = Literal["fast", "sdk"]

_log = logging.getLogger("groundswell.providers")


@asynccontextmanager
async def open_gemini(
    *,
    api_key: str | None = None,
    backend: sdk.Backend = "developer",
    base_url: str | None = None,
    project: str | None = None,
    location: str | None = None,
    transport: Transport = "fast",
    timeout_s: float = 180.0,
) -> AsyncGenerator[GeminiProvider]:
    """A provider for as long as the block lasts. Raises ConfigError when key, project or address are missing.

    `base_url` points at another server that speaks Gemini. `timeout_s` is one deadline per call. Connections have no
    ceiling: the caller decides how many calls are in flight.
    """
    if backend == "developer" and not (api_key and api_key.strip()):
        raise ConfigError(
            "no Gemini API key: set GEMINI_API_KEY or GOOGLE_API_KEY in the environment, config/.env or .env"
        )
    if base_url is not None and not base_url.startswith(("http://", "https://")):
        raise ConfigError(f"base URL {base_url!r}: must begin with http:// or https://")
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise ConfigError(
            "Gemini is asked by way of aiohttp, which needs asyncio, and this is another event loop: start the run "
            "with asyncio.run, or hand in a provider of your own"
        ) from None
    if backend == "vertex" and (project or location):
        api_key = None  # As the SDK has it: a project means Google credentials; a Gemini key must not go there.
    await asyncio.to_thread(sdk.load)  # off the loop
    bytes(KEPT_BYTES)  # given back at once, and never touched: a bytearray would be filled with zeros
    default_url = sdk.DEVELOPER_URL if backend == "developer" else "https://aiplatform.googleapis.com/"
    session = wire.open_session(base_url or default_url, timeout_s=timeout_s, middlewares=(tap,))
    try:
        provider = GeminiProvider(
            session,
            api_key=api_key.strip() if api_key else None,
            backend=backend,
            base_url=base_url,
            project=project,
            location=location,
            transport=transport,
            timeout_s=timeout_s,
        )
    except BaseException:
        await session.close()
        raise
    try:
        yield provider
    finally:
        await provider.aclose()


class GeminiProvider:
    """Made by `open_gemini`."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        api_key: str | None,
        backend: sdk.Backend,
        base_url: str | None,
        project: str | None,
        location: str | None,
        transport: Transport,
        timeout_s: float,
    ) -> None:
        self._backend: sdk.Backend = backend
        self._timeout_s = timeout_s
        self._secrets = (api_key,) if api_key else ()
        self._session = session
        self._client = sdk.open_client(
            self._session, api_key, backend, base_url or (sdk.DEVELOPER_URL if backend == "developer" else None),
            project, location, timeout_s,
        )  # fmt: skip
        connector = session.connector
        assert isinstance(connector, wire.Connector), "sessions are made by wire.open_session"
        self._lines = Lines(connector)
        self._loop = asyncio.get_running_loop()
        self._offload = threads(READERS)
        self._building = asyncio.Lock()
        self._templates: OrderedDict[tuple[Any, ...], Template] = OrderedDict()
        self.transport: Transport = transport
        """The transport in use; `sdk` after the fast one had to be given up."""
        if transport == "fast" and not sdk.sends_on(self._client, self._session):
            self._give_up_fast("google-genai no longer sends on the session it is given")

    def __repr__(self) -> str:
        return f"GeminiProvider({self._backend}, {self.transport})"

    async def aclose(self) -> None:
        """Closes the connections. Calls still in flight fail."""
        self._lines.close()
        await self._session.close()
        await self._client.aio.aclose()
        self._client.close()
        await asyncio.sleep(0)  # the loop closes sockets in its next turn

    async def call(self, request: Request) -> Response:
        """The answer to one request. Cancellation passes through and closes the socket.

        Raises ProviderError, and StoreError before anything was sent where a picture cannot be read.
        """
        pictures = await read_references(request, self._offload) if request.references else ()
        reply = await self._send(request, pictures)
        if isinstance(reply, ProviderError):
            raise reply
        if reply.status != 200:
            raise classify.http_failure(reply.status, reply.headers, reply.body, secrets=self._secrets)
        return read_answer(
            reply.body,
            reply.headers,
            wants_picture=request.wants_picture,
            secrets=self._secrets,
            pictures=reply.pictures,
        )

    async def _send(self, request: Request, pictures: Sequence[bytes]) -> Reply | ProviderError:
        """The HTTP answer. An error is given back, not raised: raised in a handler it would carry the foreign
        exception along, which may hold the request's headers, and with them the key."""
        deadline = self._loop.time() + self._timeout_s
        try:
            if self.transport == "fast":
                template = self._known(shape := shape_of(request))
                if template is None:
                    async with asyncio.timeout_at(deadline):
                        template = await self._template(request, shape)
                if template is not None:
                    try:
                        return await self._call_fast(template, request, pictures, deadline)
                    except Changed as changed:
                        self._give_up_fast(f"aiohttp: {changed}")
            async with asyncio.timeout_at(deadline):
                return await self._call_sdk(request, pictures)
        except ProviderError as error:
            return error
        except Exception as error:  # noqa: BLE001  foreign exceptions end here
            return self._failure(error)

    # ------------------------------------------------------------------------------ fast

    async def _call_fast(
        self, template: Template, request: Request, pictures: Sequence[bytes], deadline: float
    ) -> Reply:
        body = template.fill(text=request.text, system=request.system, seed=request.seed, pictures=pictures)
        captured = template.captured
        if captured.request.proxy is None:
            reply = await self._lines.post(captured, body, deadline)
        else:
            async with asyncio.timeout_at(deadline):
                reply = await wire.post(self._session, captured.url, captured.headers, body, ssl=captured.request.ssl)
        if reply.status == 401 and self._backend == "vertex":
            self._templates.clear()  # The next call signs anew.
        return reply

    async def _template(self, request: Request, shape: tuple[Any, ...]) -> Template | None:
        """The template of the request's shape; None when requests can no longer be made this way."""
        async with self._building:  # One asks the SDK, and for a token; the others wait for what it gets.
            if (template := self._known(shape)) is not None:
                return template
            try:
                template = await self._capture(request)
            except TemplateError as error:
                self._give_up_fast(str(error))
                return None
            self._templates[shape] = template
            self._templates.move_to_end(shape)
            while len(self._templates) > TEMPLATES_MAX:
                self._templates.popitem(last=False)
            return template

    def _known(self, shape: tuple[Any, ...]) -> Template | None:
        template = self._templates.get(shape)
        if template is None or self._backend == "developer" or time.monotonic() - template.made_at < TOKEN_FRESH_S:
            return template
        return None

    async def _capture(self, request: Request) -> Template:
        watch = Watch(capture=True)
        token = watching.set(watch)
        try:
            await self._generate(marked(request), [picture_mark(n) for n in range(len(request.references))])
        except Caught:
            pass
        except ValueError as error:
            raise self._unmade(error) from None
        finally:
            watching.reset(token)
        if watch.captured is None:
            raise TemplateError("the SDK did not send its request on the session it was given")
        return Template(
            watch.captured,
            pictures=len(request.references),
            system=request.system is not None,
            seed=request.seed is not None,
            made_at=time.monotonic(),
        )

    def _unmade(self, error: Exception) -> ProviderError:
        return ProviderError(
            ErrorKind.INVALID, classify.tidy(f"the SDK cannot make this request: {error}", self._secrets)
        )

    def _give_up_fast(self, why: str) -> None:
        if self.transport == "fast":
            self.transport = "sdk"
            _log.warning("transport fast does not know this google-genai or aiohttp (%s); using transport sdk", why)

    # ------------------------------------------------------------------------------- sdk

    async def _call_sdk(self, request: Request, pictures: Sequence[bytes]) -> Reply:
        from google.genai import errors

        call = Watch()
        token = watching.set(call)
        try:
            response = await self._generate(request, pictures)
            http = response.sdk_http_response
            body = (http.body or "").encode("utf-8", "surrogateescape")
            return Reply(200, classify.lower_headers((http.headers or {}).items()), body)
        except errors.APIError as error:
            return sdk.reply_of(error)
        except aiohttp.ClientError:
            raise  # one about a certificate is a ValueError, too
        except (ValueError, LookupError) as error:
            if call.answered:
                raise ProviderError(ErrorKind.UNKNOWN, "the SDK could not read the answer; it is lost") from None
            raise self._unmade(error) from None
        finally:
            watching.reset(token)

    async def _generate(self, request: Request, pictures: Sequence[bytes]) -> Any:
        contents, config = sdk.generation_of(request, pictures)
        return await self._client.aio.models.generate_content(model=request.model, contents=contents, config=config)

    def _failure(self, error: Exception) -> ProviderError:
        failure = wire.transport_failure(error, timeout_s=self._timeout_s, secrets=self._secrets)
        if failure is not None:
            return failure
        text = classify.tidy(f"{error} ({type(error).__name__})", self._secrets)
        kind = sdk.auth_kind(error)
        if kind is not None:
            return ProviderError(kind, f"Google credentials: {text}. {sdk.VERTEX_ADVICE}")
        return ProviderError(ErrorKind.INTERNAL, text)

    # ------------------------------------------------------------- questions beside calls

    async def list_models(self) -> list[sdk.ModelSummary]:
        """The models that this key may ask for. Raises ProviderError."""
        pager = await self._ask(self._client.aio.models.list())
        found: list[sdk.ModelSummary] = []
        while True:
            found += [sdk.summary_of(model) for model in pager.page]
            try:
                await self._ask(pager.next_page())
            except IndexError:
                return found

    async def count_tokens(self, request: Request) -> int:
        """Input tokens of a request as the far side counts them; free. Raises ProviderError."""
        contents, _ = sdk.generation_of(request, await read_references(request, self._offload))
        counted = await self._ask(self._client.aio.models.count_tokens(model=request.model, contents=contents))
        return int(counted.total_tokens or 0)

    async def _ask(self, question: Any) -> Any:
        from google.genai import errors

        failure: ProviderError
        try:
            async with asyncio.timeout(self._timeout_s):
                return await question
        except (IndexError, ProviderError):
            raise
        except errors.APIError as error:
            reply = sdk.reply_of(error)
            failure = classify.http_failure(reply.status, reply.headers, reply.body, secrets=self._secrets)
        except Exception as error:  # noqa: BLE001  foreign exceptions end here
            failure = self._failure(error)
        raise failure
