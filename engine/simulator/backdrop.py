"""What stands behind the crowd: sky, hills, streets and buildings, one function per setting."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from msgspec import Struct

from engine.simulator.canvas import Canvas
from engine.simulator.colours import HAZES, Colour, Sky, lit, mix, shade
from engine.simulator.figures import grid_height, tree
from engine.simulator.scenes import Scene

_FACADES = ((222, 184, 140), (206, 140, 112), (236, 214, 176), (170, 186, 178), (214, 166, 152), (188, 172, 196))
_WINDOW_LIGHT = (255, 214, 130)

GROUNDS: dict[str, Colour] = {
    "city": (150, 148, 150),
    "street": (112, 114, 122),
    "square": (206, 188, 164),
    "market": (202, 176, 142),
    "government": (212, 206, 196),
    "campus": (136, 160, 102),
    "park": (122, 160, 92),
    "rural": (164, 166, 96),
}


class View:
    """Where things are: the canvas, the horizon and the vanishing point of one picture."""

    def __init__(self, canvas: Canvas, scene: Scene, horizon: float, centre: float, full_height: int) -> None:
        self.canvas, self.scene, self.horizon, self.centre = canvas, scene, horizon, centre
        self.width, self.full_height = canvas.width, full_height
        self.base = horizon + 0.035 * full_height
        """Where the feet of distant buildings stand."""
        self.dark = scene.time in ("dusk", "night")

    def tone(self, colour: Colour, haze: float = 0.0) -> Colour:
        """The colour in this scene's light, veiled by distance."""
        return mix(lit(colour, self.scene.time), HAZES[self.scene.time], haze)


class Bloom(Struct, frozen=True):
    """The light around sun or moon, to be laid over the finished backdrop."""

    x: int
    y: int
    radius: int
    colour: Colour
    strength: int


def draw_sky(view: View, sky: Sky, chance: random.Random) -> Bloom | None:
    """Sun or moon, stars, clouds."""
    bloom: Bloom | None = None
    canvas, w, horizon = view.canvas, view.width, view.horizon
    size = chance.uniform(0.035, 0.08) * view.full_height
    x, y = chance.uniform(0.08, 0.92) * w, horizon * chance.uniform(0.16, 0.8)
    time, clear = view.scene.time, view.scene.weather in ("clear", "cloudy")
    if time == "night":
        y *= 0.6
        if clear:
            for _ in range(90):
                sx, sy, r = chance.uniform(0, w), horizon * chance.random() ** 1.6, chance.uniform(0.3, 1.3)
                canvas.oval(sx - r, sy - r, sx + r, sy + r, mix(sky.top, (255, 250, 230), chance.uniform(0.4, 0.95)))
        disc: Colour = (240, 236, 214)
    else:
        disc = (255, 246, 214) if time == "day" else (255, 226, 160)
    if clear:
        bloom = Bloom(int(x), int(y), max(8, int(size * 4) // 16 * 16), disc, 190 if time != "night" else 140)
        canvas.oval(x - size, y - size, x + size, y + size, disc)
        if time == "night" and chance.random() < 0.6:  # a crescent
            shift = size * 0.5
            canvas.oval(x - size + shift, y - size * 1.1, x + size + shift, y + size * 0.9, sky.top)
    clouds = {"clear": chance.randint(0, 3), "cloudy": 6, "rain": 7, "snow": 5}.get(view.scene.weather, 2)
    for _ in range(clouds):
        _cloud(view, sky, chance)
    if time in ("day", "dawn") and chance.random() < 0.5:
        for _ in range(chance.randint(3, 8)):
            bx, by, b = chance.uniform(0.1, 0.9) * w, chance.uniform(0.1, 0.6) * horizon, chance.uniform(3, 7)
            wing = mix(sky.middle, (40, 44, 60), 0.7)
            canvas.poly([(bx - b, by - b / 2), (bx, by), (bx + b, by - b / 2), (bx, by + b / 5)], wing)
    return bloom


def _cloud(view: View, sky: Sky, chance: random.Random) -> None:
    x, y = chance.uniform(-0.1, 0.95) * view.width, chance.uniform(0.05, 0.6) * view.horizon
    span = chance.uniform(0.12, 0.34) * view.width
    grey = view.scene.weather in ("rain", "cloudy")
    top = mix(sky.middle, lit((255, 252, 246), view.scene.time), 0.35 if grey else 0.6)
    under = mix(top, sky.top, 0.35)
    for colour, lower in ((under, span * 0.03), (top, 0.0)):
        state = random.Random(f"{x:.3f}")  # the same puffs twice, the second a little higher
        for _ in range(7):
            along, size = state.random(), span * state.uniform(0.1, 0.2)
            px, py = x + along * span, y - size * math.sin(along * math.pi) * 0.5 + lower
            view.canvas.oval(px - size, py - size * 0.55, px + size, py + size * 0.55, colour)


def _windows(
    view: View, x0: float, y0: float, x1: float, y1: float, wall: Colour, chance: random.Random, share: float
) -> None:
    step_x, step_y = max(6.0, (x1 - x0) / 7), max(9.0, view.full_height / 62)
    pane = shade(wall, 0.72) if not view.dark else shade(wall, 0.6)
    rows = int((y1 - y0) / step_y)
    columns = int((x1 - x0 - 4) / step_x)
    for row in range(rows):
        for column in range(columns):
            lights = view.dark and chance.random() < share
            colour = mix(wall, _WINDOW_LIGHT, 0.85) if lights else pane
            left, top = x0 + 4 + column * step_x, y0 + 6 + row * step_y
            view.canvas.rect(left, top, left + step_x * 0.52, top + step_y * 0.55, colour)


def skyline(view: View, chance: random.Random, *, tall: float = 1.0) -> None:
    """Two layers of towers, the far one veiled."""
    for haze, low, high in ((0.72, 0.3, 0.85), (0.42, 0.14, 0.6)):
        x = -chance.uniform(0, 0.08) * view.width
        peak, spread = chance.uniform(0.15, 0.85), chance.uniform(0.16, 0.4)
        while x < view.width:
            wide = chance.uniform(0.045, 0.12) * view.width
            near = math.exp(-(((x / view.width - peak) / spread) ** 2))
            height = view.horizon * tall * (low + (high - low) * near * chance.uniform(0.6, 1.0))
            wall = view.tone(chance.choice(((96, 108, 132), (120, 116, 128), (140, 122, 116), (84, 104, 116))), haze)
            top = view.base - height
            view.canvas.rect(x, top, x + wide, view.base, wall)
            view.canvas.rect(x + wide * 0.72, top, x + wide, view.base, shade(wall, 0.92))
            roof = chance.random()
            if roof < 0.18:
                view.canvas.rect(x + wide * 0.46, top - height * 0.16, x + wide * 0.5, top, wall)
            elif roof < 0.34:
                view.canvas.rect(x + wide * 0.2, top - 8, x + wide * 0.7, top, wall)
            elif roof < 0.44:
                view.canvas.poly([(x, top), (x + wide, top), (x + wide, top - wide * 0.4)], wall)
            if haze < 0.5:
                _windows(view, x, top, x + wide, view.base, wall, chance, 0.4)
            x += wide * chance.uniform(0.92, 1.25)


def hills(view: View, chance: random.Random, colours: tuple[Colour, ...], *, height: float = 0.3) -> None:
    """Rolling layers, each nearer one lower and richer in colour."""
    for layer, colour in enumerate(colours):
        haze = 0.66 - 0.24 * layer
        lift = view.horizon * height * (1 - 0.3 * layer)
        phase, waves = chance.uniform(0, 6), chance.uniform(0.8, 2.2)
        points = [
            (
                x * view.width / 24,
                view.base - lift * (0.35 + 0.65 * (0.5 + 0.5 * math.sin(phase + waves * x / 24 * 6.28))),
            )
            for x in range(25)
        ]
        view.canvas.poly([(0, view.base), *points, (view.width, view.base)], view.tone(colour, haze))


def tree_line(view: View, chance: random.Random, count: int, low: float, high: float) -> None:
    """Trees along the far edge of the ground."""
    for _ in range(count):
        height = grid_height(chance.uniform(low, high) * view.full_height)
        cutout = tree(chance.randrange(8), view.scene.time, height, 2)
        view.canvas.paste(cutout, chance.uniform(-0.05, 0.98) * view.width - cutout.width / 2, view.base - height + 2)


def _townhouses(view: View, chance: random.Random, x0: float, x1: float, height: float) -> None:
    x = x0
    while x < x1:
        wide = chance.uniform(0.075, 0.13) * view.width
        tall = height * chance.uniform(0.75, 1.15)
        wall = view.tone(chance.choice(_FACADES), 0.14)
        top = view.base - tall
        view.canvas.rect(x, top, x + wide, view.base, wall)
        roof = view.tone(chance.choice(((150, 84, 70), (96, 90, 100), (124, 74, 64))), 0.16)
        if chance.random() < 0.7:
            view.canvas.poly(
                [(x - 2, top), (x + wide / 2, top - wide * chance.uniform(0.4, 0.75)), (x + wide + 2, top)], roof
            )
        else:
            view.canvas.rect(x - 2, top - tall * 0.08, x + wide + 2, top, roof)
        _windows(view, x + wide * 0.08, top + 3, x + wide, view.base - tall * 0.22, wall, chance, 0.55)
        if chance.random() < 0.75:
            _awning(view, chance, x + wide * 0.08, view.base - tall * 0.2, wide * 0.84, tall * 0.1)
        x += wide


def _awning(view: View, chance: random.Random, x: float, y: float, wide: float, tall: float) -> None:
    colour = view.tone(chance.choice(((206, 72, 64), (52, 118, 120), (232, 168, 66), (84, 110, 160))), 0.06)
    white = view.tone((244, 238, 226), 0.06)
    for i in range(6):
        left = x + wide * i / 6
        view.canvas.poly(
            [(left, y), (left + wide / 6, y), (left + wide / 6, y + tall), (left, y + tall)],
            colour if i % 2 == 0 else white,
        )
    view.canvas.rect(x, y + tall, x + wide, view.base, view.tone((70, 62, 66), 0.2))


def _city(view: View, chance: random.Random) -> None:
    skyline(view, chance, tall=chance.uniform(0.8, 1.1))
    tree_line(view, chance, chance.randint(2, 7), 0.07, 0.14)


def _street(view: View, chance: random.Random) -> None:
    skyline(view, chance, tall=0.6)
    bottom = view.canvas.height
    for side in (-1, 1):
        far = view.centre + side * chance.uniform(0.05, 0.09) * view.width
        edge = 0.0 if side < 0 else float(view.width)
        rise = view.horizon * chance.uniform(1.0, 1.5)  # height of the house at the picture's edge
        houses = chance.randint(4, 6)
        # Houses lie between depths that shrink geometrically towards the vanishing point.
        cuts = [edge + (far - edge) * (1 - 0.56**i) for i in range(houses + 1)]
        reach = abs(far - view.centre) / max(1.0, abs(edge - view.centre))

        def scale(x: float, reach: float = reach, edge: float = edge) -> float:
            return max(reach, abs(x - view.centre) / max(1.0, abs(edge - view.centre)))

        for i in reversed(range(houses)):
            one, two = cuts[i], cuts[i + 1]
            tall = rise * chance.uniform(0.8, 1.12)
            wall = view.tone(chance.choice(_FACADES), 0.1 + 0.1 * i)
            drop = bottom - view.horizon

            def at(x: float, part: float, tall: float = tall, drop: float = drop) -> tuple[float, float]:
                s = scale(x)
                return x, view.horizon + s * (drop * 0.8 - part * (tall + drop * 0.8))

            view.canvas.poly([at(one, 0), at(one, 1), at(two, 1), at(two, 0)], wall if side < 0 else shade(wall, 0.86))
            floors, bays = 5, 4
            for floor in range(floors):
                low, high = 0.3 + 0.13 * floor, 0.38 + 0.13 * floor
                for bay in range(bays):
                    a = one + (two - one) * (bay + 0.25) / bays
                    b = one + (two - one) * (bay + 0.72) / bays
                    lights = view.dark and chance.random() < 0.5
                    pane = mix(wall, _WINDOW_LIGHT, 0.85) if lights else shade(wall, 0.66)
                    view.canvas.poly([at(a, low), at(a, high), at(b, high), at(b, low)], pane)
            view.canvas.poly([at(one, 0), at(one, 0.2), at(two, 0.2), at(two, 0)], shade(wall, 0.62))


def _square(view: View, chance: random.Random) -> None:
    hills(view, chance, ((120, 140, 130),), height=0.5)
    height = view.horizon * chance.uniform(0.34, 0.6)
    _townhouses(view, chance, -0.03 * view.width, view.width, height)
    if chance.random() < 0.65:
        _tower(view, chance, view.width * chance.uniform(0.2, 0.8), height * chance.uniform(1.5, 1.9), (206, 176, 140))


def _tower(view: View, chance: random.Random, x: float, height: float, wall: Colour) -> None:
    colour, w = view.tone(wall, 0.1), height * 0.11
    top = max(view.base - height, view.horizon * 0.12)
    view.canvas.rect(x - w, top, x + w, view.base, colour)
    view.canvas.rect(x + w * 0.4, top, x + w, view.base, shade(colour, 0.88))
    view.canvas.poly(
        [(x - w * 1.2, top), (x, top - w * chance.uniform(1.6, 3.2)), (x + w * 1.2, top)], view.tone((120, 78, 70), 0.1)
    )
    face = view.tone((250, 244, 226), 0.05) if not view.dark else (252, 226, 160)
    view.canvas.oval(x - w * 0.6, top + w * 0.5, x + w * 0.6, top + w * 1.7, face)
    view.canvas.poly(
        [(x - 1, top + w * 0.7), (x + 1, top + w * 0.7), (x + 1, top + w * 1.1), (x - 1, top + w * 1.1)], (60, 50, 50)
    )
    for i in range(3):
        y = top + w * 2.4 + i * w * 2
        view.canvas.rect(x - w * 0.25, y, x + w * 0.25, y + w, shade(colour, 0.62))


def _government(view: View, chance: random.Random) -> None:
    skyline(view, chance, tall=0.45)
    stone = view.tone(chance.choice(((232, 226, 210), (222, 206, 180), (214, 216, 218))), 0.06)
    x = view.width * chance.uniform(0.36, 0.64)
    half = view.width * chance.uniform(0.27, 0.4)
    tall = view.horizon * chance.uniform(0.42, 0.58)
    step = tall * 0.13
    for side in (-1, 1):  # wings
        wing = half * 1.65
        view.canvas.rect(
            min(x, x + side * wing), view.base - tall * 0.6, max(x, x + side * wing), view.base, shade(stone, 0.93)
        )
        for i in range(7):
            left = x + side * (half + (wing - half) * (i + 0.2) / 7) - (0 if side > 0 else (wing - half) / 12)
            pane = mix(stone, _WINDOW_LIGHT, 0.8) if view.dark else shade(stone, 0.7)
            view.canvas.rect(left, view.base - tall * 0.46, left + (wing - half) / 13, view.base - tall * 0.18, pane)
    top = view.base - tall
    if chance.random() < 0.6:  # a dome behind the gable
        r = min(half * chance.uniform(0.3, 0.42), (top - 8) / 2.5)
        dome = view.tone(chance.choice(((120, 164, 150), (190, 186, 178), (176, 136, 84))), 0.12)
        view.canvas.rect(x - r, top - r * 0.7, x + r, top + 4, shade(stone, 0.9))
        view.canvas.pie(x - r * 1.06, top - r * 1.9, x + r * 1.06, top + r * 0.4, 180, 360, dome)
        view.canvas.pie(x - r * 0.2, top - r * 1.9, x + r * 1.06, top + r * 0.4, 270, 360, shade(dome, 0.88))
        view.canvas.rect(x - 1.5, top - r * 2.5, x + 1.5, top - r * 1.85, shade(stone, 0.6))
    view.canvas.rect(x - half * 0.94, top + step, x + half * 0.94, view.base, shade(stone, 0.62))
    columns = chance.choice((6, 7, 8, 10))
    for i in range(columns):
        cx = x - half * 0.88 + half * 1.76 * i / (columns - 1)
        r = half * 0.55 / columns
        view.canvas.rect(cx - r, top + step, cx + r, view.base - step * 0.6, stone)
        view.canvas.rect(cx + r * 0.35, top + step, cx + r, view.base - step * 0.6, shade(stone, 0.84))
        view.canvas.rect(cx - r * 1.4, top + step, cx + r * 1.4, top + step * 1.3, stone)
    view.canvas.rect(x - half, top + step * 0.35, x + half, top + step, shade(stone, 0.96))
    view.canvas.poly(
        [(x - half * 1.04, top + step * 0.35), (x, top - step * 1.5), (x + half * 1.04, top + step * 0.35)], stone
    )
    view.canvas.poly(
        [(x - half * 0.8, top + step * 0.16), (x, top - step * 1.1), (x + half * 0.8, top + step * 0.16)],
        shade(stone, 0.86),
    )
    view.canvas.oval(x - step * 0.4, top - step * 0.7, x + step * 0.4, top + step * 0.1, shade(stone, 0.98))
    for i in range(4):  # steps
        y, grow = view.base - step * (0.6 - 0.15 * i), half * (0.98 + 0.05 * i)
        view.canvas.rect(x - grow, y, x + grow, y + step * 0.2, shade(stone, 0.98 - 0.06 * (i % 2)))


def _campus(view: View, chance: random.Random) -> None:
    hills(view, chance, ((120, 146, 110),), height=0.35)
    brick = chance.choice(((176, 98, 78), (186, 128, 96), (200, 172, 130)))
    wall = view.tone(brick, 0.08)
    tall = view.horizon * chance.uniform(0.32, 0.46)
    x0, x1 = view.width * chance.uniform(-0.1, 0.12), view.width * chance.uniform(0.8, 1.1)
    view.canvas.rect(x0, view.base - tall, x1, view.base, wall)
    view.canvas.poly(
        [
            (x0 - 4, view.base - tall),
            (x0 + tall * 0.3, view.base - tall * 1.34),
            (x1 - tall * 0.3, view.base - tall * 1.34),
            (x1 + 4, view.base - tall),
        ],
        view.tone((104, 84, 84), 0.12),
    )
    arches = chance.randint(9, 14)
    for i in range(arches):
        cx, r = x0 + (x1 - x0) * (i + 0.5) / arches, (x1 - x0) / arches * 0.26
        lights = view.dark and chance.random() < 0.6
        pane = mix(wall, _WINDOW_LIGHT, 0.85) if lights else shade(wall, 0.6)
        for low, high in ((0.86, 0.58), (0.44, 0.06)):
            view.canvas.pie(cx - r, view.base - tall * low - r, cx + r, view.base - tall * low + r, 180, 360, pane)
            view.canvas.rect(cx - r, view.base - tall * low, cx + r, view.base - tall * high, pane)
    _tower(view, chance, x0 + (x1 - x0) * chance.uniform(0.15, 0.85), tall * chance.uniform(1.7, 2.2), brick)
    tree_line(view, chance, chance.randint(4, 8), 0.1, 0.2)


def _park(view: View, chance: random.Random) -> None:
    if chance.random() < 0.6:
        skyline(view, chance, tall=0.5)
    hills(view, chance, ((110, 146, 110), (96, 138, 88)), height=0.3)
    if chance.random() < 0.45:  # a pond
        x, wide = chance.uniform(0.1, 0.6) * view.width, chance.uniform(0.25, 0.45) * view.width
        view.canvas.oval(
            x, view.base - 6, x + wide, view.base + 14, mix(view.tone((126, 176, 200)), (255, 255, 255), 0.08)
        )
    tree_line(view, chance, chance.randint(9, 16), 0.1, 0.24)


def _market(view: View, chance: random.Random) -> None:
    _townhouses(view, chance, -0.03 * view.width, view.width, view.horizon * chance.uniform(0.4, 0.58))
    x = -0.02 * view.width
    while x < view.width:
        wide = chance.uniform(0.1, 0.16) * view.width
        tall = view.full_height * chance.uniform(0.075, 0.1)
        top = view.base - tall
        _awning(view, chance, x, top, wide, tall * 0.4)
        for i in range(7):
            fruit = view.tone(chance.choice(((226, 92, 60), (240, 186, 60), (120, 164, 70), (180, 60, 90))), 0.05)
            fx = x + wide * (i + 0.2) / 7
            view.canvas.oval(fx, view.base - tall * 0.3, fx + wide / 9, view.base - tall * 0.3 + wide / 9, fruit)
        view.canvas.rect(x, view.base - tall * 0.2, x + wide, view.base, view.tone((150, 112, 78), 0.08))
        x += wide * chance.uniform(1.08, 1.4)


def _rural(view: View, chance: random.Random) -> None:
    hills(view, chance, ((110, 130, 150), (120, 146, 110), (158, 166, 96)), height=chance.uniform(0.35, 0.6))
    for _ in range(chance.randint(2, 5)):
        x, size = chance.uniform(0.05, 0.9) * view.width, chance.uniform(0.03, 0.06) * view.width
        wall = view.tone(chance.choice(((236, 226, 206), (214, 180, 146), (200, 120, 96))), 0.18)
        view.canvas.rect(x, view.base - size, x + size * 1.3, view.base, wall)
        view.canvas.poly(
            [
                (x - 3, view.base - size),
                (x + size * 0.65, view.base - size * 1.7),
                (x + size * 1.3 + 3, view.base - size),
            ],
            view.tone((140, 82, 66), 0.16),
        )
        view.canvas.rect(x + size * 0.5, view.base - size * 0.55, x + size * 0.8, view.base, shade(wall, 0.55))
    tree_line(view, chance, chance.randint(3, 7), 0.08, 0.17)


_DRAW: dict[str, Callable[[View, random.Random], None]] = {
    "city": _city,
    "street": _street,
    "square": _square,
    "government": _government,
    "campus": _campus,
    "park": _park,
    "market": _market,
    "rural": _rural,
}


def draw_setting(view: View, chance: random.Random) -> None:
    """The scene's setting, from the far edge of the ground upwards."""
    _DRAW[view.scene.setting](view, chance)
