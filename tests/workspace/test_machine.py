"""What this machine is, and what its allocator is asked for."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from vicinal.workspace import available_memory, environment, free_bytes, keep_freed_memory, machine

CPU = torch.device("cpu")


def test_the_environment_names_machine_and_versions() -> None:
    found = environment(CPU)
    assert found["torch"] == torch.__version__.partition("+")[0] or found["torch"] == torch.__version__
    assert found["threads"] == torch.get_num_threads()
    assert found["device"] == "cpu"
    assert found["processor"]


def test_free_memory_is_less_than_all() -> None:
    assert 0 < free_bytes(CPU) <= environment(CPU)["memory_gib"] * 2**30 * 1.01


def test_free_memory_is_all_where_the_system_does_not_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "Path", lambda _: tmp_path / "not there")
    assert available_memory() == free_bytes(CPU)
    assert round(available_memory() / 2**30, 1) == environment(CPU)["memory_gib"]


def test_memory_of_a_system_that_says_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def silent(_: str) -> int:
        raise ValueError

    monkeypatch.setattr(machine, "Path", lambda _: tmp_path / "not there")
    monkeypatch.setattr(machine.os, "sysconf", silent)
    assert available_memory() is None
    assert free_bytes(CPU) == 0


RESIDENT = """
import torch
from vicinal.workspace import keep_freed_memory

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

taken, before = keep_freed_memory(), resident()
torch.ones(100_000_000)  # 400 MB, freed at once
kept = resident() - before
keep_freed_memory(False)
print(int(taken), kept, resident() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a wish to glibc")
def test_freed_memory_is_kept_and_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", RESIDENT], capture_output=True, text=True, check=True)
    taken, kept, left = map(int, done.stdout.split())
    if not taken:
        pytest.skip("another libc")
    assert kept > 350e6
    assert left < 50e6


def test_other_allocators_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(_: Any) -> object:
        return object()

    monkeypatch.setattr(ctypes, "CDLL", without)
    assert keep_freed_memory() is False
