"""One holder of a folder at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from vicinal.errors import UsageError

LOCK_FILE = ".lock"


@contextlib.contextmanager
def hold(folder: Path, shared: bool = False) -> Iterator[None]:
    """Hold a study folder for this process; a second process gets a UsageError that says who holds it.

    `shared` is for processes that work in it side by side and keep others out. The lock is the kernel's, so it ends with the
    process, however that ends.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK_FILE).open("a+", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot use {folder}: {error.strerror}; choose another folder with --out") from None
    with file:
        _lock(file, folder, shared)
        file.truncate(0)
        started = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        file.write(f"process {os.getpid()} on {socket.gethostname()} since {started}")
        file.flush()
        yield


def check_not_held(folder: Path) -> None:
    """UsageError where another process holds the folder now: the early word of what `hold` makes sure of."""
    held = folder / LOCK_FILE
    with contextlib.suppress(OSError), held.open(encoding="utf-8") as file:
        _lock(file, folder)


def _lock(file: TextIO, folder: Path, shared: bool = False) -> None:
    """Take the kernel's lock on an open file, until it is closed."""
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        holder = file.read().strip() or "another process"
        raise UsageError(f"{folder} is held by {holder}; wait for it, or choose another folder with --out") from None
