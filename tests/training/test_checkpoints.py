"""Continuation: a run that was killed at any moment ends with the weights of one that was not."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import SWEEP, a_teacher, network, run_spec, same_weights

from vicinal.config import ARMS, AugmentSpec
from vicinal.errors import VicinalError
from vicinal.workspace import RunFolder


@pytest.mark.parametrize("stop_at", [1, 6, 7, 8, 14, 20, 27])
def test_a_run_stopped_at_any_step_ends_with_the_same_weights(
    go: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    """Stops inside the warm-up, at its end, inside an epoch and at an epoch's end (7 batches an epoch)."""
    run = run_spec(
        ARMS["kd_mixup"],
        teacher="t",
        network=network(head="bottleneck", head_warmup_epochs=1, augment=AugmentSpec(flip=True)),
    )
    whole = go(run, a_teacher(), "whole")
    calls = 0
    original = torch.Tensor.backward

    def stopping(self: torch.Tensor, *arguments: Any, **options: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > stop_at:
            raise InterruptedError
        original(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "backward", stopping)
        with pytest.raises(InterruptedError):
            go(run, a_teacher(), "stopped")
    stopped = go(run, a_teacher(), "stopped")
    assert same_weights(whole, stopped)
    steps = [entry["step"] for entry in stopped.read_log()]
    assert steps == [entry["step"] for entry in whole.read_log()]
    assert not stopped.checkpoint.exists()


KILLED_STUDY = """
name: killed
data: {source: embedded/fashion-mnist, train_images: 300, test_images: 100}
teachers: {one: {model: vicinal_resnet8, epochs: 1, batch_size: 50}}
student: {model: vicinal_mobilenet, head: bottleneck, epochs: 40, batch_size: 37, train_images: 100, augment: {flip: true}}
arms: [kd_mixup]
measures: {vicinity: {pairs: 10, lam_points: 3}, bootstrap_resamples: 100}
runtime: {checkpoint_seconds: 0, threads: 1}
"""


def test_a_study_killed_twice_ends_with_the_weights_of_one_that_was_not(tmp_path: Path) -> None:
    """kill -9 of the real command, twice in one run."""
    (tmp_path / "study.yaml").write_text(KILLED_STUDY)

    def start(out: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "vicinal.cli", "run", "study.yaml", "--out", out]
        return subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def steps_logged() -> int:
        return sum(len(log.read_text().splitlines()) for log in tmp_path.glob("killed/runs/student-*/log.jsonl"))

    for epochs in (5, 15):
        process = start("killed")
        deadline = time.monotonic() + 60
        while steps_logged() < epochs and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert list(tmp_path.glob("killed/runs/student-*/checkpoint.pt"))
        assert not list(tmp_path.glob("killed/runs/student-*/done.json"))
    assert start("killed").wait() == 0
    assert start("whole").wait() == 0
    weights = {path.parent.name: path.read_bytes() for path in tmp_path.glob("whole/runs/*/weights.safetensors")}
    assert len(weights) == 2
    for name, content in weights.items():
        assert (tmp_path / "killed" / "runs" / name / "weights.safetensors").read_bytes() == content


def test_a_damaged_checkpoint_is_one_clear_error(go: Callable[..., RunFolder]) -> None:
    done = go(run_spec())
    done.checkpoint.write_bytes(b"not a checkpoint")
    with pytest.raises(VicinalError, match=r"checkpoint.*delete it"):
        go(run_spec())


@pytest.mark.parametrize("stop_at", [1, 20, 22, 23, 40])
def test_students_stopped_together_at_any_step_end_with_the_same_weights(
    together: Callable[..., list[RunFolder]], monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    """Also between the checkpoints of two: those behind catch up by themselves."""
    whole = together(SWEEP, "whole")
    calls = 0
    original = torch.save

    def stopping(*arguments: Any, **options: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > stop_at:
            raise KeyboardInterrupt
        original(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", stopping)
        with pytest.raises(KeyboardInterrupt):
            together(SWEEP, "stopped")
    stopped = together(SWEEP, "stopped")
    assert all(map(same_weights, whole, stopped))
    for a, b in zip(whole, stopped, strict=True):
        assert [entry["step"] for entry in a.read_log()] == [entry["step"] for entry in b.read_log()]


def test_a_checkpoint_of_another_run_is_refused(go: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the same shape, so that its weights would fit."""
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "finish", lambda *_: None)  # killed before the mark: the checkpoint is still there
        left, other = go(run_spec(seed=1)), go(run_spec(seed=2))
    shutil.copy(left.checkpoint, other.checkpoint)
    with pytest.raises(VicinalError, match=r"checkpoint\.pt belongs to another run; delete it"):
        go(run_spec(seed=2))
    assert go(run_spec(seed=1)).is_done
