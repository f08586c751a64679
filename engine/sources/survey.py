"""World Bank synthetic demographics: the survey's files as People, through polars and never row by row.

Persons (columns hid, idno, age, sex) and households (hid, geo1, urbrur, hhweight) are told apart by
their columns, joined on hid as text, narrowed to the few columns needed, and sorted so that evenly
spread points through the weights follow the survey's shares. The original's table of profiles and
our own generated sample are read here too.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
import zipfile
from array import array
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from engine.core.context import Column, People
from engine.core.sampling import golden
from engine.errors import SourceError
from engine.sources import codes, tables
from engine.sources.files import bundled, existing, member, sha256_of, sha256_of_all, walk
from engine.sources.issues import nearest
from engine.sources.models import Origin
from schemas.config import DEMOGRAPHICS, WorldBank

_SUFFIXES: Final = frozenset([".dta", ".csv", ".parquet", ".zip"])
_LICENCE: Final = "World Bank microdata terms; not redistributed. Cite doi:10.48529/MC1F-QH23"
_SAMPLE: Final = (
    "generated for groundswell (GPL-3.0) from published weighted shares of: Development Data Group, World Bank, "
    "Synthetic Data for an Imaginary Country, Sample, 2023, doi:10.48529/MC1F-QH23; no row is copied"
)
_WEIGHT_UNIT: Final = 1 << 20
"""Integer weight of a person of average weight."""


def load(config: WorldBank, base_dir: Path, seed: int) -> tuple[People, Origin]:
    """The people and where they came from. Raises SourceError when no person is left."""
    warnings = [_unknown(c) for c in config.demographic_categories if c not in DEMOGRAPHICS]
    notes: list[str] = []
    if config.path is None:
        data = bundled("demographics.parquet")
        frame = tables.narrowed(pl.read_parquet(io.BytesIO(data)).lazy(), config.adults_only).collect()
        kind, sha256, path, licence = (
            "generated sample in the survey's columns",
            hashlib.sha256(data).hexdigest(),
            "bundled",
            _SAMPLE,
        )
        people, found = _people(frame, warnings), frame.height
    else:
        where = existing(base_dir / config.path, "source_data.worldbank.path")
        path, licence = str(where), _LICENCE
        with tempfile.TemporaryDirectory(prefix="groundswell-") as folder:
            tabular, sha256 = _files(where, Path(folder))
            try:
                people, found, kind = _read(tabular, config.adults_only, where, warnings, notes)
            except pl.exceptions.PolarsError as error:
                first = (str(error).splitlines() or ["not readable"])[0][:200]
                raise SourceError(f"source_data.worldbank.path: {where} cannot be used: {first}") from error
            if kind == codes.PROFILES_KIND:
                licence = "as the file's owner says"
    if len(people) == 0:
        raise SourceError(
            f"source_data.worldbank: no person is left of {found:,} in {path}; "
            "is adults_only meant, are weights above 0?"
        )
    if config.num_profiles is not None and config.num_profiles < len(people):
        people = drawn(people, config.num_profiles, seed)
        notes.append(f"{config.num_profiles:,} of {found:,} drawn through the survey weights")
    origin = Origin(
        name="worldbank",
        path=path,
        kind=kind,
        items=len(people),
        found=found,
        sha256=sha256,
        licence=licence,
        notes=tuple(notes),
        warnings=tuple(warnings),
    )
    return people, origin


def drawn(people: People, count: int, seed: int) -> People:
    """`count` people at evenly spread points through the weights, each of equal weight from then on."""
    chosen = sorted(people.locate(golden(n, seed, "profiles")) for n in range(count))
    columns = {
        name: Column(bytes(column.codes[k] for k in chosen), column.labels) for name, column in people.columns.items()
    }
    ids = [people.ids[k] if people.ids is not None else f"wb_{k + 1:06d}" for k in chosen]
    return People(columns=columns, cumulative=array("Q", range(1, count + 1)), ids=ids)


def _unknown(category: str) -> str:
    near = nearest(category, list(DEMOGRAPHICS))
    hint = f"; the nearest is {near}" if near else f"; known are {', '.join(DEMOGRAPHICS)}"
    return f"source_data.worldbank.demographic_categories: {category!r} is not known and says nothing{hint}"


def _files(where: Path, scratch: Path) -> tuple[list[Path], str]:
    """Tabular files at a path, archives unpacked, and one digest of them."""
    outer = walk(where, _SUFFIXES) if where.is_dir() else [where]
    if not outer:
        raise SourceError(f"source_data.worldbank.path: {where} holds no .dta, .csv, .parquet or .zip file")
    sha256 = sha256_of(where) if where.is_file() else sha256_of_all((f.name, sha256_of(f)) for f in outer)
    found: list[Path] = []
    for file in outer:
        if file.suffix.lower() != ".zip":
            found.append(file)
            continue
        try:
            with zipfile.ZipFile(file) as archive:
                inside = [
                    m
                    for m in archive.infolist()
                    if not m.is_dir() and Path(m.filename).suffix.lower() in (".dta", ".csv", ".parquet")
                ]
                if not inside or len(inside) > 50:
                    raise SourceError(
                        f"{file}: {len(inside)} data files inside; between 1 and 50 .dta, .csv or .parquet are expected"
                    )
                found += [member(archive, m, scratch) for m in inside]
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
            raise SourceError(f"{file} is not a zip archive that can be read: {error}") from error
    return found, sha256


def _read(
    found: list[Path], adults_only: bool, where: Path, warnings: list[str], notes: list[str]
) -> tuple[People, int, str]:
    by_role: dict[str, list[Path]] = {}
    for file in found:
        by_role.setdefault(codes.role(tables.columns_of(file), file.name), []).append(file)
    persons, homes, profiles = (by_role.get(r, []) for r in ("persons", "households", "profiles"))
    if profiles and not persons:
        frame = tables.rows_of(profiles[0])
        return _profiles(frame, profiles[0], warnings), frame.height, codes.PROFILES_KIND
    if not persons:
        have = ", ".join(f.name for f in found)
        raise SourceError(
            f"source_data.worldbank.path: {where} has no file of persons (columns hid, idno, age, sex) among {have}"
        )
    for role, files in (("persons", persons), ("households", homes)):
        if len(files) > 1:
            raise SourceError(
                f"source_data.worldbank.path: {where} has {len(files)} files of {role} "
                f"({', '.join(f.name for f in files)}); point at one survey"
            )
    frame = tables.persons(persons[0], adults_only, warnings)
    kind = f"World Bank survey ({persons[0].suffix.lower()})"
    if homes:
        before = frame.height
        frame, unmatched = tables.joined(frame, tables.households(homes[0], warnings))
        kind += ", persons joined to households on hid"
        if unmatched:
            warnings.append(
                f"{unmatched:,} of {before:,} persons have no household of their hid; area and size unknown"
            )
    elif "urbrur" not in frame.columns:
        warnings.append("no household file (HLD) was found: residence, province and household size are unknown")
    if adults_only:
        notes.append("adults of 18 and over")
    return _people(frame, warnings), frame.height, kind


def _people(frame: pl.DataFrame, warnings: list[str]) -> People:
    """Columns of bytes and running integer weights, sorted for even draws."""
    if "hhweight" not in frame.columns:
        warnings.append("no weight column (hhweight) was found: everybody counts the same")
        frame = frame.with_columns(pl.lit(1.0).alias("hhweight"))
    sound = pl.col("hhweight").is_finite() & (pl.col("hhweight") > 0)
    usable = frame.filter(sound.fill_null(False))
    if usable.height < frame.height:
        warnings.append(f"{frame.height - usable.height:,} persons without a weight above 0 are left out")
    if usable.height == 0:
        return People(columns={}, cumulative=array("Q"))
    told = codes.told(usable.sort(_sort_key(usable.columns), maintain_order=True))
    columns = {name: codes.column(told[name], name) for name in codes.FIELDS if name in told.columns}
    return People(columns=columns, cumulative=_cumulative(told["hhweight"].to_numpy()))


def _sort_key(columns: list[str]) -> pl.Expr:
    """One number that orders people by area, residence, sex, age, education and means."""
    key = pl.lit(0, dtype=pl.Int64)
    for name in ("geo1", "urbrur", "sex", "age", "educ_attain", "quint_nat"):
        if name in columns:
            key = key * 256 + pl.col(name).cast(pl.Int64).fill_null(-1).clip(-1, 254)
    return key


def _cumulative(weights: np.ndarray[Any, Any]) -> array[int]:
    """Running totals of integer weights; a person never weighs nothing."""
    shares = np.maximum(np.rint(weights / weights.mean() * _WEIGHT_UNIT), 1.0).astype(np.uint64)
    return array("Q", np.cumsum(shares, dtype=np.uint64).tobytes())


def _profiles(frame: pl.DataFrame, file: Path, warnings: list[str]) -> People:
    """The original's table: one profile a row, in words."""
    columns: dict[str, Column] = {}
    for name in codes.PROFILE_FIELDS:
        if name in frame.columns:
            columns[name] = codes.column(codes.tidy(frame[name], name, file), name)
    if "work" not in columns and "occupation" in columns:
        occupation = columns["occupation"]
        columns["work"] = Column(
            occupation.codes,
            tuple(codes.WORK_OF.get(str(label or "").lower().replace(" ", "_")) for label in occupation.labels),
        )
    if "weight" in frame.columns:
        weights = frame["weight"].cast(pl.Float64, strict=False).fill_null(0.0).to_numpy()
        if not np.isfinite(weights).all() or weights.min() < 0 or weights.sum() <= 0:
            raise SourceError(f"{file}: column weight needs numbers of 0 and more")
        cumulative = _cumulative(np.maximum(weights, 1e-9 * weights.max()))
    else:
        warnings.append(f"{file.name} has no weights: everybody counts the same")
        cumulative = array("Q", range(1, frame.height + 1))
    ids = frame["profile_id"].cast(pl.String).fill_null("").to_list() if "profile_id" in frame.columns else None
    return People(columns=columns, cumulative=cumulative, ids=ids)
