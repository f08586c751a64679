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
from itertools import accumulate, permutations
from math import factorial
from typing import NamedTuple, TypeVar

T = TypeVar("T")

MASK64 = (1 << 64) - 1
GOLDEN64 = 0x9E3779B97F4A7C15
"""2**64 divided by the golden ratio, odd: its multiples modulo 2**64 are a low-discrepancy sequence."""

_ROUNDS = 4
_SMALL = 64
_FEW = 6
_KEPT = 4096


@lru_cache(maxsize=64)
def _keyed(seed: int, domain: str) -> hashlib.blake2b:
    return hashlib.blake2b(key=seed.to_bytes(8, "little"), person=domain.encode())


def digest(seed: int, domain: str, i: int) -> int:
    """512 bits that depend on the seed, the domain (at most 16 bytes) and i alone.

    Choices are its digits: `bits, k = divmod(bits, n)` is one of n, and leaves what the next is made of. There is
    room for a shuffle of 64 or for a hundred choices of a few; `Chance` has no such end.
    """
    hashed = _keyed(seed, domain).copy()
    hashed.update(i.to_bytes(16, "little"))
    return int.from_bytes(hashed.digest(), "little")


def digests(seed: int, domains: tuple[str, ...], i: int) -> list[int]:
    """The digest of i in each of the domains."""
    place, told = i.to_bytes(16, "little"), list[int]()
    for keyed in _all_keyed(seed, domains):
        hashed = keyed.copy()
        hashed.update(place)
        told.append(int.from_bytes(hashed.digest(), "little"))
    return told


@lru_cache(maxsize=64)
def _all_keyed(seed: int, domains: tuple[str, ...]) -> tuple[hashlib.blake2b, ...]:
    return tuple(_keyed(seed, domain) for domain in domains)


class Chance:
    """A stream of small choices for i in one domain: the digits of its digest, and of further ones without end."""

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
        left = list(options)
        return [left.pop(self.below(size)) for size in range(len(left), max(0, len(left) - count), -1)]


@lru_cache(maxsize=64)
def draws(n: int, count: int) -> tuple[tuple[int, ...], ...]:
    """Every way to draw `count` of range(n), so that one choice among them is what draw after draw would choose."""
    ways: list[tuple[tuple[int, ...], tuple[int, ...]]] = [((), tuple(range(n)))]
    for size in range(n, max(0, n - count), -1):
        ways = [((*drawn, left[k]), left[:k] + left[k + 1 :]) for k in range(size) for drawn, left in ways]
    return tuple(drawn for drawn, _ in ways)


@lru_cache(maxsize=256)
def _round_keys(seed: int, domain: str) -> tuple[int, ...]:
    bits = digest(seed, domain, 1 << 127)
    return tuple(bits >> 64 * r & MASK64 for r in range(_ROUNDS))


class _Long(dict[int, int]):
    """A shuffle of so many that any place is found without the others; those found are kept, some thousands."""

    __slots__ = ("_what",)

    def __init__(self, n: int, seed: int, domain: str, tweak: int) -> None:
        self._what = (n, seed, domain, tweak)

    def __missing__(self, i: int) -> int:
        if len(self) >= _KEPT:
            self.clear()
        place = self[i] = _walked(i, *self._what)
        return place


_Shuffle = tuple[int, ...] | _Long


@lru_cache(maxsize=4096)
def shuffled(n: int, seed: int, domain: str, tweak: int = 0) -> _Shuffle:
    """A shuffle of range(n), to be asked for one place after the other. Another tweak is another shuffle.

    A short one is made whole, for neighbours in the stream ask for its other places next.
    """
    if n > _SMALL:
        return _Long(n, seed, domain, tweak)
    bits = digest(seed, domain, tweak) % factorial(n)
    if n <= _FEW:
        return draws(n, n)[bits]
    left, order = list(range(n)), list[int]()
    for size in range(n, 0, -1):
        bits, k = divmod(bits, size)
        order.append(left.pop(k))
    return tuple(order)


def permuted(i: int, n: int, seed: int, domain: str, tweak: int = 0) -> int:
    """Where that shuffle puts i."""
    return shuffled(n, seed, domain, tweak)[i]


def _walked(i: int, n: int, seed: int, domain: str, tweak: int) -> int:
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
    return shuffled(n, seed, domain, block)[place]


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
    return _shares(block, sizes, seed, domain)[place]


@lru_cache(maxsize=64)
def _shares(block: int, sizes: tuple[int, ...], seed: int, domain: str) -> tuple[Share, ...]:
    orders = _orders(sizes)
    order = orders[digest(seed, domain, block) % len(orders)]
    return tuple(map(Share, accumulate(order, initial=block * sum(sizes)), order))


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
    themes, settings, items, guides = sizes
    pairs = themes * settings
    visit, r = divmod(i, pairs)
    row, column = divmod(r, themes)
    turn = _turn(visit, sizes, seed)
    theme = shuffled(themes, seed, "theme", visit * settings + row)[column]
    setting = (turn.settings[row] + turn.of_theme[theme]) % settings
    pair = theme * settings + setting
    news = turn.news[(turn.column + pair * items // pairs) % items]
    guide = (turn.guide + turn.of_news[news] + turn.of_pair[pair]) % guides
    return Combination(theme, setting, news, guide, visit)


class _Turn(NamedTuple):
    """What the prompts of one visit to all pairs of theme and setting share."""

    settings: _Shuffle
    of_theme: _Shuffle
    news: _Shuffle
    column: int
    guide: int
    of_news: _Shuffle
    of_pair: _Shuffle


@lru_cache(maxsize=64)
def _turn(visit: int, sizes: Sizes, seed: int) -> _Turn:
    themes, settings, items, guides = sizes
    lap, turn = divmod(visit, items * guides)
    row, column = divmod(turn, items)
    return _Turn(
        settings=shuffled(settings, seed, "setting", visit),
        of_theme=shuffled(max(themes, settings), seed, "theme-setting", visit),
        news=shuffled(items, seed, "news", lap * guides + row),
        column=column,
        guide=shuffled(guides, seed, "guide", lap)[row],
        of_news=shuffled(max(items, guides), seed, "news-guide", lap),
        of_pair=shuffled(max(themes * settings, guides), seed, "pair-guide", lap),
    )
