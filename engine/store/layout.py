"""Where everything of a run lies, and the manifest that says what was asked.

Names are pinned: `run.json`, `log/*.jsonl`, `images/0000/<image id>.png`. `RunDir` holds paths and,
for the sake of durability, which folders this process has already made certain.
"""

from __future__ import annotations

import os
import re
import stat
import threading
from pathlib import Path

import msgspec

from engine.errors import NoRun, StoreError
from engine.store.atomic import write_atomic
from engine.store.fs import DISK, AnyPath, Durability, Fs, refused
from schemas.record import VERSION, RunManifest

IMAGES_PER_FOLDER = 1000
_IMAGE_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}")
SUFFIXES = (".png", ".jpg", ".webp")
"""What a picture's name may end in, by its real type."""


class RunDir:
    """The paths of one run directory."""

    __slots__ = ("_certain", "_chains", "_folder", "_lock", "root")

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self._certain: dict[Path, tuple[int, int]] = {}
        self._chains: dict[Path, tuple[tuple[Path, tuple[int, int]], ...]] = {}
        self._folder = (-1, self.root)  # the last one asked for: the next picture most likely lies there, too
        self._lock = threading.Lock()  # protects _certain: picture threads ask for folders at the same time

    def __repr__(self) -> str:
        return f"<RunDir {self.root}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunDir) and other.root == self.root

    def __hash__(self) -> int:
        return hash(self.root)

    @property
    def run_json(self) -> Path:
        return self.root / "run.json"

    @property
    def log(self) -> Path:
        return self.root / "log"

    @property
    def images_log(self) -> Path:
        return self.root / "log" / "images.jsonl"

    @property
    def metadata_log(self) -> Path:
        return self.root / "log" / "metadata.jsonl"

    @property
    def attempts_log(self) -> Path:
        return self.root / "log" / "attempts.jsonl"

    @property
    def reviews_log(self) -> Path:
        return self.root / "log" / "reviews.jsonl"

    @property
    def logs(self) -> tuple[Path, Path, Path, Path]:
        """All logs, in the order in which their lines depend on each other."""
        return (self.attempts_log, self.images_log, self.metadata_log, self.reviews_log)

    @property
    def images(self) -> Path:
        return self.root / "images"

    @property
    def events(self) -> Path:
        return self.root / "events.jsonl"

    @property
    def lock(self) -> Path:
        return self.root / "run.lock"

    @property
    def quarantine(self) -> Path:
        return self.root / "quarantine"

    @property
    def qa(self) -> Path:
        return self.root / "qa"

    def image_folder(self, index: int) -> Path:
        """The folder of the image with this index (from 1)."""
        if index < 1:
            raise StoreError(f"image index {index}: an index counts from 1")
        number, folder = self._folder
        wanted = (index - 1) // IMAGES_PER_FOLDER
        if wanted != number:
            folder = self.root / "images" / f"{wanted:04d}"
            self._folder = (wanted, folder)
        return folder

    def image_path(self, index: int, image_id: str, suffix: str) -> Path:
        """Where the image lies. `suffix` with its dot; ids that could leave the folder are refused."""
        return self.image_folder(index) / image_name(image_id, suffix)

    def relative(self, path: AnyPath) -> str:
        """The path as log lines have it: relative to the run, with forward slashes."""
        inside = f"{self.root}{os.sep}"
        text = os.fspath(path)
        if os.sep == "/" and text.startswith(inside):
            return text.removeprefix(inside)  # for every picture: pathlib takes five times as long
        return Path(path).relative_to(self.root).as_posix()

    def ensure_folder(self, folder: Path, *, durable: bool, fs: Fs = DISK) -> None:
        """Make a folder inside the run, and each one's own name durable once per process.

        Only the first caller pays for the syncs; the others wait for it, because a picture in a folder
        that may vanish is not safe yet. The run directory itself is never made here, nor a folder that was
        there and is gone: if somebody removed it, the run must stop (FileNotFoundError). Symlinks are
        refused, so that nothing is written outside.
        """
        known = self._chains.get(folder)
        if known is not None:  # every picture but the first of its folder: no lock, the entry came after the syncs
            for each, identity in known:
                _check_is(each, identity)
            return
        chain = (*reversed([p for p in folder.parents if self.root in p.parents]), folder)
        with self._lock:
            for each in chain:
                if each in self._certain:
                    _check_is(each, self._certain[each])
                    continue
                seen = _folder_identity(each)
                if seen is None:
                    try:
                        fs.mkdir(each)
                    except FileExistsError as error:
                        raise StoreError(
                            f"{each}: not a folder, or a symbolic link; a run writes only inside its own "
                            "directory: move it away and run the same command again"
                        ) from error
                    seen = _folder_identity(each)
                if durable:
                    fs.sync_dir(each.parent)
                if seen is not None:
                    self._certain[each] = seen
            if all(each in self._certain for each in chain):
                self._chains[folder] = tuple((each, self._certain[each]) for each in chain)


def _folder_identity(folder: Path) -> tuple[int, int] | None:
    """Device and inode of a real folder; None for anything else."""
    try:
        found = os.lstat(folder)
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISDIR(found.st_mode) else None


def _check_is(folder: Path, identity: tuple[int, int]) -> None:
    if _folder_identity(folder) != identity:
        raise FileNotFoundError(2, f"the folder {folder} is not the one it was")


def image_name(image_id: str, suffix: str) -> str:
    """What the file of an image is called in its folder; as `RunDir.image_path` has it."""
    return check_image_id(image_id) + _checked_suffix(suffix)


def check_image_id(image_id: str) -> str:
    """The id itself if it can be a file name: letters, digits, `.`, `_`, `-`, at most 128, no leading dot."""
    if _IMAGE_ID.fullmatch(image_id) is None:
        raise StoreError(
            f"image id {image_id[:140]!r}: use 1 to 128 letters, digits, dots, underscores or hyphens, no leading dot"
        )
    return image_id


def _checked_suffix(suffix: str) -> str:
    if suffix not in SUFFIXES and _SUFFIX.fullmatch(suffix) is None:
        raise StoreError(f"file suffix {suffix!r}: give a dot and up to 8 lower-case letters or digits")
    return suffix


def create_run(run: RunDir, manifest: RunManifest, *, durability: Durability = "strict", fs: Fs = DISK) -> None:
    """Make the folders and write run.json last: a directory with run.json is a run, whole.

    Call it while holding the run's lock. An existing run.json is an error.
    """
    if run.run_json.exists():
        raise StoreError(f"{run.run_json}: already there; continue that run, or choose another --out")
    for path in run.logs:
        if path.exists() and path.stat().st_size:
            raise StoreError(
                f"{run.root}: run.json is gone, but {run.relative(path)} holds lines of a run; "
                "restore run.json from a copy, or choose another --out"
            )
    sync = durability != "none"
    try:
        make_root(run.root, sync=sync, fs=fs)
        for folder in (run.log, run.images):
            run.ensure_folder(folder, durable=sync, fs=fs)
    except OSError as error:
        raise refused(run.root, "create the run's folders", error) from error
    data = msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"
    write_atomic(run.run_json, data, durability=durability, fs=fs)


def make_root(root: Path, *, sync: bool = True, fs: Fs = DISK) -> None:
    """Make the run directory and its missing parents. Raises OSError."""
    missing: list[Path] = []
    at = root.absolute()
    while not at.exists():
        missing.append(at)
        at = at.parent
    for folder in reversed(missing):
        try:
            fs.mkdir(folder)
        except FileExistsError:
            if not folder.is_dir():
                raise
        if sync:
            fs.sync_dir(folder.parent)


def load_manifest(run: RunDir) -> RunManifest:
    """What run.json says. NoRun if it is absent, StoreError if it is unreadable or of a newer format."""
    try:
        data = run.run_json.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NoRun(run.root) from error
    except OSError as error:
        raise refused(run.run_json, "read it", error) from error
    try:
        manifest = msgspec.json.decode(data, type=RunManifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreError(
            f"{run.run_json}: damaged ({error}); restore it from a copy, the logs alone do not say what was asked"
        ) from error
    if manifest.v > VERSION:
        raise StoreError(
            f"{run.run_json}: written in format {manifest.v}, this version knows up to {VERSION}; update groundswell"
        )
    return manifest
