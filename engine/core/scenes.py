"""What themes and settings look like: forms of event, what people do, where, and what is behind them.

The configured names of the original pipeline each have an entry; other names are worked in from
their own words. A name that speaks of screens and posts is digital and has the grammar of
core.digital instead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct

from engine.core.wording import clipped, readable, with_article


class Form(Struct, frozen=True):
    """One way a theme can look."""

    name: str
    """With its article, to follow "shows" or "of"."""
    action: str
    """What people do, a whole sentence without its stop."""
    crowds: tuple[str, ...] = ("Several hundred people", "About a hundred people", "A few dozen people")


class Theme(Struct, frozen=True):
    """A configured theme."""

    key: str
    forms: tuple[Form, ...]
    moods: tuple[str, ...]
    digital: bool = False


class Setting(Struct, frozen=True):
    """A configured setting."""

    key: str
    where: str
    """With its preposition: "on the steps of a government building"."""
    backdrops: tuple[str, ...]
    """What is behind, to follow "Behind them"."""
    foregrounds: tuple[str, ...]
    digital: bool = False


_DIGITAL = re.compile(
    r"\b(?:online|digital|social[ -]?media|posts?(?! office)|comments?|tweets?|memes?|info[ -]?graphics?"
    r"|screen ?shots?|feeds?"
    r"|hash ?tags?|live[ -]?streams?|websites?|reels?|chats?|apps?|stor(?:y|ies) post|web|internet|virtual)\b",
    re.IGNORECASE,
)

_MANY = ("Several hundred people", "Hundreds of people", "Perhaps a thousand people", "Row upon row of people")
_SOME = ("A few dozen people", "About a hundred people", "Several dozen people", "Forty or fifty people")
_FEW = ("A dozen people", "Eight or ten people", "Some twenty people")
_RESOLVE = ("determined and calm", "proud and peaceful", "serious but hopeful", "defiant yet orderly")
_WARMTH = ("warm and neighbourly", "hopeful and relaxed", "attentive and friendly", "quietly optimistic")

_THEMES: Mapping[str, tuple[tuple[str, ...], tuple[Form, ...]]] = {
    "protest": (
        _RESOLVE,
        (
            Form("a protest march", "They walk in step behind a long cloth banner, calling out in rhythm", _MANY),
            Form("a sit-in", "They sit shoulder to shoulder on the ground, clapping slowly together", _SOME),
            Form("a silent protest", "They stand without a word, each holding a sheet of paper at chest height", _SOME),
            Form("a picket line", "They circle slowly with placards on wooden sticks, talking as they walk", _SOME),
            Form("a protest with pots and pans", "They beat pots and lids together, laughing at the din", _MANY),
        ),
    ),
    "civic_engagement": (
        _WARMTH,
        (
            Form("a voter-registration drive", "They fill in forms at folding tables while helpers explain", _FEW),
            Form(
                "a public consultation", "They listen to a speaker at a simple microphone, hands raised to ask", _SOME
            ),
            Form("a petition stall", "They queue to sign long paper lists on clipboards", _SOME),
            Form("a neighbourhood clean-up day", "They sweep, paint benches and carry sacks together", _SOME),
            Form(
                "an open citizens' assembly", "They sit in circles of chairs and hold up coloured voting cards", _SOME
            ),
        ),
    ),
    "political_rally": (
        ("fired up and cheerful", "tense with expectation", "proud and loud", "hopeful and loud"),
        (
            Form("an opposition rally", "They cheer a distant speaker on a low wooden stage", _MANY),
            Form("a campaign rally", "They wave plain coloured pennants and chant along with loudspeakers", _MANY),
            Form("a rally of a reform movement", "They lift their open hands together at the end of a speech", _MANY),
            Form("a rally before a vote", "They hold up cardboard ballot boxes and homemade signs", _MANY),
        ),
    ),
    "community_gathering": (
        _WARMTH,
        (
            Form("a community gathering", "They share tea and bread at long tables and lean in to talk", _SOME),
            Form("a vigil", "They stand close together in a ring, holding small paper lanterns", _SOME),
            Form("a neighbourhood meeting", "They listen to one another in a wide circle, some nodding", _FEW),
            Form("a solidarity concert", "They sway and clap to a small band with drum and accordion", _MANY),
            Form("a shared meal of solidarity", "They pass bowls along a cloth laid on the ground", _SOME),
        ),
    ),
    "grassroots_organizing": (
        ("busy and good-humoured", "focused and energetic", "patient and resolute"),
        (
            Form("a placard-making workshop", "They kneel over cardboard with brushes and poster paint", _FEW),
            Form("a planning meeting of volunteers", "They bend over a large hand-drawn map and assign tasks", _FEW),
            Form("a leafleting round", "They hand folded leaflets to passers-by and stop to explain", _FEW),
            Form(
                "a training for volunteer stewards",
                "They tie on plain coloured armbands and practise linking arms",
                _SOME,
            ),
            Form("a supply table run by volunteers", "They pack water, bread and first-aid kits into crates", _FEW),
        ),
    ),
    "demonstrations": (
        _RESOLVE,
        (
            Form("a mass demonstration", "They fill the whole width of the view, banners rising above heads", _MANY),
            Form("a human chain", "They hold hands in one long line that curves out of sight", _MANY),
            Form(
                "a demonstration with drums", "They move behind a row of drummers, placards bobbing to the beat", _MANY
            ),
            Form(
                "a demonstration with a giant banner",
                "They carry a banner as wide as the crowd itself, overhead",
                _MANY,
            ),
            Form(
                "a standing demonstration", "They face the same way with raised placards and hold their ground", _SOME
            ),
        ),
    ),
}

_SETTINGS: Mapping[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "urban_city_center": (
        "on a broad city-centre avenue",
        (
            "tiled shopfronts and tram wires recede between stone apartment blocks",
            "a tram waits beside café awnings and tall office fronts",
        ),
        ("tram rails catch the light on worn cobbles", "a parked bicycle leans against a lamp post"),
    ),
    "town_square": (
        "in a town square",
        (
            "a clock tower and arcades of pale stone close off the square",
            "a dry fountain and low shop arcades frame the square",
        ),
        ("pigeons scatter over the paving stones", "a market stall with a striped awning stands half open"),
    ),
    "university_campus": (
        "on a university campus",
        (
            "a brick lecture hall with tall windows rises above plane trees",
            "library steps and a notice board full of paper face the lawn",
        ),
        ("bicycles lie on the grass beside satchels", "a folding table carries stacks of photocopied leaflets"),
    ),
    "government_building": (
        "in front of a government building",
        (
            "wide steps lead to a colonnade with closed bronze doors",
            "a plain ministry façade of grey stone and high railings looks on",
        ),
        ("metal crowd barriers stand in a neat row", "a line of traffic cones marks off the steps"),
    ),
    "public_park": (
        "in a public park",
        (
            "an iron bandstand and tall trees stand at the end of a gravel path",
            "a pond and a row of benches lie beyond the trees",
        ),
        ("blankets and thermos flasks lie on the ground", "a dog waits patiently beside a bench"),
    ),
    "street_march": (
        "along a street closed to traffic",
        (
            "balconies with washing lines and a few onlookers line the street",
            "the street narrows between workshops with roller shutters",
        ),
        ("chalk letters cover the asphalt", "a cargo bicycle carries a small loudspeaker"),
    ),
    "rural_village": (
        "on the main road of a village",
        (
            "low houses with tin roofs and orchards climb the slope",
            "a bus shelter and a small shop stand at the roadside",
        ),
        ("a parked tractor carries a hand-painted board", "a dirt track runs off between fences"),
    ),
    "industrial_area": (
        "at the gates of an industrial plant",
        (
            "silos, pipes and a row of tall stacks stand against the sky",
            "a long brick factory hall runs behind a wire fence",
        ),
        ("oil drums with planks serve as tables", "helmets hang in a row on the fence"),
    ),
}

_ALIASES: Mapping[str, str] = {
    "protests": "protest",
    "demonstration": "demonstrations",
    "political_rallies": "political_rally",
    "community_gatherings": "community_gathering",
    "grassroots_organising": "grassroots_organizing",
    "city_center": "urban_city_center",
    "urban_city_centre": "urban_city_center",
    "city_centre": "urban_city_center",
    "university": "university_campus",
    "campus": "university_campus",
    "park": "public_park",
    "street": "street_march",
    "rural": "rural_village",
    "village": "rural_village",
    "industrial": "industrial_area",
}

_PREPOSITIONS = frozenset(["in", "on", "at", "along", "near", "outside", "inside", "under", "beside", "by", "before"])
_ARTICLES = frozenset(["a", "an", "the", "some", "several", "two", "three", "many"])
_NOT_COUNTED = re.compile(r"(?:ing|ism|ment|ness|ity|ance|ence|work|aid|unrest|tion|solidarity)$")


def is_digital(name: str) -> bool:
    """Whether a theme or setting is about screens rather than places."""
    return _DIGITAL.search(readable(name)) is not None


def _key(name: str) -> str:
    key = re.sub(r"[\s-]+", "_", name.strip().lower())
    return _ALIASES.get(key, key)


def noun_phrase(name: str) -> str:
    """A user's own name with the article English wants, as far as its ending tells."""
    words = clipped(readable(name), 6) or "gathering"
    first, last = words.split()[0], words.split()[-1].lower()
    plural = last.endswith("s") and not last.endswith(("ss", "us", "is"))
    if first.lower() in _ARTICLES or plural or _NOT_COUNTED.search(last):
        return words
    return with_article(words)


def theme(name: str) -> Theme:
    """The theme a configuration names; unknown ones get forms of their own words."""
    known = _THEMES.get(_key(name))
    if known is not None:
        return Theme(name, known[1], known[0])
    words = noun_phrase(name)
    if is_digital(name):
        return Theme(name, (Form(words, ""),), (*_RESOLVE, *_WARMTH), digital=True)
    forms = (
        Form(f"a scene of {words}", "They stand close together, intent on what is happening in front of them"),
        Form(f"a moment of {words}", "They talk, gesture and turn towards one another", _SOME),
        Form(f"a wide view of {words}", "They stand in loose groups, signs and banners among them", _MANY),
    )
    return Theme(name, forms, _RESOLVE)


def setting(name: str) -> Setting:
    """The setting a configuration names; unknown ones are taken at their word."""
    known = _SETTINGS.get(_key(name))
    if known is not None:
        return Setting(name, *known)
    words = clipped(readable(name), 6) or "an open place"
    if is_digital(name):
        return Setting(name, words, (), (), digital=True)
    if words.split()[0].lower() not in _PREPOSITIONS:
        proper = words != words.lower() and words.split()[0].lower() not in _ARTICLES
        words = f"at {words if proper else noun_phrase(words)}"
    backdrops = (
        "the place stretches away with its ordinary buildings and signs of daily use",
        "everyday details of the place fill the distance",
    )
    return Setting(
        name, words, backdrops, ("bags and folded banners lie on the ground", "a handcart stands to one side")
    )
