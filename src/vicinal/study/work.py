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


def work(out: Path, progress: StudyProgress, retry: bool = False) -> Outlook:
    """Do jobs of a study's folder until nothing is left that this process may take; gives what it found at the end.

    Jobs that another command adds meanwhile (more seeds, more arms) are taken on, too.

    Args:
        retry: try jobs again that failed.

    Raises UsageError where the folder holds no jobs, or where images or networks are others here than where they were planned.
    """
    known = read_work(out)
    if retry:
        forget_failures(out)
    with counted_as_worker(out):
        while True:
            study = _opened(out, known)
            progress.number(known.order)
            jobs = [Job(job.runs, frozenset(job.needs)) for job in known.jobs]
            found = pull(study, jobs, progress, partial(_has_changed, out, known))
            if not _has_changed(out, known):
                return found
            known = read_work(out)


def _has_changed(out: Path, known: StoredWork) -> bool:
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
