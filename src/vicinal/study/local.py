"""Workers on this machine: as many processes as it has room for, each with its own threads or GPU, watched and shown by one driver."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from joblib import cpu_count

from vicinal.config import RuntimeSpec
from vicinal.errors import UsageError, VicinalError
from vicinal.study.executor import POLL_SECONDS, Job, JobStudy, RunJob
from vicinal.study.pull import outlook
from vicinal.workspace import (
    Beat,
    JobState,
    RunProgress,
    StudyProgress,
    available_memory,
    is_worked_on,
    read_state,
)

END_SECONDS = 20.0  # that a worker has to leave a checkpoint when it is told to stop


@dataclass(frozen=True)
class Crew:
    """How many workers share this machine, and with what."""

    workers: int
    threads: int | None  # of each on a CPU; None: torch's choice
    gpus: tuple[str, ...] = ()  # names for CUDA_VISIBLE_DEVICES that they take in turn; none: all see all

    @property
    def sharing(self) -> int:
        """Workers that share the memory of one device."""
        return max(-(-self.workers // max(len(self.gpus), 1)), 1)


def crew_of(runtime: RuntimeSpec, device: torch.device, recorded: int | None = None) -> Crew:
    """The workers that a study asks for, or with `auto` as many as this machine has cores, memory or GPUs for.

    How many threads a process has decides the last digits of its weights. So `auto` never chooses threads, only how many workers
    have them; and a study that was begun goes on with the threads that it was begun on.

    Args:
        recorded: threads that runs of the study were begun on.
    """
    threads = runtime.threads or recorded
    if runtime.workers == 1:
        return Crew(1, runtime.threads)
    gpus = _visible_gpus() if device.type == "cuda" and device.index is None else ()
    cores = cpu_count()
    if runtime.workers != "auto":
        return Crew(runtime.workers, threads or max(cores // max(runtime.workers, 1), 1), gpus)
    if device.type != "cpu":
        workers = max(len(gpus), 1)
        return Crew(workers, threads or max(cores // workers, 1), gpus)
    threads = threads or torch.get_num_threads()
    each = 1.5 * 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # a worker holds what this process does
    free = available_memory()
    room = cores if free is None else int(free / each)
    return Crew(max(min(cores // threads, room), 1), threads)


def _visible_gpus() -> tuple[str, ...]:
    stated = os.environ.get("CUDA_VISIBLE_DEVICES")
    if stated is not None:
        return tuple(name for name in stated.split(",") if name)
    return tuple(str(number) for number in range(torch.cuda.device_count()))


class LocalWorkers:
    """The executor that starts `vicinal work` in processes of their own, and ends them with this one.

    With no workers it waits for those that are started elsewhere.
    """

    def __init__(self, study: JobStudy, crew: Crew) -> None:
        self._study, self._crew = study, crew

    def run(self, jobs: Sequence[Job], run_job: RunJob, progress: StudyProgress) -> None:  # noqa: ARG002
        """Have all jobs done. Raises what the first job raised that failed, when nothing else is left to do."""
        left = [job for job in jobs if not self._study.is_finished(job)]
        if not left:
            return
        count = min(self._crew.workers, len(left))
        if count:
            threads = self._crew.threads
            each = "" if threads is None else f" of {threads} thread{'s' * (threads > 1)} each"
            many = count * (threads or 1) > cpu_count()
            progress.say(
                f"{count} worker{'s' * (count > 1)}{each}" + f", more than {cpu_count()} cores have room for" * many
            )
        else:
            progress.say(f"waits for workers: vicinal work {self._study.out}")
        view = _View(self._study, left, progress)
        with _processes(self._study, self._crew, count, progress) as processes:
            while not (found := outlook(self._study, left)).is_over:
                view.show()
                are_there = [process.check(found.failures) for process in processes]
                if processes and not any(are_there) and not (found := outlook(self._study, left)).is_over:
                    raise VicinalError(
                        f"all workers ended, and {found.ready[0].runs[0]} is left; give the same command again"
                    )
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


@dataclass
class _Process:
    """A worker that is started again when it is killed."""

    command: Sequence[str]
    environment: Mapping[str, str]
    progress: StudyProgress
    process: subprocess.Popen[str] = field(init=False)
    last_line: str = ""
    is_ended: bool = False

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        # A session of its own: Ctrl-C is the driver's. It ends when its input does, so also with a driver that is killed.
        self.process = subprocess.Popen(  # noqa: S603
            self.command,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            self.last_line = line.rstrip("\n").removeprefix("vicinal: ")
            if not self.is_ended:
                self.progress.say(self.last_line)

    def check(self, failures: Sequence[JobState]) -> bool:
        """Whether it is there, started again where it was killed or ended with a job that it told of.

        Raises what ended it where that was none of its jobs.
        """
        code, own = self.process.poll(), self.process.pid
        if code is None:
            return True
        if code > 0 and not any(state.process == own for state in failures):
            kind = UsageError if code == UsageError.exit_code else VicinalError
            raise kind(f"a worker ended: {self.last_line or f'exit status {code}'}")
        if code < 0:
            self.progress.say(f"worker {own} was killed (signal {-code}); another takes its place")
        if code:
            self.start()
        return bool(code)


@contextlib.contextmanager
def _processes(study: JobStudy, crew: Crew, count: int, progress: StudyProgress) -> Iterator[list[_Process]]:
    """The workers, which end when the block does."""
    command = [sys.executable, "-m", "vicinal", "work", str(study.out.absolute()), "--driven"]
    environment: dict[str, str] = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    if crew.threads is not None:
        environment["OMP_NUM_THREADS"] = str(crew.threads)
    processes: list[_Process] = []
    try:
        for number in range(count):
            gpu = {"CUDA_VISIBLE_DEVICES": crew.gpus[number % len(crew.gpus)]} if crew.gpus else {}
            processes.append(_Process(command, environment | gpu, progress))
        yield processes
    finally:
        for worker in processes:
            worker.is_ended = True
            worker.process.terminate()
        _wait_for([worker.process for worker in processes])


def _wait_for(processes: Sequence[subprocess.Popen[Any]]) -> None:
    until = time.monotonic() + END_SECONDS
    for process in processes:
        try:
            process.wait(max(until - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
