"""Trackio: a project for the study, a run for each run; local, or on a Space that TRACKIO_SPACE_ID names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vicinal.tracking.runs import TrackerRun, flat


class TrackioTracker:
    """Curves by epoch, settings and results of each run, and the summary of the report as a Markdown entry."""

    def __init__(self, study: str, folder: Path) -> None:
        import trackio

        self._trackio, self._study, self._folder = trackio, study, folder
        self._runs: dict[str, Any] = {}

    def epoch(self, run: TrackerRun, step: int, values: Mapping[str, float]) -> None:
        """Numbers of a run after `step` epochs."""
        self._run(run).log(dict(values), step=step)

    def results(self, run: TrackerRun, values: Mapping[str, float]) -> None:
        """What was measured of a finished run."""
        self._run(run).log(dict(values))

    def finish(self, report: Path | None) -> None:
        """Runs are closed; the summary of the report goes into a run of its own."""
        summary = self._folder / "tables" / "summary.md"
        if report is not None and summary.exists():
            text = self._trackio.Markdown(summary.read_text(encoding="utf-8"))
            self._run(TrackerRun("the whole study", {})).log({"summary": text})
        for run in self._runs.values():
            run.finish()

    def _run(self, run: TrackerRun) -> Any:
        if run.name not in self._runs:
            self._runs[run.name] = self._trackio.init(
                project=self._study, name=run.name, config=flat(run.config), resume="allow", embed=False
            )
        return self._runs[run.name]
