"""Features of a teacher: of the pass that gives its logits, through a regressor that is trained along and shipped with nobody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from small_runs import CPU, a_teacher, network, run_spec, same_weights, training_data
from torch import nn

from vicinal.config import ARMS, Objective, RunSpec
from vicinal.data import ImageSet
from vicinal.distillation import FrozenTeacher
from vicinal.networks import TimmClassifier, build_classifier, features_of_passes
from vicinal.training import Learner
from vicinal.training.projected import Projected
from vicinal.workspace import RunFolder


def hint(weight: float = 0.5, arm: str = "mixup", **changes: Any) -> RunSpec:
    objective = Objective(**{**dict(ARMS[arm]), "terms": {"feature_regression": weight}})
    return run_spec(objective, teacher="t", teacher_precision="fp32", **changes)


@pytest.mark.parametrize("head", ["linear", "bottleneck"])
def test_features_are_those_of_the_same_pass(head: str) -> None:
    own = build_classifier(network(head=head), 4, 1).eval()
    pixels = torch.rand(5, 1, 20, 20, generator=torch.Generator().manual_seed(1))
    with torch.no_grad(), features_of_passes(own) as seen:
        logits = own(pixels)
        assert torch.equal(seen[0], own.features(pixels))
        assert torch.equal(logits, own(pixels))
    assert len(seen) == 2  # `features` passes by the last layer
    own(pixels)
    assert len(seen) == 2


def test_the_regressor_is_drawn_from_the_seed_and_takes_no_numbers_of_others() -> None:
    student = build_classifier(network(), 4, 1)
    before = torch.get_rng_state()
    one, same, other = (Projected(student, 7, seed).regressor for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(one.weight, same.weight)
    assert not torch.equal(one.weight, other.weight)
    usual = nn.Linear(one.in_features, 7)
    assert one.weight.shape == usual.weight.shape
    bound = one.in_features**-0.5
    assert bound / 2 < float(one.weight.detach().abs().max()) <= bound
    assert float(one.bias.detach().abs().max()) <= bound


def test_a_network_with_its_head_inside_gives_none() -> None:
    student = build_classifier(network(), 4, 1)
    student.head = nn.Identity()
    assert student.last_linear is None
    with pytest.raises(ValueError, match="gives no features"), features_of_passes(student):
        pass
    with pytest.raises(ValueError, match="gives no features"):
        FrozenTeacher(student).feature_count  # noqa: B018
    with pytest.raises(ValueError, match="no features to map"):
        Projected(student, 7, 0)


@pytest.mark.parametrize("arm", ["mixup", "kd_mixup", "kd", "linear_target", "baseline"])
def test_the_teacher_makes_no_pass_for_its_features(
    go: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch, arm: str
) -> None:
    """With KD as many passes as without features; with the linear target those to the mixed images, which it does not ask for."""
    passed: list[int] = []
    original = TimmClassifier.forward

    def counting(self: TimmClassifier, pixels: torch.Tensor) -> torch.Tensor:
        if not self.training and not any(p.requires_grad for p in self.parameters()) and len(pixels) <= 16:
            passed.append(len(pixels))
        return original(self, pixels)

    monkeypatch.setattr(TimmClassifier, "forward", counting)
    go(hint(arm=arm, network=network(epochs=2)), a_teacher())
    images = 2 * 100 * (2 if arm == "linear_target" else 1)
    assert images <= sum(passed) < images + 30  # and those that batch norms are fused by


def test_it_is_learned_and_shipped_with_nobody(go: Callable[..., RunFolder], images: ImageSet) -> None:
    folder = go(hint(), a_teacher())
    plain = go(run_spec(ARMS["mixup"]))
    assert load_file(folder.weights).keys() == load_file(plain.weights).keys()
    assert not same_weights(folder, plain)
    # A weight of 0 is the run without the term, bit for bit: the student starts from the same numbers.
    nothing = go(hint(0.0).model_copy(update={"teacher": None, "teacher_precision": None}), where="nothing")
    assert same_weights(nothing, plain)
    only = go(hint(100.0, network=network(epochs=8)), a_teacher(), "long")
    losses = [entry["loss"] for entry in only.read_log()]
    assert losses[-1] < 0.5 * losses[0]


def test_its_gradients_are_those_of_least_squares(tmp_path: Any, images: ImageSet) -> None:
    """One step on one batch, by hand: loss, and the gradients of the regressor and of the last layer."""
    from vicinal.distillation import Answers
    from vicinal.distillation.bank import AnswerCodec
    from vicinal.inputs import ImagePipeline
    from vicinal.training.phases import phases_of

    run = hint(0.7, network=network(optimizer="sgd", momentum=0.0, weight_decay=0.0, precision="fp32"))
    phase = phases_of(run, 100)[-1]
    learner = Learner(RunFolder(tmp_path, run), training_data(images, images, run), CPU, False, print)
    teacher = FrozenTeacher(a_teacher())
    learner.teacher_features = teacher.feature_count
    learner.enter(phase)
    projected = learner._projected
    assert projected is not None
    data = training_data(images, images, run)
    batch = ImagePipeline(images.images, images.labels, data.preparation).make(phase.plan.batch(0, 0))
    told = Answers(teacher, AnswerCodec(4), phase.plan).of(batch, 0, 0, learner.needs)
    assert told.mixed is None
    assert told.features is not None
    with torch.no_grad():
        assert torch.equal(told.features, teacher.network.features(batch.mixed))
    kept = {name: value.clone() for name, value in projected.regressor.named_parameters()}
    seen: list[torch.Tensor] = []
    projected.regressor.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    learner.learn(batch, told, phase, 0.5, 16)
    features = seen[0].double()
    gap = features @ kept["weight"].double().T + kept["bias"].double() - told.features.double()
    assert gap.shape == (16, teacher.feature_count)
    gradient = 0.7 * 2 * gap / gap.numel()
    grads = {name: value.grad for name, value in projected.regressor.named_parameters()}
    torch.testing.assert_close(grads["weight"].double(), gradient.T @ features, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(grads["bias"].double(), gradient.sum(0), rtol=1e-4, atol=1e-7)
    for name, value in projected.regressor.named_parameters():
        torch.testing.assert_close(value.detach(), kept[name] - learner.lr * grads[name])


def test_compiling_is_left_to_others(go: Callable[..., RunFolder], together: Callable[..., list[RunFolder]]) -> None:
    run = hint(arm="kd_mixup", network=network(epochs=1))
    assert same_weights(together([run], compiled=True)[0], go(run, a_teacher()))


def test_in_parts_of_a_batch(tmp_path: Any, images: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients of two rows at once add up to those of all, the regressor's too."""
    from small_runs import without_batch_norms

    from vicinal.training import learner as module
    from vicinal.training import train_steps
    from vicinal.workspace import StudyProgress

    build = module.build_classifier
    monkeypatch.setattr(module, "build_classifier", lambda *given: without_batch_norms(build(*given)))
    run, weights = hint(network=network(epochs=1, lr=1e-3)), []
    for size in (None, 2):
        data = training_data(images, images, run)
        one = Learner(RunFolder(tmp_path / str(size), run), data, CPU, False, print, micro_batch_size=size)
        with StudyProgress(1) as progress:
            for _ in train_steps([one], data, a_teacher(), progress, 1e9):
                pass
        assert one._projected is not None
        weights.append({name: value.clone() for name, value in one._projected.state_dict().items()})
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], rtol=1e-3, atol=1e-4)
