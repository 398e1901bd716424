"""What becomes of a study's jobs, read from its folder by whoever sees it: nothing is locked, changed or waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from vicinal.workspace.jobs import JOBS_FILE, JobState, StoredJob, is_worked_on, read_state, read_work
from vicinal.workspace.progress import Beat
from vicinal.workspace.remote import RemoteFolder
from vicinal.workspace.remote_jobs import LEFT_SECONDS, no_jobs_at

What = Literal["done", "running", "failed", "to continue", "waits", "to do"]


@dataclass(frozen=True)
class JobStatus:
    """A job and what becomes of it."""

    job: StoredJob
    what: What
    state: JobState | None
    done: float  # of its training, from 0 to 1
    seconds_left: float | None  # at its present speed; None where nobody trains it

    @property
    def title(self) -> str:
        beat = self.beat
        return beat.title if beat is not None else self.job.title

    @property
    def beat(self) -> Beat | None:
        """How far it was when somebody last said so."""
        return Beat(**self.state.beat) if self.state is not None and self.state.beat is not None else None


@dataclass(frozen=True)
class StudyStatus:
    """The jobs of a study's folder."""

    study: str
    jobs: Sequence[JobStatus]
    has_results: bool

    @property
    def runs_done(self) -> int:
        return sum(len(one.job.runs) for one in self.jobs if one.what == "done")

    @property
    def runs(self) -> int:
        return sum(len(one.job.runs) for one in self.jobs)

    @property
    def failed(self) -> list[JobStatus]:
        return [one for one in self.jobs if one.what == "failed"]

    @property
    def seconds_left(self) -> float | None:
        """Until all is trained if the workers of now go on as they do; by counted FLOPs. None where nobody trains."""
        trained_by = [one for one in self.jobs if one.seconds_left is not None and one.done < 1]
        if not trained_by:
            return None
        rates = [(1 - one.done) * one.job.flops / max(one.seconds_left or 0.0, 1e-9) for one in trained_by]
        left = sum((1 - one.done) * one.job.flops for one in self.jobs if one.what not in ("done", "failed"))
        longest = max(one.seconds_left or 0.0 for one in trained_by)
        return max(left / max(sum(rates), 1e-9), longest)


def status_of(out: Path) -> StudyStatus:
    """What becomes of the jobs of a study's folder. Raises UsageError where it holds none."""
    return _of(out, partial(is_worked_on, out))


def status_at(url: str) -> StudyStatus:
    """The same of a study's folder on an object store, from marks and words alone; no weights are brought here.

    Raises UsageError where it holds no jobs, or the store cannot be read.
    """
    remote = RemoteFolder(url)
    with TemporaryDirectory(prefix="vicinal-status-") as place:
        out = Path(place)
        remote.sketch(out)
        if not (out / JOBS_FILE).exists():
            raise no_jobs_at(url)
        return _of(out, lambda state: state.state == "running" and time.time() - state.at < LEFT_SECONDS)


def _of(out: Path, is_running: Callable[[JobState], bool]) -> StudyStatus:
    work = read_work(out)
    jobs = [_status(out, job, is_running) for job in work.jobs]
    return StudyStatus(str(work.study["name"]), jobs, (out / "results.json").exists())


def _status(out: Path, job: StoredJob, is_running: Callable[[JobState], bool]) -> JobStatus:
    state = read_state(out, job.runs[0])
    runs = [out / "runs" / run for run in job.runs]
    trained = sum(_is_trained(run) for run in runs)
    share = trained / len(runs)
    if state is not None and is_running(state):
        beat = Beat(**state.beat) if state.beat is not None else None
        if beat is None or beat.what != "training":
            return JobStatus(job, "running", state, share, None)
        share = beat.done / max(beat.total, 1)
        worked = beat.done - state.first
        seconds = (state.at - state.since) * (beat.total - beat.done) / worked if worked > 0 else None
        return JobStatus(job, "running", state, share, seconds)
    if state is not None and state.state == "failed":
        return JobStatus(job, "failed", state, share, None)
    if trained == len(runs):
        return JobStatus(job, "done", None, 1.0, None)
    if trained or any((run / "checkpoint.pt").exists() for run in runs):
        return JobStatus(job, "to continue", state, share, None)
    waits = not all(_is_trained(out / "runs" / run) for run in job.needs)
    return JobStatus(job, "waits" if waits else "to do", None, 0.0, None)


def _is_trained(run: Path) -> bool:
    return (run / "done.json").exists() and (run / "weights.safetensors").exists()
