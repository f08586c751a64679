"""A far side that repeats the key wherever it can: it must appear in no file, log, message, traceback or repr."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

PLAIN = "AQ.canary/Zx+7=Key%with~odd-parts_0123456789"
"""A key of another shape than Google's, so that only knowing it helps."""


def error(status: int, code: str, message: str) -> tuple[int, dict[str, str], bytes]:
    body = {"error": {"code": status, "status": code, "message": message, "details": [{"reason": message}]}}
    return status, {"Content-Type": "application/json"}, json.dumps(body).encode()


def answer(*parts: dict[str, Any], **more: Any) -> tuple[int, dict[str, str], bytes]:
    body = {"candidates": [{"content": {"parts": list(parts)}, "finishReason": "STOP", **more}]}
    return 200, {"Content-Type": "application/json"}, json.dumps(body).encode()


def replies(key: str) -> dict[str, tuple[int, dict[str, str], bytes]]:
    quoted = quote(key, safe="")
    return {
        "invalid": error(400, "INVALID_ARGUMENT", f"cannot use {key} so, nor {quoted}"),
        "minute": error(429, "RESOURCE_EXHAUSTED", f"slow down, {key}"),
        "broken": error(500, key, f"boom {key}"),
        "page": (502, {"Content-Type": "text/html"}, f"<html>{key} {quoted}</html>".encode()),
        "portal": (200, {"Content-Type": "text/html"}, f"<html>log in, {key}</html>".encode()),
        "elsewhere": (302, {"Location": f"http://127.0.0.1:9/?key={quoted}&k={key}"}, b""),
        "words": answer({"text": f"your key is {key}"}),
        "filtered": answer(finishReason="IMAGE_SAFETY", finishMessage=f"no: {key}"),
        "reason": answer(finishReason=f"ODD_{key}"),
        "bytes": answer({"inlineData": {"mimeType": "image/png", "data": base64.b64encode(key.encode()).decode()}}),
        "raw": answer({"inlineData": {"mimeType": f"image/{key}", "data": key}}),
        "blocked": (
            200,
            {"Content-Type": "application/json"},
            json.dumps({"promptFeedback": {"blockReason": f"X{key}", "blockReasonMessage": key}}).encode(),
        ),
        "encoding": (200, {"Content-Encoding": key.replace("\n", ""), "X-Echo": key}, key.encode()),
    }


@pytest.fixture
def parrot() -> Iterator[str]:
    """Answers each prompt that names a case with that case, the key of the request's header in it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
            key = self.headers["x-goog-api-key"]
            cases = replies(key)
            name = next((name for name in cases if f"case {name};" in asked), None)
            status, headers, body = cases[name] if name else error(403, "PERMISSION_DENIED", f"{key} was leaked")
            self.send_response(status)
            for header, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(header, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("transport", ["fast", "sdk"])
def test_a_key_that_is_repeated_in_every_answer_appears_nowhere(
    transport: str, tmp_path: Path, shell: Any, parrot: str
) -> None:
    rows = [{"prompt": f"A quiet square, case {name};", "id": name} for name in replies("k") if name != "minute"]
    rows.append({"prompt": "A quiet square, refused for its key", "id": "last"})
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "temp").mkdir()
    process = shell.start(
        "run", "--prompts", "p.jsonl", "--out", "out", "--json", "--set", "rate_limiting.max_retries=1",
        "--set", "logging.level=DEBUG", "--set", "logging.log_file=run.log", "--set", f"transport={transport}",
        "--set", "rate_limiting.max_in_flight=1",
        cwd=tmp_path, base_url=parrot, more={"GEMINI_API_KEY": PLAIN, "TMPDIR": str(tmp_path / "temp")},
    )  # fmt: skip
    out, err = process.communicate(timeout=50)
    assert process.returncode == 2, err
    summary = json.loads(out)
    assert summary["images"]["failed"] + summary["images"]["refused"] == len(rows) - 1, err
    told = {"stdout": out, "stderr": err}
    told |= {str(p.relative_to(tmp_path)): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    for name, data in told.items():
        text = name.encode() + data
        for shape in (PLAIN, quote(PLAIN, safe=""), json.dumps(PLAIN)[1:-1], "canary"):
            assert shape.encode() not in text, f"the key is in {name}"
    assert not any((tmp_path / "temp").iterdir()), "something unexpected was raised"
