"""The parts of the page that show numbers: labels, texts, representation, review, cost, method."""

from __future__ import annotations

from typing import Any

from engine.qa.charts import bars, curve, histogram, intervals, legend, number, percent
from engine.qa.markup import Safe, join, shorten, tag
from engine.qa.model import QAReport
from engine.qa.money import money_part
from engine.qa.texts import TOKEN_BUDGET

WORDS_SHOWN = 40
VALUES_SHOWN = 12
LABEL_CHARS = 40
_ENDED = {"retry": ", tried again", "failed": ", given up"}
ASSOCIATIONS_SHOWN = 8


def labels_section(report: QAReport) -> Safe | None:
    """A chart per category, shares beside reference rates, and settings asked for against settings labelled."""
    labels: dict[str, Any] = report.statistics["labels"]
    told = {name: c for name, c in labels.items() if c["n"]}
    if not told:
        return None
    cards: list[Safe] = []
    wanted = {t["category"]: t for t in report.statistics["targets"]}
    for name, c in told.items():
        if name in wanted and wanted[name]["enough"]:
            cards.append(_beside_target(wanted[name]))
            continue
        shown = c["values"][:VALUES_SHOWN]
        others = c["n"] - sum(n for _, n in shown)
        rows = [(_shown(v, c), float(n), f"{percent(n / c['n'])}") for v, n in shown]
        if others > 0:
            rows.append((f"{c['distinct'] - len(shown):,} others", float(others), percent(others / c["n"])))
        values = "1 value" if c["distinct"] == 1 else f"{c['distinct']:,} values"
        even = f"balance {abs(c['balance']):.2f}" if c["balance"] is not None else values
        note = f"{number(c['n'])} labels · {even} · {c['effective_classes']:g} effective classes"
        few = tag("p", wanted[name]["sentence"], cls="say") if name in wanted else None
        cards.append(tag("div", tag("h3", name), tag("p", note, cls="small quiet"), bars(rows), few, cls="card"))
    parts: list[Safe | None] = [
        tag(
            "p",
            "Balance is 1 where all values of the vocabulary are equally frequent, 0 where there is only one. So many "
            "effective classes, all equally frequent, would be as varied.",
        ),
        tag("div", *cards, cls="cards"),
    ]
    reference = report.statistics["reference"]
    if reference:
        rows = [
            (
                r["name"],
                r["share"],
                r["low"],
                r["high"],
                r["reference"],
                f"{percent(r['share'])} ({percent(r['reference'])})",
            )
            for r in reference
        ]
        parts += [
            tag("h3", "Beside photographs of real protests", cls="gap"),
            legend(
                ("", "share here"), ("span", "95 % interval"), ("mark", "protest images of the UCLA set, a reference")
            ),
            tag("div", intervals(rows, most=1.0), cls="card"),
        ]
    mix = report.statistics["asked_mix"]
    if mix:
        total_asked, total_seen = sum(mix["asked"].values()), sum(mix["labelled"].values())
        names = sorted({*mix["asked"], *mix["labelled"]}, key=lambda k: -mix["asked"].get(k, 0))
        rows = [
            (
                n, mix["labelled"].get(n, 0) / total_seen, mix["labelled"].get(n, 0) / total_seen,
                mix["labelled"].get(n, 0) / total_seen, mix["asked"].get(n, 0) / total_asked,
                f"{percent(mix['labelled'].get(n, 0) / total_seen)} ({percent(mix['asked'].get(n, 0) / total_asked)})",
            )
            for n in names
        ]  # fmt: skip
        parts += [
            tag("h3", "Settings asked for and settings labelled", cls="gap"),
            tag(
                "p",
                f"The label names the setting asked for in {percent(mix['agreement'])} of {number(mix['n'])} images "
                f"({percent(mix['low'])} to {percent(mix['high'])}); {percent(mix['total_variation'])} would have to "
                "move for the two mixes to be equal.",
                cls="quiet",
            ),
            legend(("", "labelled"), ("mark", "asked for")),
            tag("div", intervals(rows), cls="card"),
        ]
    return join(*parts)


def _shown(value: object, category: dict[str, Any]) -> str:
    """A label for reading: values of a vocabulary as they are spelled, free words with spaces, neither too long."""
    return str(value) if category["vocabulary"] else shorten(str(value).replace("_", " "), LABEL_CHARS)


def _beside_target(mix: dict[str, Any]) -> Safe:
    """A category's shares with their intervals, each beside the share that is wanted."""
    rows = [
        (v["value"], v["share"], v["low"], v["high"], v["wanted"], f"{percent(v['share'])} ({percent(v['wanted'])})")
        for v in mix["values"]
    ]
    odd = any(v["off"] for v in mix["values"])
    return tag(
        "div",
        tag("h3", mix["category"]),
        tag("p", f"{number(mix['n'])} labels, beside the mix that is wanted (qa.targets)", cls="small quiet"),
        legend(("", "share here"), ("span", "95 % interval"), ("mark", "wanted")),
        intervals(rows),
        tag("p", mix["sentence"], cls="say odd" if odd else "say"),
        cls="card",
    )


def texts_section(report: QAReport, repeated: Safe | None = None) -> Safe | None:
    """Lengths, words, variety of captions and comments, and examples of what is `repeated`."""
    texts: dict[str, Any] = report.statistics["texts"]
    if not texts["captions"]["lengths"]["n"] and not texts["comments"]["lengths"]["n"]:
        return None
    parts: list[Safe] = []
    cards: list[Safe] = []
    for name in ("captions", "comments"):
        t = texts[name]
        if not t["lengths"]["n"]:
            continue
        words, chars, counted = t["lengths"]["words"], t["lengths"]["chars"], t["words"]
        note = (
            f"{number(t['lengths']['n'])} texts · {number(words['median'])} words in the middle, "
            f"{number(words['min'])} to {number(words['max'])} · {number(chars['mean'])} characters on average"
        )
        cards.append(
            tag("div", tag("h3", name.capitalize()), tag("p", note, cls="small quiet"),
                histogram(words["histogram"], "words", "Words in a text"), cls="card")
        )  # fmt: skip
        cards.append(
            tag("div", tag("h3", f"{name.capitalize()}: vocabulary"),
                tag("p", f"{number(counted['vocabulary'])} different words in {number(counted['tokens'])}, "
                         f"{number(counted['once'])} of them once{_sample(counted['texts'], t)}", cls="small quiet"),
                curve(t["variety"]["vocabulary_growth"], "words read", "different", "Different words as one reads on"),
                cls="card")
        )  # fmt: skip
    parts.append(tag("div", *cards, cls="cards"))
    told = {name: t for name, t in texts.items() if t["lengths"]["n"]}
    compared = {name: t for name, t in told.items() if "compared" in t}
    rows = [
        tag(
            "tr", tag("td", name.capitalize()), *[
                tag("td", number(texts[name]["variety"][k], 2), cls="num")
                for k in ("distinct_1", "distinct_2", "distinct_3", "compression_ratio")
            ],
            tag("td", percent(texts[name]["variety"]["texts_sharing_six_words"]), cls="num"),
            tag("td", number(texts[name]["repeated"]), cls="num"),
            tag("td", number(texts[name].get("nearly_repeated")), cls="num"),
        )
        for name in ("captions", "comments", "prompts")
        if texts[name]["lengths"]["n"]
    ]  # fmt: skip
    titles = ("", "Distinct 1", "Distinct 2", "Distinct 3", "Compression", "Share six words", "Repeated", "Nearly")
    head = tag("tr", *[tag("th", t, cls="num" if t else None) for t in titles])
    parts.append(tag("div", tag("table", tag("thead", head), tag("tbody", *rows)), cls="scroll"))
    parts.append(
        tag("p", f"Distinct n: share of different runs of n words in the first {TOKEN_BUDGET:,} words of a sample; "
                 "more is more varied. Compression: how many times smaller the sample gets; less is more varied. The "
                 f"sample has {_in_words([(name, t['variety']['texts'], t) for name, t in told.items()])}. Repeated: "
                 "of all texts, those equal to an earlier one. Nearly: at least 80 % of three-word runs shared with "
                 f"an earlier one, among {_in_words([(name, t['compared'], t) for name, t in compared.items()])}; "
                 "near_texts/ beside this page names each of these, and the text that it repeats.",
            cls="small quiet")
    )  # fmt: skip
    parts += [tag("p", note, cls="say") for note in report.method["not_applied"]]
    if repeated is not None:
        parts.append(repeated)
    for name in ("captions", "comments"):
        top = texts[name]["words"]["top"][:WORDS_SHOWN]
        if top:
            words = [tag("span", w, tag("small", number(n))) for w, n in top]
            parts += [
                tag("h3", f"Most frequent words of {name}"),
                tag("p", f"Counted{_sample(texts[name]['words']['texts'], texts[name])}.", cls="small quiet"),
                tag("div", *words, cls="words"),
            ]
    return join(*parts)


def _of(count: int, text: dict[str, Any]) -> str:
    every = text["lengths"]["n"]
    return f"all {number(every)}" if count == every else f"{number(count)} of {number(every)}"


def _sample(count: int, text: dict[str, Any]) -> str:
    return f" in {_of(count, text)} texts"


def _in_words(told: list[tuple[str, int, dict[str, Any]]]) -> str:
    """Which share of which texts: "all 812 captions, 200,113 of 1,000,000 prompts"."""
    return ", ".join(f"{_of(count, text)} {name}" for name, count, text in told)


def bias_section(report: QAReport) -> Safe | None:
    """Asked against described, refusals by group, dependences and telling words; each with a sentence."""
    bias = report.bias
    if not bias["images_with_caption"] and not bias["refusals"]:
        return None
    parts: list[Safe] = [
        tag("p", "Who prompts ask for, beside who captions say is there. Nobody is judged by looks. The bar around a "
                 "share is what chance allows: in a much larger set the share would lie in it 19 times out of 20."),
        tag("details", tag("summary", "How these numbers are made"), tag("p", bias["method"], cls="small quiet")),
    ]  # fmt: skip
    plots: list[Safe] = []
    for row in bias["representation"]:
        if not row["enough"]:
            plots.append(
                tag("div", tag("h3", row["dimension"].capitalize()), tag("p", row["sentence"], cls="quiet"), cls="card")
            )
            continue
        rows = [
            (
                g["group"], g["said_share"], (g["low"] or 0) * g["asked_share"], (g["high"] or 0) * g["asked_share"],
                g["asked_share"], f"{percent(g['said_share'])} ({percent(g['asked_share'])})",
            )
            for g in row["groups"]
        ]  # fmt: skip
        odd = any(g["outside"] for g in row["groups"])
        note = (
            f"n = {row['n']:,} mentions · total variation {row['total_variation']:.2f} · "
            f"Jensen-Shannon {row['jensen_shannon']:.3f} · Cohen's w {row['cohens_w']:.2f}"
        )
        plots.append(
            tag("div", tag("h3", row["dimension"].capitalize()), intervals(rows, most=1.0),
                tag("p", row["sentence"], cls="say odd" if odd else "say"),
                tag("p", _published(row["groups"]), cls="small quiet"), tag("p", note, cls="small quiet"), cls="card")
        )  # fmt: skip
    if plots:
        parts += [
            legend(("", "described in captions"), ("span", "95 % interval"), ("mark", "asked for in prompts")),
            tag("div", *plots, cls="cards"),
        ]
    told = [r for r in bias["fidelity"] if r["enough"]]
    if told:
        rows = [
            (
                f"{r['group']} ({r['dimension']})", r["rate"], r["low"], r["high"], None,
                f"{percent(r['rate'])} of {r['n']:,}",
            )
            for r in told
        ]  # fmt: skip
        parts += [
            tag("h3", "How often captions say who was asked for"),
            tag("div", intervals(rows, most=1.0), cls="card"),
        ]
    sentences = [(r["sentence"], bool(r["terms"])) for r in bias["stereotypes"]]
    sentences += [(r["sentence"], bool(r["stands"])) for r in bias["refusals"]]
    sentences += [(r["sentence"], bool(r["stands"])) for r in bias["associations"][:ASSOCIATIONS_SHOWN]]
    sentences.sort(key=lambda s: not s[1])
    if sentences:
        parts.append(tag("h3", "Words, refusals and labels by group"))
        strong = [tag("p", s, cls="say odd") for s, stands in sentences if stands]
        weak = [tag("p", s, cls="small quiet") for s, stands in sentences if not stands]
        parts += strong or [tag("p", "No difference between groups stands up to the test.", cls="say")]
        if weak:
            parts.append(tag("details", tag("summary", f"{len(weak)} comparisons without a notable difference"), *weak))
    return join(*parts)


def _published(groups: list[dict[str, Any]]) -> str:
    shares = ", ".join(f"{percent(g['published_share'])} {g['group']}" for g in groups)
    return f"For reference, adults in the World Bank's synthetic survey: {shares}."


def review_section(report: QAReport) -> Safe | None:
    """Acceptance and agreement, when people have judged."""
    r = report.reviews
    if r is None:
        return None
    parts: list[Safe] = []
    for title, rate in (("All judged images", r["acceptance"]), ("The random sample", r["acceptance_of_sample"])):
        if rate["judged"]:
            parts.append(
                tag("p", f"{title}: {percent(rate['share'])} of {rate['judged']:,} accepted "
                         f"(95 % interval {percent(rate['low'])} to {percent(rate['high'])}).", cls="say")
            )  # fmt: skip
    for pair in r["agreement"]["pairs"]:
        kappa = "not defined" if pair["kappa"] is None else f"{pair['kappa']:.2f}"
        parts.append(
            tag("p", f"{pair['reviewers'][0]} and {pair['reviewers'][1]} agree on {pair['agreed']:,} of "
                     f"{pair['images']:,} images (Cohen's kappa {kappa}).", cls="quiet")
        )  # fmt: skip
    return join(tag("p", f"{r['decisions']:,} decisions on {r['images']:,} images."), *parts)


def cost_section(report: QAReport) -> Safe | None:
    """Calls, money and seconds per stage and model; what went wrong; refusals by theme."""
    rows = report.statistics["cost"]
    if not rows:
        return None
    titles = ("Stage", "Model", "Calls", "Ok", "Refused", "Failed", "Retried", "Cost", "Half within", "95 % within")
    body = [
        tag(
            "tr", tag("td", r["stage"]), tag("td", r["model"]),
            *[tag("td", number(r[k]), cls="num") for k in ("calls", "ok", "refused", "failed", "retried")],
            tag("td", f"${r['cost_usd']:,.2f}", cls="num"),
            *[tag("td", _seconds(r[k]), cls="num") for k in ("p50", "p95")],
        )
        for r in rows
    ]  # fmt: skip
    head = tag("tr", *[tag("th", t, cls=None if t in {"Stage", "Model"} else "num") for t in titles])
    parts: list[Safe | None] = [
        tag("div", tag("table", tag("thead", head), tag("tbody", *body)), cls="scroll"),
        money_part(report.statistics["money"]),
    ]
    cards: list[Safe] = []
    for name, title in (("theme", "Refusals by theme"), ("form", "Refusals by form")):
        some = report.statistics["refusals"][name]
        if any(r["refused"] for r in some):
            plotted = [
                (str(r["value"]), r["rate"], r["low"], r["high"], None, f"{percent(r['rate'])} of {r['n']:,}")
                for r in some[:VALUES_SHOWN]
            ]
            cards.append(tag("div", tag("h3", title), intervals(plotted), cls="card"))
    trouble = report.statistics["errors"]
    if trouble:
        top = [
            (f"{e['stage']}: {e['error'].replace('_', ' ')}{_ENDED.get(e['status'], '')}", float(e["count"]),
             number(e["count"]))
            for e in trouble[:VALUES_SHOWN]
        ]  # fmt: skip
        cards.append(tag("div", tag("h3", "What went wrong"), bars(top, cls="faint"), cls="card"))
    if cards:
        parts.append(tag("div", *cards, cls="cards"))
    return join(*parts)


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} s" if value >= 1 else f"{1000 * value:.0f} ms"


def method_section(report: QAReport) -> Safe:
    """What the numbers rest on, and what they cannot say."""
    limits = report.method["thresholds"]
    chips = [tag("li", tag("b", f"{k} "), f"{v:g}") for k, v in limits.items()]
    points = (
        "Each file is compared with the SHA-256, size, type and dimensions recorded when it was paid for, its "
        "structure is walked to the end, and it is decoded. Each log line is checked against its checksum.",
        "Brightness, sharpness and colour are measured on the picture reduced to about 256 px. They are rules, not "
        "taste: a picture may be dark on purpose.",
        "Hashes are imagehash's pHash (JPEG decoded at reduced scale); copies are confirmed by correlating thumbnails "
        "after alignment.",
        "Contradictions and placeholders are seen by simple rules for English, language by script and small words; "
        "they miss much and claim little.",
        "Representation speaks of words in captions, which a model wrote; it is not a measurement of people "
        "in pictures.",
        "The grade is the original pipeline's, from validation rate, duplicates and completeness; the score is ours.",
    )
    return join(
        tag("ul", *[tag("li", p) for p in points]),
        tag("details", tag("summary", "Thresholds"), tag("ul", *chips, cls="chips")),
        tag(
            "p", "report.json holds every number of this page; the parquet files beside it hold every row.", cls="quiet"
        ),
    )
