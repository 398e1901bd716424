"""Weights & Biases: a project for the study, a run for each run. Its own environment variables (WANDB_MODE, WANDB_ENTITY) hold."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vicinal.tracking.runs import TrackerRun, flat


class WandbTracker:
    """Curves by epoch, settings and results of each run, and the report as an artifact."""

    def __init__(self, study: str, folder: Path) -> None:
        import wandb

        self._wandb, self._study, self._folder = wandb, study, folder
        self._runs: dict[str, Any] = {}

    def epoch(self, run: TrackerRun, step: int, values: Mapping[str, float]) -> None:
        """Numbers of a run after `step` epochs."""
        self._run(run).log({**values, "epoch": step})

    def results(self, run: TrackerRun, values: Mapping[str, float]) -> None:
        """What was measured of a finished run."""
        self._run(run).summary.update(dict(values))

    def finish(self, report: Path | None) -> None:
        """The report as an artifact; runs are closed."""
        for run in self._runs.values():
            run.finish(exit_code=0 if report is not None else 1)
        if report is not None:
            with self._started("the-whole-study", {}) as run:
                artifact = self._wandb.Artifact(f"{self._study}-report", type="report")
                artifact.add_file(str(report))
                run.log_artifact(artifact)

    def _run(self, run: TrackerRun) -> Any:
        if run.name not in self._runs:
            self._runs[run.name] = self._started(run.name, flat(run.config))
        return self._runs[run.name]

    def _started(self, name: str, config: Mapping[str, Any]) -> Any:
        # The same folder and name go on in the same run; several are open at once, since students are stepped together.
        own = hashlib.sha256(f"{self._folder.absolute()}/{name}".encode()).hexdigest()[:16]
        return self._wandb.init(
            project=self._study,
            name=name,
            id=own,
            resume="allow",
            reinit="create_new",
            dir=str(self._folder),
            config=dict(config),
        )
