"""Charts as inline SVG beside HTML text, so that they stretch with the page and letters never do.

Each chart names its values in text as well: it can be read without colour, on paper and by a screen reader.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from engine.qa.markup import Safe, join, tag


def number(value: float | None, digits: int = 1) -> str:
    """A number for reading."""
    if value is None:
        return "–"
    if isinstance(value, int) or (abs(value) >= 100 or value == int(value)):
        return f"{value:,.0f}"
    return f"{value:,.{digits}f}"


def percent(share: float | None, digits: int | None = None) -> str:
    """A share as percent, with a decimal where it is small."""
    if share is None:
        return "–"
    if digits is None:
        digits = 0 if share in (0, 1) or 0.1 <= share <= 0.9 else 1
    return f"{100 * share:.{digits}f} %"


def ring(score: float, label: str, level: str) -> Safe:
    """The score as a ring with the number inside, in the colour of its level: good, fair or poor."""
    radius = 52.0
    around = 2 * math.pi * radius
    return tag(
        "svg",
        tag("circle", cx=60, cy=60, r=radius, cls="ring-track"),
        tag(
            "circle", cx=60, cy=60, r=radius, cls=f"ring-value {level}",
            stroke_dasharray=f"{around * score / 100:.2f} {around:.2f}", transform="rotate(-90 60 60)",
        ),
        tag("text", f"{score:.0f}", x=60, y=66, cls="ring-number"),
        tag("text", "of 100", x=60, y=84, cls="ring-unit"),
        cls="ring", viewBox="0 0 120 120", role="img", aria_label=label,
    )  # fmt: skip


def bar(share: float, cls: str = "") -> Safe:
    """One bar, 0 to 1 of the width there is."""
    width = max(0.0, min(1.0, share)) * 100
    return tag(
        "svg",
        tag("rect", x=0, y=0, width=100, height=8, cls="bar-track"),
        tag("rect", x=0, y=0, width=f"{width:.2f}", height=8, cls=f"bar-value {cls}"),
        cls="bar", viewBox="0 0 100 8", preserveAspectRatio="none", aria_hidden="true",
    )  # fmt: skip


def bars(rows: Sequence[tuple[str, float, str]], *, most: float | None = None, cls: str = "") -> Safe:
    """Named bars: (name, value, value as text)."""
    top = most or max((v for _, v, _ in rows), default=1) or 1
    return tag(
        "ul",
        *[
            tag("li", tag("span", name, cls="name", title=name), bar(value / top, cls), tag("span", shown, cls="value"))
            for name, value, shown in rows
        ],
        cls="bars",
    )


def histogram(bins: Sequence[Sequence[float]], unit: str, title: str) -> Safe:
    """Bins of (left edge, count)."""
    if not bins:
        return tag("p", "No texts.", cls="quiet")
    top = max(b for _, b in bins) or 1
    step = 100 / len(bins)
    columns = [
        tag("rect", x=f"{i * step + step * 0.06:.2f}", y=f"{60 - 60 * b / top:.2f}", width=f"{step * 0.88:.2f}",
            height=f"{60 * b / top:.2f}", cls="column")
        for i, (_, b) in enumerate(bins)
    ]  # fmt: skip
    first, last = bins[0][0], bins[-1][0]
    return tag(
        "figure",
        tag("figcaption", f"{title} (the highest bar is {number(top)})"),
        tag(
            "svg", *columns, tag("line", x1=0, y1=60, x2=100, y2=60, cls="axis"),
            cls="histogram", viewBox="0 0 100 61", preserveAspectRatio="none", role="img",
            aria_label=f"{title}: from {number(first)} to {number(last)} {unit}, most {number(top)} in one bin",
        ),
        tag("div", tag("span", number(first)), tag("span", unit), tag("span", f"{number(last)}+"), cls="axis-text"),
    )  # fmt: skip


def curve(points: Sequence[Sequence[float]], x_unit: str, y_unit: str, title: str) -> Safe:
    """A growing line."""
    if len(points) < 2:
        return Safe("")
    right, top = points[-1][0] or 1, max(y for _, y in points) or 1
    path = "M0 60" + "".join(f" L{100 * x / right:.2f} {60 - 58 * y / top:.2f}" for x, y in points)
    return tag(
        "figure",
        tag("figcaption", title),
        tag(
            "svg", tag("path", d=f"{path} L100 60 Z", cls="area"), tag("path", d=path, cls="curve"),
            tag("line", x1=0, y1=60, x2=100, y2=60, cls="axis"),
            cls="histogram", viewBox="0 0 100 61", preserveAspectRatio="none", role="img",
            aria_label=f"{title}: {number(points[-1][1])} {y_unit} after {number(right)} {x_unit}",
        ),
        tag("div", tag("span", "0"), tag("span", f"{number(points[-1][1])} {y_unit}"),
            tag("span", f"{number(right)} {x_unit}"), cls="axis-text"),
    )  # fmt: skip


def _dot(x: float, cls: str) -> Safe:
    # A line of no length with round caps is a dot that stretching does not turn into an egg.
    return tag("path", d=f"M{x:.2f} 6 h0.001", cls=f"dot {cls}")


def intervals(rows: Sequence[tuple[str, float, float, float, float | None, str]], *, most: float | None = None) -> Safe:
    """Shares with their intervals: (name, share, low, high, reference or None, text)."""
    top = most or max((max(high, ref or 0) for _, _, _, high, ref, _ in rows), default=1) or 1

    def at(share: float) -> float:
        return 2 + 96 * min(1.0, share / top)

    items: list[Safe] = []
    for name, share, low, high, reference, shown in rows:
        marks = [
            tag("line", x1=2, y1=6, x2=98, y2=6, cls="rail"),
            tag("line", x1=f"{at(low):.2f}", y1=6, x2=f"{at(high):.2f}", y2=6, cls="range"),
        ]
        if reference is not None:
            marks.append(tag("path", d=f"M{at(reference):.2f} 1 v10", cls="reference"))
        marks.append(_dot(at(share), "told"))
        plot = tag("svg", *marks, cls="interval", viewBox="0 0 100 12", preserveAspectRatio="none", aria_hidden="true")
        items.append(tag("li", tag("span", name, cls="name", title=name), plot, tag("span", shown, cls="value")))
    scale = tag("span", tag("span", "0"), tag("span", percent(top, 0)), cls="axis-text")
    items.append(tag("li", tag("span"), scale, tag("span"), cls="scale", aria_hidden="true"))
    return tag("ul", *items, cls="bars intervals")


def legend(*entries: tuple[str, str]) -> Safe:
    """(class of the mark, what it means)."""
    return tag("p", *[join(tag("span", cls=f"key {cls}"), meaning, " ") for cls, meaning in entries], cls="legend")
