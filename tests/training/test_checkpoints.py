"""Continuation: a run that was killed at any moment ends with the weights of one that was not."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import pickle
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import SWEEP, a_teacher, network, run_spec, same_weights

from vicinal.config import ARMS, AugmentSpec, Objective, RunSpec
from vicinal.errors import UsageError, VicinalError
from vicinal.workspace import RunFolder, write_sealed_file


@pytest.mark.parametrize(
    ("stop_at", "terms"),
    [
        *((step, {}) for step in (1, 6, 7, 8, 14, 20, 27)),
        *((step, {"feature_regression": 0.5}) for step in (1, 7, 9, 20)),
    ],
)
def test_a_run_stopped_at_any_step_ends_with_the_same_weights(
    go: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch, stop_at: int, terms: dict[str, Any]
) -> None:
    """Stops inside the warm-up, at its end, inside an epoch and at an epoch's end (7 batches an epoch)."""
    run = run_spec(
        Objective(**{**dict(ARMS["kd_mixup"]), "terms": terms}),
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


@pytest.mark.slow
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


@pytest.fixture
def left(go: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch) -> Callable[..., RunFolder]:
    """left(run, where): a run killed before its mark, so that the checkpoint is still there."""

    def _left(run: RunSpec, where: str = "study") -> RunFolder:
        with monkeypatch.context() as patch:
            patch.setattr(RunFolder, "finish", lambda *_: None)
            return go(run, where=where)

    return _left


def damages(content: bytes) -> dict[str, bytes]:
    """A file cut to half and to nothing, with a quarter zeroed, and with a bit flipped at its beginning, middle and end."""
    quarter = len(content) // 4
    found = {"half": content[: 2 * quarter], "empty": b"", "end cut off": content[:-1], "longer": content + b"x"}
    found["zeroed"] = content[:quarter] + bytes(quarter) + content[2 * quarter :]
    for place in (3, 2 * quarter, len(content) - 50, len(content) - 3):
        found[f"bit at {place}"] = content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]
    return found


def torch_file(value: Any) -> bytes:
    memory = io.BytesIO()
    torch.save(value, memory)
    return memory.getvalue()


def sealed(content: bytes) -> bytes:
    return content + b"\nsha256:" + hashlib.sha256(content).digest()


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch executed",)


def test_a_run_is_continued_on_as_many_threads_as_it_began_on(
    left: Callable[..., RunFolder], go: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sums of another number of threads are cut into other parts, which training enlarges."""
    folder = left(run_spec(network=network(epochs=1)))
    before = folder.checkpoint.read_bytes()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    with pytest.raises(
        UsageError, match=r"was begun on 1 threads and this process has 7.*runtime.threads=1 continues it"
    ):
        go(folder.spec)
    assert folder.checkpoint.read_bytes() == before
    monkeypatch.undo()
    assert go(folder.spec).summary()["threads"] == 1


@pytest.mark.slow
def test_a_checkpoint_that_is_not_sound_is_one_line_and_the_run_starts_again(
    go: Callable[..., RunFolder],
    left: Callable[..., RunFolder],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Damaged, of another version, another run's, not a checkpoint at all, or made to run code: also where its checksum fits."""
    run, whole = run_spec(), go(run_spec(), where="whole")
    content = left(run).checkpoint.read_bytes()
    value = torch.load(io.BytesIO(content), weights_only=True)
    wrong = damages(content) | {
        "not one": b"not a checkpoint",
        "without a checksum": torch_file(value),
        "a list": sealed(torch_file([1, 2])),
        "a number": sealed(torch_file(7)),
        "keys missing": sealed(torch_file({k: v for k, v in value.items() if k != "optimizer"})),
        "state of another version": sealed(torch_file(value | {"state": value["state"] | {"new": 1}})),
        "other weights": sealed(torch_file(value | {"network": {"w": torch.zeros(2)}})),
        "another run's": left(run_spec(seed=2), "other").checkpoint.read_bytes(),
        "hostile": sealed(torch_file(Hostile())),
        "hostile inside": sealed(torch_file(value | {"state": Hostile()})),
        "hostile pickle": sealed(pickle.dumps(Hostile())),
    }
    monkeypatch.chdir(tmp_path)
    for name, damaged in wrong.items():
        folder = RunFolder(tmp_path / "study", run)
        folder.done.unlink(missing_ok=True)
        folder.checkpoint.write_bytes(damaged)
        capfd.readouterr()
        assert same_weights(go(run), whole), name
        said = [line for line in capfd.readouterr().err.splitlines() if "checkpoint" in line]
        assert len(said) == 1, name
        assert str(folder.checkpoint) in said[0], name
        assert said[0].endswith("the run starts from its beginning"), name
        assert folder.summary()["log"] == folder.read_log(), name
        assert [e["step"] for e in folder.read_log()] == [e["step"] for e in whole.read_log()], name
    assert not Path("executed").exists()


@pytest.mark.slow
def test_a_damaged_log_loses_no_epoch(go: Callable[..., RunFolder], left: Callable[..., RunFolder]) -> None:
    """The checkpoint knows what was logged."""
    run, whole = run_spec(), go(run_spec(), where="whole")
    for damaged in damages(left(run).log.read_bytes()).values():
        folder = left(run)
        folder.log.write_bytes(damaged)
        go(run)
        assert [e["step"] for e in folder.read_log()] == [e["step"] for e in whole.read_log()]
        assert [e["loss"] for e in folder.summary()["log"]] == [e["loss"] for e in whole.summary()["log"]]
        folder.done.unlink()


@contextlib.contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Writes past a size fail, as on a full disk."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_disk_that_fills_at_any_byte_of_a_checkpoint_is_one_line(tmp_path: Path) -> None:
    """The limit stops the write itself, inside torch's own writer."""
    path = tmp_path / "checkpoint.pt"
    write_sealed_file(path, lambda file: torch.save([torch.zeros(5000), {"a": torch.ones(9)}], file))
    whole = path.read_bytes()
    for limit in (*range(0, len(whole), len(whole) // 40), len(whole) - 1):
        with pytest.raises(VicinalError, match=r"^cannot write .*checkpoint\.pt") as caught, file_size_limit(limit):
            write_sealed_file(path, lambda file: torch.save([torch.zeros(5000), {"a": torch.ones(9)}], file))
        assert "\n" not in str(caught.value)
        assert path.read_bytes() == whole
        assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


@pytest.mark.parametrize("stop_at", [1, 22, *(pytest.param(step, marks=pytest.mark.slow) for step in (20, 23, 40))])
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
