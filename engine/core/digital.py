"""The grammar of digital scenes: a shared post, a comment thread, a poster graphic, an infographic.

A theme or setting such as "social media post" or "online comments" is no place, and putting one
after "in" made the original's prompts nonsense. Here the picture is of a screen or a graphic, and
the event, the place and the people appear on it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

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


def artefacts(theme: Theme, setting: Setting) -> tuple[str, ...]:
    """What can be on the screen, with its article: from the theme if it is digital, placed in a digital setting."""
    if not theme.digital:
        return _names(setting.key)
    things = _names(theme.key)
    if not setting.digital:
        return things
    kind = _kind(setting.key)
    placed = {"comment": "above a comment thread", "post": "in a feed of posts"}.get(kind, f"among {setting.where}")
    return tuple(f"{thing} {placed}" for thing in things)


def _names(key: str) -> tuple[str, ...]:
    words = readable(key)
    for pattern, names in _KINDS:
        if pattern.search(words):
            return names
    phrase = noun_phrase(key)
    return (phrase if phrase.startswith(("a ", "an ", "the ")) else f"a screen of {phrase}",)


_COMMENTS = re.compile(r"comment|chat|forum|thread", re.I)
_POSTS = re.compile(r"post|feed|social", re.I)


def _kind(key: str) -> str:
    return "comment" if _COMMENTS.search(key) else "post" if _POSTS.search(key) else "other"


def devices(setting: Setting, *, held: bool) -> tuple[str, ...]:
    """What can carry it and where: a phone held up in a real place, or on its own."""
    if not setting.digital:
        return (f"a phone held up {setting.where}" if held else f"a phone {setting.where}",)
    return tuple(f"a phone {hold}" for hold in _HOLDS) if held else ("a phone",)


def picture_in_post(theme: Theme, form: int) -> str:
    """The event the post shows, with its article."""
    return _INNER[form % len(_INNER)] if theme.digital else theme.forms[form].name


def surroundings(setting: Setting) -> tuple[Line, ...]:
    """What can be around the artefact, so that the setting is to be seen even beside a digital theme."""
    if not setting.digital:
        return lines("Beyond the phone, out of focus, {}", setting.backdrops)
    return lines("{}", _SURROUNDINGS[_kind(setting.key)])
