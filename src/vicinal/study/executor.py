"""Work as jobs: runs that are trained together and what must be done before them. A job is a function of (spec, folder).

`run_job` needs nothing that a fresh process cannot be given: the study's value, its folder, and the names of runs. It holds the
folders of these runs alone, so that jobs may run side by side wherever an `Executor` starts them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from vicinal.study.groups import Group
from vicinal.study.plan import PlannedRun
from vicinal.workspace import StudyProgress, hold

RunJob = Callable[["Job", StudyProgress], None]


@dataclass(frozen=True)
class Job:
    """Runs that are trained together, by the names of their folders, and the runs that they need trained."""

    runs: tuple[str, ...]
    needs: frozenset[str]


class Executor(Protocol):
    """Runs jobs, each after those that it needs."""

    def run(self, jobs: Sequence[Job], run_job: RunJob, progress: StudyProgress) -> None:
        """Run them all. Whatever a job raises ends it; what was finished stays."""


class InOrder:
    """One job after the other in this process: the executor of today."""

    def run(self, jobs: Sequence[Job], run_job: RunJob, progress: StudyProgress) -> None:
        for job in in_order(jobs):
            run_job(job, progress)


def jobs_of(groups: Sequence[Group]) -> list[Job]:
    """The jobs of groups of runs: those to train, and those that are done but not yet looked at."""
    return [
        Job(
            tuple(run.folder.path.name for run in group),
            frozenset(run.teacher.folder.path.name for run in group if run.teacher is not None),
        )
        for group in groups
    ]


def in_order(jobs: Sequence[Job]) -> Iterator[Job]:
    """The jobs in an order in which every one comes after those that it needs, otherwise as they stand.

    Raises ValueError where a job needs a run that no job brings, or two need each other.
    """
    left, done = list(jobs), set[str]()
    while left:
        ready = next((job for job in left if job.needs <= done), None)
        if ready is None:
            lacking = sorted(left[0].needs - done)
            raise ValueError(f"{left[0].runs[0]} needs {lacking[0]}, which no job before it trains")
        left.remove(ready)
        done |= set(ready.runs)
        yield ready


@contextlib.contextmanager
def held(runs: Sequence[PlannedRun]) -> Iterator[None]:
    """Hold the folders of some runs for this process. Raises UsageError where another process trains one of them."""
    with contextlib.ExitStack() as stack:
        for run in runs:
            stack.enter_context(hold(run.folder.path))
        yield
