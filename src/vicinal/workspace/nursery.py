"""A process that has imported what workers need and forks them at once: importing takes seconds, and is paid for once.

It ends when the process that started it does. On a CPU alone: CUDA does not survive a fork, if anything has asked for it before.
What it runs is `vicinal.cli.nursery`.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import IO

FORKS = sys.platform == "linux"  # elsewhere libraries do not survive it
MOST_BYTES = 2**20  # of an order: a command and an environment


class NurseryLostError(Exception):
    """The nursery has ended."""


class Nursed:
    """A process that the nursery forked, as `subprocess.Popen` shows one. It lives no longer than its standard input is held here."""

    def __init__(self, pid: int, lifeline: int, stderr: IO[str], status: IO[str]) -> None:
        self.pid, self.stderr, self._lifeline, self._status = pid, stderr, lifeline, status
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit status, minus the signal where one killed it; None while it runs."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the exit status. Raises subprocess.TimeoutExpired."""
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        return code

    def terminate(self) -> None:
        """Have it stop, by the end of its input."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1

    def kill(self) -> None:
        """Kill it; its parent has not yet waited for it as long as it has no status here."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, 9)

    def _ended(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], timeout)[0]:
            said = self._status.read()
            self.returncode = int(said) if said else -9  # the nursery was killed, and nobody knows
            self.terminate()
        return self.returncode


class Nursery:
    """The process itself. It is started here and is ready some seconds later; nothing has to wait for that."""

    def __init__(self) -> None:
        self._orders, theirs = socket.socketpair()
        known = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with theirs:
            # A session of its own: Ctrl-C is for the process that started it.
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "vicinal.cli.nursery", str(theirs.fileno())],
                env=known,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=[theirs.fileno()],
            )

    @property
    def is_there(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def end(self) -> None:
        """Have it end, once it has imported; what it forked lives on."""
        self._orders.close()
        self._process.wait()

    def start(self, arguments: Sequence[str], environment: Mapping[str, str]) -> Nursed:
        """Start `vicinal ARGUMENTS` in an environment. Raises NurseryLostError where the nursery has ended."""
        inputs, lines, status = os.pipe(), os.pipe(), os.pipe()
        order = json.dumps({"arguments": list(arguments), "environment": dict(environment)}).encode() + b"\n"
        try:
            socket.send_fds(self._orders, [order], [inputs[0], lines[1], status[1]])
        except OSError as error:
            for end in (*inputs, *lines, *status):
                os.close(end)
            raise NurseryLostError from error
        for end in (inputs[0], lines[1], status[1]):
            os.close(end)
        stderr, told = os.fdopen(lines[0], errors="replace"), os.fdopen(status[0])
        said = told.readline()
        if not said:
            os.close(inputs[1])
            stderr.close()
            told.close()
            raise NurseryLostError
        return Nursed(int(said), inputs[1], stderr, told)


_known: list[Nursery] = []  # of this process: one, or none yet


def nursery() -> Nursery:
    """That of this process, started where there is none."""
    if not _known or not _known[0].is_there:
        _known[:] = [Nursery()]
    return _known[0]
