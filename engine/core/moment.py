"""When a scene happens: season, time of day, weather and the light they make, consistent with each other."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from msgspec import Struct

from engine.core.sampling import digest, stratified
from engine.core.wording import Line, line, with_article

SEASONS: Final = ("winter", "spring", "summer", "autumn")

_WEATHER: Final = {
    "winter": (("cold", " with a clear sky"), ("overcast", ""), ("grey", " with light snowfall"), ("foggy", "")),
    "spring": (("mild", " with a clear sky"), ("fresh", " after a shower"), ("breezy", ""), ("drizzly", "")),
    "summer": (("hot", " under a cloudless sky"), ("hazy", ""), ("sultry", ""), ("warm", " with a light wind")),
    "autumn": (("cool", " with a clear sky"), ("rainy", ""), ("windy", " with low clouds"), ("misty", "")),
}
"""Per season: what stands before it, and what follows the time of day."""

_TIMES: Final = ("dawn", "morning", "midday", "afternoon", "dusk", "night")

_LIGHT: Final = {
    "dawn": "the first pale light comes in low and cool",
    "morning": "clean morning light falls from one side",
    "midday": "the light stands high with short shadows",
    "afternoon": "long, warm light rakes across faces",
    "dusk": "street lamps mix with the last blue light",
    "night": "street lamps and lit windows carve faces out of the dark",
}
_VEILED: Final = {
    "dawn": "thin, cool light gathers slowly",
    "morning": "soft, even light wraps every face",
    "midday": "flat, shadowless light lies over everything",
    "afternoon": "muted, silvery light softens the edges",
    "dusk": "lamps glow early in the blue-grey air",
    "night": "lamps make wide halos in the dark air",
}
_CLEAR: Final = re.compile(r"clear|cloudless|shower|light wind")

TIME_WORDS: Final = re.compile(
    r"\b(?:dawn|sunrise|mornings?|noon|midday|afternoons?|dusk|sunset|twilight|evenings?|nights?|nighttime|night-time"
    r"|midnight|daytime|daylight|golden hour|blue hour|winter\w*|spring(?:time)?|summer\w*|autumn\w*|fall foliage"
    r"|rain\w*|snow\w*|fog\w*|mist\w*|drizzl\w*|storm\w*|sunny|sunlit|sunshine|sunlight|sun|cloud\w*|overcast|wind|windy"
    r"|breez\w*|hazy|haze|weather|seasons?|cold|hot|frost\w*|ic[ey]|umbrellas?|today|yesterday|tonight|o'clock"
    r"|january|february|march (?:of )?\d+|april|june|july|august|september|october|november|december)\b",
    re.IGNORECASE,
)
"""Words that tell a time, a season or the weather."""


class Moment(Struct, frozen=True):
    """One consistent when."""

    season: str
    time: str
    briefly: Line
    """ "It is a mild spring morning." """
    in_full: Line
    """ "It is a mild spring morning with a clear sky; clean morning light falls from one side." """
    beside_a_screen: Line
    """The same of what is around a screen."""


@lru_cache(maxsize=4096)
def season_of(date: str | None) -> str | None:
    """The season of an ISO date, as north of the equator; None without one."""
    if date is None or not re.match(r"\d{4}-(0[1-9]|1[0-2])", date):
        return None
    return SEASONS[int(date[5:7]) % 12 // 3]


def moment(i: int, seed: int, date: str | None) -> Moment:
    """The moment of prompt i: the season of the news date, times of day in equal shares."""
    season = season_of(date) or SEASONS[stratified(i, len(SEASONS), seed, "season")]
    time = _TIMES[stratified(i, len(_TIMES), seed, "time")]
    possible = _moments(season, time)
    return possible[digest(seed, "moment", i) % len(possible)]


@lru_cache(maxsize=len(SEASONS) * len(_TIMES))
def _moments(season: str, time: str) -> tuple[Moment, ...]:
    return tuple(_moment(season, time, before, after) for before, after in _WEATHER[season])


def _moment(season: str, time: str, before: str, after: str) -> Moment:
    light = (_LIGHT if _CLEAR.search(after) else _VEILED)[time]
    brief = f"it is {with_article(before)} {season} {time}"
    full = f"{brief}{after}; {light}"
    return Moment(season, time, line(brief), line(full), line(f"Around the screen {full}"))
