"""The training loop: a committed loss curve, students stepped together, odd batches, losses that are not finite."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from small_runs import SWEEP, a_teacher, network, run_spec, same_weights

from vicinal.config import ARMS, AugmentSpec, MixingSpec, Objective
from vicinal.data import ImageSet
from vicinal.distillation import (
    BankLayout,
    FrozenTeacher,
    MixedLabels,
    StudentOutputs,
    TeacherAnswers,
    TeacherBank,
    register_term,
)
from vicinal.distillation.objective import TERMS
from vicinal.networks import save_weights
from vicinal.workspace import RunFolder

CURVE = Path(__file__).parent / "loss_curve.json"


CURVE_RUNS = {
    "baseline": run_spec(network=network(lr=1e-3, augment=AugmentSpec(crop="pad", pad=2, flip=True))),
    "kd_mixup": run_spec(ARMS["kd_mixup"], network=network(lr=1e-3), teacher="t", teacher_precision="fp32"),
    "sigma": run_spec(Objective(temperature="sigma", mixing=MixingSpec()), teacher="t", teacher_precision="fp32"),
    "head_warmup": run_spec(network=network(head="bottleneck", head_warmup_epochs=1, optimizer="sgd", lr=1e-3)),
}


@pytest.mark.parametrize("name", CURVE_RUNS)
def test_losses_are_those_committed(go: Callable[..., RunFolder], name: str) -> None:
    """A refactor leaves the loss of every epoch unchanged; processors may differ in the last digits."""
    run = CURVE_RUNS[name]
    losses = [entry["loss"] for entry in go(run, a_teacher() if run.teacher else None).read_log()]
    assert losses == pytest.approx(json.loads(CURVE.read_text())[name], rel=1e-4, abs=1e-6)


def test_two_runs_of_one_spec_are_the_same_bit_for_bit(go: Callable[..., RunFolder]) -> None:
    run = run_spec(ARMS["kd_mixup"], teacher="t", network=network(head="bottleneck"))
    assert same_weights(go(run, a_teacher(), "a"), go(run, a_teacher(), "b"))


def test_a_stream_repeats_after_the_epochs_asked_for(go: Callable[..., RunFolder]) -> None:
    fresh, longer, repeated = (go(run_spec(network=network(repeat_inputs_after_epochs=n))) for n in (None, 3, 1))
    assert same_weights(fresh, longer)  # three epochs of three
    assert not same_weights(fresh, repeated)


def test_another_seed_gives_other_weights(go: Callable[..., RunFolder]) -> None:
    assert not same_weights(go(run_spec(seed=0)), go(run_spec(seed=1)))


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


@pytest.mark.slow
def test_students_of_a_teacher_at_several_scales_are_those_of_teachers_whose_logits_are_as_large(
    together: Callable[..., list[RunFolder]], go: Callable[..., RunFolder]
) -> None:
    objective = Objective(alpha=0.5, temperature=4.0, mixing=MixingSpec())
    scales = (None, 2.0, 0.5)
    runs = [run_spec(objective, name=f"s{s}", teacher="t", teacher_logit_scale=s) for s in scales]
    for run, folder in zip(runs, together(runs), strict=True):
        teacher, scale = a_teacher(), run.teacher_logit_scale or 1.0
        with torch.no_grad():  # powers of two: not a bit is lost
            teacher.head.weight *= scale
            teacher.head.bias *= scale
        assert same_weights(folder, go(run.model_copy(update={"teacher_logit_scale": None}), teacher, f"alone{scale}"))
    assert len({folder.weights.read_bytes() for folder in together(runs)}) == 3


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


def test_it_learns(go: Callable[..., RunFolder]) -> None:
    log = go(run_spec(network=network(epochs=12))).read_log()
    assert log[-1]["loss"] < 0.5 * log[0]["loss"]
    assert log[-1]["selection_accuracy"] > 0.9


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


def test_the_teacher_is_unchanged_by_training_a_student(go: Callable[..., RunFolder], tmp_path: Path) -> None:
    teacher = a_teacher()
    save_weights(teacher, tmp_path / "before.safetensors")
    go(run_spec(ARMS["kd_mixup"], teacher="t"), teacher)
    save_weights(teacher, tmp_path / "after.safetensors")
    assert (tmp_path / "before.safetensors").read_bytes() == (tmp_path / "after.safetensors").read_bytes()


def test_a_bank_serves_every_repetition_of_the_input_stream(
    go: Callable[..., RunFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its one epoch of answers is read in the second and third: the teacher predicts a stream that repeats once."""
    repeated = network(repeat_inputs_after_epochs=1)
    run = run_spec(ARMS["kd_mixup"], teacher="t", teacher_precision="fp32", network=repeated)
    live = go(run, a_teacher(), "live")
    bank = TeacherBank(tmp_path, BankLayout({}, 1, 100, 16, 4))
    counted = asked(monkeypatch)
    assert same_weights(live, go(run, a_teacher(), "banked", bank=bank))
    assert sum(counted) == 100
    assert bank.content().share == 1
    bank.close()


def test_a_term_registered_by_a_user_is_reached_from_an_objective(
    go: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside distillation on mixed images, one that learns from the clean answers too; a weight of 0 changes nothing."""
    seen: list[TeacherAnswers] = []

    def clean_agreement(
        student: StudentOutputs, batch: MixedLabels, answers: TeacherAnswers, objective: Objective
    ) -> torch.Tensor:
        seen.append(answers)
        assert answers.own is not None
        return (student.logits - answers.own).square().mean(1)

    monkeypatch.setattr("vicinal.distillation.objective.TERMS", dict(TERMS))
    register_term("clean_agreement", clean_agreement, needs=["clean_answers"])
    plain = run_spec(ARMS["kd_mixup"], teacher="t", teacher_precision="fp32")
    runs = [
        run_spec(Objective(**{**dict(ARMS["kd_mixup"]), "terms": {"clean_agreement": weight}}), teacher="t", name="own")
        for weight in (0.0, 0.5)
    ]
    assert len({run.fingerprint() for run in (plain, *runs)}) == 3
    runs = [run.model_copy(update={"teacher_precision": "fp32"}) for run in runs]
    without, nothing = go(plain, a_teacher()), go(runs[0], a_teacher())
    assert same_weights(without, nothing)
    assert not seen
    taught = go(runs[1], a_teacher())
    assert not same_weights(without, taught)
    assert len(seen) == 21
    assert all(answers.mixed is not None and answers.partner is not None for answers in seen)
