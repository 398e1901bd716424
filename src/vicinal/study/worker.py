"""`vicinal work` as a process of another one, which watches it and with which it ends, wherever that is."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vicinal.errors import VicinalError, as_ended
from vicinal.workspace import FORKS, Nursed, NurseryLostError, nursery, write_json

END_SECONDS = 20.0  # that a worker has to leave a checkpoint when it is told to stop
_COMPLAINT = "vicinal: "  # that the command line begins the line with for which it ends
_STOPPED = (130, 143)  # exit statuses after Ctrl-C and SIGTERM


class WorkerDiedError(VicinalError):
    """A worker was killed, stopped or crashed: another may do better."""


class WorkerProcess:
    """A worker on a study's folder, in a process of its own.

    It ends when its input does, so also with a process that is killed.

    Args:
        out: the study's folder.
        threads: of the worker; None: as its environment and the study's jobs say.
        hear: told every line that it says.
        environment: beside that of this process.
        is_warm: fork it from a process that has imported what it needs; not where it uses a GPU.
    """

    def __init__(
        self,
        out: str,
        threads: int | None,
        hear: Callable[[str], None],
        environment: Mapping[str, str] | None = None,
        is_warm: bool = False,
    ) -> None:
        self._hear, self._last, self._complaint = hear, "", ""
        known = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **(environment or {})}
        if threads is not None:
            known["OMP_NUM_THREADS"] = str(threads)
        self._process = _forked(out, known) if is_warm and FORKS else _started(out, known)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._last = line.rstrip("\n")
            if self._last.startswith(_COMPLAINT):
                self._last = self._complaint = self._last.removeprefix(_COMPLAINT)
            self._hear(self._last)

    def is_there(self) -> bool:
        """Whether it works; False where it ended since nothing is left that it may take.

        Raises:
            WorkerDiedError: it was ended from outside, or crashed.
            UsageError, VicinalError: as it ended.
        """
        return self._process.poll() is None or self.wait()

    def wait(self) -> bool:
        """Wait until it ends, as `is_there` tells; False."""
        code, own = self._process.wait(), self._process.pid
        self._reader.join(END_SECONDS)
        if code < 0:
            raise WorkerDiedError(f"worker {own} was killed (signal {-code})")
        if code in _STOPPED:
            raise WorkerDiedError(f"worker {own} was stopped")
        if code and self._complaint:
            raise as_ended(code, f"a worker ended: {self._complaint}")
        if code:
            raise WorkerDiedError(f"worker {own} crashed ({self._last or f'exit status {code}'})")
        return False

    def stop(self) -> None:
        """Tell it to leave a checkpoint and end."""
        self._hear = lambda _: None
        self._process.terminate()

    def end(self, seconds: float = END_SECONDS) -> None:
        """Have it ended, by force where it takes longer."""
        try:
            self._process.wait(max(seconds, 0.1))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _started(out: str, environment: Mapping[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "vicinal", *_command(out)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,  # Ctrl-C is for the process that watches it
    )


def _forked(out: str, environment: Mapping[str, str]) -> Nursed | subprocess.Popen[str]:
    with contextlib.suppress(NurseryLostError):
        return nursery().start(_command(out), environment)
    return _started(out, environment)  # the nursery has ended, and perhaps the next would, too


def _command(out: str) -> list[str]:
    return ["work", out, "--driven"]


@dataclass(frozen=True)
class WorkOn:
    """The work of one worker as a function that a process of another machine can be given: it needs the folder and this package."""

    out: str
    threads: int | None
    end: str | None = None  # a file that says how it ended, where nobody takes what this raises; none where it died

    def __call__(self) -> None:
        """Work until nothing is left. Raises as `WorkerProcess.wait` does."""
        process = WorkerProcess(self.out, self.threads, lambda line: print(line, file=sys.stderr, flush=True))  # noqa: T201
        try:
            process.wait()
        except WorkerDiedError:
            raise
        except VicinalError as error:
            self._tell({"exit_code": error.exit_code, "error": str(error)})
            raise
        else:
            self._tell({"exit_code": 0})
        finally:
            process.stop()
            process.end()

    def _tell(self, end: Mapping[str, Any]) -> None:
        if self.end is not None:
            write_json(Path(self.end), end)

    def checkpoint(self, *_: Any) -> Any:
        """What submitit queues again where the time of a job is over or another takes its place: the same."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)
