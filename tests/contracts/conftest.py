"""A far side made of raw sockets: it says byte for byte what a test tells it to, however wrong."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from engine.providers.scripted import tiny_png

CANARY = "AIzaSyCANARY-key-that-must-never-be-seen-0"
PNG = tiny_png(b"contract")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Seen:
    """One request as it came over the socket."""

    line: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Script = Callable[["RawServer", Seen, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class RawServer:
    """`script` is called for each request and writes what it likes."""

    script: Script
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    open_connections: int = 0
    port: int = 0
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open_connections += 1
        number = self.connections
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                line, *rest = head.strip().split("\r\n")
                headers = {name.lower(): value for name, value in (item.split(": ", 1) for item in rest)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                request = Seen(line, headers, body, number)
                self.seen.append(request)
                await self.script(self, request, writer)
                await writer.drain()
                if writer.is_closing():
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open_connections -= 1
            writer.close()


@asynccontextmanager
async def raw_server(script: Script, ssl: ssl.SSLContext | None = None) -> AsyncIterator[RawServer]:
    server = RawServer(script, scheme="https" if ssl else "http")
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(server.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    listener = await asyncio.start_server(connected, "127.0.0.1", 0, limit=2**24, ssl=ssl)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def http(
    body: bytes | dict[str, Any] | list[Any],
    status: int = 200,
    content_type: str = "application/json; charset=UTF-8",
    **headers: str,
) -> bytes:
    """An HTTP answer. Keyword names with `_` become header names with `-`."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Type: {content_type}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if "content_length" not in headers and "transfer_encoding" not in headers:
        lines.append(f"Content-Length: {len(raw)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + raw


def says(answer: bytes) -> Script:
    """A script that gives the same bytes to everyone."""

    async def script(_: RawServer, __: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    return script


def reset(writer: asyncio.StreamWriter) -> None:
    """Closes with RST, as a crashing peer does."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def picture_part(data: bytes = PNG, mime_type: str = "image/png", **more: Any) -> dict[str, Any]:
    return {"inlineData": {"mimeType": mime_type, "data": base64.b64encode(data).decode()}, **more}


def answer(*parts: dict[str, Any], reason: str | None = "STOP", **more: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
    if reason:
        candidate["finishReason"] = reason
    return {"candidates": [candidate], "usageMetadata": USAGE, "modelVersion": "gemini-x-001", **more}


USAGE = {
    "promptTokenCount": 20,
    "candidatesTokenCount": 1200,
    "thoughtsTokenCount": 30,
    "totalTokenCount": 1250,
    "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1120}],
}


class FarSide:
    """What the fixture hands to tests."""

    CANARY = CANARY
    PNG = PNG
    USAGE = USAGE
    serve = staticmethod(raw_server)
    http = staticmethod(http)
    says = staticmethod(says)
    reset = staticmethod(reset)
    picture_part = staticmethod(picture_part)
    answer = staticmethod(answer)


@pytest.fixture
def far_side() -> type[FarSide]:
    return FarSide


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost that vouches for itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    paths = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(paths[1]), "-out", str(paths[0]), "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost"]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed here")
    return paths
