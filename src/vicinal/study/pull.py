"""Workers that pull: each takes the next job of a study that nobody holds, until nothing is left that it may take.

The kernel's locks on the runs' folders say who has what, so that nobody shares jobs out and a killed worker's job is free at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vicinal.errors import UsageError, VicinalError, as_ended
from vicinal.study.executor import POLL_SECONDS, Job, JobStudy
from vicinal.workspace import HeldError, JobState, StudyProgress, read_state


@dataclass(frozen=True)
class Outlook:
    """What is left of some jobs."""

    ready: tuple[Job, ...]  # not finished, not failed, and what they need is trained; others may be at them
    failures: tuple[JobState, ...]
    is_over: bool  # all are finished, or failed, or need one that failed; or the user has to mend something first

    def raise_failure(self) -> None:
        """VicinalError or UsageError, as the first job that failed raised it."""
        if self.failures:
            first = self.failures[0]
            more = f" (and {len(self.failures) - 1} more jobs failed)" if len(self.failures) > 1 else ""
            raise as_ended(first.exit_code, f"{first.error}{more}")


def outlook(study: JobStudy, jobs: Sequence[Job]) -> Outlook:
    """Look at what lies in a study's folder."""
    left = [job for job in jobs if not study.is_finished(job)]
    states = {job: read_state(study.out, job.runs[0]) for job in left}
    failures = [state for state in states.values() if state is not None and state.state == "failed"]
    doomed = {run for state in failures for run in state.runs}
    open_jobs = []
    for job in left:
        if doomed & {*job.needs, *job.runs}:
            doomed |= {*job.runs}
        else:
            open_jobs.append(job)
    # What needs a failed one may stand before it.
    open_jobs = [job for job in open_jobs if not doomed & job.needs]
    ready = [job for job in open_jobs if all(study.is_trained(run) for run in job.needs)]
    mistake = any(state.exit_code == UsageError.exit_code for state in failures)
    return Outlook(tuple(ready), tuple(failures), not open_jobs or mistake)


def pull(
    study: JobStudy, jobs: Sequence[Job], progress: StudyProgress, stops: Callable[[], bool] = lambda: False
) -> Outlook:
    """Do jobs, in the order in which they stand, as long as there are any; gives what it found at the end.

    A job that fails is told and left to whoever looks at the outlook; one that others do is waited for, since they may be killed.

    Args:
        stops: asked before each job whether to go on no longer.
    """
    while True:
        found = outlook(study, jobs)
        if found.is_over or stops():
            return found
        for job in found.ready:
            try:
                study.run_job(job, progress)
            except HeldError:
                continue
            except VicinalError as error:
                progress.say(f"failed: {error}")
            break
        else:
            time.sleep(POLL_SECONDS)
