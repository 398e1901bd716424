"""`vicinal work`: one worker on the jobs that lie in a study's folder, in whatever process this is."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from vicinal.config import StudySpec, parse_study
from vicinal.errors import UsageError
from vicinal.study.executor import Job
from vicinal.study.pull import Outlook, pull
from vicinal.study.run import Study
from vicinal.workspace import (
    JOBS_FILE,
    RemoteJobs,
    StoredWork,
    StudyProgress,
    counted_as_worker,
    forget_failures,
    read_work,
)


def study_of_work(out: Path, work: StoredWork) -> StudySpec:
    """The study that some work is of, with the threads that all its workers have. Raises UsageError for another version's."""
    spec = parse_study(work.study, str(out / JOBS_FILE))
    return spec.model_copy(update={"runtime": spec.runtime.model_copy(update={"threads": work.threads})})


class _Remote:
    """A study whose jobs lie at a URL, as `pull` sees it."""

    def __init__(self, study: Study, remote: RemoteJobs) -> None:
        self._study, self._remote = study, remote
        self.out, self.is_trained, self.is_finished = study.out, study.is_trained, study.is_finished
        self.epochs = study.epochs

    def run_job(self, job: Job, progress: StudyProgress) -> None:
        """Do a job that nobody else has, and bring it there."""
        with self._remote.taken(job.runs):
            self._study.run_job(job, progress)


def work(out: Path, progress: StudyProgress, retry: bool = False, remote: RemoteJobs | None = None) -> Outlook:
    """Do jobs of a study's folder until nothing is left that this process may take; gives what it found at the end.

    Jobs that another command adds meanwhile (more seeds, more arms) are taken on, too.

    Args:
        retry: try jobs again that failed.
        remote: that they are at a URL, and in this folder as they were there a moment ago.

    Raises UsageError where the folder holds no jobs, or where images or networks are others here than where they were planned.
    """
    known = read_work(out)
    if retry:
        forget_failures(out)
        if remote is not None:
            remote.forget_failures()
    with counted_as_worker(out):
        while True:
            study = _opened(out, known)
            progress.number(known.order)
            jobs = [Job(job.runs, frozenset(job.needs)) for job in known.jobs]
            seen = study if remote is None else _Remote(study, remote)
            found = pull(seen, jobs, progress, partial(_has_changed, out, known, remote))
            if not _has_changed(out, known, remote):
                if remote is not None:
                    remote.send()
                return found
            known = read_work(out)


def _has_changed(out: Path, known: StoredWork, remote: RemoteJobs | None) -> bool:
    if remote is not None:
        remote.look()
    return read_work(out) != known


def _opened(out: Path, known: StoredWork) -> Study:
    study = Study(study_of_work(out, known), out)
    planned = {run.folder.path.name: run for run in study.plan.unique_runs}
    for job in known.jobs:
        for name in job.runs:
            if name not in planned:
                raise UsageError(
                    f"{out / JOBS_FILE} has the run {name}, which this process would not plan: the images, the weights of a network "
                    "or the versions are others here than where it was planned"
                )
    study.groups = [tuple(planned[name] for name in job.runs) for job in known.jobs]
    return study
