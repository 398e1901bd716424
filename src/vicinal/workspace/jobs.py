"""The work of a study as it lies in its folder, for workers in other processes and for whoever looks on. Needs no torch.

OUT/jobs.json          the study's value and its jobs, as the command planned them that wrote it
OUT/work/<run>.json    what the job of that first run is doing, rewritten every second while somebody works on it
OUT/work/.lock         shared by the workers that are alive
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from vicinal.config import SCHEMA
from vicinal.errors import UsageError, VicinalError
from vicinal.version import __version__
from vicinal.workspace.checksums import DamagedError, read_sealed_json, write_sealed_json
from vicinal.workspace.files import clear_leftovers
from vicinal.workspace.lock import LOCK_FILE, is_held, locked
from vicinal.workspace.progress import Beat, StudyProgress

JOBS_FILE, WORK_FOLDER = "jobs.json", "work"
BEAT_SECONDS = 1.0
SILENCE_SECONDS = 60.0  # after which a job on another machine, whose lock cannot be seen from here, counts as left
MOST_ATTEMPTS = 5  # of a job whose worker is killed each time before anything of it is saved


@dataclass(frozen=True)
class StoredJob:
    """A job as jobs.json has it: the names of runs' folders, and what is known of it beforehand."""

    runs: tuple[str, ...]
    needs: tuple[str, ...]
    title: str
    images: int  # that its runs pass through in training
    flops: float  # of training its runs, those of their teacher included


@dataclass(frozen=True)
class StoredWork:
    """What jobs.json says: enough for a fresh process to work on the study."""

    study: Mapping[str, Any]  # its value
    folder: str  # that its relative paths start from
    threads: int | None  # of every process that trains, on a CPU; None: torch's choice
    jobs: tuple[StoredJob, ...]  # in the order in which they are taken
    order: tuple[str, ...]  # of all runs, by which they are numbered


def write_work(out: Path, work: StoredWork) -> None:
    """Leave the jobs of a study in its folder."""
    known = {"schema": SCHEMA, "version": __version__}
    write_sealed_json(out / JOBS_FILE, {**known, **json.loads(json.dumps(asdict(work)))})


def read_work(out: Path) -> StoredWork:
    """The jobs of a study folder. Raises UsageError where there are none, or another version's."""
    if not out.is_dir():
        raise UsageError(f"{out} is not a folder; vicinal run STUDY --out {out} makes one")
    path = out / JOBS_FILE
    if not path.exists():
        raise UsageError(
            f"{out} holds no jobs (no {JOBS_FILE}); vicinal run STUDY --out {out} writes them when it starts"
        )
    try:
        value = read_sealed_json(path)
    except DamagedError as error:
        raise UsageError(f"{error}; vicinal run STUDY --out {out} writes it again") from None
    if value.get("schema") != SCHEMA or value.get("version") != __version__:
        raise UsageError(
            f"{path} was written by vicinal {value.get('version')}, and this is {__version__}; give the same version to all workers"
        )
    jobs = tuple(
        StoredJob(tuple(job["runs"]), tuple(job["needs"]), job["title"], job["images"], job["flops"])
        for job in value["jobs"]
    )
    return StoredWork(value["study"], value["folder"], value["threads"], jobs, tuple(value["order"]))


def recorded_threads(out: Path) -> int | None:
    """The threads that runs of a study folder were begun on; None where none was begun."""
    if not any(any((out / "runs").glob(f"*/{name}")) for name in ("checkpoint.pt", "done.json")):
        return None
    with contextlib.suppress(UsageError):
        return read_work(out).threads
    return None


# --- what a job is doing ---


@dataclass(frozen=True)
class JobState:
    """What somebody last said of a job. Times are seconds since 1970."""

    runs: tuple[str, ...]
    state: Literal["running", "stopped", "failed"]
    process: int
    host: str
    since: float
    at: float
    attempts: int = 1  # in a row that were killed before anything was saved, this one included
    beat: Mapping[str, Any] | None = None  # a `Beat`
    first: int = 0  # images that were done when this process began
    error: str | None = None
    exit_code: int = 1

    @property
    def by(self) -> str:
        return f"process {self.process} on {self.host}"


def read_state(out: Path, run: str) -> JobState | None:
    """What is said of the job of a first run; None where nothing is, or nothing whole."""
    with contextlib.suppress(OSError, ValueError, TypeError, RecursionError):
        value = json.loads(_state_file(out, run).read_bytes().decode("utf-8"))
        return JobState(**{**value, "runs": tuple(value["runs"])})
    return None


def is_worked_on(out: Path, state: JobState) -> bool:
    """Whether the process that a state speaks of is at it: by the lock that it holds, or by its last word where that is unseen."""
    if state.state != "running":
        return False
    if any(is_held(out / "runs" / run) for run in state.runs):
        return True
    return state.host != socket.gethostname() and time.time() - state.at < SILENCE_SECONDS


def forget_failures(out: Path) -> None:
    """Have the jobs that failed tried again."""
    for path in (out / WORK_FOLDER).glob("*.json"):
        state = read_state(out, path.stem)
        if state is None or state.state == "failed":
            path.unlink(missing_ok=True)


def tidy(out: Path) -> None:
    """Remove what killed processes left in a study folder; nothing while a worker is alive, whose files they could be."""
    try:
        with (out / WORK_FOLDER / LOCK_FILE).open("a") as file, locked(file, wait=False):
            clear_leftovers(out)
            for path in (out / WORK_FOLDER).glob("*.json"):
                path.unlink(missing_ok=True)
    except FileNotFoundError:  # no worker ever was here
        clear_leftovers(out)
    except (BlockingIOError, PermissionError):
        pass


@contextlib.contextmanager
def counted_as_worker(out: Path) -> Iterator[None]:
    """Be one of the workers that are alive."""
    folder = out / WORK_FOLDER
    try:
        folder.mkdir(exist_ok=True)
        file = (folder / LOCK_FILE).open("a")
    except OSError as error:
        raise UsageError(f"cannot work in {out}: {error.strerror}") from None
    with file, locked(file, shared=True):
        yield


@contextlib.contextmanager
def reported(out: Path, runs: Sequence[str], progress: StudyProgress) -> Iterator[None]:
    """Say in the study's folder what becomes of a job while this process, which holds its runs, works on it.

    Raises VicinalError where the processes that tried it before were killed too often.
    """
    now, before = time.time(), read_state(out, runs[0])
    killed = before is not None and before.state == "running" and not _saved_since(out, runs, before.since)
    attempts = before.attempts + 1 if before is not None and killed else 1
    report = _Report(out, JobState(tuple(runs), "running", os.getpid(), socket.gethostname(), now, now, attempts))
    try:
        if attempts > MOST_ATTEMPTS:
            raise VicinalError(
                f"{runs[0]}: {MOST_ATTEMPTS} processes that worked on it were killed before it saved anything; see to the memory it "
                "takes (student.batch_size, runtime.students_at_once), then give the same command again"
            )
        report.write()
        with progress.watched(report.beat):
            yield
    except Exception as error:
        report.end("failed", str(error) or type(error).__name__, getattr(error, "exit_code", 1))
        raise
    except BaseException:
        report.end("stopped")
        raise
    else:
        _state_file(out, runs[0]).unlink(missing_ok=True)


class _Report:
    """The state of a job that this process works on."""

    def __init__(self, out: Path, state: JobState) -> None:
        self._path, self._state, self._written = _state_file(out, state.runs[0]), state, 0.0
        self._title = ""

    def beat(self, beat: Beat) -> None:
        """Something was done; written once a second, and at once where other work begins."""
        begins = beat.title + beat.what != self._title
        first = beat.done if begins else self._state.first
        since = time.time() if begins else self._state.since
        self._title = beat.title + beat.what
        self._state = replace(self._state, beat=asdict(beat), first=first, since=since)
        if begins or time.monotonic() - self._written >= BEAT_SECONDS:
            self.write()

    def end(self, state: Literal["stopped", "failed"], error: str | None = None, exit_code: int = 1) -> None:
        self._state = replace(self._state, state=state, error=error, exit_code=exit_code)
        self.write()

    def write(self) -> None:
        """Whole or not at all; not forced to the disk, and lost where it cannot be written: nothing rests on it."""
        self._written = time.monotonic()
        text = json.dumps(asdict(replace(self._state, at=time.time())))
        temporary = self._path.with_name(f".{self._path.name}.{secrets.token_hex(4)}.part")
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(exist_ok=True)
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(self._path)


def _state_file(out: Path, run: str) -> Path:
    return out / WORK_FOLDER / f"{run}.json"


def _saved_since(out: Path, runs: Sequence[str], when: float) -> bool:
    """Whether a checkpoint or weights of some runs were written after a time."""
    for run in runs:
        for name in ("checkpoint.pt", "weights.safetensors"):
            with contextlib.suppress(OSError):
                if (out / "runs" / run / name).stat().st_mtime > when:
                    return True
    return False
