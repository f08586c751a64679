"""The grammar of digital scenes: a shared post, a comment thread, a poster graphic, an infographic.

A theme or setting such as "social media post" or "online comments" is no place, and putting one
after "in" made the original's prompts nonsense. Here the picture is of a screen or a graphic, and
the event, the place and the people appear on it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from engine.core.sampling import Chance
from engine.core.scenes import Setting, Theme, noun_phrase
from engine.core.wording import article

_KINDS: Sequence[tuple[re.Pattern[str], tuple[str, ...]]] = (
    (re.compile(r"comment|chat|forum|thread", re.I), ("a comment thread", "a column of online comments")),
    (re.compile(r"info ?-?graphic|chart|data", re.I), ("an infographic", "a simple data graphic")),
    (re.compile(r"poster|flyer|leaflet|graphic|meme", re.I), ("a shareable poster graphic", "a bold poster graphic")),
    (re.compile(r"stream|video|reel|story", re.I), ("a paused video clip", "a still from a live stream")),
    (re.compile(r"social|feed|tweet|instagram|post", re.I), ("a social media post", "a widely shared post")),
)

_SURROUNDINGS = {
    "comment": (
        "Below it runs a column of short comment bubbles with round, cartoon-like profile pictures",
        "Comment bubbles in two tones fill the lower half, most of them blurred into grey lines",
    ),
    "post": (
        "Around it sit small heart, reply and share symbols of an invented app",
        "Further posts of an invented app peek in above and below",
    ),
    "other": (
        "The layout is that of an invented app, reduced to plain shapes",
        "A narrow bar of simple symbols of an invented app runs along one edge",
    ),
}

_HOLDS = (
    "held upright in one hand",
    "propped against a tea glass",
    "lying on a wooden table",
    "passed between two hands",
)
_INNER = (
    "a crowd with raised hands",
    "linked arms in a long row",
    "a hand-painted banner above a crowd",
    "empty chairs in a circle around one sign",
    "a megaphone in front of a crowd",
)


def artefact(theme: Theme, setting: Setting, chance: Chance) -> str:
    """What is on the screen, with its article; from the theme if it is digital, else from the setting."""
    name = theme.key if theme.digital else setting.key
    readable_name = name.replace("_", " ")
    for pattern, names in _KINDS:
        if pattern.search(readable_name):
            return chance.pick(names)
    phrase = noun_phrase(name)
    return phrase if phrase.startswith(("a ", "an ", "the ")) else f"a screen of {phrase}"


def device(theme: Theme, setting: Setting, chance: Chance) -> str:
    """What carries it and where: a phone held up in a real place, or on its own."""
    if setting.digital:
        return f"a phone {chance.pick(_HOLDS)}"
    return f"a phone held up {setting.where}"


def picture_in_post(theme: Theme, form: int) -> str:
    """The event the post shows, with its article."""
    return _INNER[form % len(_INNER)] if theme.digital else theme.forms[form % len(theme.forms)].name


def surroundings(theme: Theme, setting: Setting, chance: Chance) -> str:
    """What is around the artefact, so that the setting is to be seen even beside a digital theme."""
    if not setting.digital:
        return f"Beyond the phone, out of focus, {chance.pick(setting.backdrops)}"
    if re.search(r"comment|chat|forum|thread", setting.key, re.I):
        return chance.pick(_SURROUNDINGS["comment"])
    if re.search(r"post|feed|social", setting.key, re.I):
        return chance.pick(_SURROUNDINGS["post"])
    words = setting.where
    return f"The screen looks like {words if words.endswith('s') else f'{article(words)} {words}'}"
