"""Where an answer's picture comes from: drawn for the prompt, or taken from a pool. Never on the event loop."""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import pybase64

from engine.simulator.asked import Asked
from engine.simulator.encode import jpeg, png
from engine.simulator.pictures import draw
from engine.simulator.pool import Format, Pool
from engine.simulator.scenes import scene_of

PictureSource = Literal["drawn", "pool", "tiny"]
CACHE_BYTES_MAX = 48 * 2**20
"""Base64 bytes of drawn pictures that are kept for prompts asked again."""
TINY_PX = 64
"""Longer side of a tiny picture."""

Pieces = tuple[bytes, ...]


class Studio:
    """Pictures as base64 pieces. Drawing runs in threads of its own; close it when done."""

    def __init__(self, source: PictureSource, kind: Format, *, seed: int = 0) -> None:
        self.mime_type = f"image/{kind}"
        self._source, self._seed = source, seed
        self._kind: Format = kind
        self._pools: dict[tuple[int, int], asyncio.Future[Pool]] = {}
        self._drawn: OrderedDict[tuple[str, int, int], bytes] = OrderedDict()
        self._drawn_bytes = 0
        self._threads = ThreadPoolExecutor(min(4, os.cpu_count() or 1), thread_name_prefix="simulator-draw")

    async def picture(self, asked: Asked) -> Pieces:
        """The base64 pieces of the picture that was asked for."""
        if self._source != "drawn":
            return (await self._pool(asked.width, asked.height)).pieces()
        key = (asked.digest, asked.width, asked.height)
        data = self._drawn.get(key)
        if data is None:
            loop = asyncio.get_running_loop()
            data = await loop.run_in_executor(self._threads, self._draw, asked)
            self._keep(key, data)
        return (data,)

    async def _pool(self, width: int, height: int) -> Pool:
        tiny = self._source == "tiny"
        if tiny:
            scale = TINY_PX / max(width, height)
            width, height = max(16, round(width * scale)), max(16, round(height * scale))
        building = self._pools.get((width, height))
        if building is None:  # the future is kept at once, so that calls that come together build one pool

            def build() -> Pool:
                return Pool(width, height, self._kind, textured=not tiny, seed=self._seed)

            building = asyncio.get_running_loop().run_in_executor(self._threads, build)
            self._pools[width, height] = building
        return building.result() if building.done() else await asyncio.shield(building)

    def _draw(self, asked: Asked) -> bytes:
        image = draw(scene_of(asked.text, "".join(asked.picture_digests)), asked.width, asked.height)
        return pybase64.b64encode((png if self._kind == "png" else jpeg)(image, asked.text))

    def _keep(self, key: tuple[str, int, int], data: bytes) -> None:
        self._drawn_bytes += len(data) - len(self._drawn.pop(key, b""))
        self._drawn[key] = data
        while self._drawn_bytes > CACHE_BYTES_MAX:
            self._drawn_bytes -= len(self._drawn.popitem(last=False)[1])

    def close(self) -> None:
        """End the drawing threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)
