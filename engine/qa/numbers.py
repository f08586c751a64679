"""Small statistics with their uncertainty: what the bias and statistics tables are computed with.

At a million rows everything is significant, so effects and intervals come first; p-values are used only
under control of the false discovery rate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

Z95 = 1.959963984540054


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % interval of a proportion; (0, 1) without observations."""
    if n == 0:
        return 0.0, 1.0
    p, z2 = hits / n, Z95 * Z95
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def entropy(counts: Sequence[int]) -> float:
    """Shannon entropy in bits."""
    total = sum(counts)
    return -sum(c / total * math.log2(c / total) for c in counts if c) if total else 0.0


def balance(counts: Sequence[int]) -> float:
    """Entropy over its possible maximum: 1 where all classes are equally frequent."""
    return entropy(counts) / math.log2(len(counts)) if len(counts) > 1 else 1.0


def _aligned(p: Mapping[str, float], q: Mapping[str, float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    keys = sorted({*p, *q})
    a = np.array([p.get(k, 0.0) for k in keys], float)
    b = np.array([q.get(k, 0.0) for k in keys], float)
    return a / max(a.sum(), 1e-300), b / max(b.sum(), 1e-300)


def total_variation(p: Mapping[str, float], q: Mapping[str, float]) -> float:
    """Half the sum of absolute differences: the share that would have to move."""
    a, b = _aligned(p, q)
    return float(np.abs(a - b).sum() / 2)


def jensen_shannon(p: Mapping[str, float], q: Mapping[str, float]) -> float:
    """Jensen-Shannon divergence, base 2: 0 equal, 1 nothing in common."""
    a, b = _aligned(p, q)
    m = (a + b) / 2

    def to_m(x: NDArray[np.float64]) -> float:
        some = x > 0
        return float((x[some] * np.log2(x[some] / m[some])).sum())

    return max(0.0, (to_m(a) + to_m(b)) / 2)


def goodness_of_fit(counts: Mapping[str, int], target: Mapping[str, float]) -> tuple[float, float, float]:
    """Chi-square of counts against target shares: (statistic, p, Cohen's w)."""
    keys = [k for k in sorted(target) if target[k] > 0]
    observed = np.array([counts.get(k, 0) for k in keys], float)
    shares = np.array([target[k] for k in keys], float)
    n = observed.sum()
    if n == 0 or len(keys) < 2:
        return 0.0, 1.0, 0.0
    expected = shares / shares.sum() * n
    chi2 = float(((observed - expected) ** 2 / expected).sum())
    return chi2, float(special.chdtrc(len(keys) - 1, chi2)), math.sqrt(chi2 / n)


def cramers_v(table: NDArray[np.float64]) -> tuple[float, float]:
    """Bias-corrected Cramer's V (Bergsma 2013) of a contingency table, and the chi-square p-value."""
    table = table[table.sum(1) > 0][:, table.sum(0) > 0]
    n = float(table.sum())
    if n < 2 or min(table.shape) < 2:
        return 0.0, 1.0
    expected = np.outer(table.sum(1), table.sum(0)) / n
    chi2 = float(((table - expected) ** 2 / expected).sum())
    r, k = table.shape
    p = float(special.chdtrc((r - 1) * (k - 1), chi2))
    phi2 = max(0.0, chi2 / n - (r - 1) * (k - 1) / (n - 1))
    r_, k_ = r - (r - 1) ** 2 / (n - 1), k - (k - 1) ** 2 / (n - 1)
    return math.sqrt(phi2 / max(1e-12, min(r_ - 1, k_ - 1))), p


def discoveries(p_values: Sequence[float], rate: float = 0.05) -> list[bool]:
    """Which hypotheses stand with the false discovery rate at `rate` (Benjamini and Hochberg)."""
    if not p_values:
        return []
    p = np.asarray(p_values)
    order = np.argsort(p)
    under = p[order] <= rate * np.arange(1, len(p) + 1) / len(p)
    kept = np.zeros(len(p), bool)
    if under.any():
        kept[order[: int(np.flatnonzero(under)[-1]) + 1]] = True
    return [bool(k) for k in kept]


def log_odds(
    left: NDArray[np.float64], right: NDArray[np.float64], prior: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weighted log-odds of words with an informative Dirichlet prior (Monroe, Colaresi, Quinn 2008): (delta, z).

    Positive where a word belongs to `left`. `prior` are pseudo-counts, usually all words scaled down.
    """
    n_left, n_right, a0 = left.sum(), right.sum(), prior.sum()
    a, b = left + prior, right + prior
    delta = np.log(a / (n_left + a0 - a)) - np.log(b / (n_right + a0 - b))
    return delta, delta / np.sqrt(1 / a + 1 / b)
