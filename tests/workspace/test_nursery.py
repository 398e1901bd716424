"""Processes forked from one that has imported: they live, end and die as those that were started."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vicinal.workspace import FORKS, Nursed, NurseryLostError
from vicinal.workspace.nursery import Nursery, nursery

pytestmark = pytest.mark.skipif(not FORKS, reason="libraries survive a fork on Linux alone")


@pytest.fixture(scope="module")
def warm() -> Iterator[Nursery]:
    made = Nursery()
    yield made
    made.end()


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, **more}


def test_a_command_ends_with_its_status_and_says_what_it_says(warm: Nursery, tmp_path: Path):
    process = warm.start(["work", str(tmp_path / "nothing"), "--driven"], environment())
    assert process.wait(60) == 2
    assert process.stderr.read().startswith(f"vicinal: {tmp_path}/nothing is not a folder")
    assert process.poll() == 2
    assert warm.start(["--version"], environment()).wait(60) == 0
    process.kill()  # nothing to kill: nobody else has its number yet


def test_each_has_its_own_environment(warm: Nursery):
    for number in ("seven", "eight"):
        known = environment(RANK=number, LOCAL_RANK="0", WORLD_SIZE="2")
        process = warm.start(["run", "quickstart"], known)
        assert process.wait(60) == 2
        assert f"RANK={number}" in process.stderr.read()


def waiting_worker(warm: Nursery, folder: Path) -> Nursed:
    """A worker that waits for a job that somebody holds, so that it lives until it is ended."""
    fifo = folder / "jobs.json"
    folder.mkdir()
    os.mkfifo(fifo)  # opening it waits for a writer
    return warm.start(["work", str(folder), "--driven"], environment())


def test_killed_it_says_so(warm: Nursery, tmp_path: Path):
    process = waiting_worker(warm, tmp_path / "a")
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.2)
    assert process.poll() is None
    process.kill()
    assert process.wait(30) == -signal.SIGKILL


def test_killed_the_nursery_is_followed_by_another(tmp_path: Path):
    first = nursery()
    assert nursery() is first
    process = waiting_worker(first, tmp_path / "b")
    os.kill(first.pid, signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL  # nobody is left who would know
    os.kill(process.pid, signal.SIGKILL)
    until = time.monotonic() + 30
    while first.is_there:
        assert time.monotonic() < until
    with pytest.raises(NurseryLostError):
        first.start(["--version"], environment())
    second = nursery()
    assert second is not first
    assert second.start(["--version"], environment()).wait(60) == 0
    second.end()
