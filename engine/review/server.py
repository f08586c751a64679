"""Starting the review server: one run, one address of this machine, one link with a secret."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn

from engine.errors import ConfigError, NoRun
from engine.review.app import build_app
from engine.review.board import Board
from engine.review.catalogue import Catalogue
from engine.review.decisions import ReviewLog
from engine.review.guard import new_token
from engine.review.pictures import Pictures
from engine.store.layout import RunDir, load_manifest

__all__ = ["PORT", "open_board", "serve"]

PORT = 8765
"""Tried first. The same address each day keeps a browser's key bindings and unsent decisions."""
PORTS_TRIED = 20
GOODBYE_S = 2
"""How long requests in flight may take to end after Ctrl-C."""


def open_board(
    root: Path,
    *,
    sample: int | None = None,
    seed: int | None = None,
    blind: bool = False,
    reviewer: str = "reviewer",
) -> tuple[Board, Pictures]:
    """The board of a run, loaded, and its pictures. Raises NoRun when there is nothing to review."""
    run = RunDir(root)
    if not run.images_log.is_file():
        raise NoRun(root)
    manifest = load_manifest(run) if run.run_json.is_file() else None
    if seed is None:
        seed = _seed(manifest.config) if manifest is not None else 0
    board = Board(
        name=manifest.run_id if manifest is not None else root.resolve().name,
        catalogue=Catalogue(run.images_log, run.metadata_log),
        log=ReviewLog(run.reviews_log, run.quarantine),
        qa=run.qa,
        sample=sample,
        seed=seed,
        blind=blind,
        reviewer=reviewer,
    )
    board.load()
    return board, Pictures(root, run.qa / "thumbs")


def _seed(config: dict[str, object]) -> int:
    generation = config.get("generation")
    seed = generation.get("seed") if isinstance(generation, dict) else None
    return seed if isinstance(seed, int) else 0


async def serve(
    board: Board, pictures: Pictures, *, port: int | None = None, on_ready: Callable[[str], None] = lambda link: None
) -> None:
    """Serve until a signal. `on_ready` gets the link once the page answers; the link is a secret.

    Without `port`, the first free one from PORT on is taken. Raises NoRun when the port is taken.
    """
    listener = _listen(port)
    bound = listener.getsockname()[1]
    token = new_token()
    config = uvicorn.Config(
        build_app(board, pictures, token=token, port=bound),
        log_level="warning",
        access_log=False,  # its lines would hold the token
        lifespan="off",
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=GOODBYE_S,
    )
    server = _Server(config, lambda: on_ready(f"http://127.0.0.1:{bound}/?token={token}"))
    try:
        await server.serve(sockets=[listener])
    finally:
        listener.close()


class _Server(uvicorn.Server):
    """uvicorn, telling when it answers."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()


def _listen(port: int | None) -> socket.socket:
    tried = [port] if port is not None else [*range(PORT, PORT + PORTS_TRIED), 0]
    for each in tried:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        # A server that was just stopped leaves its port in TIME_WAIT; that is no reason to move.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", each))
            listener.listen(128)
        except (OSError, OverflowError) as error:
            listener.close()
            if each == tried[-1]:
                raise ConfigError(
                    f"--port {port}: cannot listen on 127.0.0.1:{port} ({error}); give another, or none for a free one"
                ) from error
        else:
            return listener
    raise AssertionError("the last port either listens or raises")
