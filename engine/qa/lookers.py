"""Looking at pictures in a process per core: what it takes beside decoding then runs on all cores as well.

A process (`looker`) gets pictures a few at a time on stdin and answers with a look at each on
stdout, in order. The picture it died of is among the first that it did not answer: these go to the next process one
by one, and a picture that a process died of alone is a finding.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Generator, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import IO

import msgspec

from engine.qa.beside import KEEPING, end, start
from engine.qa.look import Expected, Look
from engine.qa.looker import FRAME, Portion, send

PORTION = 32
"""Pictures told at once, and again once half are done. So many looks fit into a pipe, whoever is slow."""
PAUSE_S = 0.01
"""Between readings: being woken for each look would cost 2 % of a JPEG, and take its core from a process that looks."""
DEATHS_MAX = 2

Key = dict[str, object]
Item = tuple[Key, Expected]


class _Worker:
    """A process, what it was given and did not answer yet, and the part of its next answer that is here."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] = start("engine.qa.looker", **KEEPING)
        self.given: deque[Item] = deque()
        self.ready = False
        """Whether it has said that it runs; one that ends before is not the pictures' fault."""
        self._part = bytearray()

    @property
    def answers(self) -> IO[bytes]:
        assert self.process.stdout is not None
        return self.process.stdout

    def give(self, root: Path, portion: list[Item]) -> None:
        self.given.extend(portion)
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):  # it is gone: its stdout says so as well
            send(self.process.stdin, Portion(os.fsencode(root), [picture for _, picture in portion]))

    def hear(self) -> list[bytes] | None:
        """Answers that came; None when it has ended."""
        data = os.read(self.answers.fileno(), 1 << 16)
        if not data:
            return None
        self._part += data
        frames: list[bytes] = []
        while len(self._part) >= FRAME.size:
            stop = FRAME.size + FRAME.unpack_from(self._part)[0]
            if len(self._part) < stop:
                break
            frames.append(bytes(self._part[FRAME.size : stop]))
            del self._part[:stop]
        return frames


def looks_beside(
    root: Path, items: Iterator[Item], processes: int
) -> Generator[tuple[Key, Look], None, Iterator[Item]]:
    """Looks as they come, in any order. Returns what is left over where processes cannot be had."""
    again: deque[list[Item]] = deque()
    deaths: Counter[str] = Counter()
    workers: list[_Worker] = []
    can_start = bool(sys.executable)
    look = msgspec.msgpack.Decoder(Look).decode

    def portion() -> list[Item]:
        return again.popleft() if again else list(islice(items, PORTION))

    with selectors.DefaultSelector() as ready:

        def employ() -> bool:
            nonlocal can_start
            some = portion()
            if not some:
                return False
            try:
                worker = _Worker()
            except OSError:
                again.appendleft(some)
                can_start = False
                return False
            workers.append(worker)
            ready.register(worker.answers, selectors.EVENT_READ, worker)
            worker.give(root, some)
            return True

        try:
            while True:
                while can_start and len(workers) < processes and employ():
                    pass
                if not workers:
                    return chain(chain.from_iterable(again), items)
                time.sleep(PAUSE_S)
                for key, _ in ready.select():
                    worker: _Worker = key.data
                    frames = worker.hear()
                    for frame in frames or ():
                        if frame:
                            yield worker.given.popleft()[0], look(frame)
                        worker.ready = True
                    if frames is not None and len(worker.given) <= PORTION // 2 and (some := portion()):
                        worker.give(root, some)
                    if frames is not None and worker.given:
                        continue
                    ready.unregister(worker.answers)  # it has nothing left to do, or it died
                    workers.remove(worker)
                    end(worker.process)
                    can_start = can_start and worker.ready
                    if worker.given and worker.ready:
                        fatal = worker.given.popleft()
                        deaths[fatal[1].path] += 1
                        if deaths[fatal[1].path] < DEATHS_MAX:
                            again.append([fatal])  # alone, so that it harms no other
                        else:
                            yield fatal[0], _fatal(worker.process.returncode)
                    again.extend([item] for item in worker.given)  # one by one: of a handful the first is blamed
        finally:
            for worker in workers:
                end(worker.process)


def _fatal(code: int) -> Look:
    found = Look(integrity=[])
    how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
    found.say("undecodable", f"the process that looked at it {how}, {DEATHS_MAX} times; is there enough memory?")
    return found
