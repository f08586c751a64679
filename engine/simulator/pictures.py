"""Crowd scenes, drawn: quick, deterministic per prompt, each visibly its own, each marked as simulated.

A picture is a horizon, a backdrop and rows of people between the horizon and the viewer. How high
the viewer stands, where the street leads, how dense the crowd is and on which side: all of it comes
from the scene, so that two prompts differ at a glance and by any perceptual hash.
"""

from __future__ import annotations

import random
from functools import lru_cache

import numpy as np
from msgspec import Struct
from PIL import Image, ImageDraw, ImageFont

from engine.simulator import figures
from engine.simulator.backdrop import GROUNDS, View, draw_setting, draw_sky
from engine.simulator.canvas import Canvas, filled, gradient
from engine.simulator.colours import CLOTHES, HAZES, lit, mix, shade, sky
from engine.simulator.scenes import Scene

_PEOPLE_MAX = 420
_PLACARDS = {"rally": 0.24, "strike_picket": 0.3, "march": 0.2, "vigil": 0.04, "sit_in": 0.14}
_CANDLE = (255, 206, 120)


class _Frame(Struct, frozen=True):
    """How the scene is seen. Lengths in pixels."""

    width: int
    height: int
    horizon: float
    centre: float
    """Where parallel lines meet."""
    ratio: float
    """A person's height to the viewer's: near 1 in the midst of the crowd, small from a roof."""
    near: float
    """Height of the nearest people."""
    far: float
    lean: float
    """-1: the crowd stands left, 1: right."""


def _frame(scene: Scene, width: int, height: int, chance: random.Random) -> _Frame:
    place = chance.choice(("midst", "midst", "balcony", "balcony", "roof"))
    ratio, horizon, near = {
        "midst": (chance.uniform(0.72, 0.92), chance.uniform(0.42, 0.56), chance.uniform(0.34, 0.52)),
        "balcony": (chance.uniform(0.42, 0.6), chance.uniform(0.34, 0.46), chance.uniform(0.24, 0.36)),
        "roof": (chance.uniform(0.24, 0.34), chance.uniform(0.24, 0.34), chance.uniform(0.15, 0.22)),
    }[place]
    if scene.crowd < 30:
        near = min(near, 0.36)
    short = min(width, height)
    return _Frame(
        width=width,
        height=height,
        horizon=horizon * height,
        centre=chance.uniform(0.3, 0.7) * width,
        ratio=ratio,
        near=near * short,
        far=min(0.6 * near * short, max(9.0, (0.014 if scene.crowd > 90 else 0.04) * short)),
        lean=chance.uniform(-1, 1),
    )


def draw(scene: Scene, width: int, height: int) -> Image.Image:
    """The scene as an RGB picture of exactly this size."""
    chance = random.Random(scene.seed)
    frame = _frame(scene, width, height, chance)
    heaven = sky(scene.time, scene.weather, chance)
    ground = lit(GROUNDS[scene.setting], scene.time)
    if scene.weather == "snow":
        ground = mix(ground, lit((240, 244, 250), scene.time), 0.7)
    line = frame.horizon / height
    column = gradient(
        (
            (0.0, heaven.top),
            (line * 0.55, heaven.middle),
            (line, heaven.horizon),
            (line + 0.004, mix(ground, HAZES[scene.time], 0.35)),
            (min(0.99, line + 0.25), ground),
            (1.0, shade(ground, 0.78)),
        ),
        height,
    )
    image = filled(column, width)
    reach = 0.3 if scene.setting == "street" else 0.07
    band = min(height, int(frame.horizon + reach * height))
    canvas = Canvas(column[:band], width)
    view = View(canvas, scene, frame.horizon, frame.centre, height)
    bloom = draw_sky(view, heaven, chance)
    draw_setting(view, chance)
    image.paste(canvas.finished(), (0, 0))
    if bloom is not None:
        light = figures.glow(bloom.radius, bloom.colour, bloom.strength)
        image.paste(light, (bloom.x - bloom.radius, bloom.y - bloom.radius), light)
    _ground(image, scene, frame, ground, chance)
    if scene.weather == "fog":
        _fog(image, scene, frame)
    _crowd(image, scene, frame, chance)
    _foreground(image, scene, frame, chance)
    _weather(image, scene, chance)
    _band(image)
    return image


def _ground(
    image: Image.Image, scene: Scene, frame: _Frame, ground: tuple[int, int, int], chance: random.Random
) -> None:
    """Lines that run to the vanishing point, or tufts on grass."""
    pen = ImageDraw.Draw(image)
    top = frame.horizon + 0.036 * frame.height
    if scene.setting in ("park", "campus", "rural"):
        for _ in range(160):
            depth = chance.random() ** 0.6
            x, y = chance.uniform(0, frame.width), top + depth * (frame.height - top)
            size = 2 + 9 * depth
            pen.line([(x, y), (x + size, y)], fill=shade(ground, chance.choice((0.88, 1.08))), width=1 + int(2 * depth))
        return
    faint = shade(ground, 0.93)
    for i in range(-9, 10):
        x = frame.centre + i * frame.width * 0.32
        start = frame.centre + (x - frame.centre) * 0.12
        pen.line([(start, top), (x, frame.height)], fill=faint, width=2)
    depth = top - frame.horizon
    while frame.horizon + depth < frame.height:
        pen.line(
            [(0, frame.horizon + depth), (frame.width, frame.horizon + depth)], fill=faint, width=1 + int(depth > 150)
        )
        depth *= 1.3


def _fog(image: Image.Image, scene: Scene, frame: _Frame) -> None:
    at = np.arange(frame.height)
    veil = np.exp(-(((at - frame.horizon) / (0.16 * frame.height)) ** 2)) * 165
    mask = Image.fromarray(veil.astype(np.uint8)[:, None]).resize(image.size)
    image.paste(HAZES[scene.time], mask=mask)


class _Row(Struct, frozen=True):
    feet: float
    height: int
    haze: int
    count: int
    left: float
    right: float


def _rows(scene: Scene, frame: _Frame, chance: random.Random) -> list[_Row]:
    """Rows from far to near, with how many stand in each."""
    heights: list[float] = []
    height = frame.near
    step = 1.34 if scene.crowd > 90 else 1.5
    while height > frame.far:
        heights.append(height)
        height /= step
    heights.reverse()
    march = scene.form == "march" and scene.crowd > 25
    spread = chance.uniform(0.5, 0.8)  # width of a procession, in the viewer's heights, over two
    density = chance.uniform(0.75, 1.1)
    wanted = max(1.0, min(scene.crowd, _PEOPLE_MAX))
    raw: list[tuple[float, float, float, float]] = []
    for h in heights:
        depth = h / frame.ratio
        if march:
            half = depth * spread * 2.2
            left, right = max(-0.05 * frame.width, frame.centre - half), min(1.05 * frame.width, frame.centre + half)
        elif scene.crowd < 30:
            if not 0.3 < h / frame.near < 0.9 and h != heights[-1]:
                continue
            left, right = frame.centre - 0.34 * frame.width, frame.centre + 0.34 * frame.width
        else:
            left, right = -0.04 * frame.width, 1.04 * frame.width
        raw.append((h, left, right, density * (right - left) / (0.52 * h)))
    total = sum(r[3] for r in raw)
    share = min(1.0, wanted / total)
    rows: list[_Row] = []
    for h, left, right, count in raw:
        size = figures.grid_height(h)
        # By the height alone, so that few different cut-outs are needed.
        haze = round(3.4 * max(0.0, 1 - size / (0.13 * min(frame.width, frame.height))))
        haze = min(4, haze + 1) if scene.weather == "fog" and haze else haze
        # Few people keep together near the middle depth; the mass fills everything.
        even = share if share > 0.5 else share * (2.0 if 0.25 < h / frame.near < 0.8 else 0.45)
        rows.append(
            _Row(frame.horizon + h / frame.ratio, size, haze, max(0, round(count * min(1.0, even))), left, right)
        )
    return rows


def _crowd(image: Image.Image, scene: Scene, frame: _Frame, chance: random.Random) -> None:
    time = scene.time
    placards = _PLACARDS.get(scene.form, 0.07)
    candles = scene.form == "vigil" or (time == "night" and chance.random() < 0.4)
    rows = _rows(scene, frame, chance)
    banner_row = chance.randrange(len(rows) // 2, max(len(rows) // 2 + 1, len(rows) - 1)) if len(rows) > 3 else -1
    if scene.form not in ("march", "strike_picket", "rally") or scene.crowd < 15:
        banner_row = -1
    flags = chance.randint(0, 5)
    who = chance.randrange(figures.PEOPLE)
    umbrellas = 0.45 if scene.weather == "rain" else 0.0
    for n, row in enumerate(rows):
        h = row.height
        for i in range(row.count):
            x = row.left + (row.right - row.left) * (i + chance.uniform(0.1, 0.9)) / row.count
            # The crowd leans to one side: on the other some leave their place empty.
            if chance.random() < 0.6 * max(0.0, frame.lean * (0.5 - x / frame.width) * 2):
                continue
            feet = row.feet + chance.uniform(-0.06, 0.06) * h
            size = h if chance.random() < 0.8 else figures.grid_height(h * chance.choice((0.62, 0.9, 0.9)))
            carries = h >= 26 and chance.random() < placards
            if carries:
                sign = figures.placard(
                    chance.randrange(figures.PLACARDS), time, figures.grid_height(h * chance.uniform(0.8, 1.0))
                )
                image.paste(sign, (int(x - sign.width / 2), int(feet - 0.62 * size - sign.height)), sign)
            elif flags and n > 1 and chance.random() < 0.02:
                flags -= 1
                cloth = figures.flag(
                    chance.randrange(figures.FLAGS), time, figures.grid_height(min(h * 1.9, 0.3 * frame.height))
                )
                image.paste(cloth, (int(x), int(feet - 0.5 * size - cloth.height)), cloth)
            who += chance.randrange(1, 13)  # never the neighbour's twin
            if h >= 20 and chance.random() < umbrellas:
                cover = figures.umbrella(chance.randrange(figures.UMBRELLAS), time, size)
                image.paste(cover, (int(x - cover.width / 2), int(feet - 1.3 * size)), cover)
            body = figures.person(who, time, size, row.haze)
            image.paste(body, (int(x - body.width / 2), int(feet - body.height)), body)
            if candles and h >= 16 and chance.random() < 0.5:
                _candle(image, x + 0.16 * h, feet - 0.55 * h, h)
        if n == banner_row:
            _banner(image, scene, row, frame, chance)


def _candle(image: Image.Image, x: float, y: float, h: int) -> None:
    light = figures.glow(max(4, h // 4), _CANDLE, 190)
    image.paste(light, (int(x - light.width / 2), int(y - light.height / 2)), light)
    r = max(1.0, h * 0.018)
    ImageDraw.Draw(image).ellipse((x - r, y - 1.6 * r, x + r, y + 1.6 * r), fill=(255, 244, 214))


def _banner(image: Image.Image, scene: Scene, row: _Row, frame: _Frame, chance: random.Random) -> None:
    """A long cloth in front of a row, held at breast height; its writing is a rhythm of blocks."""
    wide = int(min(row.right - row.left, frame.width) * chance.uniform(0.4, 0.75))
    tall = max(12, int(row.height * 0.46))
    x = int(max(0.0, min(frame.width - wide, frame.centre - wide / 2 + chance.uniform(-0.15, 0.15) * frame.width)))
    cloth = lit(chance.choice((*CLOTHES[1:5], (246, 242, 230), (246, 242, 230), CLOTHES[9])), scene.time)
    ink = lit((246, 242, 230) if sum(cloth) < 480 else chance.choice((CLOTHES[0], CLOTHES[4])), scene.time)
    surface = Image.new("RGBA", (wide * 2, tall * 2))
    pen = ImageDraw.Draw(surface)
    sag = tall * 0.12
    lower = [(2 * wide * i / 12, 2 * tall - 2 - sag * (1 + (i % 3 == 1))) for i in range(12, -1, -1)]
    pen.polygon([(0, 2), (wide, 2 + sag), (2 * wide, 2), *lower], fill=cloth)
    cursor, end = tall * 0.9, 2 * wide - tall * 0.9
    while cursor < end:
        letters = chance.randint(2, 6)
        for _ in range(letters):
            step = tall * chance.uniform(0.3, 0.5)
            if cursor + step > end:
                break
            up, down = tall * (0.62 + chance.choice((0.0, 0.12))), tall * 1.36
            pen.rounded_rectangle((cursor, up, cursor + step * 0.72, down), tall * 0.08, fill=ink)
            if chance.random() < 0.5:
                hole = tall * 0.1
                pen.rectangle((cursor + step * 0.24, up + hole * 2, cursor + step * 0.48, down - hole * 2), fill=cloth)
            cursor += step
        cursor += tall * 0.4
    cut = surface.reduce(2)
    image.paste(cut, (x, int(row.feet - row.height * 0.66)), cut)


def _foreground(image: Image.Image, scene: Scene, frame: _Frame, chance: random.Random) -> None:
    """Sometimes a tree or lamps between the viewer and the crowd."""
    pick = chance.random()
    if pick < 0.3 and scene.setting not in ("street", "market"):
        height = int(frame.height * chance.uniform(0.7, 1.0)) // 32 * 32
        cutout = figures.tree(chance.randrange(figures.TREES), scene.time, height, 0)
        x = chance.choice((-0.42 * cutout.width, frame.width - 0.58 * cutout.width))
        image.paste(cutout, (int(x), int(frame.height * 1.02 - height)), cutout)
    elif pick < 0.72:
        pen = ImageDraw.Draw(image)
        metal = lit((52, 54, 62), scene.time)
        for side in (-1, 1):
            for depth in (0.18, 0.42):
                x = frame.centre + side * frame.width * depth * 0.95
                foot = frame.horizon + frame.height * depth * 0.5
                tall, r = frame.height * depth * 0.95, max(2.0, frame.width * depth * 0.009)
                pen.rectangle((x - r / 2, foot - tall, x + r / 2, foot), fill=metal)
                if scene.time in ("dusk", "night", "dawn"):
                    light = figures.glow(max(6, int(r * 14)), (255, 224, 160), 170)
                    image.paste(light, (int(x - light.width / 2), int(foot - tall - light.height / 2)), light)
                lamp = (255, 236, 186) if scene.time != "day" else (236, 236, 226)
                pen.ellipse((x - r * 2, foot - tall - r * 2, x + r * 2, foot - tall + r * 2), fill=lamp)


def _weather(image: Image.Image, scene: Scene, chance: random.Random) -> None:
    if scene.weather not in ("rain", "snow"):
        return
    pen = ImageDraw.Draw(image)
    w, h = image.size
    scale = min(w, h) / 1024
    if scene.weather == "rain":
        drop = mix(HAZES[scene.time], (255, 255, 255), 0.25)
        for _ in range(260):
            x, y, length = chance.uniform(0, w), chance.uniform(0, h), chance.uniform(12, 34) * scale
            pen.line([(x, y), (x - length * 0.22, y + length)], fill=drop, width=1)
    else:
        for _ in range(380):
            x, y, r = chance.uniform(0, w), chance.uniform(0, h), chance.uniform(1, 3.4) * scale
            pen.ellipse((x - r, y - r, x + r, y + r), fill=(246, 248, 252))


@lru_cache(maxsize=16)
def _label(size: int) -> Image.Image:
    font = ImageFont.load_default(size)
    left, top, right, bottom = (int(v) for v in font.getbbox("SIMULATED"))
    pad = size * 5 // 8
    label = Image.new("RGBA", (right - left + 2 * pad, bottom - top + pad), (16, 18, 26, 150))
    ImageDraw.Draw(label).text((pad - left, pad // 2 - top), "SIMULATED", font=font, fill=(255, 255, 255, 240))
    return label


def _band(image: Image.Image) -> None:
    """The word in a corner that keeps anybody from taking this for a photograph or a model's work."""
    label = _label(max(9, min(image.size) // 46))
    edge = label.height // 2
    image.paste(label, (image.width - label.width - edge, image.height - label.height - edge), label)
