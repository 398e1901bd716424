"""One network in training: its optimizer, its features, and the epoch whose weights it keeps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from small_runs import CPU, network, run_spec, training_data

from vicinal.config import ARMS, NetworkSpec, Objective, TermsSpec
from vicinal.data import ImageSet
from vicinal.distillation import StudentOutputs, TeacherAnswers, register_term
from vicinal.distillation.objective import TERMS
from vicinal.errors import UsageError
from vicinal.evaluation import predict
from vicinal.inputs import ImagePipeline, Preparation
from vicinal.networks import build_classifier
from vicinal.training import Learner
from vicinal.training.phases import phases_of
from vicinal.workspace import RunFolder


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


@pytest.fixture
def learner(tmp_path: Path, images: ImageSet) -> Callable[..., Learner]:
    """A learner that has begun to train the whole network."""

    def make(spec: NetworkSpec, objective: Objective = ARMS["baseline"]) -> Learner:
        run = run_spec(objective, network=spec)
        made = Learner(RunFolder(tmp_path, run), training_data(images, images, run), CPU, False, print)
        made.enter(phases_of(run, 100)[-1])
        return made

    return make


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_weights_decay_and_biases_and_norms_do_not(learner: Callable[..., Learner], optimizer: str) -> None:
    made = learner(network(optimizer=optimizer, weight_decay=0.07, head="bottleneck"))
    decay = {id(p): group["weight_decay"] for group in made.optimizer.param_groups for p in group["params"]}
    named = dict(made.network.named_parameters())
    assert decay.keys() == {id(p) for p in named.values()}
    for name, parameter in named.items():
        assert decay[id(parameter)] == (0.07 if parameter.dim() > 1 else 0.0), name
    assert {p.dim() > 1 for p in named.values()} == {True, False}


@pytest.mark.parametrize("nesterov", [True, False])
def test_sgd_has_nesterovs_momentum_where_it_is_asked_for(learner: Callable[..., Learner], nesterov: bool) -> None:
    for momentum in (0.9, 0.0):
        made = learner(network(optimizer="sgd", momentum=momentum, nesterov=nesterov))
        for group in made.optimizer.param_groups:
            assert (group["momentum"], group["nesterov"]) == (momentum, nesterov and momentum > 0)


@pytest.mark.parametrize("nesterov", [True, False])
def test_two_steps_are_those_of_sgd_by_hand(learner: Callable[..., Learner], images: ImageSet, nesterov: bool) -> None:
    """Nesterov's or plain momentum, and weight decay, as their definitions have them."""
    spec = network(optimizer="sgd", lr=0.1, momentum=0.9, nesterov=nesterov, weight_decay=0.01, schedule="constant")
    made, phase = learner(spec), phases_of(run_spec(network=spec), 100)[-1]
    pipeline = ImagePipeline(images.images, images.labels, Preparation(spec.augment))
    weight = made.network.head.weight
    value, velocity = weight.detach().clone(), torch.zeros_like(weight)
    for position in range(2):
        made.learn(pipeline.make(phase.plan.batch(0, position)), TeacherAnswers(), phase, position / 7, 16)
        assert weight.grad is not None
        gradient = weight.grad + 0.01 * value
        velocity = gradient if position == 0 else 0.9 * velocity + gradient
        value = value - 0.1 * (gradient + 0.9 * velocity if nesterov else velocity)
        torch.testing.assert_close(weight.detach(), value)


def with_terms(**terms: float) -> Objective:
    return ARMS["baseline"].model_copy(update={"terms": TermsSpec(**terms)})  # type: ignore[arg-type]


@pytest.mark.parametrize("head", ["linear", "bottleneck"])
def test_a_term_sees_the_students_features_of_the_same_forward_pass(
    learner: Callable[..., Learner], monkeypatch: pytest.MonkeyPatch, images: ImageSet, head: str
) -> None:
    seen: list[StudentOutputs] = []

    def small_features(student: StudentOutputs, *_: Any) -> torch.Tensor:
        seen.append(student)
        assert student.features is not None
        return student.features.square().mean(1)

    monkeypatch.setattr("vicinal.distillation.objective.TERMS", dict(TERMS))
    register_term("small_features", small_features, needs=["features"])
    objective = with_terms(small_features=2.0)
    spec = network(head=head)
    made, phase = learner(spec, objective), phases_of(run_spec(objective, network=spec), 100)[-1]
    assert made.needs == {"features"}
    passes: list[int] = []
    made.network.backbone.register_forward_hook(lambda *_: passes.append(1))
    batch = ImagePipeline(images.images, images.labels, Preparation(spec.augment)).make(phase.plan.batch(0, 0))
    made.learn(batch, TeacherAnswers(), phase, 0, 16)
    assert passes == [1]
    features = seen[0].features
    assert features is not None
    assert features.shape == (16, (made.network.head[-1] if head == "bottleneck" else made.network.head).in_features)
    assert features.requires_grad
    plain = learner(spec)
    assert plain.needs == set()
    plain.learn(batch, TeacherAnswers(), phase, 0, 16)
    extra = 2 * float(features.detach().square().mean())
    assert float(made.losses[0]) == pytest.approx(float(plain.losses[0]) + extra, rel=1e-5)
    # What it sees is what `Classifier.features` gives.
    made.network.eval()
    with torch.no_grad():
        assert torch.equal(made._outputs(batch.mixed).features, made.network.features(batch.mixed))


def test_a_loss_term_that_is_not_registered_is_named_before_anything_is_trained(
    learner: Callable[..., Learner],
) -> None:
    with pytest.raises(UsageError, match=r"terms: 'mine' is not known; known ones: cross_entropy, kd, linear_target"):
        learner(network(), with_terms(mine=1.0))


def test_a_run_goes_on_in_the_precision_that_it_was_begun_in(
    tmp_path: Path, images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also on a processor on which another one would be chosen."""
    run = run_spec(network=network(model="vicinal_resnet8", precision="auto"))
    phase = phases_of(run, 100)[-1]

    def made(tiles: bool) -> Learner:
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: tiles)
        monkeypatch.setattr("vicinal.networks.bf16.BF16_TRAINING_OPERATOR_FLOPS", 1.0)
        monkeypatch.setattr("vicinal.networks.bf16.BF16_TRAINING_WEIGHT_FLOPS", 1.0)
        return Learner(RunFolder(tmp_path, run), training_data(images, images, run), CPU, False, print)

    first = made(tiles=True)
    first.enter(phase)
    first.save(phase)
    assert made(tiles=False).state.precision == first.state.precision == "bf16"
    first.folder.checkpoint.unlink()
    assert made(tiles=False).state.precision == "fp32"
