"""Files of an export: linked where possible, written whole, swapped into place in one step.

An export is built in a folder beside its destination and takes its place when it is complete. What was
there is replaced only if we made it: a marker file says so.
"""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
import tempfile
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson

from engine.errors import ConfigError, StoreError

MARKER = ".groundswell-export.json"
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_NO_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EACCES}


def check_destination(dest: Path, run: Path) -> None:
    """ConfigError when an export must not go there."""
    at, home = dest.resolve(), run.resolve()
    inside = at.relative_to(home).parts[:1] if home in at.parents else ()
    if at == home or (inside and inside[0] in {"images", "log", "qa", "quarantine"}):
        raise ConfigError(f"--to {dest}: lies inside the run {run}; choose a folder of its own")
    if at in home.parents:
        raise ConfigError(f"--to {dest}: holds the run {run} itself; choose another folder")
    if dest.is_symlink() or (dest.exists() and not dest.is_dir()):
        raise ConfigError(f"--to {dest}: is not a folder; choose another name")
    if dest.is_dir() and any(dest.iterdir()) and not (dest / MARKER).is_file():
        raise ConfigError(f"--to {dest}: holds files that no export made; choose an empty or a new folder")


@contextmanager
def building(dest: Path, about: dict[str, Any]) -> Generator[Path]:
    """A folder to build in; at the end of the block it becomes `dest`. If the block fails, nothing changes."""
    try:
        dest.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{dest.name}.", suffix=".partial", dir=dest.parent))
    except OSError as error:
        raise StoreError(f"{dest}: cannot be written ({error.strerror}); choose another folder") from error
    try:
        partial.chmod(0o777 & ~_umask())
        yield partial
        write_json(partial / MARKER, about)
        _swap(partial, dest)
    except OSError as error:
        raise StoreError(
            f"{dest}: cannot be written ({error.strerror or error}); free space or choose another folder"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _swap(partial: Path, dest: Path) -> None:
    old: Path | None = None
    if dest.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{dest.name}.", suffix=".old", dir=dest.parent))
        dest.rename(old / "was")
    try:
        partial.rename(dest)
    except OSError:
        if old is not None:
            (old / "was").rename(dest)
        raise
    finally:
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)


def _umask() -> int:
    # There is no way to read it but to set it; exports run in the command's only thread.
    now = os.umask(0o022)
    os.umask(now)
    return now


def place(source: Path, target: Path, *, link: bool = True) -> bool:
    """Bring a picture to its place: a hard link, else a copy. True if it was linked."""
    if link:
        try:
            os.link(source, target)
            return True
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise _missing(source, error) from error
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise _missing(source, error) from error
    return False


def _missing(source: Path, error: OSError) -> OSError | StoreError:
    if error.errno == errno.ENOENT:
        return StoreError(f"{source}: recorded, but not there; run groundswell verify --repair")
    return error


def write_json(path: Path, data: Any) -> None:
    """An indented JSON file, as UTF-8."""
    path.write_bytes(orjson.dumps(data, default=str, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


class CsvFile:
    """A CSV file written row by row. Cells that a spreadsheet would run as formulas are made plain text."""

    def __init__(self, path: Path, header: Sequence[str]) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow([neutral(h) for h in header])
        self.rows = 0

    def write(self, row: Iterable[Any]) -> None:
        """One row; None is an empty cell, lists are joined with "; "."""
        self._writer.writerow([_cell(value) for value in row])
        self.rows += 1

    def __enter__(self) -> CsvFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._file.close()


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return neutral("; ".join(map(str, value)))
    if isinstance(value, dict):
        return neutral(json.dumps(value, ensure_ascii=False, default=str))
    return neutral(str(value))


def neutral(text: str) -> str:
    """A cell's text that no spreadsheet takes for a formula (OWASP: a leading apostrophe)."""
    return "'" + text if text.startswith(_FORMULA_STARTS) else text


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += (Path(root) / name).lstat().st_size
    return total
