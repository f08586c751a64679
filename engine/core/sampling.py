"""Seekable chance: everything drawn for prompt i is a function of the seed, a name and i.

Three kinds. `Chance` for cosmetic choices, by a keyed hash, with a domain per use so that a new
choice never shifts another. `permuted` visits every element of a range once in a shuffled order
(a Feistel network, cycle-walking). `golden` spreads points evenly for any number of them, so that
people drawn at these points follow the survey's weights four times closer than by lot.
`combination` puts permutations together so that themes and settings are balanced in every stretch
of the stream, and no combination comes twice until all have come.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from itertools import permutations
from typing import NamedTuple, TypeVar

T = TypeVar("T")

MASK64 = (1 << 64) - 1
GOLDEN64 = 0x9E3779B97F4A7C15
"""2**64 divided by the golden ratio, odd: its multiples modulo 2**64 are a low-discrepancy sequence."""

_ROUNDS = 4
_SMALL = 64


@lru_cache(maxsize=64)
def _keyed(seed: int, domain: str) -> hashlib.blake2b:
    return hashlib.blake2b(key=seed.to_bytes(8, "little"), person=domain.encode())


def digest(seed: int, domain: str, i: int) -> int:
    """512 bits that depend on the seed, the domain (at most 16 bytes) and i alone."""
    hashed = _keyed(seed, domain).copy()
    hashed.update(i.to_bytes(16, "little"))
    return int.from_bytes(hashed.digest(), "little")


class Chance:
    """A stream of small choices for prompt i in one domain."""

    __slots__ = ("_domain", "_i", "_pool", "_refills", "_seed")

    def __init__(self, seed: int, domain: str, i: int) -> None:
        self._seed, self._domain, self._i = seed, domain, i
        self._refills = 0
        self._pool = digest(seed, domain, i)

    def below(self, n: int) -> int:
        """A number from 0 to n-1."""
        if self._pool <= MASK64:  # less entropy than this would bias the choices
            self._refills += 1
            self._pool = digest(self._seed, self._domain, self._i | self._refills << 96)
        self._pool, chosen = divmod(self._pool, n)
        return chosen

    def pick(self, options: Sequence[T]) -> T:
        """One of the options."""
        return options[self.below(len(options))]

    def some(self, options: Sequence[T], count: int) -> list[T]:
        """`count` different ones of the options (all of them if there are fewer), in any order."""
        left, below = list(options), self.below
        return [left.pop(below(size)) for size in range(len(left), max(0, len(left) - count), -1)]


@lru_cache(maxsize=256)
def _round_keys(seed: int, domain: str) -> tuple[int, ...]:
    bits = digest(seed, domain, 1 << 127)
    return tuple(bits >> 64 * r & MASK64 for r in range(_ROUNDS))


@lru_cache(maxsize=4096)
def _shuffled(n: int, seed: int, domain: str, tweak: int) -> tuple[int, ...]:
    """All of a short shuffle at once: neighbours in the stream ask for its other places next."""
    return tuple(Chance(seed, domain, tweak).some(range(n), n))


def permuted(i: int, n: int, seed: int, domain: str, tweak: int = 0) -> int:
    """Where a shuffle of range(n) puts i. Another tweak is another shuffle.

    Short ranges are shuffled whole; long ones go through a Feistel network, so that any place is
    found without the others.
    """
    if n <= _SMALL:
        return _shuffled(n, seed, domain, tweak)[i]
    half = ((n - 1).bit_length() + 1) // 2
    mask = (1 << half) - 1
    keys = _round_keys(seed, domain)
    salt = tweak * GOLDEN64
    while True:
        left, right = i >> half, i & mask
        for key in keys:
            mixed = ((right + key ^ salt) * 0xFF51AFD7ED558CCD) & MASK64
            mixed = ((mixed ^ mixed >> 32) * 0xC4CEB9FE1A85EC53) & MASK64
            left, right = right, left ^ (mixed >> 40 & mask if half <= 24 else (mixed ^ mixed >> 29) & mask)
        i = left << half | right
        if i < n:  # outside the range: walk on along the cycle, which leads back inside
            return i


def stratified(i: int, n: int, seed: int, domain: str) -> int:
    """A choice of n that takes each value once in every n consecutive i."""
    block, place = divmod(i, n)
    return permuted(place, n, seed, domain, block)


def golden(i: int, seed: int, domain: str) -> int:
    """Point i of a low-discrepancy sequence on [0, 2**64), started at a place the seed chooses."""
    return (_round_keys(seed, domain)[0] + i * GOLDEN64) & MASK64


class Share(NamedTuple):
    """Consecutive points of one long sequence."""

    first: int
    points: int


@lru_cache(maxsize=8)
def _orders(sizes: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    return tuple(permutations(sizes))


def share(i: int, sizes: tuple[int, ...], seed: int, domain: str) -> Share:
    """How many points prompt i takes, and from which on: no point is skipped or taken twice.

    Each of the sizes comes once in every len(sizes) prompts, in shuffled order.
    """
    block, place = divmod(i, len(sizes))
    orders = _orders(sizes)
    order = orders[digest(seed, domain, block) % len(orders)]
    return Share(block * sum(sizes) + sum(order[:place]), order[place])


class Combination(NamedTuple):
    """Which theme, setting, news item and guide one prompt uses, and how often theme and setting met before."""

    theme: int
    setting: int
    news: int
    guide: int
    visit: int


class Sizes(NamedTuple):
    """How many there are of each."""

    themes: int
    settings: int
    news: int
    guides: int

    @property
    def combinations(self) -> int:
        return self.themes * self.settings * self.news * self.guides


def combination(i: int, sizes: Sizes, seed: int) -> Combination:
    """The combination of prompt i (from 0): one-to-one over every `sizes.combinations` prompts.

    A Latin arrangement. In every `themes` prompts each theme comes once, with settings as different
    as can be; in every `themes x settings` prompts each pair comes once, with news as different as
    can be; then each pair meets each news item before it meets one again with another guide.
    """
    pairs = sizes.themes * sizes.settings
    visit, r = divmod(i, pairs)
    row, column = divmod(r, sizes.themes)
    theme = permuted(column, sizes.themes, seed, "theme", visit * sizes.settings + row)
    shift = permuted(theme, max(sizes.themes, sizes.settings), seed, "theme-setting", visit)
    setting = (permuted(row, sizes.settings, seed, "setting", visit) + shift) % sizes.settings

    pair = theme * sizes.settings + setting
    lap, turn = divmod(visit, sizes.news * sizes.guides)
    row, column = divmod(turn, sizes.news)
    place = (column + pair * sizes.news // pairs) % sizes.news
    news = permuted(place, sizes.news, seed, "news", lap * sizes.guides + row)
    shift = permuted(news, max(sizes.news, sizes.guides), seed, "news-guide", lap)
    shift += permuted(pair, max(pairs, sizes.guides), seed, "pair-guide", lap)
    guide = (permuted(row, sizes.guides, seed, "guide", lap) + shift) % sizes.guides
    return Combination(theme, setting, news, guide, visit)
