"""Power loss, by a model of what a disk may have kept (after ALICE, OSDI '14).

The store's own calls are recorded while they really happen. For every moment at which the power may
fail, each call that no sync has covered yet may have reached the medium or not, in any combination;
a write may also be there in half, without its last byte, as zeros, or with a hole of whole sectors at
its start or inside. Each such state is laid out as files, recovered with the store's own code, and
asked for what it promised.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
import pytest

from engine.store import (
    PictureWriter,
    RunDir,
    adopt_orphans,
    create_run,
    open_writer,
    recover,
    threads,
    verify,
    write_picture,
)
from engine.store.log import append_lines
from engine.store.repair import take_up
from engine.store.scan import Settled, read_records
from schemas.record import ImageRecord, encode_line

Kit = Any
T = TypeVar("T")
SEEDS = range(int(os.environ.get("GROUNDSWELL_POWER_SEEDS", "3")))
"""How many long histories: set more for a long night."""


@pytest.fixture
def scratch(memory: Path) -> Callable[[], Path]:
    """Makes new empty folders, in memory."""
    count = itertools.count()

    def new() -> Path:
        path = memory / str(next(count))
        path.mkdir()
        return path

    return new


async def yielding(work: Callable[[], T], /) -> T:
    """An offload without threads that lets the other tasks go first, as a thread would."""
    for _ in range(3):
        await anyio.lowlevel.checkpoint()
    return work()


def history(
    base: Path,
    kit: Kit,
    *,
    images: int,
    workers: int = 1,
    durability: Any = "strict",
    first: int = 1,
    skip: Callable[[str, Path | None], bool] = lambda name, path: False,
    line_first: bool = False,
    offload: Any = None,
    pause: Callable[[], None] = lambda: None,
) -> Any:
    """Let a run happen, and give its recording. Jobs `first` … are done by so many workers at a time."""
    run = RunDir(base / "run")
    model = kit.Model(base, skip=skip, pause=pause)
    offload = offload or yielding

    async def main() -> None:
        create_run(run, kit.MANIFEST, durability=durability, fs=model)
        attempts = open_writer(
            run.attempts_log, durability=durability, fs=model, offload=offload, later=lambda s, f: lambda: None
        )
        log = open_writer(
            run.images_log, durability=durability, fs=model, offload=offload, later=lambda s, f: lambda: None
        )
        pictures = PictureWriter(run, durability=durability, offload=offload, fs=model)
        todo = iter(range(first, first + images))

        async def one(index: int) -> None:
            await attempts.append(kit.a_start(index))
            model.acknowledge(("start", index))
            data = kit.a_picture(index, 16)

            async def save() -> Any:
                return await pictures.save(index, kit.image_id(index), data)

            if line_first:  # a planted bug: the line speaks of a picture that is not there yet
                digest = hashlib.sha256(data).hexdigest()
                path = run.relative(run.image_path(index, kit.image_id(index), ".png"))
                asset = kit.Asset(
                    path=path, sha256=digest, size_bytes=len(data), mime_type="image/png", width=16, height=16
                )
                await log.append(kit.an_image_line(index, asset))
                await save()
            else:
                await log.append(kit.an_image_line(index, await save()))
            model.acknowledge(("ok", index))

        async def worker() -> None:
            for index in todo:
                await one(index)

        async with anyio.create_task_group() as group:
            for _ in range(workers):
                group.start_soon(worker)
        for each in (attempts, log):
            await each.aclose()

    anyio.run(main)
    return model


def broken_promises(base: Path, acknowledged: list[Any], kit: Kit, holes: Counter[str] | None = None) -> list[str]:
    """Recover a run as the next start does, and say which promises of `strict` it breaks."""
    run = RunDir(base / "run")
    if not run.run_json.exists():
        return [f"acknowledged {acknowledged}, but there is no run"] if acknowledged else []
    wrong: list[str] = []
    started: dict[int, Settled] = {}
    ended: dict[int, Settled] = {}
    for path, known in ((run.images_log, ended), (run.attempts_log, started)):
        found, _ = take_up(
            run, path, take=lambda lines, known=known: known.update({line.index: line for line in lines})
        )
        if holes is not None:
            holes[path.name] += len(found.holes)
        if found.damaged:
            wrong.append(f"{path.name}: nobody can start this run without a repair, for {found.damaged}")
    for path in (run.images_log, run.attempts_log):
        again = recover(path, run.quarantine)
        if again.cut_bytes or again.mended or again.holes:
            wrong.append(f"{path.name}: a second recovery still finds a torn tail or a hole")
    for what, index in acknowledged:
        if what == "start" and index not in started:
            wrong.append(f"start {index} was acknowledged and is gone")
        if what == "ok" and index not in ended:
            wrong.append(f"line {index} was acknowledged and is gone")
    for record in read_records(run.images_log, ImageRecord, on_damage=lambda bad: None):
        assert record.asset is not None
        path = run.root / record.asset.path
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != record.asset.sha256:
            wrong.append(f"line {record.index} points at a picture that is not there")
    in_doubt = [(line.index, line.image_id) for index, line in started.items() if index not in ended]
    adopted = adopt_orphans(run, in_doubt).assets
    if adopted:
        lines = [kit.an_image_line(int(image_id[-4:]), asset) for image_id, asset in adopted.items()]
        append_lines(run.images_log, [encode_line(line) for line in lines])
    return wrong + [f"verify: {finding}" for finding in verify(run).findings]


def examine(
    model: Any,
    kit: Kit,
    scratch: Callable[[], Path],
    *,
    most: int = 400,
    seed: int = 0,
    stop: bool = False,
    holes: Counter[str] | None = None,
) -> tuple[int, list[str]]:
    """States looked at, and what was broken in them."""
    count, wrong = 0, []
    for acknowledged, state in model.states(most=most, rng=random.Random(seed)):
        count += 1
        base = scratch()
        kit.lay_out(state, base)
        wrong += broken_promises(base, acknowledged, kit, holes)
        shutil.rmtree(base)
        if wrong and stop:
            break
    return count, wrong


def test_strict_keeps_its_promises_in_every_state_of_short_histories(kit: Kit, scratch: Any) -> None:
    total, holes = 0, Counter[str]()
    for images, workers in ((1, 1), (2, 1), (2, 2), (3, 3), (8, 8)):
        model = history(scratch(), kit, images=images, workers=workers)
        # Pictures that are saved together leave too many states for all of them.
        count, wrong = examine(model, kit, scratch, most=10**4 if workers == 1 else 100, holes=holes)
        assert wrong == []
        total += count
    print(f"{total} states, holes: {dict(holes)}")
    assert total > 250, "the model must have had something to enumerate"
    assert min(holes["attempts.jsonl"], holes["images.jsonl"]) > 1, "there must have been holes"


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_strict_keeps_its_promises_in_long_histories(kit: Kit, scratch: Any, seed: int) -> None:
    """Across two folders, with many workers in real threads that get into each other's way."""
    rng = random.Random(seed)
    model = history(
        scratch(),
        kit,
        images=12,
        workers=6,
        first=996,
        offload=threads(8),
        pause=lambda: time.sleep(rng.random() / 1000),
    )
    count, wrong = examine(model, kit, scratch, most=10, seed=seed)
    assert wrong == []
    print(f"{count} states of {len(model.ops)} calls")
    assert count > 250


def test_a_power_loss_during_recovery_breaks_no_promise_either(kit: Kit, scratch: Any) -> None:
    model = history(scratch(), kit, images=2, workers=2)
    rng = random.Random(7)
    interrupted = nested = 0
    for acknowledged, state in model.states(most=60, rng=rng):
        torn = [path for path, data in state.items() if data and path.suffix == ".jsonl" and not data.endswith(b"}\n")]
        if not torn or Path("run/run.json") not in state:
            continue
        interrupted += 1
        base = scratch()
        kit.lay_out(state, base)
        second = kit.Model(base)
        run = RunDir(base / "run")
        for path in (run.images_log, run.attempts_log):
            take_up(run, path, fs=second)
        for _, after in second.states(most=40, rng=rng):
            nested += 1
            again = scratch()
            kit.lay_out(after, again)
            assert broken_promises(again, acknowledged, kit) == []
            shutil.rmtree(again)
        shutil.rmtree(base)
    assert interrupted > 10
    assert nested > 50


def test_what_is_cut_off_in_recovery_is_kept_aside_whole_whenever_the_power_fails(kit: Kit, scratch: Any) -> None:
    tail = b'{"v":1,"job":"half a line' + bytes(3000)
    base = scratch()
    run = RunDir(base / "run")
    create_run(run, kit.MANIFEST)
    good = encode_line(kit.a_start(1))
    run.attempts_log.write_bytes(good + tail)
    model = kit.Model(base)
    recover(run.attempts_log, run.quarantine, fs=model)
    for _, state in model.states(most=10**6, rng=random.Random(0)):
        log = state[Path("run/log/attempts.jsonl")]
        kept = [data for path, data in state.items() if path.parts[:2] == ("run", "quarantine")]
        assert log == good + tail or (log == good and tail in kept)


def test_a_power_loss_during_repair_loses_no_good_byte(kit: Kit, scratch: Any) -> None:
    base = scratch()
    run = RunDir(base / "run")
    create_run(run, kit.MANIFEST)
    assets = [write_picture(run, n, kit.image_id(n), kit.a_picture(n, 16)) for n in (1, 2, 3)]
    lines = [encode_line(kit.an_image_line(n, asset)) for n, asset in zip((1, 2, 3), assets, strict=True)]
    damaged = lines[1].replace(b"crowd", b"cr\xf0wd")
    run.images_log.write_bytes(lines[0] + damaged + lines[2] + b"half a li")
    (run.root / assets[2].path).write_bytes(b"rubbish")
    model = kit.Model(base)
    assert verify(run, repair=True, fs=model).sound
    rng = random.Random(3)
    count = 0
    for _, state in model.states(most=200, rng=rng):
        count += 1
        again = scratch()
        kit.lay_out(state, again)
        held = b"\n".join(data for data in state.values() if data)
        for whole in (lines[0], lines[2], damaged, b"half a li", b"rubbish"):
            assert whole.rstrip(b"\n") in held
        same = RunDir(again / "run")
        verify(same, repair=True)
        assert verify(same).sound
        assert {line.index for line in read_records(same.images_log, Settled)} >= {1, 3}
        shutil.rmtree(again)
    assert count > 20


def test_batch_may_lose_lines_of_the_last_second_but_none_points_at_a_missing_picture(kit: Kit, scratch: Any) -> None:
    model = history(scratch(), kit, images=2, workers=2, durability="batch")
    _, wrong = examine(model, kit, scratch, most=200)
    assert not [each for each in wrong if "points at a picture" in each or "second recovery" in each]
    assert [each for each in wrong if "was acknowledged and is gone" in each], "what batch may lose, it does lose"


def test_none_may_lose_anything_and_is_recovered_all_the_same(kit: Kit, scratch: Any) -> None:
    model = history(scratch(), kit, images=2, workers=1, durability="none")
    _, wrong = examine(model, kit, scratch, most=25)
    assert not [each for each in wrong if "second recovery" in each]
    assert [each for each in wrong if "was acknowledged and is gone" in each]
    assert [each for each in wrong if "points at a picture that is not there" in each]


@pytest.mark.parametrize(
    ("bug", "options"),
    [
        ("the line is written before the picture", {"line_first": True}),
        ("no folder is ever synced", {"skip": lambda name, path: name == "sync_dir"}),
        ("the pictures' folder is not synced", {"skip": lambda name, path: path == Path("run/images/0000")}),
        ("a new folder's own name is not synced", {"skip": lambda name, path: path == Path("run/images")}),
        ("the run's folders are not synced", {"skip": lambda name, path: name == "sync_dir" and path == Path("run")}),
        ("pictures are not synced", {"skip": lambda name, path: name == "sync" and path and "images" in path.parts}),
        ("lines are not synced", {"skip": lambda name, path: name == "sync" and path and path.name == "images.jsonl"}),
        (
            "starts are not synced",
            {"skip": lambda name, path: name == "sync" and path and path.name == "attempts.jsonl"},
        ),
    ],
)
def test_the_model_catches_a_planted_bug(kit: Kit, scratch: Any, bug: str, options: dict[str, Any]) -> None:
    model = history(scratch(), kit, images=2, **options)
    _, wrong = examine(model, kit, scratch, stop=True)
    print(wrong[0][:160] if wrong else "")
    assert wrong, f"not caught: {bug}"
