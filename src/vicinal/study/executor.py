"""Work as jobs: runs that are trained together and what must be done before them. A job is a function of (spec, folder).

`run_job` needs nothing that a fresh process cannot be given: the study's value, its folder, and the names of runs. It holds the
folders of these runs alone, so that jobs may run side by side wherever an `Executor` starts them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from vicinal.study.groups import Group
from vicinal.study.plan import PlannedRun
from vicinal.workspace import HeldError, StudyProgress, hold

RunJob = Callable[["Job", StudyProgress], None]
POLL_SECONDS = 0.5  # between two looks at what others do


@dataclass(frozen=True)
class Job:
    """Runs that are trained together, by the names of their folders, and the runs that they need trained."""

    runs: tuple[str, ...]
    needs: frozenset[str]


class Executor(Protocol):
    """Runs jobs, each after those that it needs."""

    def run(self, jobs: Sequence[Job], run_job: RunJob, progress: StudyProgress) -> None:
        """Run them all. Whatever a job raises ends it; what was finished stays."""


class JobStudy(Protocol):
    """A study as those see it who share out its jobs."""

    @property
    def out(self) -> Path:
        """Its folder."""

    def is_trained(self, run: str) -> bool:
        """Whether the run of a folder's name has its weights."""

    def is_finished(self, job: Job) -> bool:
        """Whether a job's runs are trained and have predicted."""

    def epochs(self, run: str) -> tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]:
        """What defines the run of a folder's name, as plain values, and the lines of its log."""

    def run_job(self, job: Job, progress: StudyProgress) -> Any:
        """Do a job. Raises HeldError where another process is at it, VicinalError where it fails."""


class InOrder:
    """One job after the other in this process; those that a worker beside it has taken come when that is done with them."""

    def run(self, jobs: Sequence[Job], run_job: RunJob, progress: StudyProgress) -> None:
        left, done, told = list(in_order(jobs)), set[str](), set[Job]()
        while left:
            for job in left:
                if not job.needs <= done:
                    continue
                try:
                    run_job(job, progress)
                except HeldError as held:
                    if job not in told:
                        progress.say(f"goes on beside it: {held}")
                        told.add(job)
                    continue
                left.remove(job)
                done |= set(job.runs)
                break
            else:
                time.sleep(POLL_SECONDS)


def jobs_of(groups: Sequence[Group], before_all: str | None = None) -> list[Job]:
    """The jobs of groups of runs: those to train, and those that are done but not yet looked at.

    Args:
        before_all: a run that every other one needs trained.
    """
    jobs = []
    for group in groups:
        runs = tuple(run.folder.path.name for run in group)
        teachers = [one for run in group if run.teacher is not None for one in run.teacher.networks]
        needs = {teacher.folder.path.name for teacher in teachers}
        needs |= {before_all} - {*runs} if before_all is not None else set()
        jobs.append(Job(runs, frozenset(needs)))
    return jobs


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
    """Hold the folders of some runs for this process. Raises HeldError where another process trains one of them."""
    with contextlib.ExitStack() as stack:
        for run in runs:
            stack.enter_context(hold(run.folder.path))
        yield
