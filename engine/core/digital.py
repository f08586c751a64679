"""The grammar of digital scenes: a shared post, a comment thread, a poster graphic, an infographic.

A theme or setting such as "social media post" or "online comments" is no place, and putting one
after "in" made the original's prompts nonsense. Here the picture is of a screen or a graphic, and
the event, the place and the people appear on it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from engine.core.sampling import Chance
from engine.core.scenes import Setting, Theme, noun_phrase
from engine.core.wording import Line, lines, readable

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
    """What is on the screen, with its article: from the theme if it is digital, placed in a digital setting."""
    if not theme.digital:
        return chance.pick(_names(setting.key))
    thing = chance.pick(_names(theme.key))
    if not setting.digital:
        return thing
    kind = _kind(setting.key)
    if kind == "comment":
        return f"{thing} above a comment thread"
    return f"{thing} in a feed of posts" if kind == "post" else f"{thing} among {setting.where}"


@lru_cache(maxsize=512)
def _names(key: str) -> tuple[str, ...]:
    words = readable(key)
    for pattern, names in _KINDS:
        if pattern.search(words):
            return names
    phrase = noun_phrase(key)
    return (phrase if phrase.startswith(("a ", "an ", "the ")) else f"a screen of {phrase}",)


_COMMENTS = re.compile(r"comment|chat|forum|thread", re.I)
_POSTS = re.compile(r"post|feed|social", re.I)


@lru_cache(maxsize=512)
def _kind(key: str) -> str:
    return "comment" if _COMMENTS.search(key) else "post" if _POSTS.search(key) else "other"


def device(setting: Setting, chance: Chance, *, held: bool) -> str:
    """What carries it and where: a phone held up in a real place, or on its own."""
    if not setting.digital:
        return f"a phone held up {setting.where}" if held else f"a phone {setting.where}"
    return f"a phone {chance.pick(_HOLDS)}" if held else "a phone"


def picture_in_post(theme: Theme, form: int) -> str:
    """The event the post shows, with its article."""
    return _INNER[form % len(_INNER)] if theme.digital else theme.forms[form % len(theme.forms)].name


def surroundings(setting: Setting, chance: Chance) -> Line:
    """What is around the artefact, so that the setting is to be seen even beside a digital theme."""
    if not setting.digital:
        return chance.pick(lines("Beyond the phone, out of focus, {}", setting.backdrops))
    return chance.pick(lines("{}", _SURROUNDINGS[_kind(setting.key)]))
