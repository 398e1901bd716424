"""The kernel's locks: one holder of a folder at a time, and of a file for the time of a change."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from vicinal.errors import UsageError

LOCK_FILE = ".lock"
WAY_OUT = "wait for it, or choose another folder with --out"
_TAKEN = (BlockingIOError, PermissionError)  # the latter where locks go through a network
_MOST_WORDS = 300  # of who holds a folder
# A glance at whether a lock is held holds it for a moment itself.
_TRIES, _BETWEEN_TRIES_S = 3, 0.02


class HeldError(UsageError):
    """Another process holds a folder."""


@contextlib.contextmanager
def locked(file: int | TextIO, *, shared: bool = False, wait: bool = True) -> Iterator[None]:
    """Hold the kernel's lock on an open file, which ends with the process at the latest, however that ends.

    Args:
        file: open, or its number.
        shared: for processes that work side by side and keep out those who want it for themselves.
        wait: until the others are done; without, BlockingIOError where another process holds it.

    Raises UsageError where the file system has no locks.
    """
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except _TAKEN:
        raise
    except OSError as error:
        raise UsageError(
            f"{getattr(file, 'name', 'a bank')} lies on a file system that locks no files ({error.strerror}), so that two "
            "processes could write one folder; "
            "choose a folder on another with --out"
        ) from None
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


@contextlib.contextmanager
def hold(folder: Path, shared: bool = False) -> Iterator[None]:
    """Hold a study folder for this process; a second process gets a HeldError that says who holds it.

    `shared` is for processes that work in it side by side and keep others out.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK_FILE).open("a+", encoding="utf-8", errors="replace")
    except OSError as error:
        raise UsageError(f"cannot use {folder}: {error.strerror}; choose another folder with --out") from None
    with file, contextlib.ExitStack() as held:
        _take(held, file, folder, shared)
        file.truncate(0)
        started = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        file.write(f"process {os.getpid()} on {socket.gethostname()} since {started}")
        file.flush()
        yield


def check_not_held(folder: Path, way_out: str = WAY_OUT) -> None:
    """UsageError where another process holds the folder now: the early word of what `hold` makes sure of.

    Args:
        folder: of a study.
        way_out: what its line tells the user to do.
    """
    path = folder / LOCK_FILE
    with (
        contextlib.suppress(OSError),
        path.open(encoding="utf-8", errors="replace") as file,
        contextlib.ExitStack() as held,
    ):
        _take(held, file, folder, way_out=way_out)


def is_held(folder: Path) -> bool:
    """Whether a process holds a folder for itself now."""
    try:
        with (folder / LOCK_FILE).open(encoding="utf-8") as file, locked(file, shared=True, wait=False):
            return False
    except _TAKEN:
        return True
    except (OSError, UsageError):  # nobody ever held it, or there are no locks
        return False


def _take(held: contextlib.ExitStack, file: TextIO, folder: Path, shared: bool = False, way_out: str = WAY_OUT) -> None:
    for attempt in range(1, _TRIES + 1):
        try:
            held.enter_context(locked(file, shared=shared, wait=False))
            return
        except _TAKEN:
            if attempt < _TRIES:
                time.sleep(_BETWEEN_TRIES_S)
    file.seek(0)
    holder = file.read(_MOST_WORDS).strip() or "another process"
    raise HeldError(f"{folder} is held by {holder}; {way_out}") from None
