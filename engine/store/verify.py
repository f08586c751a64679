"""Is the run what its logs say? And, with `repair`, making it so again.

Looking changes nothing and may be done while the run is live. Repairing never drops a byte: what
cannot stay is in quarantine/ first. A picture that is recorded but lost gets one more line, status
`retry`, error kind `lost`: the newest line of a job counts, so the next run asks for it again, and the
log has stayed the truth about what happened.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path, PurePosixPath

import msgspec
from msgspec import Struct

from engine.errors import NoRun, StoreError
from engine.store.fs import DISK, Fs
from engine.store.layout import RunDir, load_manifest
from engine.store.lock import RunLock, is_live
from engine.store.orphans import is_temporary, temporary_owner
from engine.store.picture import SIZE_BYTES_MAX, BadPicture, check_picture
from engine.store.recovery import AnyLine, Inspection, inspect
from engine.store.repair import Mender
from engine.store.reserve import RESERVE_NAME
from schemas.outcome import Asset

READERS = 4
"""Threads that read and hash pictures."""
AHEAD = 64
"""Pictures asked for at a time, so that memory stays small."""


class Finding(Struct, frozen=True):
    """One thing that is not as the logs say."""

    kind: str
    """`manifest`, `torn_tail`, `hole`, `damaged_line`, `settled_twice`, `no_asset`, `outside`, `missing`, `corrupt`,
    `orphan`, `temporary`; harmless: `interrupted` (a picture or a temporary file that the next run takes up)."""
    path: str
    """Relative to the run."""
    detail: str
    harmless: bool = False
    mended: str | None = None
    """What `repair` did about it."""

    def __str__(self) -> str:
        return f"{self.path}: {self.detail}" + (f"; {self.mended}" if self.mended else "")


class VerifyReport(Struct, frozen=True):
    """What `verify` looked at and found."""

    run: str
    live: bool
    """Some process was writing the run; what it had under way was not looked at."""
    lines: dict[str, int]
    """Good lines by log."""
    pictures: int
    """Recorded pictures looked at."""
    size_bytes: int
    """Of these pictures."""
    sound: bool
    """Nothing is wrong (any more)."""
    findings: tuple[Finding, ...]
    repaired: tuple[str, ...]
    """What was mended, in sentences."""


class _Line(Struct, frozen=True, gc=False):
    job: str
    status: str
    stage: str = ""
    image_id: str = ""
    index: int = 0
    final: bool = False
    asset: Asset | None = None


class _Recorded(Struct, frozen=True):
    offset: int
    image_id: str
    asset: Asset | None


def verify(run: RunDir, repair: bool = False, *, fs: Fs = DISK) -> VerifyReport:
    """Check every line of every log and every recorded picture; with `repair`, mend what is found.

    Raises NoRun if there is none, StoreError if the disk refuses, RunLocked if `repair` is asked of a live run.
    """
    if not run.run_json.exists() and not run.log.is_dir():
        raise NoRun(run.root)
    if not repair:
        return _Check(run, live=is_live(run), mender=None).report()
    with RunLock(run):
        return _Check(run, live=False, mender=Mender(run, fs)).report()


class _Check:
    """One pass over a run."""

    def __init__(self, run: RunDir, *, live: bool, mender: Mender | None) -> None:
        self.run = run
        self.live = live
        self.mender = mender
        self.findings: list[Finding] = []
        self.lines: dict[str, int] = {}
        self.recorded: dict[str, _Recorded] = {}
        """By job, the newest final ok line of the image log."""
        self.open: set[str] = set()
        """Image ids of jobs that were started, or came back, and are not settled."""
        self.pictures = 0
        self.size_bytes = 0

    def report(self) -> VerifyReport:
        self._manifest()
        self._attempts()
        self._settled(self.run.images_log)
        self._settled(self.run.metadata_log)
        self._log(self.run.reviews_log, inspect(self.run.reviews_log, kind=AnyLine))
        self._pictures()
        self._leftovers()
        return VerifyReport(
            run=str(self.run.root),
            live=self.live,
            lines=self.lines,
            pictures=self.pictures,
            size_bytes=self.size_bytes,
            sound=all(finding.harmless or finding.mended for finding in self.findings),
            findings=tuple(self.findings),
            repaired=tuple(str(finding) for finding in self.findings if finding.mended),
        )

    def _found(self, kind: str, path: str, detail: str, *, harmless: bool = False, mended: str | None = None) -> None:
        self.findings.append(Finding(kind, path, detail, harmless, mended))

    def _manifest(self) -> None:
        try:
            load_manifest(self.run)
        except StoreError as error:
            self._found("manifest", "run.json", str(error))

    def _attempts(self) -> None:
        decode = msgspec.json.Decoder(_Line).decode

        def seen(_: int, raw: bytes) -> None:
            line = decode(raw)
            if line.stage == "image" and line.status == "start":
                self.open.add(line.image_id)

        self._log(self.run.attempts_log, inspect(self.run.attempts_log, seen=seen))

    def _settled(self, path: Path) -> None:
        """Read a log of ended attempts: what is settled, and what twice."""
        decode = msgspec.json.Decoder(_Line).decode
        final: dict[str, int] = {}
        twice: dict[int, str] = {}

        def seen(offset: int, raw: bytes) -> None:
            line = decode(raw)
            before = final.pop(line.job, None)
            if line.final:
                final[line.job] = offset
                if before is not None:
                    twice[before] = line.image_id
            if line.stage == "image":
                self.recorded.pop(line.job, None)
                if not line.final:
                    self.open.add(line.image_id)
                else:
                    self.open.discard(line.image_id)
                    if line.status == "ok":
                        self.recorded[line.job] = _Recorded(offset, line.image_id, line.asset)

        self._log(path, inspect(path, seen=seen), twice)

    def _log(self, path: Path, found: Inspection, twice: dict[int, str] | None = None) -> None:
        name = self.run.relative(path)
        twice = twice or {}
        self.lines[path.stem] = found.lines
        mender = self.mender
        if found.torn_bytes or found.newline_missing:
            mended = mender.cut(path) if mender else None
            what = (
                "its last line lacks the newline"
                if found.newline_missing
                else f"{found.torn_bytes} bytes of a torn line"
            )
            self._found("torn_tail", name, f"ends in {what}", harmless=self.live, mended=mended)
        bad = (*found.damaged, *found.holes)
        mended = mender.rewrite(path, bad, list(twice)) if mender and (bad or twice) else None
        for hole in found.holes:
            detail = f"a power loss left a hole (byte {hole.offset}, {hole.size_bytes} bytes) in lines on their way"
            self._found("hole", name, detail, harmless=self.live, mended=mended)
        for damage in found.damaged:
            detail = f"line {damage.line} (byte {damage.offset}, {damage.size_bytes} bytes) is not what was written"
            self._found("damaged_line", name, detail, mended=mended)
        for offset, image_id in twice.items():
            detail = f"the line at byte {offset} and a later one both settle the same job of {image_id}"
            self._found("settled_twice", name, detail, mended=mended)
        if mended:
            self._forget_offsets(path)

    def _forget_offsets(self, path: Path) -> None:
        """The log was rewritten: find the recorded lines again."""
        if path != self.run.images_log:
            return
        decode = msgspec.json.Decoder(_Line).decode

        def seen(offset: int, raw: bytes) -> None:
            line = decode(raw)
            if line.status == "ok" and line.final and line.job in self.recorded:
                self.recorded[line.job] = _Recorded(offset, line.image_id, line.asset)

        inspect(path, seen=seen)

    def _pictures(self) -> None:
        lost: list[tuple[int, str]] = []
        jobs = iter(list(self.recorded.items()))
        with ThreadPoolExecutor(READERS, thread_name_prefix="verify") as pool:
            while some := list(islice(jobs, AHEAD)):
                verdicts = pool.map(lambda item: _look(self.run, item[1].asset), some)
                for (job, recorded), verdict in zip(some, verdicts, strict=True):
                    self.pictures += 1
                    self.size_bytes += recorded.asset.size_bytes if recorded.asset else 0
                    if verdict is None:
                        continue
                    kind, detail = verdict
                    path = recorded.asset.path if recorded.asset else self.run.relative(self.run.images_log)
                    mended = None
                    if self.mender:
                        kept = self.mender.set_aside(self.run.root / path, kind) if kind == "corrupt" else None
                        mended = (f"kept as {kept}, " if kept else "") + "the next run asks for it again"
                        lost.append((recorded.offset, detail))
                        del self.recorded[job]
                    self._found(kind, path, f"{recorded.image_id}: {detail}", mended=mended)
        if lost and self.mender:
            self.mender.record_lost(lost)

    def _leftovers(self) -> None:
        """Files in the pictures' folders that no line speaks of, and temporary files anywhere."""
        known = {recorded.asset.path for recorded in self.recorded.values() if recorded.asset}
        for path in _strays(self.run, known):
            name = self.run.relative(path)
            temporary = is_temporary(path)
            image_id = temporary_owner(path) if temporary else path.stem
            if not path.is_symlink() and (self.live or (image_id in self.open and path.parent != self.run.root)):
                self._found(
                    "interrupted", name, "belongs to a call without an end; the next run takes it up", harmless=True
                )
                continue
            kind, detail = ("temporary", "left over") if temporary else ("orphan", "no log line speaks of it")
            kept = self.mender.set_aside(path, kind) if self.mender else None
            # Beside the pictures' folders it is a whole file that did not take its place: nothing was lost.
            harmless = self.run.images not in path.parents
            self._found(kind, name, detail, harmless=harmless, mended=f"kept as {kept}" if kept else None)


def _look(run: RunDir, asset: Asset | None) -> tuple[str, str] | None:
    """What is wrong with a recorded picture: kind and detail; None if it is as recorded."""
    if asset is None:
        return "no_asset", "recorded as ok without a picture"
    path = inside(run, asset.path)
    if path is None:
        return "outside", "points outside the run's images, or through a symbolic link"
    try:
        size = path.lstat().st_size
        if size != asset.size_bytes:
            return "corrupt", f"{size} bytes instead of {asset.size_bytes}"
        if size > SIZE_BYTES_MAX:
            return "corrupt", f"{size} bytes are more than a picture may have"
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return "missing", "recorded, but not there"
    except OSError as error:
        return "corrupt", f"cannot be read: {error.strerror}"
    digest = hashlib.sha256(data).hexdigest()
    if digest != asset.sha256:
        return "corrupt", f"its sha256 is {digest[:12]}… instead of {asset.sha256[:12]}…"
    try:
        check_picture(data)
    except BadPicture as error:
        return "corrupt", str(error)
    return None


def inside(run: RunDir, name: str) -> Path | None:
    """The file that a recorded path means, if it lies in the run's images and no symlink leads there."""
    parts = PurePosixPath(name).parts
    if len(parts) < 2 or parts[0] != "images" or ".." in parts or "\0" in name or "\\" in name:
        return None
    path = run.root
    for part in parts:
        path = path / part
        if path.is_symlink():
            return None
    return path if not path.is_dir() else None


def _strays(run: RunDir, known: set[str]) -> Iterator[Path]:
    for folder, folders, files in os.walk(run.images):
        folders.sort()
        links = [name for name in folders if Path(folder, name).is_symlink()]
        for name in sorted([*files, *links]):
            path = Path(folder, name)
            if run.relative(path) not in known:
                yield path
    for folder in (run.root, run.log):
        if folder.is_dir():
            for path in sorted(folder.iterdir()):
                if is_temporary(path) and path.name != RESERVE_NAME and stat.S_ISREG(path.lstat().st_mode):
                    yield path
