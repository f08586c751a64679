"""The label mix that is wanted, beside the one there is: `qa.targets` of the configuration.

An effect comes first and a p-value never alone: a value counts as off when its whole 95 % interval lies outside
0.8 to 1.25 times what is wanted, and nothing is said of fewer than `N_MIN` labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.qa.numbers import goodness_of_fit, total_variation, wilson

N_MIN = 30
RATIO_LOW, RATIO_HIGH = 0.8, 1.25
REST = "any other value"


def target_mix(
    labels: Mapping[str, Mapping[str, Any]], targets: Mapping[str, Mapping[str, float]]
) -> list[dict[str, Any]]:
    """One entry per category with a target, from the counts of `label_statistics`."""
    return [_category(name, labels[name], mix) for name, mix in targets.items() if name in labels]


def _category(name: str, found: Mapping[str, Any], mix: Mapping[str, float]) -> dict[str, Any]:
    n, told = int(found["n"]), dict(found["values"])
    counts = {value: int(told.get(value, 0)) for value in mix}
    wanted = dict(mix)
    rest = max(0.0, 1 - sum(mix.values()))
    if rest > 0.001 or n > sum(counts.values()):
        counts[REST], wanted[REST] = n - sum(counts.values()), rest
    enough = n >= N_MIN
    rows = [_value(value, counts[value], n, share, enough) for value, share in wanted.items()]
    chi2, p, w = goodness_of_fit(counts, wanted)
    gap = total_variation({v: float(c) for v, c in counts.items()}, wanted) if n else 0.0
    return {
        "category": name, "n": n, "enough": enough, "values": rows, "total_variation": round(gap, 4),
        "chi2": round(chi2, 3), "p": p, "cohens_w": round(w, 4), "sentence": _sentence(n, rows, gap, enough),
    }  # fmt: skip


def _value(value: str, count: int, n: int, wanted: float, enough: bool) -> dict[str, Any]:
    low, high = wilson(count, n)
    off = ""
    if enough and low > RATIO_HIGH * wanted and value != REST:
        off = "more"
    elif enough and high < RATIO_LOW * wanted:
        off = "fewer"
    return {
        "value": value, "count": count, "share": count / n if n else None, "low": low, "high": high,
        "wanted": round(wanted, 4), "off": off,
    }  # fmt: skip


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 or share == 0 else f"{100 * share:.1f} %"


def _sentence(n: int, rows: list[dict[str, Any]], gap: float, enough: bool) -> str:
    if not enough:
        return f"Only {n} labels: too few to compare with the mix that is wanted ({N_MIN} are needed)."
    off = [r for r in rows if r["off"]]
    if not off:
        return f"Of {n:,} labels, no value is clearly more or less frequent than wanted."
    told = ", ".join(
        f"{r['value']} is {_percent(r['share'])} where {_percent(r['wanted'])} are wanted (clearly {r['off']})"
        for r in off
    )
    return f"Of {n:,} labels, {told}. {_percent(gap)} of them would have to be others for the mix to be as wanted."
