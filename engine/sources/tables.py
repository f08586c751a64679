"""Reading survey tables narrow: only the columns needed, small types, adults early; .dta in pieces."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import polars as pl
import pyreadstat

from engine.errors import SourceError
from engine.sources import codes

_PIECE_ROWS: Final = 500_000
"""Rows of a .dta file held at once before they are narrowed."""
_PROFILE_ROWS_MAX: Final = 5_000_000


def columns_of(path: Path) -> list[str]:
    """Column names as the file has them."""
    try:
        match path.suffix.lower():
            case ".dta":
                return list(pyreadstat.read_dta(str(path), metadataonly=True, output_format="dict")[1].column_names)
            case ".parquet":
                return list(pl.read_parquet_schema(path))
            case _:
                return pl.scan_csv(path, infer_schema=False, separator=_separator(path)).collect_schema().names()
    except (
        pl.exceptions.PolarsError,
        pyreadstat.ReadstatError,
        pyreadstat.PyreadstatError,
        OSError,
        UnicodeDecodeError,
    ) as error:
        raise SourceError(f"{path} cannot be read as {path.suffix}: {_first_line(error)}") from error


def rows_of(path: Path) -> pl.DataFrame:
    """A whole table of profiles, all columns as text, names in small letters."""
    frame = _scan(path, columns_of(path)).head(_PROFILE_ROWS_MAX + 1).collect()
    if frame.height > _PROFILE_ROWS_MAX:
        raise SourceError(f"{path} has more than {_PROFILE_ROWS_MAX:,} profiles; give a smaller table")
    return frame.rename({name: name.strip().lower() for name in frame.columns})


def persons(path: Path, adults_only: bool, warnings: list[str]) -> pl.DataFrame:
    """The person file in codes, adults only if asked."""
    return _narrow(path, codes.PERSON_COLUMNS, warnings, adults_only)


def households(path: Path, warnings: list[str]) -> pl.DataFrame:
    """The household file in codes."""
    return _narrow(path, codes.HOME_COLUMNS, warnings, adults_only=False)


def narrowed(frame: pl.LazyFrame, adults_only: bool) -> pl.LazyFrame:
    """Adults only, if asked; a person of unknown age is left out then."""
    return frame.filter(pl.col("age") >= 18) if adults_only else frame


def joined(people: pl.DataFrame, homes: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Persons with their household's columns, and how many have no household."""
    if homes["hid"].n_unique() < homes.height:
        raise SourceError("the household file names a hid twice; one row per household is needed")
    both = [c for c in homes.columns if c in people.columns and c != "hid"]
    unmatched = people.join(homes, on="hid", how="anti").height
    if people.height and unmatched == people.height:
        raise SourceError("no hid of the person file is in the household file; these are two different surveys")
    return people.join(homes.drop(both), on="hid", how="left").drop("hid"), unmatched


def _narrow(path: Path, wanted: tuple[str, ...], warnings: list[str], adults_only: bool) -> pl.DataFrame:
    have = columns_of(path)
    names = [c for c in have if c.lower() in wanted]
    try:
        if path.suffix.lower() != ".dta":
            lazy = _scan(path, names).rename({n: n.lower() for n in names})
            return _coded(lazy.collect(engine="streaming"), warnings, path.name, adults_only)
        pieces: list[pl.DataFrame] = []
        start = 0
        while True:
            piece = _stata(path, names, start, _PIECE_ROWS)
            piece = piece.rename({n: n.lower() for n in piece.columns})
            pieces.append(_coded(piece, warnings, path.name, adults_only))
            start += piece.height
            if piece.height < _PIECE_ROWS:
                return pl.concat(pieces, how="vertical_relaxed")
    except (pl.exceptions.PolarsError, pyreadstat.ReadstatError, pyreadstat.PyreadstatError, OSError) as error:
        raise SourceError(f"{path} cannot be read: {_first_line(error)}") from error


def _scan(path: Path, names: list[str]) -> pl.LazyFrame:
    match path.suffix.lower():
        case ".parquet":
            return pl.scan_parquet(path).select(names)
        case ".dta":
            return _stata(path, names, 0, _PROFILE_ROWS_MAX + 1).lazy()
        case _:
            return pl.scan_csv(path, infer_schema=False, separator=_separator(path)).select(names)


def _stata(path: Path, names: list[str], start: int, count: int) -> pl.DataFrame:
    read: Any = pyreadstat.read_dta(str(path), usecols=names, row_offset=start, row_limit=count, output_format="polars")
    return read[0]


def _coded(frame: pl.DataFrame, warnings: list[str], name: str, adults_only: bool) -> pl.DataFrame:
    frame = frame.with_columns(codes.coded(frame[c], c, warnings, name) for c in frame.columns)
    return narrowed(frame.lazy(), adults_only).collect() if "age" in frame.columns else frame


def _separator(path: Path) -> str:
    with path.open("rb") as file:
        first: Any = file.readline(1 << 16)
    return max(",;\t", key=lambda s: first.count(s.encode()))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
