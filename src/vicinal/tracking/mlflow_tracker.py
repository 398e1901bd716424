"""MLflow: an experiment for the study, a run for each run. To the server of MLFLOW_TRACKING_URI, else to files in DIR/mlruns."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from vicinal.tracking.runs import TrackerRun, flat

_ALLOW = "MLFLOW_ALLOW_FILE_STORE"  # MLflow 3 asks for it before it keeps runs in files
_TAG, _WHOLE_STUDY = "vicinal.run", "the whole study"
_LONGEST_PARAM = 500  # characters


class MlflowTracker:
    """Curves by epoch, settings and results of each run, and the report as an artifact of a run for the whole study."""

    def __init__(self, study: str, folder: Path) -> None:
        from mlflow import MlflowClient

        self._make, self._study = MlflowClient, study
        self._uri = os.environ.get("MLFLOW_TRACKING_URI") or (folder / "mlruns").absolute().as_uri()
        self._ids: dict[str, str] = {}
        if not self._uri.startswith("file:"):  # a server that does not answer is said before anything is spent
            self._experiment  # noqa: B018

    @cached_property
    def _client(self) -> Any:
        with _files_allowed(self._uri):
            return self._make(tracking_uri=self._uri)

    @cached_property
    def _experiment(self) -> str:
        with _files_allowed(self._uri):
            known = self._client.get_experiment_by_name(self._study)
            return str(known.experiment_id if known else self._client.create_experiment(self._study))

    def epoch(self, run: TrackerRun, step: int, values: Mapping[str, float]) -> None:
        """Numbers of a run after `step` epochs."""
        own = self._id(run)
        for name, value in values.items():
            self._client.log_metric(own, name, value, step=step)

    def results(self, run: TrackerRun, values: Mapping[str, float]) -> None:
        """What was measured of a finished run."""
        own = self._id(run)
        for name, value in values.items():
            self._client.log_metric(own, name, value)

    def finish(self, report: Path | None) -> None:
        """The report as an artifact; runs are marked as finished, or as killed where the study was stopped."""
        if report is not None:
            self._client.log_artifact(self._id(TrackerRun(_WHOLE_STUDY, {})), str(report))
        for own in self._ids.values():
            self._client.set_terminated(own, "FINISHED" if report is not None else "KILLED")

    def _id(self, run: TrackerRun) -> str:
        """The run of this name in the experiment, made where there is none."""
        if run.name not in self._ids:
            found = self._client.search_runs([self._experiment], f"tags.`{_TAG}` = '{run.name}'", max_results=1)
            if found:
                self._ids[run.name] = found[0].info.run_id
            else:
                made = self._client.create_run(self._experiment, tags={_TAG: run.name}, run_name=run.name)
                self._ids[run.name] = made.info.run_id
                for name, value in flat(run.config).items():
                    self._client.log_param(made.info.run_id, name, str(value)[:_LONGEST_PARAM])
        return self._ids[run.name]


@contextmanager
def _files_allowed(uri: str) -> Iterator[None]:
    """MLflow looks for the permission when a client is made; the caller's environment is as it was afterwards."""
    before = os.environ.get(_ALLOW)
    if uri.startswith("file:"):
        os.environ[_ALLOW] = "true"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_ALLOW, None)
        else:
            os.environ[_ALLOW] = before
