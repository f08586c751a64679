"""When a scene happens: season, time of day, weather and the light they make, consistent with each other."""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from engine.core.sampling import Chance, stratified
from engine.core.wording import with_article

SEASONS: Final = ("winter", "spring", "summer", "autumn")

_WEATHER: Final = {
    "winter": ("cold and clear", "overcast and cold", "grey with light snowfall", "damp and foggy"),
    "spring": ("mild and sunny", "bright after a shower", "breezy with quick clouds", "drizzly"),
    "summer": ("hot and cloudless", "warm and hazy", "sultry before a storm", "warm with a light wind"),
    "autumn": ("cool and golden", "rainy", "windy with low clouds", "misty"),
}

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
_OPEN_SKY: Final = frozenset(
    [
        "cold and clear",
        "mild and sunny",
        "hot and cloudless",
        "cool and golden",
        "warm with a light wind",
        "bright after a shower",
    ]
)
_BY_DAY_ONLY: Final = {
    "mild and sunny": "mild and clear",
    "hot and cloudless": "warm and cloudless",
    "cool and golden": "cool and clear",
    "bright after a shower": "clear after a shower",
}

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
    weather: str
    light: str

    @property
    def sentence(self) -> str:
        """ "It is a mild and sunny spring morning; clean morning light falls from one side"."""
        return f"It is {self.named}; {self.light}"

    @property
    def named(self) -> str:
        """ "a mild and sunny spring morning"."""
        return with_article(f"{self.weather} {self.season} {self.time}")


def season_of(date: str | None) -> str | None:
    """The season of an ISO date, as north of the equator; None without one."""
    if date is None or not re.match(r"\d{4}-(0[1-9]|1[0-2])", date):
        return None
    return SEASONS[int(date[5:7]) % 12 // 3]


def moment(i: int, seed: int, date: str | None) -> Moment:
    """The moment of prompt i: the season of the news date, times of day in equal shares."""
    chance = Chance(seed, "moment", i)
    season = season_of(date) or SEASONS[stratified(i, len(SEASONS), seed, "season")]
    time = _TIMES[stratified(i, len(_TIMES), seed, "time")]
    weather = chance.pick(_WEATHER[season])
    light = (_LIGHT if weather in _OPEN_SKY else _VEILED)[time]
    if time in ("dusk", "night", "dawn"):
        weather = _BY_DAY_ONLY.get(weather, weather)
    return Moment(season, time, weather, light)
