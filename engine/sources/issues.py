"""Reading an issue, a theme, a demand and a place out of somebody else's words.

The original's excerpts follow a dozen templates; saved pages follow none. Both go through one
lexicon of grievances, so that placards fit what the news is about.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final, NamedTuple


class Issue(NamedTuple):
    """A grievance with what goes with it."""

    words: re.Pattern[str]
    phrase: str
    """To follow "over"."""
    theme: str
    slogans: tuple[str, ...]

    @property
    def cause(self) -> str:
        """ "for fair elections", "against corruption"."""
        return caused(self.phrase)


_AGAINST: Final = re.compile(
    r"\b(?:violence|corruption|pollution|censorship|repression|spills?|cuts|unpaid|closures?)\b", re.I
)
_FOR: Final = re.compile(
    r"\b(?:rights?|elections|reforms?|equality|equal|transparency|freedom|liberties|homes|justice|access|funding|accountability|democracy)\b",
    re.I,
)


def caused(phrase: str) -> str:
    """An issue with the preposition its words want: against a wrong, for a good, else over."""
    if not phrase or phrase.startswith(("for ", "against ", "over ", "about ")):
        return phrase
    word = "against" if _AGAINST.search(phrase) else "for" if _FOR.search(phrase) else "over"
    return f"{word} {phrase}"


def _issue(words: str, phrase: str, theme: str, *slogans: str) -> Issue:
    return Issue(re.compile(rf"\b(?:{words})", re.IGNORECASE), phrase, theme, slogans)


ISSUES: Final = (
    _issue(
        r"gender[_ -](?:based[_ -])?violence|violence against women|domestic violence",
        "gender-based violence",
        "gender_violence",
        "Not One More",
        "Safe At Home",
        "Believe Survivors",
    ),
    _issue(
        r"gender equality|women'?s rights|equal pay",
        "equal rights",
        "social_movements",
        "Equal Rights Now",
        "Same Job Same Pay",
        "Equality For All",
    ),
    _issue(
        r"voting rights|elections?\b|electoral|ballot|polling",
        "fair elections",
        "elections",
        "Count Every Vote",
        "Our Ballot Matters",
        "One Fair Vote",
    ),
    _issue(
        r"corrupt|brib|embezzl|graft|patronage",
        "corruption",
        "political_unrest",
        "Clean Hands Now",
        "Open The Books",
        "No More Envelopes",
    ),
    _issue(
        r"transparen|accountab",
        "government transparency",
        "government_response",
        "Open The Files",
        "Show Us Everything",
        "We Are Watching",
    ),
    _issue(
        r"minorit(?:y|ies)|ethnic",
        "minority rights",
        "social_movements",
        "Many Voices One Home",
        "We Belong Here",
        "Equal Before Law",
    ),
    _issue(
        r"environment|pollut|oil spill|climate",
        "environmental policy",
        "social_movements",
        "Clean Water Now",
        "Save Our Shore",
        "Breathe Free",
    ),
    _issue(
        r"education|school|universit|tuition|teacher",
        "education funding",
        "civil_society",
        "Fund Our Schools",
        "Books Not Banquets",
        "Learning For All",
    ),
    _issue(
        r"health ?care|hospital|clinic|medical",
        "healthcare access",
        "government_response",
        "Health For All",
        "Save Our Clinic",
        "Care Close By",
    ),
    _issue(
        r"labou?r|wages?\b|working conditions|unions?\b|strike",
        "labour conditions",
        "economic_conditions",
        "Work Deserves Wages",
        "Fair Pay Today",
        "Rights On Shift",
    ),
    _issue(
        r"econom|inflation|prices?\b|unemploy|poverty",
        "economic reforms",
        "economic_conditions",
        "Bread Before Profit",
        "Share The Oil",
        "Jobs And Dignity",
    ),
    _issue(
        r"press|journalis|censor|free speech|freedom of expression|media",
        "freedom of expression",
        "civil_society",
        "Let Us Speak",
        "Free The Page",
        "Words Are Free",
    ),
    _issue(
        r"displac|refugee|resettle|internally displaced",
        "homes for displaced families",
        "civil_society",
        "Keys Not Promises",
        "A Home To Stay",
        "We Still Wait",
    ),
    _issue(
        r"civil libert|human rights|repress|detain|freedom of assembly",
        "civil liberties",
        "protests",
        "Rights Not Favours",
        "Freedom Is Ours",
        "Let Us Gather",
    ),
    _issue(
        r"justice|equal representation|equality|discriminat",
        "social justice",
        "social_movements",
        "Justice For Everyone",
        "Equal Means Equal",
        "Nobody Left Behind",
    ),
    _issue(
        r"constitution|policy reversal|reform|democra|regime|opposition",
        "political reform",
        "political_unrest",
        "Reform Without Delay",
        "We Choose Ourselves",
        "Time For Turns",
    ),
    _issue(
        r"protest|demonstrat|rall(?:y|ies)|march(?:es|ed)?\b|dissent|unrest",
        "the right to protest",
        "protests",
        "Our Streets Our Say",
        "Hear Our Voice",
        "We Are Here",
    ),
)

_WHAT: Final = r"(?P<what>[a-z][\w' -]{3,60}?)"
_ENDS: Final = r"(?=\s+(?:garnering|drawing|getting|pushes|in|at|after|with|and has)\b|[.,;!?]|$)"
_ABOUT: Final = re.compile(
    r"\b(?:protest(?:ing)?(?! (?:over|against|about|for|in|at|march|of|on)\b)|over(?! an? | about | several | \d)"
    r"|against|around issues of|focus on|regarding"
    rf"|messaging (?:for|about)(?: an?)?)\s+{_WHAT}{_ENDS}",
    re.IGNORECASE,
)
_DEMAND: Final = re.compile(
    rf"\b(?:to demand|demands include|advocating for|pushes for|calls? for|demanding)\s+{_WHAT}{_ENDS}",
    re.IGNORECASE,
)
_ACTORS: Final = (
    (re.compile(r"^women\b", re.I), "a women's alliance"),
    (re.compile(r"^(?:a )?workers'? union", re.I), "a workers' union"),
    (re.compile(r"^student groups", re.I), "several student groups"),
    (re.compile(r"^(?:an? |the )?opposition party", re.I), "an opposition party"),
    (re.compile(r"^(?:an? |the )?citizens", re.I), "a citizens' initiative"),
    (re.compile(r"^(?:an? |the )?community organi[sz]ers", re.I), "community organisers"),
    (re.compile(r"^(?:an? |the )?grassroots movement", re.I), "a grassroots movement"),
    (re.compile(r"^government announces", re.I), "civil society groups"),
    (re.compile(r"^(?:an? |the )?online messaging", re.I), "an online campaign"),
    (re.compile(r"^(?:an? |the )?electoral campaign", re.I), "a campaign team"),
)
_WITH_THE: Final = re.compile(
    r"\b(?:District|Quarter|Zone|Region|Highlands|Area|Coast|Capital|Valley|Islands?|Border)$"
)
_PLACES: Final = {
    "downtown": "in the downtown area",
    "donovia border region": "in the region bordering Donovia",
    "atropia": "",
}
_MENDS: Final = (
    (re.compile(r"\b((?:hundreds|thousands|dozens) of)(?=[.,;!?]|$)"), r"\1 people"),
    (
        re.compile(
            r"\b(drawing|getting attention from) (several hundred|over a thousand|about a hundred)(?=[.,;!?]|$)"
        ),
        r"\1 \2 people",
    ),
    (re.compile(r"\bOnline messaging for an? (?=\w+)"), "Online messaging about "),
    (re.compile(r"\bgender_violence\b"), "gender-based violence"),
    (re.compile(r"^Workers union leads march\b"), "A workers' union leads a march"),
    (re.compile(r"\borganize sit-in at\b"), "organise a sit-in at"),
    (re.compile(r"\bstages demonstration\b"), "stages a demonstration"),
    (re.compile(r"\bwith estimated (?=hundreds|thousands|dozens)"), "with "),
    (re.compile(r"\bwith estimated (?=over|several|about)"), "with an estimated "),
    (re.compile(r"(?<=\w) garnering\b"), ", garnering"),
    (re.compile(r"(?<=support|oncerns|ptimism|actions) drawing\b"), " and drawing"),
    (re.compile(r"(?<=\w) getting attention\b"), ", getting attention"),
    (
        re.compile(r"(^|[.!?] )(Large rally|Opposition party|Electoral campaign|Grassroots movement)(?= [a-z])"),
        lambda m: f"{m[1]}{'An' if m[2][0] in 'OE' else 'A'} {m[2][0].lower()}{m[2][1:]}",
    ),
    (re.compile(r"\s+,"), ","),
    (re.compile(r"\s{2,}"), " "),
)


def mended(excerpt: str) -> str:
    """An excerpt with the original generator's broken endings made whole."""
    for pattern, fix in _MENDS:
        excerpt = pattern.sub(fix, excerpt)  # pyright: ignore[reportArgumentType, reportCallIssue]
    return excerpt


def issue_in(text: str) -> Issue | None:
    """The grievance a text speaks of most; the earlier in the lexicon wins a tie."""
    counted = [(len(issue.words.findall(text)), -n) for n, issue in enumerate(ISSUES)]
    count, place = max(counted)
    return ISSUES[-place] if count else None


def subject_of(excerpt: str) -> tuple[str, str, tuple[str, ...]]:
    """(issue, demand, slogans) of an excerpt in the original's manner; "" where it names none."""
    about = _ABOUT.search(excerpt)
    wanted = _DEMAND.search(excerpt)
    demand = wanted["what"].strip() if wanted else ""
    phrase = about["what"].strip().replace("_", " ") if about else ""
    known = issue_in(phrase) if phrase else issue_in(demand or excerpt)
    if not phrase:
        phrase = demand if demand else known.phrase if known else ""
    return phrase, demand, known.slogans if known else ()


def actor_of(excerpt: str) -> str:
    """Who calls, with an article; "" where the excerpt tells of nobody."""
    return next((name for pattern, name in _ACTORS if pattern.search(excerpt)), "")


def place_of(location: str) -> str:
    """A location with its preposition: "in the Market District"."""
    known = _PLACES.get(location.strip().lower())
    if known is not None:
        return known
    name = re.sub(r"\s*\([^)]*\)\s*$", "", location).strip()
    if not name:
        return ""
    if name.split()[0].lower() in {"in", "on", "at", "near", "along", "around"}:
        return name
    return f"in the {name}" if _WITH_THE.search(name) and not name.lower().startswith("the ") else f"in {name}"


def theme_of(text: str) -> str:
    """The theme a text belongs to; civil_society if no word tells."""
    known = issue_in(text)
    return known.theme if known else "civil_society"


def nearest(name: str, known: Sequence[str]) -> str | None:
    """The known name most like this one; None if none is."""
    key = name.strip().lower().replace(" ", "_")
    close = get_close_matches(key, known, n=1, cutoff=0.5)
    if close:
        return close[0]
    shared = [k for k in known if set(k.split("_")) & set(key.split("_"))]
    return shared[0] if shared else next(iter(get_close_matches(key, known, n=1, cutoff=0.3)), None)
