"""Who was asked for, who is described, who is refused: numbers with their uncertainty and a plain sentence.

Nothing is inferred from pixels. What prompts asked for is compared with what captions say was drawn, and
groups are compared with each other. Every finding has its sample size and its method; nothing is claimed of
a group with fewer than `N_MIN` images, and of many comparisons only those stand that survive control of the
false discovery rate at 5 %.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import special

from engine.qa.answers import normal_label
from engine.qa.by_image import KEY, by_image
from engine.qa.languages import reads_english
from engine.qa.marks import DESCRIBED, said
from engine.qa.numbers import cramers_v, discoveries, goodness_of_fit, jensen_shannon, log_odds, total_variation, wilson
from engine.qa.parts import each, totals
from engine.qa.statistics import LABELLED
from engine.qa.tables import OK, Tables, slug
from engine.qa.texts import STOP_WORDS, WORD
from schemas.config import RunConfig
from schemas.metadata import VOCABULARY

N_MIN = 30
RATIO_LOW, RATIO_HIGH = 0.8, 1.25
PUBLISHED: dict[str, dict[str, float]] = {
    "gender": {"female": 0.509, "male": 0.491},
    "age": {"young": 0.446, "middle": 0.361, "older": 0.193},
    "area": {"urban": 0.543, "rural": 0.457},
}
"""Weighted shares of adults in the World Bank's synthetic survey (WLD_2023_SYNTH-SVY-EN_v01_M), from its documentation:
young up to 34, older from 55. A reference, not a target."""
V_NOTABLE = 0.1
WORD_COUNT_MIN = 10
WORDS_IMAGES = 200_000
"""Among so many images a word that goes with a group shows; more would only take longer."""
TERMS_SHOWN = 12
GROUPS = ("gender", "age_group", "area", "education_level", "occupation")
_AGE = {"18-24": "young", "25-34": "young", "35-44": "middle", "45-54": "middle", "55-64": "older", "65+": "older",
        "65-74": "older", "75+": "older"}  # fmt: skip


def _described(tables: Tables) -> pl.DataFrame:
    """What was asked for, which words captions have, and of how many images (`n`) both is so. No text is read."""
    marks = [f"{dimension}:{group}" for dimension, groups in DESCRIBED.items() for group in groups]
    people = ("age_group", "area", "women_asked", "men_asked")
    area = pl.col("area").str.to_lowercase().cast(pl.Categorical)
    asked = by_image(
        tables.prompts,
        lambda rows: rows.filter(OK).select(KEY, pl.col("age_group").cast(pl.Categorical), area, *people[2:]),
    )
    told = pl.col("for_caption") & pl.col("has_caption")
    said_of = [said(mark).alias(mark) for mark in marks]
    counted = [
        asked.beside(some).group_by(*people, *marks).agg(n=pl.len().cast(pl.Int64))
        for some in each(tables.metadata, lambda rows: rows.filter(told).select(KEY, *said_of))
    ]
    both = pl.concat(counted).with_columns(pl.col("age_group", "area").cast(pl.String))
    return both.group_by(*people, *marks).agg(pl.col("n").sum())


def _n(rows: pl.DataFrame, of: str | None = None) -> int:
    """How many images these are; or how many `of` a mark, or of a number of people, there are on them."""
    return int(rows["n"].sum() if of is None else rows.select((pl.col(of).cast(pl.Int64) * pl.col("n")).sum()).item())


def _percent(x: float) -> str:
    return f"{100 * x:.0f} %" if x >= 0.1 or x == 0 else f"{100 * x:.1f} %"


def fidelity(seen: pl.DataFrame) -> list[dict[str, Any]]:
    """Of images asked to show a group: how often the caption says so, says another, says nothing; and leaks."""
    asked_for = {
        "gender": {
            "female": (pl.col("women_asked") > 0) & (pl.col("men_asked") == 0),
            "male": (pl.col("men_asked") > 0) & (pl.col("women_asked") == 0),
        },
        "age": {g: pl.col("age_group").replace_strict(_AGE, default=None) == g for g in ("young", "middle", "older")},
        "area": {g: pl.col("area") == g for g in ("urban", "rural")},
    }
    out: list[dict[str, Any]] = []
    for dimension, groups in asked_for.items():
        for group, asked in groups.items():
            some = seen.filter(asked.fill_null(False))
            n = _n(some)
            own = _n(some, f"{dimension}:{group}")
            others = [f"{dimension}:{g}" for g in groups if g != group]
            other = _n(some.filter(~pl.col(f"{dimension}:{group}") & pl.any_horizontal(others)))
            low, high = wilson(own, n)
            row: dict[str, Any] = {
                "dimension": dimension, "group": group, "n": n, "said": own, "said_other_only": other,
                "said_nothing": n - own - other, "rate": own / n if n else None, "low": low, "high": high,
                "enough": n >= N_MIN,
            }  # fmt: skip
            row["sentence"] = (
                f"Of {n:,} images asked to show {group} ({dimension}), {_percent(own / n)} of captions say so "
                f"(95 % interval {_percent(low)} to {_percent(high)}); {_percent(other / n)} name only another group, "
                f"{_percent((n - own - other) / n)} name none."
                if n >= N_MIN
                else f"Only {n} images were asked to show {group} ({dimension}) alone: too few to say anything."
            )
            out.append(row)
    return out


def representation(seen: pl.DataFrame) -> list[dict[str, Any]]:
    """Share of women and men asked for against the share that captions mention: ratio, interval, distances."""
    out: list[dict[str, Any]] = []
    people = {"female": _n(seen, "women_asked"), "male": _n(seen, "men_asked")}
    ages = seen.group_by(pl.col("age_group").replace_strict(_AGE, default=None)).agg(pl.col("n").sum())
    areas = seen.group_by("area").agg(pl.col("n").sum())
    asked: dict[str, dict[str, int]] = {
        "gender": people,
        "age": {str(g): int(n) for g, n in ages.iter_rows() if g},
        "area": {str(g): int(n) for g, n in areas.iter_rows() if g in DESCRIBED["area"]},
    }
    for dimension, groups in DESCRIBED.items():
        said = {g: _n(seen, f"{dimension}:{g}") for g in groups}
        n, total = sum(said.values()), sum(asked[dimension].values())
        if not total:
            continue
        target = {g: asked[dimension].get(g, 0) / total for g in groups}
        chi2, p, w = goodness_of_fit(said, target)
        rows: list[dict[str, Any]] = []
        for g in groups:
            low, high = wilson(said[g], n)
            q = target[g]
            rows.append(
                {
                    "group": g, "asked_share": q, "published_share": PUBLISHED[dimension].get(g),
                    "said": said[g], "said_share": said[g] / n if n else None,
                    "ratio": said[g] / n / q if n and q else None, "low": low / q if q else None,
                    "high": high / q if q else None,
                    "outside": bool(n >= N_MIN and q and (high / q < RATIO_LOW or low / q > RATIO_HIGH)),
                }
            )  # fmt: skip
        shares = {g: float(c) for g, c in said.items()}
        gap = total_variation(shares, target) if n else 0.0
        odd = [r for r in rows if r["outside"]]
        sentence = (
            f"Captions mention these groups {f'only {n} times' if n else 'nowhere'}: too few to compare with what was "
            "asked."
            if n < N_MIN
            else f"Of {n:,} mentions in captions, "
            + ", ".join(
                f"{_percent(r['said_share'])} are {r['group']} (asked {_percent(r['asked_share'])})" for r in rows
            )
            + (
                ". Clearly off what was asked: " + ", ".join(str(r["group"]) for r in odd) + "."
                if odd
                else ". No group is clearly off what was asked."
            )
        )
        out.append(
            {
                "dimension": dimension, "n": n, "asked_n": total, "groups": rows, "total_variation": round(gap, 4),
                "jensen_shannon": round(jensen_shannon(shares, target), 4) if n else None,
                "chi2": round(chi2, 3), "p": p, "cohens_w": round(w, 4), "enough": n >= N_MIN, "sentence": sentence,
            }
        )  # fmt: skip
    return out


def associations(tables: Tables, config: RunConfig) -> list[dict[str, Any]]:
    """Do labels depend on who was asked for? Cramer's V for each pair of group and category."""
    names = [
        c for c in config.metadata.label_categories if c in VOCABULARY and c not in {"informational", "illustrations"}
    ]
    if not names:
        return []
    found: list[dict[str, Any]] = []
    for (group, category), counts in _cross_counts(tables, names).items():
        wide = counts.pivot("label", index="group", values="len").fill_null(0).sort("group")
        table = wide.drop("group").to_numpy().astype(float)
        enough = table.sum(1) >= N_MIN if table.size else np.zeros(0, bool)
        if enough.sum() < 2:
            continue
        v, p = cramers_v(table[enough])
        found.append(
            {"group": group, "category": category, "n": int(table[enough].sum()), "v": round(v, 4), "p": p,
             "levels": int(enough.sum())}
        )  # fmt: skip
    for row, stands in zip(found, discoveries([r["p"] for r in found]), strict=True):
        row["stands"] = stands and row["v"] >= V_NOTABLE
        strength = "strongly" if row["v"] >= 0.5 else "moderately" if row["v"] >= 0.3 else "weakly"
        row["sentence"] = (
            f"{row['category']} depends {strength} on the {row['group']} asked for "
            f"(V = {row['v']:.2f}, n = {row['n']:,})."
            if row["stands"]
            else f"No notable dependence of {row['category']} on {row['group']} (V = {row['v']:.2f}, n = {row['n']:,})."
        )
    return sorted(found, key=lambda r: (-r["stands"], -r["v"]))


def _cross_counts(tables: Tables, categories: list[str]) -> dict[tuple[str, str], pl.DataFrame]:
    """For each group asked for and category of labels: how many images (`len`) have a `group` and a `label`."""
    asked = by_image(
        tables.prompts,
        lambda rows: rows.filter(OK).select(KEY, *[pl.col(group).cast(pl.Categorical) for group in GROUPS]),
    )
    labels = [normal_label(pl.col("label").struct.field(slug(c))).alias(f"label:{c}") for c in categories]
    pairs = [(group, category) for group in GROUPS for category in categories]
    counts: dict[tuple[str, str], list[pl.DataFrame]] = {pair: [] for pair in pairs}
    for some in each(tables.metadata, lambda rows: rows.filter(LABELLED).select(KEY, *labels)):
        both = asked.beside(some)
        codes = {name: _coded(both[name]) for name in both.columns}
        for group, category in pairs:
            (a, groups), (b, values) = codes[group], codes[f"label:{category}"]
            # What is null has the code after the last, and is left out.
            table = np.bincount(a * (len(values) + 1) + b, minlength=(len(groups) + 1) * (len(values) + 1))
            table = table.reshape(len(groups) + 1, -1)[:-1, :-1]
            i, j = np.nonzero(table)
            counts[group, category].append(
                pl.DataFrame({"group": groups.gather(i), "label": values.gather(j), "len": table[i, j]})
            )
    return {
        pair: pl.concat(found).group_by("group", "label").agg(pl.col("len").sum()).sort("group", "label")
        for pair, found in counts.items()
    }


def _coded(values: pl.Series) -> tuple[NDArray[np.int64], pl.Series]:
    """Values as numbers of the distinct ones; null as how many these are."""
    texts = values.cast(pl.String)
    distinct = texts.drop_nulls().unique().sort()
    codes = texts.cast(pl.Enum(distinct)).to_physical().cast(pl.Int64).fill_null(len(distinct))
    return codes.to_numpy(), distinct


def _word_counts(tables: Tables, sides: dict[str, pl.Expr]) -> tuple[pl.DataFrame, dict[str, int]]:
    """In how many images' captions each word is, by side, and how many images each side has.

    Of more than `WORDS_IMAGES` images as many are drawn, by a hash of their ids.
    """
    images = pl.scan_parquet(tables.prompts).filter(OK).select(pl.len()).collect().item()
    drawn = pl.lit(True) if images <= WORDS_IMAGES else pl.col("key") < int(2**64 * WORDS_IMAGES / images)
    told = {name: side.fill_null(False) for name, side in sides.items()}
    some = by_image(
        tables.prompts,
        lambda rows: rows.filter(OK).select(KEY, **told).filter(drawn & pl.any_horizontal(*sides)),
    )

    def words(rows: pl.DataFrame) -> pl.DataFrame:
        # Each word counts once for an image: one talkative caption is not evidence.
        word = pl.col("caption").str.to_lowercase().str.extract_all(WORD).list.unique()
        spread = some.beside(rows).select(*sides, word=word).explode("word")
        return spread.filter(pl.col("word").str.len_chars() > 2).group_by("word").agg(pl.col(*sides).sum())

    captions = each(tables.metadata, lambda rows: rows.filter("for_caption").select(KEY, "caption"))
    counted = totals((words(rows) for rows in captions), "word")
    counted = counted.filter(~pl.col("word").is_in(list(STOP_WORDS)))
    return counted, {name: int(some.columns[name].sum()) for name in sides}


def stereotypes(tables: Tables) -> list[dict[str, Any]]:
    """Words that captions use more for one group than for the other: log-odds with a Dirichlet prior."""
    age = pl.col("age_group").replace_strict(_AGE, default=None)
    women, men, area = pl.col("women_asked"), pl.col("men_asked"), pl.col("area").str.to_lowercase()
    contrasts: list[tuple[str, tuple[str, str], tuple[pl.Expr, pl.Expr]]] = [
        # Mixed crowds count for the side that has the majority.
        ("gender", ("mostly women", "mostly men"), (women > men, men > women)),
        ("age", ("young", "older"), (age == "young", age == "older")),
        ("area", ("urban", "rural"), (area == "urban", area == "rural")),
    ]
    sides = {f"{dimension}:{i}": side for dimension, _, pair in contrasts for i, side in enumerate(pair)}
    every, sizes = _word_counts(tables, sides)
    out: list[dict[str, Any]] = []
    for dimension, (one, other), _ in contrasts:
        n_left, n_right = sizes[f"{dimension}:0"], sizes[f"{dimension}:1"]
        counted = every.select("word", left=f"{dimension}:0", right=f"{dimension}:1")
        counted = counted.filter(pl.col("left") + pl.col("right") > 0)
        # The words that name the groups are what was asked for, not what goes with it.
        naming = "|".join(DESCRIBED[dimension].values())
        counted = counted.filter(~pl.col("word").str.contains(naming))
        row: dict[str, Any] = {"left": one, "right": other, "n_left": n_left, "n_right": n_right, "terms": []}
        common = counted.filter(pl.col("left") + pl.col("right") >= WORD_COUNT_MIN)
        if min(n_left, n_right) < N_MIN or not common.height:
            row["sentence"] = f"{n_left} images of {one}, {n_right} of {other} alone: too few to compare their words."
            out.append(row)
            continue
        a, b = common["left"].to_numpy().astype(float), common["right"].to_numpy().astype(float)
        prior = (a + b) / (a + b).sum() * 500
        delta, z = log_odds(a, b, prior)
        stand = discoveries([float(p) for p in 2 * special.ndtr(-np.abs(z))])
        terms: list[dict[str, Any]] = [
            {"word": str(w), "z": round(float(z_), 2), "log_odds": round(float(d), 3), "left": int(x), "right": int(y)}
            for w, z_, d, x, y, s in zip(common["word"], z, delta, a, b, stand, strict=True)
            if s
        ]
        terms.sort(key=lambda t: -abs(t["z"]))
        row["terms"] = terms[: 2 * TERMS_SHOWN]
        row["compared"] = common.height
        of = {one: [t["word"] for t in terms if t["z"] > 0][:4], other: [t["word"] for t in terms if t["z"] < 0][:4]}
        where = f" in captions of {n_left:,} images of {one} and {n_right:,} of {other}"
        told = [f"{name}: {', '.join(words)}" for name, words in of.items() if words]
        row["sentence"] = (
            f"Of {common.height:,} words{where}, {len(terms)} are used clearly more for one side. {'; '.join(told)}."
            if terms
            else f"Of {common.height:,} words{where}, none is used clearly more for {one} or {other}."
        )
        out.append(row)
    return out


def refused_groups(tables: Tables) -> list[dict[str, Any]]:
    """Are prompts with some groups refused more often than with others?"""
    out: list[dict[str, Any]] = []
    prompts = pl.scan_parquet(tables.prompts)
    for group in (*GROUPS, "theme"):
        counted = (
            prompts.filter(pl.col(group).is_not_null())
            .group_by(group)
            .agg(n=pl.len(), refused=(pl.col("status") == "refused").sum())
            .filter(pl.col("n") >= N_MIN)
            .collect(engine="streaming")
            .sort(group)
        )
        if counted.height < 2 or not counted["refused"].sum():
            continue
        n, refused = counted["n"].to_numpy().astype(float), counted["refused"].to_numpy().astype(float)
        v, p = cramers_v(np.stack([refused, n - refused], axis=1))
        rows: list[dict[str, Any]] = []
        for value, size, hits in counted.iter_rows():
            low, high = wilson(hits, size)
            rows.append({"group": value, "n": size, "refused": hits, "rate": hits / size, "low": low, "high": high})
        out.append({"by": group, "groups": rows, "v": round(v, 4), "p": p, "n": int(n.sum())})
    for row, stands in zip(out, discoveries([r["p"] for r in out]), strict=True):
        worst = max(row["groups"], key=lambda r: r["rate"])
        overall = sum(r["refused"] for r in row["groups"]) / row["n"]
        row["stands"] = stands and (row["v"] >= V_NOTABLE or worst["low"] > RATIO_HIGH * overall)
        row["sentence"] = (
            f"Refusals differ by {row['by']} (V = {row['v']:.2f}); most for {worst['group']}: "
            f"{_percent(worst['rate'])} of {worst['n']:,} ({_percent(worst['low'])} to {_percent(worst['high'])})."
            if row["stands"]
            else f"No notable difference in refusals by {row['by']} (V = {row['v']:.2f}, n = {row['n']:,})."
        )
    return out


def all_bias(tables: Tables, config: RunConfig) -> dict[str, Any]:
    """The `bias` member of the report."""
    seen = _described(tables)
    english = reads_english(config.metadata.language)
    return {
        "n_min": N_MIN,
        "images_with_caption": _n(seen),
        "representation": representation(seen) if english else [],
        "fidelity": fidelity(seen) if english else [],
        "associations": associations(tables, config),
        "stereotypes": stereotypes(tables),
        "refusals": refused_groups(tables),
        "method": (
            "Requested people (prompts) against words in captions; nothing is inferred from pixels. Wilson 95 % "
            "intervals; ratios outside 0.8 to 1.25 flagged only when the whole interval is; Cramer's V bias-corrected; "
            f"log-odds with an informative Dirichlet prior over at most {WORDS_IMAGES:,} images; "
            "false discovery rate 5 % (Benjamini-Hochberg); "
            f"nothing claimed under {N_MIN} images."
        ),
    }
