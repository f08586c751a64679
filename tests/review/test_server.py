"""The server answers its own page and nobody else, and no path leads out of the run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from starlette.testclient import TestClient

from engine.review.app import build_app
from engine.review.guard import BODY_BYTES_MAX
from engine.review.pictures import PictureMissing, Pictures, read_inside, shrink
from engine.review.server import open_board
from schemas.outcome import Asset

HOST = "127.0.0.1:8765"
ORIGIN = f"http://{HOST}"


@pytest.fixture
def client(run_dir: Path) -> Iterator[TestClient]:
    """A browser that has opened the link."""
    app = build_app(*open_board(run_dir), token="secret", port=8765)
    with TestClient(app, base_url=ORIGIN) as opened:
        opened.get("/?token=secret")
        yield opened


def decision(**changes: object) -> dict[str, object]:
    base = {"id": uuid4().hex, "status": "accept", "image_id": "sm_20260121_0001", "reviewer": "ana"}
    return {**base, **changes}


def post(client: TestClient, body: dict[str, object], **headers: str) -> int:
    return client.post("/api/decisions", json=body, headers={"Origin": ORIGIN, **headers}).status_code


def test_the_link_sets_a_cookie_that_no_script_and_no_other_site_can_use(run_dir: Path) -> None:
    app = build_app(*open_board(run_dir), token="secret", port=8765)
    with TestClient(app, base_url=ORIGIN) as fresh:
        assert fresh.get("/api/session").status_code == 401
        assert fresh.get("/?token=wrong").headers.get("set-cookie") is None
        cookie = fresh.get("/?token=secret").headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert fresh.get("/api/session").json()["images"] == 12


@pytest.mark.parametrize("path", ["/", "/review.js", "/api/session", "/image/sm_20260121_0001", "/none"])
def test_every_answer_carries_the_policy(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


def test_another_name_for_this_machine_is_turned_away(client: TestClient) -> None:
    assert client.get("/api/session", headers={"Host": "evil.example:8765"}).status_code == 421
    assert client.get("/", headers={"Host": "127.0.0.1:9999"}).status_code == 421
    assert client.get("/", headers={"Host": ""}).status_code == 421


def test_another_sites_requests_are_turned_away_even_with_the_cookie(client: TestClient, run_dir: Path) -> None:
    assert post(client, decision(), Origin="https://evil.example") == 403
    assert post(client, decision(), Origin="null") == 403
    assert client.post("/api/decisions", json=decision()).status_code == 403  # no Origin at all
    assert client.get("/api/session", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert client.get("/image/sm_20260121_0001", headers={"Sec-Fetch-Site": "same-site"}).status_code == 403
    form = client.post("/api/decisions", data={"a": "b"}, headers={"Origin": ORIGIN})
    assert form.status_code == 415
    assert not (run_dir / "log/reviews.jsonl").exists()


def test_a_decision_is_in_the_log_when_the_page_hears_of_it(client: TestClient, run_dir: Path) -> None:
    assert post(client, decision(answers={"quality": "good"}, tags=["anatomy"], ms=1234)) == 200
    (line,) = (run_dir / "log/reviews.jsonl").read_bytes().splitlines()
    assert b'"ms":1234' in line
    assert client.get("/api/images/sm_20260121_0001?reviewer=ana").json()["mine"]["tags"] == ["anatomy"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "maybe"},
        {"id": "../x"},
        {"reviewer": ""},
        {"reviewer": "x" * 65},
        {"answers": {"quality": "superb"}},
        {"answers": {"beauty": "good"}},
        {"notes": "x" * 4001},
        {"tags": ["t"] * 33},
        {"ms": -1},
        {"surprise": 1},
    ],
)
def test_what_is_no_decision_is_not_written(client: TestClient, run_dir: Path, wrong: dict[str, object]) -> None:
    assert post(client, decision(**wrong)) == 422
    assert not (run_dir / "log/reviews.jsonl").exists()


def test_bodies_have_a_bound(client: TestClient) -> None:
    assert post(client, decision(notes="x" * BODY_BYTES_MAX)) == 413

    def trickle() -> Iterator[bytes]:
        yield b"{"

    streamed = client.post(
        "/api/decisions", content=trickle(), headers={"Origin": ORIGIN, "Content-Type": "application/json"}
    )
    assert streamed.status_code == 413


def test_unknown_images_and_queues_are_told_apart(client: TestClient) -> None:
    assert client.get("/api/images/nothing").status_code == 404
    assert client.get("/api/queue/nothing").status_code == 410
    assert client.get("/api/queue/nothing?offset=x").status_code == 422
    assert post(client, decision(image_id="nothing")) == 404
    bad = client.post("/api/queue", json={"filter": {"draw": "none"}}, headers={"Origin": ORIGIN})
    assert bad.status_code == 422
    assert client.get("/image/..%2f..%2fetc%2fpasswd").status_code == 404


def test_pictures_come_by_id_and_in_three_sizes(client: TestClient, run_dir: Path) -> None:
    whole = client.get("/image/sm_20260121_0002?v=1")
    assert whole.content == (run_dir / "images/0000/sm_20260121_0002.png").read_bytes()
    assert whole.headers["content-type"] == "image/png"
    assert "immutable" in whole.headers["cache-control"]
    small = client.get("/image/sm_20260121_0002?size=192")
    assert small.content[:3] == b"\xff\xd8\xff"
    assert client.get("/image/sm_20260121_0002?size=9999").status_code == 404
    assert client.get("/image/sm_20260121_0002?size=../x").status_code == 404
    assert list((run_dir / "qa/thumbs/192").rglob("*.jpg"))


def test_api_answers_are_not_kept_by_the_browser(client: TestClient) -> None:
    assert client.get("/api/session").headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["../outside.png", "images/../../outside.png", "/etc/passwd", "", "images", "a\\b"])
def test_no_recorded_path_leads_out_of_the_run(run_dir: Path, path: str) -> None:
    (run_dir.parent / "outside.png").write_bytes(b"secret")
    with pytest.raises(PictureMissing):
        read_inside(run_dir, path)


def test_no_link_is_followed(run_dir: Path) -> None:
    outside = run_dir.parent / "outside"
    outside.mkdir()
    (outside / "a.png").write_bytes(b"secret")
    (run_dir / "images/link.png").symlink_to(outside / "a.png")
    (run_dir / "images/folder").symlink_to(outside)
    os.mkfifo(run_dir / "images/pipe.png")
    for path in ("images/link.png", "images/folder/a.png", "images/pipe.png"):
        with pytest.raises(PictureMissing):
            read_inside(run_dir, path)


def test_a_type_outside_the_list_is_not_served(run_dir: Path) -> None:
    (run_dir / "images/page.html").write_bytes(b"<script>")
    asset = Asset(path="images/page.html", sha256="0" * 64, size_bytes=8, mime_type="text/html", width=1, height=1)
    with pytest.raises(PictureMissing):
        Pictures(run_dir, run_dir / "qa/thumbs").original(asset)


@pytest.mark.parametrize("data", [b"", b"<svg onload=alert(1)>", b"\x89PNG\r\n\x1a\n", b"GIF89a" + bytes(40)])
def test_what_is_no_picture_has_no_small_copy(data: bytes) -> None:
    with pytest.raises(PictureMissing):
        shrink(data, 192)
