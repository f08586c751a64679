"""A drawing surface at twice its size: coordinates are those of the finished picture, edges come out soft."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from engine.simulator.colours import Colour

Point = tuple[float, float]
FINE = 2
"""How much finer than the finished picture is drawn."""


def gradient(stops: Sequence[tuple[float, Colour]], height: int) -> np.ndarray:
    """A column of colours: `stops` are (position from 0 to 1, colour), in order."""
    at = np.linspace(0, 1, height)
    places = [place for place, _ in stops]
    channels = [np.interp(at, places, [colour[i] for _, colour in stops]) for i in range(3)]
    return np.stack(channels, axis=1).astype(np.uint8)


def filled(column: np.ndarray, width: int) -> Image.Image:
    """A picture whose every column is this one."""
    # Four bytes a pixel, as Pillow holds them: the quickest way in.
    padded = np.zeros((len(column), 4), np.uint8)
    padded[:, :3] = column
    rows = np.repeat(padded.view(np.uint32).ravel(), width).tobytes()
    return Image.frombytes("RGB", (width, len(column)), rows, "raw", "RGBX")


class Canvas:
    """The upper band of a picture while it is drawn."""

    def __init__(self, column: np.ndarray, width: int) -> None:
        self.width, self.height = width, len(column)
        self._image = filled(np.repeat(column, FINE, axis=0), width * FINE)
        self._pen = ImageDraw.Draw(self._image)

    def rect(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        right, bottom = x1 * FINE - 1, y1 * FINE - 1
        if right >= x0 * FINE and bottom >= y0 * FINE:
            self._pen.rectangle((x0 * FINE, y0 * FINE, right, bottom), fill=colour)

    def poly(self, points: Sequence[Point], colour: Colour) -> None:
        self._pen.polygon([(x * FINE, y * FINE) for x, y in points], fill=colour)

    def oval(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        self._pen.ellipse((x0 * FINE, y0 * FINE, x1 * FINE, y1 * FINE), fill=colour)

    def pie(self, x0: float, y0: float, x1: float, y1: float, start: int, end: int, colour: Colour) -> None:
        self._pen.pieslice((x0 * FINE, y0 * FINE, x1 * FINE, y1 * FINE), start, end, fill=colour)

    def paste(self, cutout: Image.Image, x: float, y: float) -> None:
        """A cut-out drawn for the finished size, left upper corner at this point."""
        large = cutout.resize((cutout.width * FINE, cutout.height * FINE), Image.Resampling.BILINEAR)
        self._image.paste(large, (int(x * FINE), int(y * FINE)), large)

    def finished(self) -> Image.Image:
        """The band at its real size."""
        return self._image.reduce(FINE)
