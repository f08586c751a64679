"""People, placards and trees as small cut-outs with soft edges, kept for the next picture.

Each is drawn once, large and in plain daylight; its sizes, the light of the hour and the veil of
distance are made from that. Heights come from a geometric grid, so that a crowd of hundreds is made
of few cut-outs.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from functools import lru_cache

from PIL import Image, ImageDraw

from engine.simulator.colours import CLOTHES, HAIRS, HAZES, SKINS, Colour, lit, shade

PEOPLE = 32
"""Different people; further numbers repeat them."""
PLACARDS = 18
TREES = 8
UMBRELLAS = 8
FLAGS = 12
_MASTER_PX = 320
_FINER = {"tree": 2}  # trees in the foreground are the largest things there are
_SMALL_PX = 120
"""Cut-outs up to this height are kept in great number: they are what crowds are made of."""
_KEPT_PX = 450  # a larger one is megabytes and seldom needed again
_GRID_SMALL, _GRID_LARGE = 1.17, 1.3


def grid_height(height: float) -> int:
    """The nearest height that cut-outs are made at."""
    base, grid = (8, _GRID_SMALL) if height <= _SMALL_PX else (_SMALL_PX, _GRID_LARGE)
    return max(8, round(base * grid ** round(math.log(max(height, 8) / base, grid))))


def person(number: int, time: str, height: int, haze: int) -> Image.Image:
    """A person of this height in pixels, feet at the lower edge; `haze` from 0 (near) to 4 (far)."""
    # Nobody tells apart more than a dozen people who are no higher than a fingernail.
    return _cut("person", number % (PEOPLE if height > 48 else 14), time, height, haze)


def placard(number: int, time: str, height: int) -> Image.Image:
    """A placard on a stick, `height` pixels high in all; what it says is a mark nobody can read."""
    return _cut("placard", number % PLACARDS, time, height, 0)


def tree(number: int, time: str, height: int, haze: int) -> Image.Image:
    """A tree of this height, its foot at the lower edge."""
    return _cut("tree", number % TREES, time, height, haze)


def umbrella(number: int, time: str, height: int) -> Image.Image:
    """An open umbrella over a head; `height` is that of the person below."""
    return _cut("umbrella", number % UMBRELLAS, time, height, 0)


def flag(number: int, time: str, height: int) -> Image.Image:
    """A flag of no country on its pole."""
    return _cut("flag", number % FLAGS, time, height, 0)


def _cut(kind: str, number: int, time: str, height: int, haze: int) -> Image.Image:
    made = _small if height <= _SMALL_PX else _large if height <= _KEPT_PX else _made
    return made(kind, number, time, height, haze)


def _made(kind: str, number: int, time: str, height: int, haze: int) -> Image.Image:
    master = _master(kind, number)
    scale = height / (_MASTER_PX * _FINER.get(kind, 1))
    size = (max(1, round(master.width * scale)), max(1, round(master.height * scale)))
    if scale < 0.25:
        master = master.reduce(int(0.5 / scale))
    cut = master.resize(size, Image.Resampling.BILINEAR).convert("RGBA")
    return cut if time == "day" and haze == 0 else cut.point(_light(time, haze))


_small = lru_cache(maxsize=3000)(_made)
_large = lru_cache(maxsize=200)(_made)


@lru_cache(maxsize=64)
def _light(time: str, haze: int) -> list[int]:
    """The table that turns daylight into the light of this hour behind this much air."""
    table: list[int] = []
    for channel in range(3):
        for value in range(256):
            lit_value = lit((value, value, value), time)[channel]
            table.append(int(lit_value * (1 - haze * 0.13) + HAZES[time][channel] * haze * 0.13))
    return table + list(range(256))


@lru_cache(maxsize=PEOPLE + PLACARDS + TREES + UMBRELLAS + FLAGS)
def _master(kind: str, number: int) -> Image.Image:
    """The large drawing, premultiplied, as resizing likes it."""
    chance = random.Random(f"{kind} {number}")
    return _DRAW[kind](chance, number, _MASTER_PX * _FINER.get(kind, 1) * 2 / 100).convert("RGBa").reduce(2)


def _person(chance: random.Random, _number: int, u: float) -> Image.Image:
    image = Image.new("RGBA", (int(70 * u), int(122 * u)))
    coat = chance.choice(CLOTHES)
    below = chance.choice([c for c in CLOTHES if c != coat and sum(c) < 480])
    skin, hair = chance.choice(SKINS), chance.choice(HAIRS)
    body = _Body(ImageDraw.Draw(image), u, chance, coat, shade(coat, 0.82), below, skin, hair)
    body.draw(chance.choice([c for c in CLOTHES if c != coat]))
    return image


class _Body:
    """One figure on a grid of 70 by 122 units: the head's top at 22, the feet at 122, raised hands above."""

    def __init__(
        self,
        pen: ImageDraw.ImageDraw,
        u: float,
        chance: random.Random,
        coat: Colour,
        dark: Colour,
        below: Colour,
        skin: Colour,
        hair: Colour,
    ) -> None:
        self.pen, self.u, self.chance = pen, u, chance
        self.coat, self.dark, self.below, self.skin, self.hair = coat, dark, below, skin, hair

    def poly(self, points: list[tuple[float, float]], colour: Colour) -> None:
        self.pen.polygon([(x * self.u, y * self.u) for x, y in points], fill=colour)

    def oval(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        u = self.u
        self.pen.ellipse((x0 * u, y0 * u, x1 * u, y1 * u), fill=colour)

    def block(self, x0: float, y0: float, x1: float, y1: float, radius: float, colour: Colour) -> None:
        u = self.u
        self.pen.rounded_rectangle((x0 * u, y0 * u, x1 * u, y1 * u), radius * u, fill=colour)

    def limb(self, points: Sequence[tuple[float, float]], width: float, colour: Colour) -> None:
        u = self.u
        self.pen.line([(x * u, y * u) for x, y in points], fill=colour, width=max(1, int(width * u)), joint="curve")
        for x, y in (points[0], points[-1]):
            self.oval(x - width / 2, y - width / 2, x + width / 2, y + width / 2, colour)

    def draw(self, accent: Colour) -> None:
        chance = self.chance
        wide = chance.uniform(0.9, 1.18)
        build = chance.choice(("trousers", "trousers", "coat", "skirt", "dress"))
        half = 13.5 * wide
        left, right = 35 - half, 35 + half
        back_hair = chance.random()
        if back_hair < 0.28:  # long hair falls behind the shoulders
            self.block(26, 28, 44, 56, 7, self.hair)
        self._below(build, left, right)
        self._arms(left, right)
        self._torso(build, left, right, accent)
        self.block(31.5, 40, 38.5, 49, 3, shade(self.skin, 0.88))
        self._head(accent, long=back_hair < 0.28)

    def _below(self, build: str, left: float, right: float) -> None:
        if build in ("skirt", "dress"):
            self.limb([(30, 100), (29.5, 118)], 5, self.skin)
            self.limb([(40, 100), (40.5, 118)], 5, self.skin)
            self.poly([(left + 2, 76), (right - 2, 76), (right + 4, 106), (left - 4, 106)], self.below)
        else:
            stride = self.chance.uniform(0, 5)
            self.limb([(30, 80), (29 - stride, 119)], 10, self.below)
            self.limb([(40, 80), (41 + stride / 2, 119)], 10, shade(self.below, 0.88))
        self.oval(22, 116, 33, 122, shade(self.below, 0.5))
        self.oval(37, 116, 48, 122, shade(self.below, 0.5))

    def _arms(self, left: float, right: float) -> None:
        pose = self.chance.choice(("down", "down", "one", "other", "both", "fold", "wave"))
        low_l, low_r = (
            [(left + 2, 53), (left - 3, 68), (left - 1, 82)],
            [(right - 2, 53), (right + 3, 68), (right + 1, 82)],
        )
        up_l, up_r = (
            [(left + 2, 53), (left - 6, 36), (left - 3, 12)],
            [(right - 2, 53), (right + 6, 36), (right + 3, 12)],
        )
        arms = {
            "down": (low_l, low_r),
            "one": (up_l, low_r),
            "other": (low_l, up_r),
            "both": (up_l, up_r),
            "wave": (low_l, [(right - 2, 53), (right + 10, 44), (right + 8, 24)]),
        }.get(pose)
        if arms is None:
            self.folded = True
            return
        self.folded = False
        for arm, colour in zip(arms, (self.coat, self.dark), strict=True):
            self.limb(arm, 7.5, colour)
            x, y = arm[-1]
            self.oval(x - 3.6, y - 4.2, x + 3.6, y + 4.2, self.skin)

    def _torso(self, build: str, left: float, right: float, accent: Colour) -> None:
        chance = self.chance
        bottom = {"coat": 98.0, "dress": 84.0}.get(build, 82.0)
        self.block(left, 46, right, bottom, 9, self.coat)
        self.poly([(right - 9, 50), (right, 56), (right, bottom - 6), (right - 7, bottom)], self.dark)
        extra = chance.random()
        if extra < 0.22:  # a scarf
            self.block(27, 45, 43, 52, 3.5, accent)
            self.block(37, 48, 43, 66, 3, accent)
        elif extra < 0.42:  # a stripe or two
            self.poly([(left, 62), (right, 62), (right, 68), (left, 68)], accent)
        elif extra < 0.58:  # a bag's strap
            self.limb([(left + 5, 48), (right - 3, 78)], 2.4, shade(accent, 0.6))
            self.block(right - 8, 74, right + 5, 90, 3, shade(accent, 0.6))
        elif extra < 0.7:  # a high-visibility vest
            self.block(left + 1, 48, right - 1, bottom - 4, 6, accent)
            self.poly([(left + 1, 66), (right - 1, 66), (right - 1, 70), (left + 1, 70)], shade(accent, 1.4))
        if self.folded:
            self.limb([(left + 1, 55), (left + 4, 68), (35, 66)], 7.5, self.dark)
            self.limb([(right - 1, 55), (right - 4, 68), (35, 69)], 7.5, self.coat)

    def _head(self, accent: Colour, *, long: bool) -> None:
        chance = self.chance
        self.oval(26.5, 22, 43.5, 44, self.skin)
        self.oval(25, 31, 28.5, 36, shade(self.skin, 0.92))
        self.oval(41.5, 31, 45, 36, shade(self.skin, 0.92))
        style = chance.random()
        u = self.u
        if style < 0.14:  # a headscarf
            self.oval(24.5, 20, 45.5, 47, accent)
            self.oval(28.5, 27, 41.5, 44, self.skin)
            self.poly([(26, 40), (44, 40), (47, 54), (23, 54)], accent)
        elif style < 0.26:  # a woollen hat
            self.pen.pieslice((25.5 * u, 18 * u, 44.5 * u, 44 * u), 180, 360, fill=accent)
            self.block(25, 29, 45, 33, 2, shade(accent, 0.8))
            self.oval(32.5, 15, 37.5, 20, shade(accent, 1.2))
        elif style < 0.35:  # a cap or a hard hat
            self.pen.pieslice((26 * u, 19 * u, 44 * u, 42 * u), 180, 360, fill=accent)
            self.block(24, 29, 50, 32, 1.5, shade(accent, 0.78))
        elif style < 0.44:  # bald, with a beard
            self.pen.pieslice((27 * u, 24 * u, 43 * u, 46 * u), 20, 160, fill=self.hair)
        else:
            self.pen.pieslice((25.6 * u, 20 * u, 44.4 * u, 44 * u), 175, 365, fill=self.hair)
            if long:
                self.block(25, 30, 28.6, 50, 1.8, self.hair)
                self.block(41.4, 30, 45, 50, 1.8, self.hair)
            elif style < 0.6:  # a bun
                self.oval(31, 14.5, 39, 22.5, self.hair)
            elif style < 0.75:  # curls
                for x in (25.5, 30, 35, 40):
                    self.oval(x - 2, 18, x + 7, 27, self.hair)
        if style >= 0.14:  # eyes and a mouth, as small as they can be
            for x in (31, 37.6):
                self.oval(x, 32.4, x + 1.8, 34.6, shade(self.skin, 0.35))
            self.pen.arc(
                (31.5 * u, 34 * u, 38.5 * u, 40 * u), 25, 155, fill=shade(self.skin, 0.55), width=max(1, int(u))
            )


def _placard(chance: random.Random, _number: int, u: float) -> Image.Image:
    image = Image.new("RGBA", (int(90 * u), int(104 * u)))
    pen = ImageDraw.Draw(image)
    paper = chance.choice(((250, 246, 234), (250, 246, 234), (252, 214, 92), (236, 110, 92), (120, 190, 196)))
    ink = chance.choice(((40, 40, 52), (196, 52, 60), (30, 96, 130), (48, 110, 70)))
    if sum(abs(a - b) for a, b in zip(paper, ink, strict=True)) < 150:
        ink = (40, 40, 52)
    wide, tall = chance.choice(((56, 40), (40, 52), (48, 48), (66, 36)))
    left, top = 45 - wide / 2, 4
    pen.rectangle((43.6 * u, top * u, 46.4 * u, 104 * u), fill=(150, 112, 74))
    pen.rounded_rectangle((left * u, top * u, (left + wide) * u, (top + tall) * u), 2 * u, fill=paper)
    pen.rectangle((left * u, (top + tall - 2.4) * u, (left + wide) * u, (top + tall) * u), fill=shade(paper, 0.86))
    _mark(pen, u, chance, left + wide / 2, top + tall / 2, wide, tall, ink)
    return image.rotate(chance.uniform(-12, 12), Image.Resampling.BICUBIC, center=(45 * u, 104 * u))


def _mark(
    pen: ImageDraw.ImageDraw, u: float, chance: random.Random, x: float, y: float, wide: float, tall: float, ink: Colour
) -> None:
    kind = chance.choice(("lines", "lines", "heart", "star", "sun", "arrow", "leaf", "rings"))
    r = min(wide, tall) * 0.32

    def at(*points: tuple[float, float]) -> list[tuple[float, float]]:
        return [((x + dx * r) * u, (y + dy * r) * u) for dx, dy in points]

    if kind == "lines":
        rows = 3 if tall > 40 else 2
        for i in range(rows):
            span = wide * chance.uniform(0.24, 0.4)
            row = y - tall * 0.26 + i * tall * 0.52 / max(1, rows - 1)
            pen.line([((x - span) * u, row * u), ((x + span) * u, row * u)], fill=ink, width=max(1, int(4.4 * u)))
    elif kind == "heart":
        pen.ellipse((*at((-1, -0.9))[0], *at((0.06, 0.15))[0]), fill=ink)
        pen.ellipse((*at((-0.06, -0.9))[0], *at((1, 0.15))[0]), fill=ink)
        pen.polygon(at((-0.95, -0.2), (0.95, -0.2), (0, 1)), fill=ink)
    elif kind == "star":
        spikes = [(math.sin(i * math.pi / 5) * (1.1 if i % 2 == 0 else 0.46),) for i in range(10)]
        tips = [-math.cos(i * math.pi / 5) * (1.1 if i % 2 == 0 else 0.46) for i in range(10)]
        pen.polygon(at(*((s[0], t) for s, t in zip(spikes, tips, strict=True))), fill=ink)
    elif kind == "sun":
        pen.ellipse((*at((-0.55, -0.55))[0], *at((0.55, 0.55))[0]), fill=ink)
        for i in range(8):
            dx, dy = math.cos(i * math.pi / 4), math.sin(i * math.pi / 4)
            pen.line(at((dx * 0.75, dy * 0.75), (dx * 1.15, dy * 1.15)), fill=ink, width=max(1, int(2.6 * u)))
    elif kind == "arrow":
        pen.polygon(at((-1.1, -0.3), (0.1, -0.3), (0.1, -0.8), (1.1, 0), (0.1, 0.8), (0.1, 0.3), (-1.1, 0.3)), fill=ink)
    elif kind == "leaf":
        pen.chord((*at((-0.9, -1.1))[0], *at((0.9, 0.9))[0]), 120, 300, fill=ink)
        pen.line(at((-0.7, 0.9), (0.3, -0.8)), fill=ink, width=max(1, int(2 * u)))
    else:
        for factor, colour in ((1.1, ink), (0.75, None), (0.45, ink)):
            box = (*at((-factor, -factor))[0], *at((factor, factor))[0])
            pen.ellipse(box, fill=colour if colour is not None else (255, 255, 255))


def _tree(chance: random.Random, number: int, u: float) -> Image.Image:
    image = Image.new("RGBA", (int(96 * u), int(100 * u)))
    pen = ImageDraw.Draw(image)
    leaf = chance.choice(((72, 120, 78), (96, 138, 70), (54, 104, 92), (190, 140, 62), (112, 150, 96)))
    trunk = [(45 * u, 100 * u), (46.5 * u, 50 * u), (49.5 * u, 50 * u), (51 * u, 100 * u)]
    pen.polygon(trunk, fill=(96, 70, 54))
    if number in (1, 5):  # a slender one
        pen.ellipse((30 * u, 4 * u, 66 * u, 82 * u), fill=shade(leaf, 0.82))
        pen.ellipse((30 * u, 4 * u, 56 * u, 74 * u), fill=leaf)
        return image
    blobs = [(chance.uniform(14, 50), chance.uniform(6, 34), chance.uniform(26, 40)) for _ in range(6)]
    for factor, shift, inset_part in ((0.78, 4.0, 0.0), (1.0, 0.0, 0.14), (1.14, -4.0, 0.36)):
        for x, y, size in blobs:
            inset = size * inset_part
            low, high = inset + shift, size - inset + shift
            pen.ellipse(((x + low) * u, (y + low) * u, (x + high) * u, (y + high) * u), fill=shade(leaf, factor))
    return image


def _umbrella(chance: random.Random, _number: int, u: float) -> Image.Image:
    image = Image.new("RGBA", (int(76 * u), int(60 * u)))
    pen = ImageDraw.Draw(image)
    cloth = chance.choice(CLOTHES)
    pen.line([(38 * u, 8 * u), (38 * u, 60 * u)], fill=(70, 60, 60), width=max(1, int(1.8 * u)))
    pen.pieslice((4 * u, 6 * u, 72 * u, 66 * u), 180, 360, fill=cloth)
    pen.pieslice((22 * u, 6 * u, 54 * u, 66 * u), 180, 360, fill=shade(cloth, 1.16))
    return image


def _flag(chance: random.Random, _number: int, u: float) -> Image.Image:
    """Stripes, discs and slants in the colours of the crowd's clothes."""
    image = Image.new("RGBA", (int(74 * u), int(100 * u)))
    pen = ImageDraw.Draw(image)
    one, two, three = chance.sample(CLOTHES, 3)
    pen.rectangle((2 * u, 0, 4.4 * u, 100 * u), fill=(90, 74, 62))
    wave = [(4 + 66 * i / 24, 2.6 * math.sin(i / 24 * 7)) for i in range(25)]

    def strip(low: float, high: float, colour: Colour) -> None:
        upper = [(x * u, (6 + low + d) * u) for x, d in wave]
        under = [(x * u, (6 + high + d) * u) for x, d in reversed(wave)]
        pen.polygon(upper + under, fill=colour)

    strip(0, 40, one)
    kind = chance.choice(("two", "three", "disc", "slant", "bar"))
    if kind == "two":
        strip(20, 40, two)
    elif kind == "three":
        strip(13, 27, two)
        strip(27, 40, three)
    elif kind == "disc":
        pen.ellipse((24 * u, 14 * u, 46 * u, 36 * u), fill=two)
        pen.ellipse((29 * u, 19 * u, 41 * u, 31 * u), fill=three)
    elif kind == "slant":
        pen.polygon([(4 * u, 6 * u), (34 * u, 26 * u), (4 * u, 46 * u)], fill=two)
    else:
        strip(15, 25, two)
        pen.rectangle((14 * u, 9 * u, 22 * u, 44 * u), fill=two)
    return image


_DRAW: dict[str, Callable[[random.Random, int, float], Image.Image]] = {
    "person": _person,
    "placard": _placard,
    "tree": _tree,
    "umbrella": _umbrella,
    "flag": _flag,
}


@lru_cache(maxsize=64)
def glow(radius: int, colour: Colour, strength: int) -> Image.Image:
    """A soft light, brightest in its middle."""
    fall = [int(strength * max(0.0, 1 - v / 178) ** 2) for v in range(256)]  # Pillow's gradient is 181 at the edges
    mask = Image.radial_gradient("L").point(fall).resize((2 * radius, 2 * radius))
    light = Image.new("RGBA", mask.size, (*colour, 0))
    light.putalpha(mask)
    return light
