"""The jobs of a study whose folder is on an object store, for workers that share nothing else.

What a job is doing lies there as work/<run>.json, as in a study's folder, renewed while somebody works on it. Who wants a job writes
that, waits, and has it if that word still stands: of two at once the later. A store has no locks, so that two may still train one run
where one of them is very slow; they bring the same weights, and the later ones stay.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from vicinal.errors import UsageError, VicinalError
from vicinal.workspace.files import write_atomically
from vicinal.workspace.jobs import JOBS_FILE, WORK_FOLDER, JobState
from vicinal.workspace.lock import HeldError, is_held
from vicinal.workspace.place import check_place
from vicinal.workspace.remote import MARK, RemoteFolder, folder_or_url
from vicinal.workspace.study_folder import check_out_folder
from vicinal.workspace.torchrun import launched

RENEWED_SECONDS = 5.0
LEFT_SECONDS = 120.0  # after its last word when a job counts as left
SETTLED_SECONDS = 1.0  # between writing that one wants a job and looking whether that still stands


def fetched_folder(out: Path | str | None, study: str) -> tuple[Path, RemoteFolder | None, int]:
    """The folder in which a study is worked on, with what is done of it at a URL; that URL's, and how many runs were fetched.

    Args:
        out: a folder or URL; None: runs/<name of the study>.
        study: its name.

    Raises UsageError where the study cannot have it.
    """
    place, remote, fetched = folder_or_url(out) if isinstance(out, str) else out, None, 0
    if isinstance(place, str):
        remote = RemoteFolder(place)
        fetched, place = remote.fetch(), remote.local
    folder = place if place is not None else Path("runs") / study
    check_place(folder)
    check_out_folder(folder, study)
    return folder, remote, fetched


@contextlib.contextmanager
def kept_folder(out: Path | str | None, study: str, is_alone: bool, say: Callable[[str], None]) -> Iterator[Path]:
    """`fetched_folder`'s, from which what gets done there as long as the block runs is brought to its URL.

    Args:
        is_alone: whether no other machine works on it.
        say: told a line or two.
    """
    is_url = isinstance(out, str) and isinstance(folder_or_url(out), str)
    if is_url and not (is_alone and launched().count == 1):
        raise UsageError(
            f"{out} is worked on in a folder of this machine, which no other sees: give --out a folder that all see"
        )
    folder, remote, fetched = fetched_folder(out, study)
    if remote is None:
        yield folder
        return
    say(f"works in {folder}" + f"; {fetched} finished runs are fetched from {remote.url}" * (fetched > 0))
    jobs = RemoteJobs(remote)
    jobs.forget_failures()
    with remote.kept(say, jobs.watch):
        yield folder


def no_jobs_at(url: str) -> UsageError:
    """What is said of a place where no study was begun that others may work on."""
    return UsageError(
        f"{url} holds no jobs; vicinal run STUDY --out {url} runtime.workers=0 writes them when it starts"
    )


class RemoteJobs:
    """Jobs at a URL, for one worker, or for the one that waits for them all.

    Args:
        remote: the study's folder.
    """

    def __init__(self, remote: RemoteFolder) -> None:
        self._remote, self._looked = remote, 0.0
        self._cut_since: float | None = None
        # What an earlier process left here is renewed with what is there, too.
        self._fetched = {path.stem for path in (remote.local / WORK_FOLDER).glob("*.json")}

    def fetch_jobs(self) -> None:
        """Bring the jobs, and what is done. Raises UsageError where there are none."""
        self._remote.fetch()
        content = self._remote.read(JOBS_FILE)
        if content is None:
            raise no_jobs_at(self._remote.url)
        path = self._remote.local / JOBS_FILE
        if not path.exists() or path.read_bytes() != content:
            write_atomically(path, content)

    @property
    def local(self) -> Path:
        """The folder of this machine in which they are done."""
        return self._remote.local

    def look(self) -> None:
        """For a worker, now and then: bring jobs that came there, what got done, and what is said of jobs; send what got done here.

        Raises UsageError or VicinalError where the store could not be reached for a while.
        """
        if time.monotonic() - self._looked < RENEWED_SECONDS:
            return
        try:
            self.fetch_jobs()
            self._fetch_states()
            self.send()
            self._cut_since = None
        except VicinalError:
            self._cut_since = self._cut_since or time.monotonic()
            if time.monotonic() - self._cut_since > LEFT_SECONDS:
                raise
        self._looked = time.monotonic()

    def send(self) -> None:
        """Send what got done here. Raises VicinalError where the store cannot be written."""
        if runs := self._remote.unsent():
            self._remote.send(runs=runs)
            self._remote.fetch()

    def watch(self) -> None:
        """The same for the one that waits, whose jobs they are."""
        if time.monotonic() - self._looked >= RENEWED_SECONDS:
            self._remote.fetch()
            self._fetch_states()
            self._looked = time.monotonic()

    def _fetch_states(self) -> None:
        """Of jobs that nobody on this machine works on."""
        there = {Path(name).stem: name for name in self._remote.names(WORK_FOLDER) if name.endswith(".json")}
        for run, name in there.items():
            if not is_held(self._remote.local / "runs" / run) and (content := self._remote.read(name)) is not None:
                write_atomically(self._remote.local / name, content)
                self._fetched.add(run)
        for run in self._fetched - there.keys():
            if not is_held(self._remote.local / "runs" / run):
                (self._remote.local / WORK_FOLDER / f"{run}.json").unlink(missing_ok=True)
                self._fetched.discard(run)

    def forget_failures(self) -> None:
        """Have jobs that failed tried again."""
        for name in self._remote.names(WORK_FOLDER):
            state = self._state(name)
            if state is not None and state.state == "failed":
                self._remote.remove(name)

    @contextlib.contextmanager
    def taken(self, runs: Sequence[str]) -> Iterator[None]:
        """Have a job, and say there what becomes of it; what it brought goes there at the end.

        Raises HeldError where somebody else has it.
        """
        name = f"{WORK_FOLDER}/{runs[0]}.json"
        try:
            self._take(name, runs)
        except HeldError:
            raise
        except VicinalError as error:  # a cut line; `look` tells when it stays cut
            raise HeldError(str(error)) from None
        ended = threading.Event()
        thread = threading.Thread(target=self._renew, args=(name, ended), daemon=True)
        thread.start()
        try:
            yield
            self._remote.send(runs=runs)
        finally:
            ended.set()
            thread.join()
            with contextlib.suppress(
                VicinalError
            ):  # what ended it is what counts; a word that is not renewed grows old
                self._tell(name)

    def _take(self, name: str, runs: Sequence[str]) -> None:
        now, own = time.time(), (os.getpid(), socket.gethostname())
        before = self._state(name)
        if before is not None and (before.process, before.host) != own:
            if before.state == "failed" or (before.state == "running" and now - before.at < LEFT_SECONDS):
                raise HeldError(f"{self._remote.url}: {runs[0]} is held by {before.by}")
            write_atomically(self._remote.local / name, json.dumps(asdict(before)))  # how often it was tried
        attempts = before.attempts if before is not None else 1
        state = JobState(tuple(runs), "running", *own, now, now, attempts)
        self._remote.write(name, json.dumps(asdict(state)).encode())
        time.sleep(SETTLED_SECONDS)
        after = self._state(name)
        if after is None or (after.process, after.host) != own:
            raise HeldError(f"{self._remote.url}: {runs[0]} was taken by another")
        if before is None and all(self._remote.read(f"runs/{run}/{MARK}") is not None for run in runs):
            self._remote.remove(name)
            self._looked = -math.inf  # so that it is brought here next
            raise HeldError(f"{self._remote.url}: {runs[0]} was done by another meanwhile")

    def _state(self, name: str) -> JobState | None:
        with contextlib.suppress(ValueError, TypeError, RecursionError):
            content = self._remote.read(name)
            if content is not None:
                value = json.loads(content.decode("utf-8"))
                return JobState(**{**value, "runs": tuple(value["runs"])})
        return None

    def _renew(self, name: str, ended: threading.Event) -> None:
        while not ended.wait(RENEWED_SECONDS):
            with contextlib.suppress(VicinalError):  # the next time
                self._tell(name, is_ended=False)

    def _tell(self, name: str, is_ended: bool = True) -> None:
        path = self._remote.local / name
        try:
            self._remote.write(name, path.read_bytes())
        except FileNotFoundError:
            if is_ended:
                self._remote.remove(name)
