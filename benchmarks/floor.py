"""(a) The floor: what the bytes themselves cost, in one blocking thread that does nothing else.

Receives the answer into one buffer, finds and decodes the base64, checks the picture's structure,
hashes it, writes it by temporary file, fsync and rename, and appends a line. No errors are handled.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import resource
import socket
import ssl
import sys
import time
import zlib
from pathlib import Path
from urllib.parse import urlsplit

import orjson
import pybase64

REQUEST = {"contents": [{"role": "user", "parts": [{"text": "A vigil at dusk on a square. " * 12}]}]}
BUFFER = bytearray(8 << 20)


def check_structure(data: bytes) -> None:
    """PNG chunk checksums to IEND; JPEG markers to EOI."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        at, view = 8, memoryview(data)
        while True:
            size, kind = int.from_bytes(view[at : at + 4]), bytes(view[at + 4 : at + 8])
            if zlib.crc32(view[at + 4 : at + 8 + size]) != int.from_bytes(view[at + 8 + size : at + 12 + size]):
                raise ValueError("checksum")
            at += 12 + size
            if kind == b"IEND":
                return
    elif not (data.startswith(b"\xff\xd8\xff") and data.endswith(b"\xff\xd9")):
        raise ValueError("neither PNG nor JPEG")


def receive(connection: socket.socket) -> memoryview:
    """The body of one answer: by Content-Length, or chunked."""
    view = memoryview(BUFFER)
    have = 0
    while (head := BUFFER.find(b"\r\n\r\n", 0, have)) < 0:
        have += connection.recv_into(view[have:])
    start = head + 4
    length = re.search(rb"content-length: (\d+)", bytes(view[:head]).lower())
    if length:
        end = start + int(length[1])
        while have < end:
            have += connection.recv_into(view[have:])
        return view[start:end]
    while not BUFFER.endswith(b"0\r\n\r\n", max(0, have - 5), have):
        have += connection.recv_into(view[have:])
    pieces, at = [], start
    while True:
        line = BUFFER.find(b"\r\n", at)
        size = int(bytes(view[at:line]), 16)
        if not size:
            break
        pieces.append(view[line + 2 : line + 2 + size])
        at = line + 4 + size
    return memoryview(b"".join(pieces))


def main() -> None:
    url, count, warmup, out = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    kind = sys.argv[5]
    address = urlsplit(url)
    connection = socket.create_connection((address.hostname, address.port))
    if address.scheme == "https":
        context = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
        connection = context.wrap_socket(connection, server_hostname=address.hostname)
    folder = out / "images"
    folder.mkdir(parents=True)
    model = "gemini-3.1-flash-lite" if kind == "text" else "gemini-nano-banana-2.1"
    with (out / "log.jsonl").open("ab", buffering=0) as log:
        started = cpu = 0.0
        for n in range(warmup + count):
            if n == warmup:
                started, cpu = time.perf_counter(), time.process_time()
            payload = orjson.dumps(REQUEST)
            head = f"POST /v1beta/models/{model}:generateContent HTTP/1.1\r\nContent-Length: {len(payload)}\r\n\r\n"
            connection.sendall(head.encode() + payload)
            body = receive(connection)
            line: dict[str, object] = {"n": n, "prompt": "A vigil at dusk on a square. " * 12}
            if kind == "text":
                line |= orjson.loads(orjson.loads(body)["candidates"][0]["content"]["parts"][0]["text"])
            else:
                raw = body.obj
                start = raw.find(b'"data": "', 0, 4096) + 9
                end = raw.find(b'"', start)
                with memoryview(raw) as whole:
                    data = pybase64.b64decode(whole[start:end], validate=True)
                check_structure(data)
                line["sha256"] = hashlib.sha256(data).hexdigest()
                temporary, final = folder / f".{n}.tmp", folder / f"{n}.img"
                handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
                os.write(handle, data)
                os.fsync(handle)
                os.close(handle)
                temporary.rename(final)
            log.write(orjson.dumps(line) + b"\n")
        spent, took = time.process_time() - cpu, time.perf_counter() - started
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"cpu_ms": 1000 * spent / count, "per_s": count / took, "rss_mb": rss}))


if __name__ == "__main__":
    main()
