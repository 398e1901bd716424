"""The training loop: a committed loss curve, continuation after a kill, schedules, warm-up, selection, non-finite losses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from vicinal.config import ARMS, AugmentSpec, MixingSpec, NetworkSpec, Objective, RunSpec
from vicinal.data import ImageSet
from vicinal.distillation import FrozenTeacher
from vicinal.errors import VicinalError
from vicinal.evaluation import predict
from vicinal.inputs import Preparation
from vicinal.networks import build_classifier, save_weights
from vicinal.training import TrainingData, train
from vicinal.training.schedule import learning_rate
from vicinal.workspace import RunFolder, StudyProgress

CPU = torch.device("cpu")
CURVE = Path(__file__).parent / "loss_curve.json"


def network(**changes: Any) -> NetworkSpec:
    values: dict[str, Any] = {"model": "vicinal_mobilenet", "epochs": 3, "batch_size": 16, "lr": 5e-3} | changes
    return NetworkSpec(**values)


def run_spec(objective: Objective = ARMS["baseline"], **changes: Any) -> RunSpec:
    values: dict[str, Any] = {
        "role": "student",
        "name": "run",
        "network": network(),
        "seed": 0,
        "data": {"train": "x"},
    } | changes
    return RunSpec(objective=objective, **values)


@pytest.fixture(scope="module")
def images() -> ImageSet:
    """100 made-up images of 4 classes that a small network can tell apart: a bright quarter in noise."""
    generator = torch.Generator().manual_seed(3)
    labels = torch.arange(100) % 4
    pixels = torch.randint(0, 120, (100, 20, 20, 1), generator=generator)
    for n, label in enumerate(labels.tolist()):
        y, x = divmod(label, 2)
        pixels[n, y * 10 : y * 10 + 10, x * 10 : x * 10 + 10] += 80
    return ImageSet(pixels.to(torch.uint8), labels)


def training_data(train_set: ImageSet, images: ImageSet, run: RunSpec) -> TrainingData:
    return TrainingData(train_set, images.subset(torch.arange(40)), 4, Preparation(run.network.augment))


@pytest.fixture
def go(tmp_path: Path, images: ImageSet) -> Callable[..., RunFolder]:
    """Train a run in a fresh folder (or the one named) and give the folder."""

    def _go(run: RunSpec, teacher: Any = None, where: str = "study", train_set: ImageSet = images) -> RunFolder:
        folder = RunFolder(tmp_path / where, run)
        data = training_data(train_set, images, run)
        with StudyProgress(1) as progress:
            train([folder], data, teacher, CPU, progress, checkpoint_seconds=0.0)
        return folder

    return _go


def a_teacher() -> Any:
    torch.manual_seed(9)
    teacher = build_classifier(network(model="vicinal_resnet8"), 4, 1)
    torch.nn.init.normal_(teacher.head.weight, std=0.5)
    return teacher


def same_weights(a: RunFolder, b: RunFolder) -> bool:
    return a.weights.read_bytes() == b.weights.read_bytes()


# --- the committed curve ----------------------------------------------------------------------------------------------

CURVE_RUNS = {
    "baseline": run_spec(network=network(lr=1e-3, augment=AugmentSpec(crop="pad", pad=2, flip=True))),
    "kd_mixup": run_spec(ARMS["kd_mixup"], network=network(lr=1e-3), teacher="t", teacher_precision="fp32"),
    "sigma": run_spec(Objective(temperature="sigma", mixing=MixingSpec()), teacher="t", teacher_precision="fp32"),
    "head_warmup": run_spec(network=network(head="bottleneck", head_warmup_epochs=1, optimizer="sgd", lr=1e-3)),
}


@pytest.mark.parametrize("name", CURVE_RUNS)
def test_losses_are_those_committed(go: Callable[..., RunFolder], name: str) -> None:
    """A refactor leaves the loss of every epoch unchanged; machines may differ in the last digits."""
    run = CURVE_RUNS[name]
    losses = [entry["loss"] for entry in go(run, a_teacher() if run.teacher else None).read_log()]
    assert losses == pytest.approx(json.loads(CURVE.read_text())[name], rel=1e-2)


# --- the same weights, whatever happens -------------------------------------------------------------------------------


def test_two_runs_of_one_spec_are_the_same_bit_for_bit(go: Callable[..., RunFolder]) -> None:
    run = run_spec(ARMS["kd_mixup"], teacher="t", network=network(head="bottleneck"))
    assert same_weights(go(run, a_teacher(), "a"), go(run, a_teacher(), "b"))


def test_a_stream_repeats_after_the_epochs_asked_for(go: Callable[..., RunFolder]) -> None:
    fresh, longer, repeated = (go(run_spec(network=network(repeat_inputs_after_epochs=n))) for n in (None, 3, 1))
    assert same_weights(fresh, longer)  # three epochs of three
    assert not same_weights(fresh, repeated)


def test_another_seed_gives_other_weights(go: Callable[..., RunFolder]) -> None:
    assert not same_weights(go(run_spec(seed=0)), go(run_spec(seed=1)))


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


# --- several students on one teacher ----------------------------------------------------------------------------------

SWEEP = [
    run_spec(
        Objective(alpha=alpha, temperature=temperature, mixing=MixingSpec()),
        name=f"T{temperature}",
        teacher="t",
        network=network(head="bottleneck", head_warmup_epochs=1, augment=AugmentSpec(flip=True)),  # dropout draws
    )
    for temperature, alpha in ((1.0, 0.0), (4.0, 0.5), ("sigma", 0.0))
]


@pytest.fixture
def together(tmp_path: Path, images: ImageSet) -> Callable[..., list[RunFolder]]:
    """Train runs together in a fresh folder (or the one named)."""

    def _together(runs: list[RunSpec], where: str = "together", compiled: bool = False) -> list[RunFolder]:
        folders = [RunFolder(tmp_path / where, run) for run in runs]
        data = training_data(images, images, runs[0])
        with StudyProgress(1) as progress:
            train(folders, data, a_teacher(), CPU, progress, checkpoint_seconds=0.0, compiled=compiled)
        return folders

    return _together


def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images the teacher is asked, as they are."""
    counted: list[int] = []
    original = FrozenTeacher.forward
    monkeypatch.setattr(FrozenTeacher, "forward", lambda self, x: counted.append(len(x)) or original(self, x))
    return counted


def test_students_stepped_together_end_as_each_would_alone_and_ask_once(
    go: Callable[..., RunFolder], together: Callable[..., list[RunFolder]], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = [go(run, a_teacher(), "alone") for run in SWEEP]
    counted = asked(monkeypatch)
    shared = together(SWEEP)
    assert sum(n for n in counted if n <= 16) == 3 * 100  # epochs of images; the warm-up asks nothing
    for one, other in zip(alone, shared, strict=True):
        assert same_weights(one, other)
        losses = [[entry["loss"] for entry in folder.read_log()] for folder in (one, other)]
        assert losses[0] == losses[1]
        assert other.summary()["trained_together"] == 3


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


def test_one_that_diverges_does_not_stop_the_others(together: Callable[..., list[RunFolder]]) -> None:
    wild = run_spec(Objective(beta=1e30, temperature=8.0, mixing=MixingSpec()), name="wild", teacher="t")
    wild = wild.model_copy(update={"network": network(optimizer="sgd", lr=1e30, schedule="constant")})
    tame = run_spec(ARMS["kd_mixup"], name="tame", teacher="t")
    with pytest.raises(VicinalError, match="wild: the loss became"):
        together([wild, tame])
    again = together([tame], "alone")[0]
    kept = RunFolder(again.path.parents[2] / "together", tame)
    assert kept.is_done
    assert same_weights(kept, again)


@pytest.mark.slow
def test_code_generated_for_training_follows_the_same_losses(
    go: Callable[..., RunFolder], together: Callable[..., list[RunFolder]]
) -> None:
    follows_the_same_losses(go, together)


@pytest.mark.usefixtures("traced")
def test_compiled_training_follows_the_same_losses(
    go: Callable[..., RunFolder], together: Callable[..., list[RunFolder]]
) -> None:
    follows_the_same_losses(go, together)


def follows_the_same_losses(go: Callable[..., RunFolder], together: Callable[..., list[RunFolder]]) -> None:
    runs = [run.model_copy(update={"network": network(lr=1e-3)}) for run in SWEEP[:2]]
    alone = [go(run, a_teacher(), "alone") for run in runs]
    compiled = together(runs, compiled=True)
    for one, other in zip(alone, compiled, strict=True):
        assert other.summary()["compiled"]
        assert [e["loss"] for e in other.read_log()] == pytest.approx([e["loss"] for e in one.read_log()], rel=1e-2)


# --- phases, schedules, selection -------------------------------------------------------------------------------------


def test_warm_up_trains_the_head_alone_and_then_everything_trains(
    go: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = network(head="bottleneck", head_warmup_epochs=1, epochs=1)
    torch.manual_seed(0)
    start = build_classifier(spec, 4, 1).state_dict()
    saved: dict[str, dict[str, torch.Tensor]] = {}
    import vicinal.training.learner as module

    def keep(self: Any, phase: Any, seconds: float) -> None:
        saved[phase.name] = {name: value.clone() for name, value in self.network.state_dict().items()}

    monkeypatch.setattr(module.Learner, "save", keep)
    end = load_file(go(run_spec(network=spec)).weights)
    for name, value in start.items():
        if name.startswith("backbone."):  # batch statistics included
            assert torch.equal(saved["head_warmup"][name], value), name
    assert not torch.equal(saved["head_warmup"]["head.0.weight"], start["head.0.weight"])
    backbone = [name for name in start if name.startswith("backbone.") and name.endswith("conv.weight")]
    assert backbone
    for name in backbone:
        assert not torch.equal(end[name], start[name]), name


def test_schedules_start_rise_peak_and_end() -> None:
    one_cycle = network(epochs=10, lr=1.0, warmup_fraction=0.2)
    lrs = [learning_rate(one_cycle, "train", step / 100) for step in range(1000)]
    assert lrs[0] == pytest.approx(1 / 25)
    assert max(lrs) == pytest.approx(1.0)
    assert lrs.index(max(lrs)) == 200
    assert lrs[-1] < 1e-3
    cosine = network(epochs=10, lr=1.0, schedule="cosine", warmup_fraction=0.0)
    assert learning_rate(cosine, "train", 0) == pytest.approx(1.0)
    assert learning_rate(cosine, "train", 5) == pytest.approx(0.5)
    assert learning_rate(network(schedule="constant", lr=0.3), "train", 2.5) == 0.3
    assert learning_rate(one_cycle, "head_warmup", 0.5) == one_cycle.head_warmup_lr


def test_the_papers_piecewise_schedule() -> None:
    """The segments of the authors' repository: linear to 5e-4, then cosines to 1e-4, 5e-5 and 1e-5."""
    segments = (
        (0, 10, 1e-5, 5e-4, "linear"),
        (10, 50, 5e-4, 1e-4, "cosine"),
        (50, 200, 1e-4, 5e-5, "cosine"),
        (200, 500, 5e-5, 1e-5, "cosine"),
    )
    spec = network(epochs=500, schedule="piecewise", lr_segments=segments)
    expected = {0: 1e-5, 5: 2.55e-4, 10: 5e-4, 30: 3e-4, 50: 1e-4, 125: 7.5e-5, 200: 5e-5, 350: 3e-5}
    for epoch, lr in expected.items():
        assert learning_rate(spec, "train", epoch) == pytest.approx(lr), epoch


def test_best_validation_keeps_the_best_epoch(go: Callable[..., RunFolder], images: ImageSet) -> None:
    spec = network(epochs=6, schedule="constant", lr=0.02, optimizer="adam")
    run = run_spec(network=spec, selection="best_validation")
    folder = go(run)
    accuracies = [entry["selection_accuracy"] for entry in folder.read_log()]
    best = accuracies.index(max(accuracies))
    assert folder.summary()["selected_epoch"] == best + 1
    kept = build_classifier(spec, 4, 1)
    kept.load_state_dict(load_file(folder.weights))
    watched = images.subset(torch.arange(40))
    right = (predict(kept, watched, Preparation(spec.augment), CPU).argmax(1) == watched.labels).double().mean()
    assert float(right) == pytest.approx(max(accuracies))


def test_it_learns(go: Callable[..., RunFolder]) -> None:
    log = go(run_spec(network=network(epochs=12))).read_log()
    assert log[-1]["loss"] < 0.5 * log[0]["loss"]
    assert log[-1]["selection_accuracy"] > 0.9


# --- odd sizes and bad losses -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("images_kept", "batch_size"), [(17, 16), (1, 4), (5, 1), (7, 100), (15, 7)])
def test_odd_batches_train(go: Callable[..., RunFolder], images: ImageSet, images_kept: int, batch_size: int) -> None:
    spec = network(epochs=1, batch_size=batch_size, head="bottleneck")
    folder = go(run_spec(ARMS["mixup"], network=spec), train_set=images.subset(torch.arange(images_kept)))
    assert folder.is_done
    assert all(torch.isfinite(value).all() for value in load_file(folder.weights).values())


@pytest.mark.parametrize("temperature", [0.5, 2.0, "sigma", "teacher_sigma"])
def test_every_temperature_trains(go: Callable[..., RunFolder], temperature: Any) -> None:
    objective = Objective(temperature=temperature, mixing=MixingSpec())
    folder = go(run_spec(objective, teacher="t", network=network(epochs=1)), a_teacher())
    assert all(entry["loss"] >= 0 for entry in folder.read_log())


def test_a_loss_that_is_not_finite_stops_with_step_and_rate_and_keeps_the_checkpoint(
    go: Callable[..., RunFolder],
) -> None:
    spec = network(optimizer="sgd", lr=1e30, schedule="constant", epochs=4)
    with pytest.raises(
        VicinalError, match=r"loss became (nan|inf) at step \d+ of 28 .*learning rate 1e\+30; try a lower lr"
    ):
        go(run_spec(network=spec))


def test_the_teacher_is_unchanged_by_training_a_student(go: Callable[..., RunFolder], tmp_path: Path) -> None:
    teacher = a_teacher()
    save_weights(teacher, tmp_path / "before.safetensors")
    go(run_spec(ARMS["kd_mixup"], teacher="t"), teacher)
    save_weights(teacher, tmp_path / "after.safetensors")
    assert (tmp_path / "before.safetensors").read_bytes() == (tmp_path / "after.safetensors").read_bytes()


def test_plateau_lowers_the_learning_rate_where_nothing_improves(go: Callable[..., RunFolder]) -> None:
    plateau = {"patience_epochs": 2, "factor": 0.1, "min_lr": 2e-8}
    spec = network(schedule="plateau", plateau=plateau, lr=1e-6, epochs=10)  # too small a step to learn much
    log = go(run_spec(network=spec)).read_log()
    accuracies = [entry["selection_accuracy"] for entry in log]
    lr, since, expected = 1e-6, 0, []
    for epoch in range(10):
        expected.append(lr)
        since = 0 if epoch == 0 or accuracies[epoch] > max(accuracies[:epoch]) else since + 1
        if since == 2:
            lr, since = max(lr / 10, 2e-8), 0
    assert len(set(expected)) == 3
    assert [entry["lr"] for entry in log] == pytest.approx(expected)


def test_plateau_watches_so_validation_images_define_the_run() -> None:
    plain = run_spec(network=network(schedule="constant"))
    watching = run_spec(network=network(schedule="plateau", plateau={}))
    assert not plain.selects_by_images
    assert watching.selects_by_images
