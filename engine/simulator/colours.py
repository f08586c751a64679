"""The colours of a scene: sky, light and clothes by time of day and weather."""

from __future__ import annotations

import random
from collections.abc import Sequence

from msgspec import Struct

Colour = tuple[int, int, int]

CLOTHES: Sequence[Colour] = (
    (38, 70, 83),
    (42, 120, 122),
    (233, 170, 76),
    (228, 111, 81),
    (214, 74, 74),
    (244, 226, 198),
    (94, 100, 114),
    (122, 82, 124),
    (90, 128, 84),
    (58, 92, 160),
    (206, 132, 144),
    (150, 94, 62),
    (236, 236, 230),
    (52, 52, 62),
    (126, 166, 190),
    (196, 178, 60),
)
SKINS: Sequence[Colour] = (
    (244, 208, 178),
    (226, 178, 140),
    (198, 142, 104),
    (158, 106, 74),
    (118, 76, 54),
    (86, 56, 44),
)
HAIRS: Sequence[Colour] = ((34, 28, 28), (62, 42, 32), (104, 68, 42), (168, 122, 70), (150, 146, 144), (206, 200, 194))

_SKIES: dict[str, Sequence[tuple[Colour, Colour, Colour]]] = {
    "day": (
        ((86, 152, 214), (150, 200, 232), (226, 240, 240)),
        ((58, 132, 190), (134, 194, 214), (240, 238, 214)),
        ((110, 170, 206), (182, 214, 222), (246, 238, 224)),
    ),
    "dawn": (
        ((104, 128, 184), (226, 172, 170), (254, 224, 176)),
        ((146, 132, 186), (244, 178, 158), (255, 232, 190)),
        ((84, 138, 170), (214, 196, 178), (255, 214, 158)),
    ),
    "dusk": (
        ((48, 48, 104), (176, 82, 110), (252, 170, 98)),
        ((66, 44, 92), (214, 92, 88), (255, 190, 112)),
        ((30, 62, 104), (120, 106, 146), (250, 156, 110)),
    ),
    "night": (
        ((8, 14, 38), (22, 34, 74), (56, 72, 116)),
        ((14, 12, 34), (38, 30, 74), (86, 62, 104)),
        ((6, 20, 36), (14, 46, 70), (40, 84, 104)),
    ),
}
_LIGHT = {"day": (1.0, 1.0, 1.0), "dawn": (1.0, 0.92, 0.88), "dusk": (0.84, 0.7, 0.74), "night": (0.46, 0.5, 0.7)}
HAZES: dict[str, Colour] = {
    "day": (206, 224, 230),
    "dawn": (240, 206, 180),
    "dusk": (206, 132, 112),
    "night": (46, 58, 96),
}
_GREYS: dict[str, Colour] = {
    "day": (178, 186, 194),
    "dawn": (196, 184, 180),
    "dusk": (110, 98, 118),
    "night": (34, 38, 56),
}


class Sky(Struct, frozen=True):
    """Top, middle and horizon of the sky."""

    top: Colour
    middle: Colour
    horizon: Colour


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """`share` of the other colour in the one."""
    keep = 1 - share
    return (
        int(one[0] * keep + other[0] * share),
        int(one[1] * keep + other[1] * share),
        int(one[2] * keep + other[2] * share),
    )


def lit(colour: Colour, time: str) -> Colour:
    """The colour in the light of this time of day."""
    r, g, b = _LIGHT[time]
    return int(colour[0] * r), int(colour[1] * g), int(colour[2] * b)


def shade(colour: Colour, factor: float) -> Colour:
    """Darker (below 1) or lighter."""
    return (
        min(255, int(colour[0] * factor)),
        min(255, int(colour[1] * factor)),
        min(255, int(colour[2] * factor)),
    )


def sky(time: str, weather: str, chance: random.Random) -> Sky:
    """One of several skies of this time, greyed by the weather."""
    top, middle, horizon = chance.choice(list(_SKIES[time]))
    grey = {"clear": 0.0, "cloudy": 0.55, "rain": 0.7, "snow": 0.5, "fog": 0.45}.get(weather, 0.0)
    g = _GREYS[time]
    return Sky(mix(top, shade(g, 0.85), grey), mix(middle, g, grey), mix(horizon, shade(g, 1.12), grey * 0.8))
