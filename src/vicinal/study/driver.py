"""The executor that drives workers, wherever these are: it has them started, starts them again that die, and shows what all do."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from vicinal.errors import VicinalError
from vicinal.study.executor import POLL_SECONDS, Job, JobStudy, RunJob
from vicinal.study.pull import outlook
from vicinal.workspace import MOST_ATTEMPTS, Beat, RunProgress, StudyProgress, is_worked_on, read_state

SOON_SECONDS = 60.0  # after its start in which a worker that dies says that there is something wrong with all of them
MOST_SOON = 2 * MOST_ATTEMPTS  # that die so, one after the other; more than a single job may kill


class Worker(Protocol):
    """A worker that was started."""

    def check(self) -> bool:
        """Whether it is there, or another in its place; False where it has ended because nothing is left that it may take.

        Raises UsageError or VicinalError where it ended with a line that says why, which another one would say, too.
        """


class DrivenStudy(JobStudy, Protocol):
    """A study whose jobs others do."""

    def get_ahead(self, progress: StudyProgress) -> bool:
        """Do a part of what comes after the jobs, as far as it can be done yet; False where nothing can."""


# So many of them, started where the block begins and ended where it ends.
Hands = Callable[[int, StudyProgress], AbstractContextManager[Sequence[Worker]]]


class Deaths:
    """Of one worker after another in one place, the first of which starts now: those that die as soon as they begin are not started
    for ever."""

    def __init__(self, progress: StudyProgress) -> None:
        self._progress, self._started, self._soon = progress, time.monotonic(), 0

    def count(self, why: str) -> None:
        """It died, and another one starts. Raises VicinalError where too many did at once."""
        self._soon = self._soon + 1 if time.monotonic() - self._started < SOON_SECONDS else 1
        if self._soon >= MOST_SOON:
            raise VicinalError(
                f"{MOST_SOON} workers in a row were ended from outside as soon as they began ({why}); see to memory and limits, "
                "then give the same command again"
            )
        self._progress.say(f"{why}; another takes its place")
        self._started = time.monotonic()


class Driven:
    """Has all jobs of a study done by workers that pull them from its folder.

    Args:
        count: of workers; none: it waits for those that are started elsewhere.
        described: what they are, for people.
        spared: whether this process's core is none of those that they train on.
    """

    def __init__(self, study: DrivenStudy, hands: Hands, count: int, described: str, spared: bool) -> None:
        self._study, self._hands, self._count, self._described = study, hands, count, described
        self._spared = spared

    def run(self, jobs: Sequence[Job], run_job: RunJob, progress: StudyProgress) -> None:  # noqa: ARG002
        """Have all jobs done. Raises what the first job raised that failed, when nothing else is left to do."""
        left = [job for job in jobs if not self._study.is_finished(job)]
        if not left:
            return
        count = min(self._count, len(left))
        if count:
            progress.say(f"{count} worker{'s' * (count > 1)}{self._described}")
        else:
            progress.say(f"waits for workers: vicinal work {self._study.out}")
        view = _View(self._study, left, progress)
        with self._hands(count, progress) as workers:
            while not (found := outlook(self._study, left)).is_over:
                view.show()
                are_there = [worker.check() for worker in workers]
                if workers and not any(are_there) and not (found := outlook(self._study, left)).is_over:
                    raise VicinalError(
                        f"all workers ended, and {found.ready[0].runs[0]} is left; give the same command again"
                    )
                if not ((self._spared or len(found.ready) < count) and self._study.get_ahead(progress)):
                    time.sleep(POLL_SECONDS)
        view.show()
        found.raise_failure()


class _View:
    """What all workers do, as one progress."""

    def __init__(self, study: JobStudy, jobs: Sequence[Job], progress: StudyProgress) -> None:
        self._study, self._jobs, self._progress = study, jobs, progress
        self._bars: dict[Job, tuple[str, RunProgress, int]] = {}  # title, bar, images done
        self._told = {run: len(study.epochs(run)[1]) for job in jobs for run in job.runs} if progress.is_heard else {}

    def show(self) -> None:
        """Look once."""
        for job in self._jobs:
            state = read_state(self._study.out, job.runs[0])
            running = state is not None and is_worked_on(self._study.out, state)
            beat = Beat(**state.beat) if running and state is not None and state.beat is not None else None
            if beat is not None and beat.what == "training":
                self._advance(job, beat)
            elif job in self._bars:
                self._bars.pop(job)[1].close()
        for run in self._told:
            config, entries = self._study.epochs(run)
            for entry in entries[self._told[run] :]:
                self._progress.epoch(run, config, entry)
            self._told[run] = max(self._told[run], len(entries))

    def _advance(self, job: Job, beat: Beat) -> None:
        known = self._bars.get(job)
        if known is not None and (known[0] != beat.title or beat.done < known[2]):  # it began again
            self._bars.pop(job)[1].close()
            known = None
        if known is None:
            known = beat.title, self._progress.run(beat.title, beat.total, beat.done), beat.done
        _, bar, done = known
        if beat.done > done and beat.loss is not None:
            bar.advance(beat.done - done, beat.epoch, beat.epochs, beat.loss)
        self._bars[job] = beat.title, bar, beat.done
