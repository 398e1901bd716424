"""The torture's tests (short_torture.py), in a process of their own: they fork, and no fork of a process can train that has trained."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_torture_in_its_short_form():
    file = Path(__file__).with_name("short_torture.py")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", file],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-3000:]
    assert "passed" in ran.stdout or "[100%]" in ran.stdout
