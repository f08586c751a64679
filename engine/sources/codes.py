"""What the survey's codes mean, and what they become: the words of a profile.

Values may be codes or labels. Labels in the published files are cut at about 38 characters, so they
are matched by prefix, whatever their case. Religion is never read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import polars as pl

from engine.core.context import Column
from engine.errors import SourceError
from engine.sources.files import clean
from engine.sources.world import world

PERSON_COLUMNS: Final = (
    "hid",
    "relation",
    "sex",
    "age",
    "school_attend",
    "educ_attain",
    "act_status",
    "occupation",
    "industry",
    "hhweight",
    "geo1",
    "urbrur",
    "hhsize",
    "quint_nat",
)
HOME_COLUMNS: Final = ("hid", "geo1", "urbrur", "hhsize", "quint_nat", "hhweight")
FIELDS: Final = (
    "age",
    "age_group",
    "gender",
    "occupation",
    "work",
    "education_level",
    "setting",
    "household_size",
    "household_composition",
    "province",
)
PROFILE_FIELDS: Final = (
    "age_group",
    "gender",
    "occupation",
    "education_level",
    "setting",
    "household_size",
    "household_composition",
    "province",
)
PROFILES_KIND: Final = "table of profiles (the original's columns)"

OCCUPATIONS: Final = {
    1: "legislators, senior officials and managers",
    2: "professionals",
    3: "technicians and associate professionals",
    4: "clerks",
    5: "service workers and shop and market sales workers",
    6: "skilled agricultural and fishery workers",
    7: "crafts and related trades workers",
    8: "plant and machine operators and assemblers",
    9: "elementary occupations",
    10: "armed forces",
    11: "other occupations",
}
_INDUSTRIES: Final = {
    0: "niu",
    1: "agriculture, fishing, and forestry",
    2: "mining and extraction",
    3: "manufacturing",
    4: "electricity, gas, water and waste management",
    5: "construction",
    6: "wholesale and retail trade",
    7: "hotels and restaurants",
    8: "transportation, storage, and communications",
    9: "financial services and insurance",
    10: "public administration and defense",
    11: "business services and real estate",
    12: "education",
    13: "health and social work",
    14: "other services",
    15: "private household services",
    16: "other industry, n.e.c.",
}

LABELS: Final[Mapping[str, Mapping[int, str]]] = {
    "sex": {1: "male", 2: "female"},
    "urbrur": {1: "rural", 2: "urban"},
    "relation": {1: "head", 2: "spouse/partner", 3: "child", 4: "other relative", 5: "non-relative"},
    "school_attend": {
        1: "yes",
        2: "no, never attended",
        3: "no, attended in the past",
        4: "no, not specified if ever attended",
    },
    "educ_attain": {
        0: "niu (not in universe) or no education",
        1: "less than primary",
        2: "primary",
        3: "secondary",
        4: "university",
    },
    "act_status": {0: "niu (not in universe)", 1: "employed", 2: "unemployed", 3: "inactive"},
    "occupation": {0: "not in universe", **OCCUPATIONS},
    "industry": _INDUSTRIES,
    "geo1": {n: f"geo_{n:02d}" for n in range(1, 11)},
    "quint_nat": {1: "poorest", 2: "poor", 3: "average", 4: "rich", 5: "richest"},
}

_WORK_BY_OCCUPATION: Final = {
    1: "manager",
    2: "professional",
    3: "technician",
    4: "clerk",
    5: "service",
    6: "farmer",
    7: "craft",
    8: "operator",
    9: "labourer",
    10: "conscript",
    11: "worker",
}
_WORK_BY_TRADE: Final = {
    (1, 10): "official",
    (2, 12): "teacher",
    (3, 12): "teacher",
    (2, 13): "health",
    (3, 13): "health",
    (2, 10): "official",
    (2, 5): "engineer",
    (2, 2): "engineer",
    (2, 4): "engineer",
    (2, 3): "engineer",
    (2, 8): "software",
    (2, 11): "software",
    (4, 10): "official",
    (5, 6): "shop",
    (5, 10): "guard",
    (5, 13): "health",
    (7, 5): "builder",
    (7, 3): "garment",
    (7, 14): "mechanic",
    (7, 6): "mechanic",
    (8, 8): "driver",
    (8, 6): "driver",
    (9, 15): "domestic",
    (9, 5): "builder",
    (9, 12): "cleaner",
    (9, 13): "cleaner",
    (9, 11): "cleaner",
    (9, 7): "cleaner",
    (9, 1): "farmer",
}

WORK_OF: Final = {
    "service": "service",
    "healthcare": "health",
    "health": "health",
    "agriculture": "farmer",
    "farmer": "farmer",
    "student": "student",
    "retail": "shop",
    "government": "official",
    "technology": "software",
    "unemployed": "jobseeker",
    "manufacturing": "operator",
    "teacher": "teacher",
    "education": "teacher",
    "retired": "pensioner",
    "homemaker": "homemaker",
    "construction": "builder",
    "transport": "driver",
    "fishing": "fisher",
}
"""By the original's occupations."""

_AGE_BANDS: Final = (
    (18, "under 18"),
    (25, "18-24"),
    (35, "25-34"),
    (45, "35-44"),
    (55, "45-54"),
    (65, "55-64"),
    (200, "65+"),
)
_EDUCATION: Final = {0: "none", 1: "less than primary", 2: "primary", 3: "secondary", 4: "university"}
_PLACE_IN_HOME: Final = {1: "head", 2: "spouse or partner", 3: "child", 4: "other relative", 5: "not related"}
_LABELS_MAX: Final = 255


def role(columns: Iterable[str], name: str) -> str:
    """persons, households, profiles or other, by the columns alone. Refuses the French edition."""
    have = {c.strip().lower() for c in columns}
    if {"pond_men", "hid"} <= have or ("pond_men" in have and "urbrur" not in have):
        raise SourceError(
            f"{name} is the French edition (weight pond_men); its codes have other names. "
            "Use the English files, WLD_2023_SYNTH-SVY-…-EN (catalog 5906)"
        )
    if {"age", "sex"} <= have and ({"hid", "idno"} <= have or "urbrur" in have):
        return "persons"
    if {"hid", "geo1", "urbrur"} <= have:
        return "households"
    return "profiles" if len(have & {*PROFILE_FIELDS, "profile_id"}) >= 2 else "other"


def coded(values: pl.Series, name: str, warnings: list[str], file: str) -> pl.Series:
    """A column as small integers, from codes or labels; hid as text, weights as floats."""
    if name == "hid":
        if values.dtype.is_float():
            raise SourceError(
                f"{file}: hid is a number with decimals; it is text, and joining on a rounded one is wrong"
            )
        return values.cast(pl.String).str.strip_chars()
    if name == "hhweight":
        return values.cast(pl.Float64, strict=False)
    labels = LABELS.get(name)
    if not (values.dtype.is_numeric() or values.dtype == pl.Boolean):
        distinct = values.cast(pl.String).unique().drop_nulls().to_list()
        matched = {text: _code(text, labels) for text in distinct}
        if unknown := sorted(text for text, code in matched.items() if code is None and text.strip()):
            warning = f"{file}: column {name} has values that are neither code nor label: {', '.join(unknown[:3])}"
            if warning not in warnings:
                warnings.append(warning)
        values = values.cast(pl.String).replace_strict(matched, default=None, return_dtype=pl.Int64)
    return values.cast(pl.Float64, strict=False).clip(-1, 32_000).cast(pl.Int16, strict=False).alias(name)


def _code(text: str, labels: Mapping[int, str] | None) -> int | None:
    """The code a text stands for: a number, or a label or the beginning of one."""
    text = text.strip().lower()
    try:
        return int(float(text))
    except (ValueError, OverflowError):
        pass
    if labels is None or not text:
        return None
    exact = [code for code, label in labels.items() if label == text]
    begun = (
        [c for c, label in labels.items() if label.startswith(text) or text.startswith(label)] if len(text) > 2 else []
    )
    return (
        exact[0]
        if exact
        else begun[0]
        if len(begun) == 1
        else 0
        if text.startswith(("niu", "not in universe"))
        else None
    )


def told(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with the words of a profile beside its codes, as far as the codes go."""
    have = set(frame.columns)
    age = pl.col("age")
    band = pl.lit("65+")
    for below, name in reversed(_AGE_BANDS[:-1]):
        band = pl.when(age < below).then(pl.lit(name)).otherwise(band)
    out = [
        pl.when(age.is_null()).then(None).otherwise(band).alias("age_group"),
        _words("sex", LABELS["sex"]).alias("gender"),
    ]
    if {"occupation", "act_status"} <= have:
        out += [_occupation(have).alias("occupation_"), _work(have).alias("work")]
    if "educ_attain" in have:
        out.append(_words("educ_attain", _EDUCATION).alias("education_level"))
    if "urbrur" in have:
        out.append(_words("urbrur", LABELS["urbrur"]).alias("setting"))
    if "geo1" in have:
        out.append(_words("geo1", {n: p.name for n, p in enumerate(world().provinces, 1)}).alias("province"))
    if "hhsize" in have:
        out.append(pl.col("hhsize").clip(1, 40).alias("household_size"))
    if {"relation", "hhsize"} <= have:
        alone = pl.when(pl.col("hhsize") == 1).then(pl.lit("single person"))
        out.append(alone.otherwise(_words("relation", _PLACE_IN_HOME)).alias("household_composition"))
    frame = frame.with_columns(out).with_columns(age.clip(0, 120))
    drop = [c for c in ("occupation",) if c in have]
    return frame.drop(drop).rename({"occupation_": "occupation"}, strict=False)


def _words(name: str, words: Mapping[int, str]) -> pl.Expr:
    return pl.col(name).replace_strict(dict(words), default=None, return_dtype=pl.String)


def _status(have: set[str]) -> tuple[pl.Expr, pl.Expr, pl.Expr, pl.Expr]:
    """Whether somebody studies, works, seeks work, keeps a home."""
    works = pl.col("act_status") == 1
    studies = (pl.col("school_attend") == 1) & ~works if "school_attend" in have else pl.lit(False)
    keeps = (pl.col("relation") == 2) & (pl.col("act_status") == 3) if "relation" in have else pl.lit(False)
    return studies, works, pl.col("act_status") == 2, keeps


def _occupation(have: set[str]) -> pl.Expr:
    studies, works, seeks, keeps = _status(have)
    return (
        pl.when(works)
        .then(_words("occupation", OCCUPATIONS))
        .when(studies)
        .then(pl.lit("student"))
        .when(seeks)
        .then(pl.lit("unemployed"))
        .when(pl.col("age") >= 62)
        .then(pl.lit("retired"))
        .when(keeps)
        .then(pl.lit("homemaker"))
        .otherwise(pl.lit("not in the labour force"))
    )


def _work(have: set[str]) -> pl.Expr:
    studies, works, seeks, keeps = _status(have)
    by_occupation = _words("occupation", _WORK_BY_OCCUPATION)
    if "industry" in have:
        trade = pl.col("occupation").cast(pl.Int32) * 100 + pl.col("industry").fill_null(0)
        known = trade.replace_strict(
            {o * 100 + n: w for (o, n), w in _WORK_BY_TRADE.items()}, default=None, return_dtype=pl.String
        )
        by_occupation = pl.coalesce(known, by_occupation)
    return (
        pl.when(works)
        .then(by_occupation.fill_null("worker"))
        .when(studies)
        .then(pl.lit("student"))
        .when(seeks)
        .then(pl.lit("jobseeker"))
        .when(pl.col("age") >= 62)
        .then(pl.lit("pensioner"))
        .when(keeps)
        .then(pl.lit("homemaker"))
        .otherwise(pl.lit("resident"))
    )


def tidy(values: pl.Series, name: str, file: Path) -> pl.Series:
    """A column of a table of profiles: clean text, empty as null, household size as a number."""
    text = values.cast(pl.String)
    distinct = [v for v in text.unique().to_list() if v is not None]
    if len(distinct) > _LABELS_MAX:
        raise SourceError(
            f"{file}: column {name} has {len(distinct)} different values; at most {_LABELS_MAX} are read. Group them"
        )
    text = text.replace_strict({v: clean(v)[:80] or None for v in distinct}, default=None, return_dtype=pl.String)
    if name == "household_size":
        return text.cast(pl.Float64, strict=False).clip(1, 40).cast(pl.Int16, strict=False)
    if name == "gender":
        return text.str.to_lowercase().replace({"f": "female", "woman": "female", "m": "male", "man": "male"})
    return text


def column(values: pl.Series, name: str) -> Column:
    """One byte per person and the labels the bytes stand for; null gets a label of None."""
    labels = values.drop_nulls().unique().sort().to_list()
    if len(labels) > _LABELS_MAX:
        raise SourceError(f"column {name} has {len(labels)} different values; at most {_LABELS_MAX} are read")
    index = {label: n for n, label in enumerate(labels)}
    numbers = (
        values.replace_strict(index, default=len(labels), return_dtype=pl.UInt8)
        if labels
        else pl.Series([0] * len(values), dtype=pl.UInt8)
    )
    return Column(numbers.fill_null(len(labels)).to_numpy().tobytes(), (*labels, None))
