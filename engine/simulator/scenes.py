"""What a prompt is about: the few facts that the drawn picture and the written answer share."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Mapping, Sequence

from msgspec import Struct

_TIMES: Mapping[str, tuple[str, ...]] = {
    "night": (
        "night",
        "nighttime",
        "midnight",
        "moonlight",
        "moonlit",
        "candlelight",
        "candlelit",
        "after dark",
        "torchlight",
    ),
    "dusk": ("dusk", "sunset", "evening", "twilight", "golden hour", "blue hour", "late afternoon"),
    "dawn": ("dawn", "sunrise", "daybreak", "early morning", "first light"),
    "day": ("day", "daytime", "midday", "noon", "afternoon", "morning", "daylight", "sunlit", "sunny"),
}
_WEATHERS: Mapping[str, tuple[str, ...]] = {
    "rain": ("rain", "rainy", "drizzle", "umbrella", "umbrellas", "downpour", "wet"),
    "snow": ("snow", "snowy", "frost", "snowfall"),
    "fog": ("fog", "foggy", "mist", "misty", "haze", "hazy", "dust", "dusty"),
    "cloudy": ("cloudy", "overcast", "clouds", "grey sky", "gray sky"),
    "clear": ("clear", "sunny", "cloudless", "bright", "sunlit"),
}
_SETTINGS: Mapping[str, tuple[str, ...]] = {
    "government": (
        "government",
        "parliament",
        "ministry",
        "courthouse",
        "town hall",
        "city hall",
        "capitol",
        "assembly",
        "columns",
    ),
    "campus": ("campus", "university", "college", "student", "students", "school", "lecture"),
    "park": ("park", "garden", "lawn", "lakeside", "riverbank", "meadow"),
    "market": ("market", "bazaar", "stalls", "vendors", "shopkeepers", "fair"),
    "square": ("square", "plaza", "piazza", "fountain", "town"),
    "rural": ("rural", "village", "field", "farm", "farmers", "hills", "countryside", "mountain"),
    "street": ("street", "march", "marching", "avenue", "boulevard", "road", "highway"),
    "city": ("city", "urban", "downtown", "skyline", "metropolitan"),
}
_CROWDS: Sequence[tuple[tuple[str, ...], tuple[int, int]]] = (
    (("thousands", "massive crowd", "huge crowd", "vast crowd", "sea of people"), (900, 3000)),
    (("hundreds", "large crowd", "packed", "crowded"), (200, 800)),
    (("dozens", "scores of", "medium crowd", "sizeable"), (30, 95)),
    (("handful", "few people", "small group", "small crowd", "a few"), (7, 18)),
)
_MOODS: Mapping[str, tuple[str, ...]] = {
    "joyful": ("joyful", "celebrat", "festive", "cheer", "laugh"),
    "hopeful": ("hope", "optimis", "calm", "peaceful", "solidarity"),
    "determined": ("determined", "resolute", "demand", "strike", "firm"),
    "solemn": ("solemn", "vigil", "mourn", "quiet", "candle", "memorial"),
    "angry": ("angry", "anger", "outrage", "furious", "clash", "unrest"),
    "fearful": ("fear", "anxious", "tense", "worried"),
}
_FORMS: Mapping[str, tuple[str, ...]] = {
    "vigil": ("vigil", "candle", "memorial", "mourn"),
    "march": ("march", "procession", "parade"),
    "strike_picket": ("strike", "picket", "walkout", "workers"),
    "sit_in": ("sit-in", "sitting", "occupation of"),
    "voting_queue": ("voting", "polling", "queue", "ballot", "election"),
    "community_meeting": ("community gathering", "community meeting", "town meeting", "civic", "assembly", "volunteer"),
    "rally": ("rally", "demonstration", "protest", "gather"),
}
_SUBJECTS = (
    "a crowd of people",
    "hand-painted placards",
    "a long banner",
    "people of all ages",
    "raised hands",
    "coloured flags",
    "families with children",
    "workers in work clothes",
)


class Scene(Struct, frozen=True, kw_only=True):
    """A crowd scene. Everything not said by the prompt is drawn from its digest."""

    seed: int
    time: str
    weather: str
    setting: str
    crowd: int
    """How many people it is about; a picture shows as many of them as fit."""
    mood: str
    form: str
    subjects: tuple[str, ...]

    @property
    def words(self) -> frozenset[str]:
        """The scene in single words, for matching the values of a label."""
        near = {
            "city": ("city_centre", "city_center", "urban_city_center", "urban"),
            "square": ("town_square", "plaza"),
            "campus": ("university_campus", "university"),
            "government": ("government_building", "building"),
            "park": ("public_park", "green"),
            "street": ("street_march", "road"),
            "market": ("square", "town_square"),
        }.get(self.setting, ())
        activity = "high" if self.crowd > 300 else "medium" if self.crowd > 25 else "low"
        return frozenset({self.time, self.weather, self.setting, self.mood, self.form, activity, *near})


def _first(table: Mapping[str, tuple[str, ...]], text: str, chance: random.Random, otherwise: Sequence[str]) -> str:
    found = [
        (match.start(), value)
        for value, words in table.items()
        for word in words
        if (match := re.search(rf"\b{re.escape(word)}", text)) is not None
    ]
    drawn = chance.choice(list(otherwise))  # drawn in any case: one word more must not shift the rest
    return min(found)[1] if found else drawn


def scene_of(text: str, salt: str = "") -> Scene:
    """The scene this text asks for. `salt` tells apart equal texts (attached pictures, sizes)."""
    seed = int.from_bytes(hashlib.blake2b(f"{text}\0{salt}".encode(errors="replace"), digest_size=8).digest())
    chance = random.Random(seed)
    lower = text[:20_000].lower()
    low, high = next(
        (span for words, span in _CROWDS if any(w in lower for w in words)),
        chance.choice([(12, 30), (40, 95), (110, 400), (400, 1500)]),
    )
    return Scene(
        seed=seed,
        time=_first(_TIMES, lower, chance, ("day", "day", "dusk", "dawn", "night")),
        weather=_first(_WEATHERS, lower, chance, ("clear", "clear", "cloudy", "fog", "rain")),
        setting=_first(_SETTINGS, lower, chance, ("city", "square", "park", "government", "campus", "street")),
        crowd=chance.randint(low, high),
        mood=_first(_MOODS, lower, chance, ("hopeful", "determined", "joyful", "solemn")),
        form=_first(_FORMS, lower, chance, ("rally", "march", "vigil", "community_meeting")),
        subjects=tuple(chance.sample(_SUBJECTS, 3)),
    )
