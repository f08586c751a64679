"""The simulator: Gemini's HTTP surface on a loopback port, with quotas, waiting times and faults.

Nothing is behind it and nothing leaves the machine. Use it in your own loop (`async with Simulator()`)
or in a thread with a loop of its own (`with Simulator.in_thread()`), so that drawing does not lag yours.
"""

from __future__ import annotations

import asyncio
import random
import re
import ssl
import threading
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

import msgspec
import orjson
from aiohttp import web

from engine.simulator import wire
from engine.simulator.asked import Asked, BadRequest, read_request
from engine.simulator.delivery import Answer, Spoiled
from engine.simulator.faults import FaultKind, Faults, Where
from engine.simulator.generate import generate
from engine.simulator.latency import Latency, latency
from engine.simulator.pool import Format
from engine.simulator.quotas import Meter, Quota, quota_for
from engine.simulator.refusals import Reply, refusal, reply
from engine.simulator.stats import Seen, Stats
from engine.simulator.studio import PictureSource, Studio
from schemas.models import MODELS, ModelInfo

BODY_BYTES_MAX = 100 * 2**20
LOOPBACK = ("127.0.0.1", "::1", "localhost")
_GRACE_S = 0.2  # open calls get this long when the server ends
_PATH = re.compile(
    r"/(?P<version>v1(?:beta\d?)?)/"
    r"(?P<vertex>(?:projects/[^/]+/locations/[^/]+/)?publishers/google/)?"
    r"models(?:/(?P<model>[^/:?]+)(?::(?P<method>\w+))?)?$"
)
_HANDS_ON = ("hang", "close_before_headers")  # faults instead of an answer that still touch the connection


class Settings(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What `POST /_sim/config` may change; what is left out stays."""

    latency: Latency | float | None = None
    text_latency: Latency | float | None = None
    quotas: dict[str, Quota | None] | None = None
    """Per model; `*` for all others; null lifts the limit."""
    faults: dict[str, float] | None = None
    script: dict[int, str] | None = None
    when: dict[str, str | list[str | None]] | None = None
    reset_stats: bool = False


class Simulator:
    """A Gemini server of our own.

    `latency` is the model's waiting time (`text_latency` for calls without a picture, by default the
    same); `quotas` one for every model, or per model with `*` for the rest; `faults` what goes wrong;
    `picture` is `drawn` (a scene per prompt), `pool` (realistic size, prebuilt, each unique) or `tiny`.
    `api_key` None accepts any key; `leaked_keys` are answered as Google answers leaked ones.
    `models` are served beside those we know. `tls` names a certificate and a key file. `gzip` answers
    compressed when asked, as Google does; `chunked` leaves Content-Length out. Raises ValueError for
    a host that is not loopback.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        latency: Latency | float = 0.0,
        text_latency: Latency | float | None = None,
        quotas: Quota | Mapping[str, Quota] | None = None,
        faults: Faults | None = None,
        seed: int = 0,
        picture: PictureSource = "drawn",
        format: Format = "png",
        api_key: str | Collection[str] | None = None,
        leaked_keys: Collection[str] = (),
        models: Sequence[str] = (),
        tls: tuple[str, str] | None = None,
        gzip: bool = False,
        chunked: bool = False,
    ) -> None:
        if host not in LOOPBACK:
            raise ValueError(f"the simulator listens on loopback only; host is {host!r}, use one of {LOOPBACK}")
        self.stats = Stats()
        self.faults = faults or Faults(seed=seed)
        self._host, self._port, self._tls = host, port, tls
        self._latency, self._text_latency = latency, text_latency
        self._quotas: dict[str, Quota | None] = {"*": quotas} if isinstance(quotas, Quota) else dict(quotas or {})
        self._meters: dict[str, Meter | None] = {}
        self._chance = random.Random(seed)
        self._picture: tuple[PictureSource, Format, int] = (picture, format, seed)
        self._keys = {api_key} if isinstance(api_key, str) else set(api_key) if api_key is not None else None
        self._leaked = frozenset(leaked_keys)
        self._models = dict(MODELS)
        for name in models:
            self._models.setdefault(name, _unknown_model(name))
        self._gzip, self._chunked = gzip, chunked
        self._studio: Studio | None = None
        self._runner: web.ServerRunner | None = None
        self.base_url = ""

    def __repr__(self) -> str:
        return f"Simulator({self.base_url or 'not started'}, {self.stats!r})"

    # Starting and ending.

    async def __aenter__(self) -> Self:
        source, kind, seed = self._picture
        self._studio = Studio(source, kind, seed=seed)
        server = web.Server(self._handle, access_log=None)
        runner = self._runner = web.ServerRunner(server, shutdown_timeout=_GRACE_S)
        await runner.setup()
        context: ssl.SSLContext | None = None
        if self._tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self._tls)
        try:
            site = web.TCPSite(runner, self._host, self._port, ssl_context=context, backlog=4096)
            await site.start()
        except BaseException:
            await self.__aexit__()
            raise
        port = runner.addresses[0][1]
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.base_url = f"{'https' if context else 'http'}://{host}:{port}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        if self._studio is not None:
            self._studio.close()

    @classmethod
    @contextmanager
    def in_thread(cls, **options: Any) -> Generator[Self]:
        """A simulator in a daemon thread with a loop of its own; takes the options of `Simulator`."""
        simulator = cls(**options)
        started, failed = threading.Event(), list[BaseException]()
        handles: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

        async def main() -> None:
            ended = asyncio.Event()
            async with simulator:
                handles.append((asyncio.get_running_loop(), ended))
                started.set()
                await ended.wait()

        def run() -> None:
            try:
                asyncio.run(main())
            except BaseException as e:  # noqa: BLE001 - handed to the thread that waits for the start
                failed.append(e)
            finally:
                started.set()

        thread = threading.Thread(target=run, name="simulator", daemon=True)
        thread.start()
        started.wait()
        if failed:
            raise failed[0]
        try:
            yield simulator
        finally:
            loop, ended = handles[0]
            if not loop.is_closed():
                loop.call_soon_threadsafe(ended.set)
            thread.join()

    # Changing it while it runs.

    def set_quota(self, quota: Quota | None, model: str = "*") -> None:
        """Another quota for this model (`*`: all that have none of their own) from now on; what was used stays used."""
        self._quotas[model] = quota
        for name, meter in list(self._meters.items()):
            changed = quota_for(self._quotas, name)
            if meter is None or changed is None:
                del self._meters[name]
            else:
                meter.change(changed)

    def set_latency(self, value: Latency | float, *, text: Latency | float | None = None) -> None:
        """Another waiting time from the next call on."""
        self._latency, self._text_latency = value, text

    def set_faults(self, faults: Faults | None) -> None:
        """Other faults from the next call on."""
        self.faults = faults or Faults()

    def reset_stats(self) -> None:
        """Count from nothing again; calls in flight stay counted."""
        before, self.stats = self.stats, Stats()
        self.stats.in_flight = self.stats.in_flight_max = before.in_flight

    # Requests.

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._answered(request)
        except (ConnectionError, web.RequestPayloadError):  # the client left while it was still asking
            return Spoiled("close_before_headers", Reply())

    async def _answered(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path.startswith("/_sim/"):
            return await self._control(request)
        self.stats.requests += 1
        found = _PATH.match(request.path)
        if found is None:
            return self._send(request, Reply(status=404, content_type="text/html; charset=UTF-8"))
        denied = self._denied(request, vertex=found["vertex"] is not None)
        method = found["method"]
        if request.method == "POST" and method in ("generateContent", "streamGenerateContent"):
            return await self._generate(request, found, denied)
        if denied is not None:
            return self._send(request, denied)
        if request.method == "GET" and method is None:
            return self._send(request, self._describe(request, found))
        if request.method == "POST" and method == "countTokens":
            return await self._count_tokens(request, found)
        return self._send(request, reply(404, wire.error(404)))

    def _send(self, request: web.BaseRequest, answer: Reply) -> Answer:
        gzipped = self._gzip and "gzip" in request.headers.get("Accept-Encoding", "")
        response = Answer(answer, chunked=self._chunked, gzipped=gzipped)
        self.stats.bytes_sent += response.bytes_sent
        return response

    def _denied(self, request: web.BaseRequest, *, vertex: bool) -> Reply | None:
        key = request.headers.get("x-goog-api-key") or request.query.get("key")
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if key is None and not bearer:
            return reply(401, wire.error(401)) if vertex else reply(403, wire.error(403, wire.NO_KEY))
        if key is None:
            return None
        if key in self._leaked:
            return reply(403, wire.error(403, wire.LEAKED_KEY))
        if self._keys is not None and key not in self._keys:
            return reply(400, wire.bad_key())
        return None

    def _model(self, found: re.Match[str], method: str) -> ModelInfo | Reply:
        name = found["model"]
        model = self._models.get(name)
        if model is not None:
            return model
        if found["vertex"]:
            return reply(404, wire.publisher_model_not_found(f"{found['vertex']}models/{name}"))
        return reply(404, wire.model_not_found(name, found["version"], method))

    def _describe(self, request: web.BaseRequest, found: re.Match[str]) -> Reply:
        vertex = found["vertex"] is not None
        describe = wire.publisher_model_entry if vertex else wire.model_entry
        if found["model"] is not None:
            model = self._model(found, "generateContent")
            return model if isinstance(model, Reply) else reply(200, describe(model))
        try:
            size = int(request.query.get("pageSize") or 50)
            start = int(request.query.get("pageToken") or 0)
        except ValueError:
            return reply(400, wire.error(400, "page_token is invalid."))
        models = list(self._models.values())
        page: dict[str, Any] = {
            "publisherModels" if vertex else "models": [describe(m) for m in models[start : start + max(1, size)]]
        }
        if start + size < len(models):
            page["nextPageToken"] = str(start + size)
        return reply(200, page)

    async def _count_tokens(self, request: web.BaseRequest, found: re.Match[str]) -> web.StreamResponse:
        model = self._model(found, "countTokens")
        if isinstance(model, Reply):
            return self._send(request, model)
        try:
            body = orjson.loads(await _body(request))
            inner = body.get("generateContentRequest", body) if isinstance(body, dict) else body
            asked = read_request(orjson.dumps(inner), model)
        except BadRequest as e:
            return self._send(request, reply(e.code, e.body))
        except orjson.JSONDecodeError as e:
            return self._send(request, reply(400, wire.error(400, f"Invalid JSON payload received. {e}")))
        details = [{"modality": "TEXT", "tokenCount": asked.prompt_text_tokens}]
        if asked.prompt_image_tokens:
            details.append({"modality": "IMAGE", "tokenCount": asked.prompt_image_tokens})
        total = asked.prompt_text_tokens + asked.prompt_image_tokens
        return self._send(request, reply(200, {"totalTokens": total, "promptTokensDetails": details}))

    async def _generate(
        self, request: web.BaseRequest, found: re.Match[str], denied: Reply | None
    ) -> web.StreamResponse:
        stats = self.stats
        loop = asyncio.get_running_loop()
        began = loop.time()
        call = stats.arrived()
        asked: Asked | None = None
        fault: FaultKind | None = None
        status = 0
        try:
            model = self._model(found, str(found["method"]))
            if denied is not None or isinstance(model, Reply):
                answer = denied if denied is not None else model
                assert isinstance(answer, Reply)
            else:
                try:
                    asked = read_request(await _body(request), model)
                except BadRequest as e:
                    answer = reply(e.code, e.body)
                else:
                    answer, fault = await self._answer(asked, call, loop.time())
            if found["method"] == "streamGenerateContent" and answer.status == 200:
                answer = _streamed(answer, sse=request.query.get("alt") == "sse")
            status = answer.status
            if fault is not None and (fault.where is Where.DELIVERY or fault.name in _HANDS_ON):
                status = status if fault.where is Where.DELIVERY and fault.name != "reset_before_headers" else 0
                spoiled = Spoiled(fault.name, answer)
                await spoiled.deliver(request)
                stats.bytes_sent += spoiled.bytes_sent
                return spoiled
            if answer.status == 200 and fault is None:
                stats.ok += 1
            return self._send(request, answer)
        finally:
            stats.in_flight -= 1
            stats.by_status[status] += 1
            if fault is not None:
                stats.by_fault[fault.name] += 1
            stats.by_model[found["model"] or ""] += 1
            digest, text = (asked.digest, asked.text[:200]) if asked is not None else ("", "")
            name = fault.name if fault is not None else None
            stats.seen.append(Seen(call, began, loop.time() - began, found["model"] or "", digest, status, name, text))

    async def _answer(self, asked: Asked, call: int, now: float) -> tuple[Reply, FaultKind | None]:
        rejected = self._rejected(asked, now)
        if rejected is not None:
            self.stats.rejected += 1
            return rejected, None
        time = self.stats.time_asked(asked.digest)
        fault = None
        if self.faults:
            fault = self.faults.choose(
                call=call, time=time, digest=asked.digest, text=asked.text, picture=asked.wants_picture
            )
        if fault is not None and fault.where is Where.INSTEAD:
            return (Reply() if fault.name in _HANDS_ON else refusal(fault.name, asked.model)), fault
        if fault is None or fault.paid:
            self.stats.pay(asked.digest)
        given = self._latency if asked.wants_picture or self._text_latency is None else self._text_latency
        wait_s = latency(given).draw_s(self._chance)
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        assert self._studio is not None
        return await generate(asked, self._studio, call=call, fault=fault), fault

    def _rejected(self, asked: Asked, now: float) -> Reply | None:
        name = asked.model.name
        if name not in self._meters:
            quota = quota_for(self._quotas, name)
            self._meters[name] = None if quota is None else Meter(quota, now)
        meter = self._meters[name]
        if meter is None:
            return None
        tokens = asked.prompt_text_tokens + asked.prompt_image_tokens
        rejection = meter.ask(now, tokens=tokens, images=int(asked.wants_picture), usd=asked.cost_usd)
        if rejection is None:
            return None
        if meter.quota.bare:
            return reply(429, wire.error(429))
        return reply(429, wire.quota_error(name, rejection.violated, rejection.wait_s, tier=meter.quota.tier))

    # The simulator's own endpoints, for tests that run it as a process.

    async def _control(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "GET" and request.path == "/_sim/stats":
            return Answer(reply(200, self.stats.as_dict(questions="questions" in request.query)))
        if request.method == "POST" and request.path == "/_sim/config":
            try:
                self._configure(msgspec.json.decode(await _body(request), type=Settings))
            except (msgspec.DecodeError, BadRequest, ValueError) as e:
                return Answer(reply(400, {"error": str(e)}))
            return Answer(reply(200, {}))
        return Answer(reply(404, {"error": "use GET /_sim/stats or POST /_sim/config"}))

    def _configure(self, settings: Settings) -> None:
        if settings.faults is not None or settings.script is not None or settings.when is not None:
            self.faults = Faults(settings.faults, script=settings.script, when=settings.when, seed=self.faults.seed)
        if settings.latency is not None:
            self._latency = settings.latency
        if settings.text_latency is not None:
            self._text_latency = settings.text_latency
        for model, quota in (settings.quotas or {}).items():
            self.set_quota(quota, model)
        if settings.reset_stats:
            self.reset_stats()


async def _body(request: web.BaseRequest) -> bytes:
    """The request's body. Raises `BadRequest` where it is larger than Google takes."""
    length = request.content_length
    if length is None or length <= BODY_BYTES_MAX:
        body = bytearray()
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > BODY_BYTES_MAX:
                break
        else:
            return bytes(body)
    raise BadRequest(wire.MESSAGES[413], code=413)


def _streamed(answer: Reply, *, sse: bool) -> Reply:
    """A whole answer as a stream of one chunk."""
    if sse:
        body = orjson.dumps(orjson.loads(b"".join(answer.body)))
        return Reply(body=(b"data: ", body, b"\r\n\r\n"), content_type="text/event-stream")
    return Reply(body=(b"[", *answer.body, b"]"))


def _unknown_model(name: str) -> ModelInfo:
    draws = "image" in name or "banana" in name
    sizes = {"1K": 1120, "2K": 1680, "4K": 3780} if draws else {}
    return ModelInfo(name=name, input_usd_per_m=None, text_usd_per_m=None, image_tokens=sizes)
