"""Crowd scenes, drawn: quick, deterministic per prompt, each visibly its own."""

from __future__ import annotations

import random

from PIL import Image, ImageDraw

from engine.simulator.scenes import Scene


def draw(scene: Scene, width: int, height: int) -> Image.Image:
    """The scene as an RGB picture of exactly this size."""
    chance = random.Random(scene.seed)
    image = Image.new("RGB", (width, height), (chance.randrange(90, 200), chance.randrange(90, 200), 220))
    pen = ImageDraw.Draw(image)
    for _ in range(150):
        x, y = chance.randrange(width), chance.randrange(height // 3, height)
        r = max(3, y // 20)
        colour = tuple(chance.randrange(30, 230) for _ in range(3))
        pen.rectangle((x - r, y, x + r, y + 3 * r), fill=colour)
        pen.ellipse((x - r, y - 2 * r, x + r, y), fill=(150, 110, 90))
    return image
