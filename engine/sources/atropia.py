"""Atropia: fictional news from the original's JSON, a table, saved DATE/ODIN pages, or our own world."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from engine.core.context import News
from engine.core.sampling import permuted
from engine.core.wording import clipped
from engine.errors import SourceError
from engine.sources import pages, world
from engine.sources.files import bundled, clean, csv_rows, existing, json_rows, sha256_of, sha256_of_all, walk
from engine.sources.issues import actor_of, caused, issue_in, mended, nearest, place_of, subject_of, theme_of
from engine.sources.models import Origin
from schemas.config import Atropia

ROWS_MAX: Final = 1_000_000
_TABLES: Final = frozenset([".json", ".jsonl", ".ndjson", ".csv", ".tsv"])
_FICTION: Final = "fictional; not affiliated with or endorsed by the US Army"


def load(config: Atropia, base_dir: Path, seed: int) -> tuple[list[News], Origin]:
    """The news and where it came from. Raises SourceError when nothing usable is there."""
    if config.path is None:
        return _bundled(config, seed)
    path = existing(base_dir / config.path, "source_data.atropia.path")
    notes: list[str] = []
    if path.is_dir():
        found = walk(path, _TABLES | pages.SUFFIXES)
        if not found:
            raise SourceError(
                f"source_data.atropia.path: {path} holds no HTML, Markdown, text, JSON or CSV file; "
                "save pages there, or leave the key out for the bundled world"
            )
        sha256 = sha256_of_all((str(file.relative_to(path)), sha256_of(file)) for file in found)
        kind = "folder of saved pages"
    else:
        found, sha256 = [path], sha256_of(path)
        kind = {".json": "JSON news", ".csv": "CSV news", ".tsv": "CSV news"}.get(path.suffix.lower(), "saved page")
    news: list[News] = []
    for file in found:
        news += _items_of(file, path if path.is_dir() else path.parent, notes)
        if len(news) > ROWS_MAX:
            raise SourceError(f"{path} holds more than {ROWS_MAX:,} news items; give a smaller selection")
    if not news:
        raise SourceError(f"source_data.atropia.path: no news item or section of text was found in {path}")
    news = _distinct(news)
    kept, warnings = _focused(news, config.focus_themes, str(path))
    kept = sampled(kept, config.num_samples, seed, "news-sample")
    origin = Origin(
        name="atropia",
        path=str(path),
        kind=kind,
        items=len(kept),
        found=len(news),
        sha256=sha256,
        licence=f"as the files' owner says; Atropia is {_FICTION}",
        notes=tuple(notes),
        warnings=warnings,
    )
    return kept, origin


def sampled(items: Sequence[Any], count: int | None, seed: int, domain: str) -> list[Any]:
    """`count` of the items by lot, in their own order; all if there are no more."""
    if count is None or count >= len(items):
        return list(items)
    chosen = sorted(permuted(n, len(items), seed, domain) for n in range(count))
    return [items[n] for n in chosen]


def _bundled(config: Atropia, seed: int) -> tuple[list[News], Origin]:
    known = list(world.themes())
    warnings = tuple(_unknown(theme, known) for theme in _keys(config.focus_themes) if theme not in known)
    focus = [theme for theme in _keys(config.focus_themes) if theme in known]
    if config.focus_themes and not focus:
        raise SourceError(
            "\n".join(
                (
                    *warnings,
                    f"source_data.atropia.focus_themes leaves nothing; the bundled world has {', '.join(known)}",
                )
            )
        )
    count = config.num_samples or world.ITEMS
    news = world.tell(count, focus)
    w = world.world()
    origin = Origin(
        name="atropia",
        path="bundled",
        kind=f"the bundled world of Atropia, told for {w.year}",
        items=len(news),
        found=len(news),
        sha256=hashlib.sha256(bundled("atropia_world.yaml")).hexdigest(),
        licence=f"GPL-3.0, part of groundswell; {_FICTION}",
        notes=(w.notice, "what DATE says is paraphrased; provinces, parties, groups and outlets are invented"),
        warnings=warnings,
    )
    return news, origin


def _items_of(file: Path, root: Path, notes: list[str]) -> list[News]:
    suffix = file.suffix.lower()
    if suffix in (".csv", ".tsv"):
        return _rows(csv_rows(file), file)
    if suffix in _TABLES:
        rows = json_rows(file)
        if any({"excerpt", "text", "title", "content"} & row.keys() for row in rows):
            return _rows(rows, file)
        raise SourceError(
            f"{file}: items need title, excerpt (or text), date, theme, location; "
            f"found {sorted(rows[0])[:8] if rows else 'none'}"
        )
    sections = pages.sections(file)
    told = [
        _from_section(section, file, root) for section in sections if issue_in(section.heading + " " + section.text)
    ]
    if len(told) < len(sections):
        notes.append(
            f"{file.name}: {len(sections) - len(told)} of {len(sections)} sections speak of no theme; passed over"
        )
    return told


def _rows(rows: Sequence[Mapping[str, Any]], file: Path) -> list[News]:
    news: list[News] = []
    for n, row in enumerate(rows, 1):
        told = {
            k: clean(v if isinstance(v, str) else str(v))
            for k, v in row.items()
            if v is not None and not isinstance(v, (dict, list))
        }
        excerpt = mended(clipped(told.get("excerpt") or told.get("text") or told.get("content") or "", 120))
        title = told.get("title", "")
        if not excerpt and not title:
            continue
        issue, demand, slogans = subject_of(excerpt or title)
        location = told.get("location", "")
        news.append(
            News(
                id=told.get("id") or f"atropia_{n:03d}",
                title=title,
                excerpt=excerpt,
                theme=_keys([told.get("theme", "")])[0] or theme_of(f"{title} {excerpt}"),
                location=location,
                date=told.get("date") or None,
                place=place_of(location),
                issue=told.get("issue") or issue,
                demand=told.get("demand") or demand,
                actor=told.get("actor") or actor_of(excerpt),
                cause=caused(told.get("issue") or issue),
                slogans=slogans,
            )
        )
    if rows and not news:
        raise SourceError(f"{file}: no item has a title, excerpt or text")
    return news


def _from_section(section: pages.Section, file: Path, root: Path) -> News:
    known = issue_in(f"{section.heading} {section.text}")
    assert known is not None
    return News(
        id=f"date_{section.sha256[:10]}",
        title=clipped(f"{section.title}: {section.heading}" if section.heading else section.title, 20),
        excerpt=clipped(section.text, 80),
        theme=known.theme,
        location="Atropia",
        place="",
        issue=known.phrase,
        cause=known.cause,
        slogans=known.slogans,
        details={
            "file": file.relative_to(root).as_posix(),
            "section": clipped(section.heading, 20),
            "sha256": section.sha256,
        },
    )


def _distinct(news: list[News]) -> list[News]:
    """Every item once, and every id once: a further item of the same id gets a number after it."""
    told: dict[str, set[tuple[str, str]]] = {}
    out: list[News] = []
    for item in news:
        same = told.setdefault(item.id, set())
        words = (item.title, item.excerpt)
        if words not in same:
            same.add(words)
            out.append(item if len(same) == 1 else msgspec.structs.replace(item, id=f"{item.id}-{len(same)}"))
    return out


def _unknown(theme: str, known: list[str]) -> str:
    near = nearest(theme, known)
    hint = f"the nearest is {near}" if near else f"there is {', '.join(known)}"
    return f"source_data.atropia.focus_themes: no news on {theme!r}; {hint}"


def _keys(themes: Sequence[str]) -> list[str]:
    """Themes as the original writes them: "Gender violence" is gender_violence."""
    return ["_".join(theme.lower().replace("-", " ").split()) for theme in themes]


def _focused(news: list[News], focus: Sequence[str], path: str) -> tuple[list[News], tuple[str, ...]]:
    focus = _keys(focus)
    if not focus:
        return news, ()
    known = sorted({item.theme for item in news})
    warnings = tuple(_unknown(theme, known) for theme in focus if theme not in known)
    kept = [item for item in news if item.theme in focus]
    if not kept:
        raise SourceError(
            "\n".join(
                (*warnings, f"source_data.atropia.focus_themes leaves nothing of {path}; it has {', '.join(known)}")
            )
        )
    return kept, warnings
