"""What a newcomer waits for: the quickstart, and the report on the finished study."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.harness import Settings, Talk
from benchmarks.results import CaseResult
from vicinal.errors import VicinalError

SMALLER = (
    "teachers.calibrated.epochs=1",
    "teachers.overconfident.epochs=1",
    "student.epochs=1",
    "measures.vicinity.pairs=10",
    "measures.bootstrap_resamples=100",
)


def quickstart(settings: Settings, talk: Talk) -> list[CaseResult]:
    """Both commands as a person gives them, in processes of their own, once."""
    with tempfile.TemporaryDirectory(prefix="vicinal-bench-") as folder:
        out = str(Path(folder) / "quickstart")
        run_s = _seconds(["run", "quickstart", "--out", out, *(SMALLER if settings.quick else ())])
        talk.say(f"quickstart: done in {run_s:.0f} s")
        report_s = _seconds(["report", out])
    figures = {"run_s": run_s, "report_s": report_s}
    title = "vicinal run quickstart, then vicinal report"
    return [CaseResult(name="quickstart", title=title, unit="s", reference="", figures=figures)]


def _seconds(arguments: list[str]) -> float:
    started = time.perf_counter()
    command = [sys.executable, "-m", "vicinal.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise VicinalError(f"vicinal {arguments[0]}: {(done.stderr.strip().splitlines() or ['no word'])[-1]}")
    return time.perf_counter() - started
