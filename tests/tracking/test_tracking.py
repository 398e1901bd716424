"""Trackers are told of what the runs log, of the results and of the report; one that fails ends nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tiny_studies import Answer
from vicinal.tracking import TrackerRun, Trackers


class _Told:
    """A tracker that remembers; it fails at a given call."""

    def __init__(self, fails_at: int = 10**9) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self._fails_at = fails_at

    def _note(self, *what: Any) -> None:
        self.calls.append(what)
        if len(self.calls) == self._fails_at:
            raise ConnectionError("the server\nis away")

    def epoch(self, run: TrackerRun, step: int, values: Mapping[str, float]) -> None:
        self._note("epoch", run.name, step, dict(values))

    def results(self, run: TrackerRun, values: Mapping[str, float]) -> None:
        self._note("results", run.name, dict(values))

    def finish(self, report: Path | None) -> None:
        self._note("finish", report)


def entry(epoch: int, phase: str = "train", loss: float = 0.5) -> dict[str, Any]:
    return {"phase": phase, "epoch": epoch, "step": 7 * epoch, "loss": loss, "lr": 0.1, "selection_loss": None}


def test_numbers_are_told_once_by_epoch_and_a_warm_up_apart():
    told = _Told()
    with Trackers({"told": told}, print) as trackers:
        for one in (entry(1, "head_warmup"), entry(1), entry(2, loss=float("nan")), entry(2), entry(3)):
            trackers.epoch("kd-s0", {}, one)
        trackers.results("kd-s0", {}, {"accuracy": 0.5, "arm": "kd", "seed": 0, "selective": {"aurc": 0.25, "n": True}})
        trackers.report(Path("report.html"))
    assert told.calls == [
        ("epoch", "kd-s0", 1, {"head_warmup/loss": 0.5, "head_warmup/lr": 0.1}),
        ("epoch", "kd-s0", 1, {"loss": 0.5, "lr": 0.1}),
        (
            "epoch",
            "kd-s0",
            2,
            {"lr": 0.1},
        ),  # what is not finite is no number to draw, and a repeated epoch is the old one
        ("epoch", "kd-s0", 3, {"loss": 0.5, "lr": 0.1}),
        ("results", "kd-s0", {"test/accuracy": 0.5, "test/selective.aurc": 0.25}),
        ("finish", Path("report.html")),
    ]


def test_one_that_fails_is_left_out_with_a_line_and_the_others_go_on():
    weak, strong, lines = _Told(fails_at=2), _Told(), []

    def stopped() -> None:
        with Trackers({"weak": weak, "strong": strong}, lines.append) as trackers:
            for number in (1, 2, 3):
                trackers.epoch("kd-s0", {}, entry(number))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert len(weak.calls) == 2
    assert [call[0] for call in strong.calls] == ["epoch", "epoch", "epoch", "finish"]
    assert strong.calls[-1] == ("finish", None)  # stopped: there is no report to show
    assert lines == ["runtime.trackers: weak failed and is left out from here on (the server is away)"]


def test_tensorboard_and_mlflow_hold_what_the_runs_logged_and_a_second_command_adds_no_run(
    smallest: dict[str, Any],
    study_file: Callable[..., Path],
    vicinal: Callable[..., Answer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    pytest.importorskip("tensorboard")
    mlflow = pytest.importorskip("mlflow")
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    out = tmp_path / "out"
    study = study_file(smallest, {"runtime.trackers": ["tensorboard", "mlflow"], "student.epochs": 2})
    for _ in range(2):
        answer = vicinal("run", study, "--out", out)
        assert answer.code == 0, answer.err
        assert "left out" not in answer.err
    assert "MLFLOW_ALLOW_FILE_STORE" not in os.environ

    (student,) = [folder for folder in (out / "runs").iterdir() if "-kd-" in folder.name]
    logged = [line for line in student.joinpath("log.jsonl").read_text().splitlines() if line]
    events = event_accumulator.EventAccumulator(str(out / "tensorboard" / student.name)).Reload()
    assert [event.step for event in events.Scalars("loss")] == [1, 2] == list(range(1, len(logged) + 1))
    assert events.Scalars("test/accuracy")

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = mlflow.MlflowClient(tracking_uri=(out / "mlruns").as_uri())
    experiment = client.get_experiment_by_name("smallest")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert len(runs) == 3  # teacher, student, the whole study
    assert [m.step for m in client.get_metric_history(runs[student.name].info.run_id, "loss")] == [1, 2]
    assert runs[student.name].data.params["network.model"] == "vicinal_mobilenet"
    assert [a.path for a in client.list_artifacts(runs["the whole study"].info.run_id)] == ["report.html"]
    assert {run.info.status for run in runs.values()} == {"FINISHED"}


def test_a_tracker_that_is_not_installed_is_one_line_before_anything_is_spent(
    smallest: dict[str, Any],
    study_file: Callable[..., Path],
    vicinal: Callable[..., Answer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setitem(sys.modules, "wandb", None)
    answer = vicinal("run", study_file(smallest), "--out", tmp_path / "out", "runtime.trackers=wandb")
    assert answer.code == 2
    assert "runtime.trackers: wandb is not installed" in answer.err
    assert "pip install 'vicinal[wandb]'" in answer.err
    assert answer.err.count("\n") == 1
    assert not (tmp_path / "out").exists()
