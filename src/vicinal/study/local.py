"""Workers on this machine: processes that share its threads or GPUs, and end with this one."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from vicinal.study.crew import Crew
from vicinal.study.driver import Deaths, Hands
from vicinal.study.worker import END_SECONDS, WorkerDiedError, WorkerProcess
from vicinal.workspace import StudyProgress


def local_workers(out: Path, crew: Crew) -> Hands:
    """Workers on a study's folder in processes of this machine."""
    return partial(_processes, out, crew)


class _LocalWorker:
    """A worker that another one follows when it dies."""

    def __init__(self, out: Path, crew: Crew, number: int, progress: StudyProgress) -> None:
        gpu = {"CUDA_VISIBLE_DEVICES": crew.gpus[number % len(crew.gpus)]} if crew.gpus else {}
        self._start = partial(WorkerProcess, str(out.absolute()), crew.threads, progress.say, gpu, crew.is_on_cpu)
        self._deaths = Deaths(progress)
        self.process = self._start()

    def check(self) -> bool:
        try:
            return self.process.is_there()
        except WorkerDiedError as error:
            self._deaths.count(str(error))
            self.process = self._start()
            return True


@contextlib.contextmanager
def _processes(out: Path, crew: Crew, count: int, progress: StudyProgress) -> Iterator[Sequence[_LocalWorker]]:
    workers: list[_LocalWorker] = []
    try:
        workers.extend(_LocalWorker(out, crew, number, progress) for number in range(count))
        yield workers
    finally:
        for worker in workers:
            worker.process.stop()
        until = time.monotonic() + END_SECONDS
        for worker in workers:
            worker.process.end(until - time.monotonic())
