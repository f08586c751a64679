"""What the set is made of: labels, texts, costs, times, refusals. Polars queries over the tables of a pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from engine.qa.answers import normal_label
from engine.qa.by_image import KEY, by_image
from engine.qa.money import money
from engine.qa.near_texts import NEAR_TEXTS_MAX, keep_near, near_texts
from engine.qa.numbers import balance, entropy, total_variation, wilson
from engine.qa.parts import TOTALS_WAITING, each, totals
from engine.qa.tables import OK, REDO, Tables, slug
from engine.qa.targets import target_mix
from engine.qa.texts import (
    Texts,
    how_many,
    lengths,
    repeated,
    sample_texts,
    sampled,
    sizes,
    top_words,
    variety,
)
from schemas.config import RunConfig
from schemas.metadata import VOCABULARY

VALUES_SHOWN = 20
LABELLED = pl.col("for_labels") & pl.col("has_labels")
ASKED_AS_LABEL = {
    "urban_city_center": "city_centre",
    "town_square": "square",
    "university_campus": "campus",
    "government_building": "government_building",
    "public_park": "park",
    "street_march": "street",
    "online comments": "digital",
    "digital posts": "digital",
}
"""Settings as prompts ask for them, as labels name them."""
REFERENCE = {
    "crowd of more than 20": ("crowd_size", ("21-100", "101-1000", ">1000"), 0.730),
    "crowd of more than 100": ("crowd_size", ("101-1000", ">1000"), 0.252),
    "at night": ("time_of_day", ("night",), 0.085),
    "with a sign or banner": ("sign", ("yes",), 0.829),
    "with a portrait photo": ("photo", ("yes",), 0.037),
    "with fire or smoke": ("fire", ("yes",), 0.057),
    "with police": ("police", ("yes",), 0.068),
    "with children": ("children", ("yes",), 0.030),
    "with a flag": ("flag", ("yes",), 0.083),
    "people shouting": ("shouting", ("yes",), 0.047),
}
"""Shares among the protest images of the UCLA Protest Image Dataset (Won et al. 2017). A reference, not a target."""


def _label_counts(tables: Tables, categories: Sequence[str]) -> dict[str, pl.DataFrame]:
    """How often each value stands in each category, as answered; a list counts once for each entry, blanks do not."""
    names = [slug(c) for c in categories]
    members = [pl.col("label").struct.field(name).alias(name) for name in names]
    waiting: dict[str, list[pl.DataFrame]] = {name: [] for name in names}
    # A list ("primary_subjects", here as JSON text) counts once for each entry.
    entries = pl.col("v").str.replace_all(r'"\s*,\s*"', "\x1f").str.strip_chars('[]"').str.split("\x1f")
    value = normal_label(pl.col("v"))

    def counted(rows: pl.DataFrame, name: str) -> pl.DataFrame:
        some = rows.group_by(v=name).len().select("len", v=entries).explode("v").select("len", v=value)
        return some.filter(pl.col("v").str.len_chars() > 0).group_by("v").agg(pl.col("len").sum())

    for some in each(tables.metadata, lambda rows: rows.filter(LABELLED).select(members)) if names else ():
        for name, found in waiting.items():
            found.append(counted(some, name))
            if sum(frame.height for frame in found[1:]) > TOTALS_WAITING:
                found[:] = [totals(found, "v")]
    return {c: totals(waiting[name], "v") for c, name in zip(categories, names, strict=True) if waiting[name]}


def label_statistics(tables: Tables, config: RunConfig) -> dict[str, Any]:
    """Counts, entropy and balance per category, against the vocabulary and what was asked for."""
    answers = _label_counts(tables, config.metadata.label_categories)
    nothing = pl.DataFrame(schema={"v": pl.String(), "len": pl.UInt32()})
    out: dict[str, Any] = {}
    for category in config.metadata.label_categories:
        entries = answers.get(category, nothing).sort(["len", "v"], descending=[True, False])
        known = VOCABULARY.get(category)
        wanted = config.qa.targets.get(category, {})
        vocabulary = [v.lower() for v in known or ()]
        named = entries.filter(pl.col("v").is_in([*vocabulary, *wanted]))
        # There may be as many values as images: only those that can be shown become objects of Python.
        top: dict[str, int] = dict(
            pl.concat([entries.head(VALUES_SHOWN), named]).unique(maintain_order=True).iter_rows()
        )
        values = sorted({**dict.fromkeys(vocabulary, 0), **top}.items(), key=lambda kv: -kv[1])
        often = entries["len"].to_list()
        total, bits = sum(often), entropy(often)
        shown = [[v, n] for i, (v, n) in enumerate(values) if i < VALUES_SHOWN or v in wanted]
        unknown = entries.filter(~pl.col("v").is_in(vocabulary))["len"].to_list()
        every = [top.get(v, 0) for v in dict.fromkeys(vocabulary)] + unknown
        out[category] = {
            "n": total,
            "values": shown,
            "others": total - sum(top.get(str(v), 0) for v, _ in shown),
            "distinct": entries.height,
            "entropy_bits": round(bits, 4),
            "effective_classes": round(2**bits, 2),
            "balance": round(balance(every), 4) if known else None,
            "vocabulary": list(known) if known else None,
        }
    return out


def reference_rates(labels: dict[str, Any]) -> list[dict[str, Any]]:
    """Shares beside those of photographs of real protests."""
    out: list[dict[str, Any]] = []
    for name, (category, values, rate) in REFERENCE.items():
        if category in labels and labels[category]["n"]:
            counts = dict(labels[category]["values"])
            hits, n = sum(counts.get(v, 0) for v in values), labels[category]["n"]
            low, high = wilson(hits, n)
            out.append({"name": name, "n": n, "share": hits / n, "low": low, "high": high, "reference": rate})
    return out


def asked_mix(tables: Tables) -> dict[str, Any]:
    """Settings asked for beside settings labelled: both mixes, how far apart, how often the label agrees."""
    schema = pl.scan_parquet(tables.metadata).collect_schema()
    label = schema.get("label")
    if not isinstance(label, pl.Struct) or "setting" not in [f.name for f in label.fields]:
        return {}
    setting = pl.col("asked_setting").replace(ASKED_AS_LABEL).str.to_lowercase()
    known = setting.is_in(list(set(ASKED_AS_LABEL.values())))
    asked = by_image(
        tables.prompts,
        lambda rows: rows.filter(OK).select(KEY, asked=pl.when(known).then(setting).cast(pl.Categorical)),
    )
    seen = normal_label(pl.col("label").struct.field("setting"))
    counted = [
        asked.beside(some).drop_nulls().group_by("asked", "seen").len()
        for some in each(tables.metadata, lambda rows: rows.filter("for_labels").select(KEY, seen=seen))
    ]
    pairs = (
        pl.concat(counted)
        .with_columns(pl.col("asked").cast(pl.String))
        .group_by("asked", "seen")
        .agg(pl.col("len").sum())
        .sort("asked", "seen")
    )
    if not pairs.height:
        return {}
    rows = [(str(a), str(s), int(n)) for a, s, n in pairs.iter_rows()]
    want: dict[str, float] = {}
    got: dict[str, float] = {}
    for a, s, n in rows:
        want[a] = want.get(a, 0) + n
        got[s] = got.get(s, 0) + n
    total, agree = sum(n for *_, n in rows), sum(n for a, s, n in rows if a == s)
    low, high = wilson(agree, total)
    return {
        "n": total, "asked": want, "labelled": got, "total_variation": round(total_variation(want, got), 4),
        "agreement": agree / total, "low": low, "high": high,
    }  # fmt: skip


def text_statistics(tables: Tables, seed: int) -> dict[str, Any]:
    """Lengths, words and variety of captions and comments, repeated and nearly repeated captions and prompts."""
    metadata, prompts = tables.metadata, tables.prompts
    kinds = {
        "captions": Texts(
            metadata, lambda rows: rows.filter("for_caption").select("image_id", text="caption", size="caption_size")
        ),
        "comments": Texts(
            metadata,
            lambda rows: (
                rows.filter("for_comments").select(text="comments", size="comment_sizes").explode("text", "size")
            ),
        ),
        "prompts": Texts(prompts, lambda rows: rows.filter(OK).select("image_id", text="prompt", size="prompt_size")),
    }
    out: dict[str, Any] = {}
    for name, texts in kinds.items():
        measured = sizes(texts)
        n = measured.height
        out[name] = {
            "lengths": lengths(measured),
            "words": top_words(texts, measured, seed) if name != "prompts" else None,
            "variety": variety(sample_texts(texts, n, seed)),
            "repeated": repeated(measured),
        }
        if name != "comments":
            found = near_texts(sampled(texts.lazy(), n, seed, NEAR_TEXTS_MAX), "text")
            keep_near(found, name, tables.near_texts)
            near = found.filter(pl.col("jaccard") < 1)
            out[name]["compared"] = how_many(measured, seed, NEAR_TEXTS_MAX)
            out[name]["nearly_repeated"] = near.height
            out[name]["near_examples"] = near.head(5).rows()
    return out


def cost_and_time(tables: Tables) -> list[dict[str, Any]]:
    """Per stage and model: calls by outcome, money, seconds, tokens."""
    calls = pl.col("error").ne_missing(REDO)  # the others ask again
    status, of = pl.col("status"), ["stage", "model"]
    counted = each(
        tables.attempts,
        lambda rows: (
            rows.filter(calls)
            .group_by(of)
            .agg(
                calls=pl.len(),
                ok=(status == "ok").sum(),
                refused=(status == "refused").sum(),
                failed=(status == "failed").sum(),
                retried=(status == "retry").sum(),
                cost_usd=pl.col("cost_usd").sum(),
                cost_unknown=pl.col("cost_usd").is_null().sum(),
                tokens=pl.col("tokens").sum(),
                first=pl.col("generated_at").min(),
                last=pl.col("generated_at").max(),
                seconds=pl.col("latency_s").filter(status == "ok").drop_nulls(),
            )
        ),
    )
    parts, seconds = pl.concat(counted), pl.col("seconds").explode()
    timed = parts.filter(pl.col("seconds").list.len() > 0)
    times = timed.group_by(of).agg(p50=seconds.quantile(0.5), p95=seconds.quantile(0.95))
    first, last = pl.col("first").min(), pl.col("last").max()
    rows = parts.group_by(of).agg(pl.exclude(*of, "seconds", "first", "last").sum(), first=first, last=last)
    rows = rows.join(times, on=of, how="left", nulls_equal=True).sort(of)
    return rows.select(*of, pl.exclude(*of, "first", "last"), "first", "last").to_dicts()


def errors(tables: Tables) -> list[dict[str, Any]]:
    """What calls ended in, where they did not end well."""
    return (
        pl.scan_parquet(tables.attempts)
        .filter(pl.col("error").is_not_null() & (pl.col("error") != REDO))
        .group_by("stage", "error", "status")
        .len("count")
        .sort(["count", "stage", "error"], descending=[True, False, False])
        .collect(engine="streaming")
        .to_dicts()
    )


def refusals(tables: Tables, columns: Sequence[str] = ("theme", "form")) -> dict[str, list[dict[str, Any]]]:
    """Share of settled images that were refused, by theme and form, with 95 % intervals."""
    prompts = pl.scan_parquet(tables.prompts)
    out: dict[str, list[dict[str, Any]]] = {}
    for column in columns:
        counted = (
            prompts.filter(pl.col(column).is_not_null())
            .group_by(column)
            .agg(n=pl.len(), refused=(pl.col("status") == "refused").sum())
            .collect(engine="streaming")
            .sort(["refused", "n", column], descending=[True, True, False])
        )
        rows: list[dict[str, Any]] = []
        for value, n, refused in counted.head(VALUES_SHOWN).iter_rows():
            low, high = wilson(refused, n)
            rows.append({"value": value, "n": n, "refused": refused, "rate": refused / n, "low": low, "high": high})
        out[column] = rows
    return out


def all_statistics(tables: Tables, config: RunConfig, seed: int) -> dict[str, Any]:
    """The `statistics` member of the report."""
    labels = label_statistics(tables, config)
    cost = cost_and_time(tables)
    return {
        "labels": labels,
        "targets": target_mix(labels, config.qa.targets),
        "reference": reference_rates(labels),
        "asked_mix": asked_mix(tables),
        "texts": text_statistics(tables, seed),
        "cost": cost,
        "money": money(pl.scan_parquet(tables.prompts), cost, config),
        "errors": errors(tables),
        "refusals": refusals(tables),
    }
