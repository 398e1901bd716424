"""Optimizers by name, layers that learn at rates of their own, gradients that are cut, weights that are averaged."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from rich.console import Console
from safetensors.torch import load_file
from small_runs import CPU, network, run_spec, training_data

from vicinal.data import ImageSet
from vicinal.distillation import TeacherAnswers
from vicinal.errors import UsageError
from vicinal.inputs import VicinalBatch
from vicinal.training import Learner, check_optimizer, train
from vicinal.training.phases import phases_of
from vicinal.workspace import RunFolder, StudyProgress


@pytest.fixture
def learner(tmp_path: Path, images: ImageSet) -> Callable[..., Learner]:
    """A learner that has begun to train the whole network."""

    def make(**changes: Any) -> Learner:
        run = run_spec(network=network(**changes))
        made = Learner(RunFolder(tmp_path, run), training_data(images, images, run), CPU, False, print)
        made.enter(phases_of(run, 100)[-1])
        return made

    return make


@pytest.mark.parametrize("name", ["lamb", "lion", "adan", "nadamw", "rmsprop"])
def test_timms_optimizers_by_name(learner: Callable[..., Learner], name: str) -> None:
    """The algorithm is timm's, and weights decay where they do for ours."""
    made = learner(optimizer=name, weight_decay=0.07, lr=0.02)
    wanted = timm.optim.create_optimizer_v2([torch.nn.Parameter(torch.zeros(1))], opt=name, lr=0.02)
    assert type(made.optimizer) is type(wanted)
    assert sorted({group["weight_decay"] for group in made.optimizer.param_groups}) == [0.0, 0.07]
    assert {id(p) for group in made.optimizer.param_groups for p in group["params"]} == set(
        map(id, made.network.parameters())
    )


def test_an_unknown_optimizer_is_named_with_those_like_it() -> None:
    for name in ("adamw", "sgd", "lamb"):
        check_optimizer(name, "student")
    with pytest.raises(UsageError, match=r"student.optimizer: timm has no optimizer 'addamw'; did you mean .*adamw"):
        check_optimizer("addamw", "student")
    with pytest.raises(UsageError, match=r"teachers.a.optimizer: adahessian needs second derivatives"):
        check_optimizer("adahessian", "teachers.a")


def test_layers_learn_the_slower_the_nearer_they_are_to_the_pixels(learner: Callable[..., Learner]) -> None:
    made = learner(model="resnet10t", layer_decay=0.5, mean=(0.5,), std=(0.5,), lr=0.01)
    scale = {id(p): group.get("lr_scale", 1.0) for group in made.optimizer.param_groups for p in group["params"]}
    named = dict(made.network.named_parameters())
    assert scale.keys() == {id(p) for p in named.values()}
    head = [scale[id(p)] for name, p in named.items() if name.startswith("head")]
    assert set(head) == {1.0}
    stages = [scale[id(p)] for name, p in named.items() if name.endswith("conv1.weight") and ".layer" in name]
    assert stages == sorted(stages)
    assert stages[0] < stages[-1] <= 0.5
    assert min(scale.values()) == next(scale[id(p)] for name, p in named.items() if "backbone.conv1.0.weight" in name)


@pytest.fixture
def trained(tmp_path: Path, images: ImageSet) -> Callable[..., dict[str, torch.Tensor]]:
    """The weights of a run, whole or killed after some steps and continued."""

    def go(folder: str, stop_at: int | None = None, **changes: Any) -> dict[str, torch.Tensor]:
        run = run_spec(network=network(batch_size=20, **changes))
        own = RunFolder(tmp_path / folder, run)
        progress = StudyProgress(1, Console(file=io.StringIO(), quiet=True))
        data = training_data(images, images, run)
        if stop_at is not None:
            learn = Learner.learn

            def until(self: Learner, *arguments: Any) -> None:
                if self.state.step == stop_at:
                    raise KeyboardInterrupt
                learn(self, *arguments)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Learner, "learn", until)
                with pytest.raises(KeyboardInterrupt):
                    train([own], data, None, CPU, progress, 0.0)
            assert own.checkpoint.exists()
        train([own], data, None, CPU, progress, 0.0)
        return load_file(own.weights)

    return go


@pytest.mark.parametrize(
    "changes",
    [
        {"ema_decay": 0.9},
        {"ema_decay": 0.9, "head_warmup_epochs": 1},
        {"clip_gradient_norm": 0.1},
        {"optimizer": "lamb"},
        {"optimizer": "adan", "clip_gradient_norm": 0.5, "ema_decay": 0.99},
        {"layer_decay": 0.7, "model": "vicinal_resnet8"},
    ],
)
def test_killed_and_continued_the_weights_are_the_same(
    trained: Callable[..., dict[str, torch.Tensor]], changes: dict[str, Any]
) -> None:
    whole, continued = trained("whole", epochs=3, **changes), trained("killed", 7, epochs=3, **changes)
    assert all(torch.equal(whole[key], continued[key]) for key in whole)
    plain = trained(
        "plain", epochs=3, **{key: changes[key] for key in changes.keys() & {"model", "head_warmup_epochs"}}
    )
    assert any(not torch.equal(whole[key], plain[key]) for key in whole)


def test_the_average_is_that_of_weights_and_batch_statistics(
    learner: Callable[..., Learner], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its definition, with timm's rise of the decay in the first steps; an average of one step is the network of that step."""
    made = learner(ema_decay=0.9, batch_size=20)
    expected: dict[str, torch.Tensor] = {}
    after: list[dict[str, torch.Tensor]] = []
    update = made._average.update  # type: ignore[union-attr]

    def seen(network: torch.nn.Module, step: int) -> None:
        update(network, step=step)
        after.append({key: value.clone() for key, value in network.state_dict().items()})
        decay = 0.0 if step == 1 else min(0.9, 1 - step ** (-2 / 3))
        for key, value in after[-1].items():
            if value.is_floating_point():
                expected[key] = decay * expected.get(key, value) + (1 - decay) * value

    monkeypatch.setattr(made._average, "update", seen)
    phase = phases_of(made.run, 100)[-1]
    generator = torch.Generator().manual_seed(0)
    for step in range(6):
        pixels = torch.rand(20, 1, 12, 12, generator=generator)
        labels = torch.arange(20) % 4
        batch = VicinalBatch(pixels, pixels, labels, labels, torch.arange(20), torch.ones(20))
        made.learn(batch, TeacherAnswers(), phase, step / phase.plan.batches, 20)
    average = made._kept.state_dict()
    assert any(key.endswith("running_var") for key in expected)
    for key, value in expected.items():
        torch.testing.assert_close(average[key], value, rtol=1e-4, atol=1e-6)
    assert any(not torch.equal(average[key], after[-1][key]) for key in expected)


def test_a_gradient_is_cut_to_its_length(learner: Callable[..., Learner]) -> None:
    lengths = []
    for most in (None, 1e-3):
        made = learner(optimizer="sgd", momentum=0.0, nesterov=False, weight_decay=0.0, lr=1.0, clip_gradient_norm=most)
        before = copy.deepcopy(made.network.state_dict())
        pixels = torch.rand(20, 1, 12, 12, generator=torch.Generator().manual_seed(0))
        labels = torch.arange(20) % 4
        batch = VicinalBatch(pixels, pixels, labels, labels, torch.arange(20), torch.ones(20))
        phase = phases_of(made.run, 100)[-1]
        made.learn(batch, TeacherAnswers(), phase, phase.epochs / 2, 20)
        moved = [
            (value.detach() - before[name]).double().square().sum() for name, value in made.network.named_parameters()
        ]
        lengths.append(float(torch.stack(moved).sum().sqrt()) / made.lr)
    assert lengths[0] > 1e-2
    assert lengths[1] == pytest.approx(1e-3, rel=1e-3)
