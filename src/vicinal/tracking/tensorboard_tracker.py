"""TensorBoard: event files in DIR/tensorboard, a folder for each run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vicinal.tracking.runs import TrackerRun, flat


class TensorboardTracker:
    """Curves by epoch, a table of settings and results for each run, and the summary of the report as text."""

    def __init__(self, study: str, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._make, self._folder, self._study = SummaryWriter, folder, study
        self._writers: dict[str, Any] = {}

    def epoch(self, run: TrackerRun, step: int, values: Mapping[str, float]) -> None:
        """Numbers of a run after `step` epochs."""
        writer = self._writer(run)
        for name, value in values.items():
            writer.add_scalar(name, value, step)
        writer.flush()  # someone may be watching

    def results(self, run: TrackerRun, values: Mapping[str, float]) -> None:
        """What was measured of a finished run."""
        settings = {k: v for k, v in flat(run.config).items() if not k.startswith("data.")}
        self._writer(run).add_hparams(settings, dict(values), run_name=".")

    def finish(self, report: Path | None) -> None:
        """Close the files; the summary of the report goes beside the runs."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()
        summary = self._folder / "tables" / "summary.md"
        if report is not None and summary.exists():
            with self._make(str(self._folder / "tensorboard")) as writer:
                writer.add_text(f"{self._study}: summary", summary.read_text(encoding="utf-8"))

    def _writer(self, run: TrackerRun) -> Any:
        if run.name not in self._writers:
            self._writers[run.name] = self._make(str(self._folder / "tensorboard" / run.name))
        return self._writers[run.name]
