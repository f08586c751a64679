"""The routes of the review page: JSON for the board, bytes for pictures, three files for the page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from importlib.resources import files
from typing import Any, TypeVar

import msgspec
from anyio import to_thread
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engine.errors import StoreError
from engine.review.board import Board
from engine.review.catalogue import NoSuchImage
from engine.review.guard import Guard
from engine.review.messages import Judged, QueueGone, Refused
from engine.review.pictures import PictureMissing, Pictures
from engine.review.queue import Filter

__all__ = ["build_app", "static_file"]

FOR_EVER = "private, max-age=31536000, immutable"
"""Picture addresses carry the digest of the picture."""

T = TypeVar("T")


class _QueueAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    reviewer: str = ""
    filter: Filter = Filter()


def static_file(name: str) -> bytes:
    """One of the page's own files: review.html, review.js, review.css."""
    return files("engine.review").joinpath("static", name).read_bytes()


def build_app(board: Board, pictures: Pictures, *, token: str, port: int) -> Starlette:
    """The ASGI application for one run, answering on one port of this machine."""
    routes = [
        Route("/", _static("review.html", "text/html")),
        Route("/review.js", _static("review.js", "text/javascript")),
        Route("/review.css", _static("review.css", "text/css")),
        Route("/favicon.ico", _no_icon),
        Route("/api/session", _answer(lambda request: board.session())),
        Route("/api/queue", _posted(_QueueAsked, partial(_queue, board)), methods=["POST"]),
        Route("/api/queue/{queue}", _answer(partial(_page, board))),
        Route("/api/queue/{queue}/open", _answer(partial(_next_open, board))),
        Route("/api/images/{image_id}", _answer(partial(_shown, board))),
        Route("/api/decisions", _posted(Judged, board.decide), methods=["POST"]),
        Route("/api/last", _answer(lambda request: board.last(_reviewer(request)))),
        Route("/api/summary", _answer(lambda request: board.summary(_reviewer(request)))),
        Route("/image/{image_id}", _picture(board, pictures)),
    ]
    return Starlette(routes=routes, middleware=[Middleware(Guard, token=token, port=port)])


def _reviewer(request: Request) -> str:
    return request.query_params.get("reviewer", "")


def _queue(board: Board, asked: _QueueAsked) -> Any:
    return board.queue(asked.filter, asked.reviewer)


def _page(board: Board, request: Request) -> Any:
    offset, limit = _number(request, "offset", 0), _number(request, "limit", 100)
    return board.page(request.path_params["queue"], _reviewer(request), offset, limit)


def _next_open(board: Board, request: Request) -> Any:
    return board.next_open(request.path_params["queue"], _reviewer(request), _number(request, "after", 0))


def _shown(board: Board, request: Request) -> Any:
    return board.shown(request.path_params["image_id"], _reviewer(request))


def _number(request: Request, name: str, default: int) -> int:
    try:
        return int(request.query_params.get(name, default))
    except ValueError:
        raise Refused(f"{name} is no number") from None


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def _error(status: int, message: str) -> Response:
    return _json({"error": message}, status)


async def _in_thread(work: Callable[[], T]) -> Response:
    try:
        return _json(await to_thread.run_sync(work))
    except NoSuchImage as error:
        return _error(404, f"this run has no image {error}")
    except QueueGone:
        return _error(410, "this queue is no longer held; ask for it again")
    except (Refused, msgspec.MsgspecError, UnicodeDecodeError) as error:
        return _error(422, str(error))
    except StoreError as error:
        return _error(507, str(error))


def _answer(work: Callable[[Request], Any]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return await _in_thread(partial(work, request))

    return endpoint


def _posted(shape: type[T], work: Callable[[T], Any]) -> Callable[[Request], Awaitable[Response]]:
    decode = msgspec.json.Decoder(shape).decode

    async def endpoint(request: Request) -> Response:
        body = await request.body()
        return await _in_thread(lambda: work(decode(body)))

    return endpoint


def _picture(board: Board, pictures: Pictures) -> Callable[[Request], Awaitable[Response]]:
    def read(image_id: str, size: str | None) -> tuple[bytes, str]:
        asset = board.asset(image_id)
        if size is None:
            return pictures.original(asset), asset.mime_type
        return pictures.small(asset, int(size) if size.isdigit() else 0), "image/jpeg"

    async def endpoint(request: Request) -> Response:
        image_id, size = request.path_params["image_id"], request.query_params.get("size")
        try:
            data, mime_type = await to_thread.run_sync(read, image_id, size)
        except NoSuchImage:
            return _error(404, f"this run has no image {image_id}")
        except PictureMissing:
            return _error(404, f"the picture of {image_id} is not there; run `groundswell verify`")
        except StoreError as error:
            return _error(500, str(error))
        # Pictures never change under their address, which carries the digest.
        cache = FOR_EVER if "v" in request.query_params else "no-store"
        return Response(data, media_type=mime_type, headers={"Cache-Control": cache})

    return endpoint


async def _no_icon(request: Request) -> Response:
    return Response(status_code=204)


def _static(name: str, mime_type: str) -> Callable[[Request], Awaitable[Response]]:
    data = static_file(name)

    async def endpoint(request: Request) -> Response:
        return Response(data, media_type=mime_type, headers={"Cache-Control": "no-cache"})

    return endpoint
