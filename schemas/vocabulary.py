"""Words that configuration, requests and QA agree on: label values, and the names of languages."""

from __future__ import annotations

VOCABULARY: dict[str, tuple[str, ...]] = {
    "scene_type": (
        "march",
        "rally",
        "sit_in",
        "vigil",
        "strike_picket",
        "occupation_camp",
        "riot_confrontation",
        "community_meeting",
        "voting_queue",
        "online_post_graphic",
        "other",
    ),
    "setting": (
        "city_centre",
        "square",
        "campus",
        "government_building",
        "park",
        "street",
        "industrial",
        "rural",
        "indoor",
        "digital",
    ),
    "activity_level": ("low", "medium", "high"),
    "crowd_size": ("1-5", "6-20", "21-100", "101-1000", ">1000"),
    "time_of_day": ("dawn", "day", "dusk", "night"),
    "sentiment": ("joyful", "hopeful", "determined", "solemn", "angry", "fearful", "neutral"),
    "informational": ("yes", "no"),
    "illustrations": ("yes", "no"),
}
"""Known label categories and their values; the cuts of crowd_size are those of the UCLA protest set."""

LANGUAGES: dict[str, str] = {
    "ar": "Arabic",
    "az": "Azerbaijani",
    "bg": "Bulgarian",
    "cs": "Czech",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "fa": "Persian",
    "fi": "Finnish",
    "fr": "French",
    "he": "Hebrew",
    "hi": "Hindi",
    "hu": "Hungarian",
    "id": "Indonesian",
    "it": "Italian",
    "ja": "Japanese",
    "ka": "Georgian",
    "ko": "Korean",
    "nl": "Dutch",
    "no": "Norwegian",
    "pl": "Polish",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sv": "Swedish",
    "sw": "Swahili",
    "th": "Thai",
    "tr": "Turkish",
    "uk": "Ukrainian",
    "ur": "Urdu",
    "vi": "Vietnamese",
    "zh": "Chinese",
}
"""English names of languages by ISO 639-1 code, for instructions and reports."""


def language_name(code: str | None) -> str:
    """The name of a language; None is English, in which captions are asked without a word about it."""
    return LANGUAGES.get(code or "en", f"the language {code!r} (ISO 639)")


def plain_label(value: str) -> str:
    """A label value as vocabularies spell it: lower case, spaces as underscores, booleans as yes and no."""
    plain = "_".join(value.strip().lower().replace("_", " ").split())
    return {"true": "yes", "false": "no"}.get(plain, plain)
