"""(a) The floor: what the bytes themselves cost, in one blocking thread that does nothing else.

Receives the answer into one buffer, finds and decodes the base64, checks the picture's structure,
hashes it, writes it by temporary file, fsync and rename, and appends a line. No errors are handled.
For `text` it sends the metadata stage's question, with the picture read from disk, and syncs the line.

A last argument changes the writes: `direct` puts large pictures past the page cache, as groundswell does;
`durable` does so, too, and promises what groundswell does: a synced line before the call, a synced folder, a
synced line after it, each on its own, where groundswell shares syncs among those that wait.
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
from typing import Any
from urllib.parse import urlsplit

import orjson
import pybase64
from asked import PROMPT, text_request

from engine.store.direct import open_new, worth_it, write_direct

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


def question(kind: str, text: Any) -> dict[str, Any]:
    """The body of one request."""
    if kind != "text":
        return {"contents": [{"role": "user", "parts": [{"text": PROMPT}]}]}
    picture = pybase64.b64encode(Path(text.references[0].path).read_bytes()).decode()
    parts = [{"text": text.text}, {"inlineData": {"mimeType": "image/png", "data": picture}}]
    return {
        "contents": [{"role": "user", "parts": parts}],
        "systemInstruction": {"parts": [{"text": text.system}]},
        "generationConfig": {
            "responseMimeType": "application/json",
            "responseJsonSchema": text.answer_schema,
            "maxOutputTokens": text.output_tokens_max,
        },
    }


def main() -> None:
    url, count, warmup, out = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    kind, writes = sys.argv[5], (sys.argv[6] if len(sys.argv) > 6 else "")
    address = urlsplit(url)
    connection = socket.create_connection((address.hostname, address.port))
    if address.scheme == "https":
        context = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
        connection = context.wrap_socket(connection, server_hostname=address.hostname)
    folder = out / "images"
    folder.mkdir(parents=True)
    model = "gemini-3.1-flash-lite" if kind == "text" else "gemini-nano-banana-2.1"
    text = text_request(out) if kind == "text" else None
    with (out / "log.jsonl").open("ab", buffering=0) as log:
        started = cpu = 0.0
        for n in range(warmup + count):
            if n == warmup:
                started, cpu = time.perf_counter(), time.process_time()
            if writes == "durable":
                log.write(orjson.dumps({"n": n, "status": "start"}) + b"\n")
                os.fdatasync(log.fileno())
            payload = orjson.dumps(question(kind, text))
            head = f"POST /v1beta/models/{model}:generateContent HTTP/1.1\r\nContent-Length: {len(payload)}\r\n\r\n"
            connection.sendall(head.encode() + payload)
            body = receive(connection)
            line: dict[str, object] = {"n": n, "prompt": PROMPT}
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
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
                direct = writes and worth_it(data)
                handle = open_new(temporary, flags) if direct else os.open(temporary, flags)
                if not (direct and write_direct(handle, data)):
                    os.write(handle, data)
                os.fsync(handle)
                os.close(handle)
                temporary.rename(final)
            if writes == "durable" and kind != "text":
                handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
                os.fsync(handle)
                os.close(handle)
            log.write(orjson.dumps(line) + b"\n")
            if writes == "durable" or kind == "text":
                os.fdatasync(log.fileno())
        spent, took = time.process_time() - cpu, time.perf_counter() - started
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"cpu_ms": 1000 * spent / count, "per_s": count / took, "rss_mb": rss}))


if __name__ == "__main__":
    main()
