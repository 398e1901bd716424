"""Losses on their way from the device: weighed by rows, and noticed where they are not finite."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from rich.console import Console
from small_runs import network, run_spec, same_weights

from vicinal.config import ARMS, MixingSpec, NetworkSpec, Objective
from vicinal.data import ImageSet
from vicinal.errors import VicinalError
from vicinal.training.group import Group
from vicinal.training.losses import WINDOW_STEPS, LossBuffer
from vicinal.training.phases import phases_of
from vicinal.training.state import State
from vicinal.workspace import RunFolder, StudyProgress


def beyond_bounds(**changes: object) -> NetworkSpec:
    """A network whose first step ends beyond all numbers; a study file would be refused."""
    return network(optimizer="sgd", schedule="constant", **changes).model_copy(update={"lr": 1e30})


def test_one_that_diverges_does_not_stop_the_others(together: Callable[..., list[RunFolder]]) -> None:
    wild = run_spec(Objective(temperature=8.0, mixing=MixingSpec()), name="wild", teacher="t")
    wild = wild.model_copy(update={"network": beyond_bounds()})
    tame = run_spec(ARMS["kd_mixup"], name="tame", teacher="t")
    with pytest.raises(VicinalError, match="wild: the loss became"):
        together([wild, tame])
    again = together([tame], "alone")[0]
    kept = RunFolder(again.path.parents[2] / "together", tame)
    assert kept.is_done
    assert same_weights(kept, again)


def test_a_loss_that_is_not_finite_stops_with_step_and_rate_and_keeps_the_checkpoint(
    go: Callable[..., RunFolder],
) -> None:
    spec = beyond_bounds(epochs=4)
    with pytest.raises(
        VicinalError, match=r"loss became (nan|inf) at step \d+ of 28 .*learning rate 1e\+30; try a lower lr"
    ):
        go(run_spec(network=spec))


class Stepped:
    """What a loss buffer knows of a learner."""

    def __init__(self, name: str) -> None:
        self.run, self.state, self.lr = run_spec(name=name), State(), 0.5
        self.losses: list[torch.Tensor] = []


def buffer(names: list[str]) -> tuple[LossBuffer, Group]:
    group = Group([Stepped(name) for name in names])
    phases = phases_of(group.lead.run, 100)
    return LossBuffer(group, phases, 0, StudyProgress(1, Console(quiet=True))), group


def test_an_epochs_loss_weighs_each_batch_by_its_rows() -> None:
    losses, group = buffer(["one"])
    for step, (loss, images) in enumerate(((1.0, 16), (2.0, 16), (5.0, 4)), 1):
        group.lead.losses.append(torch.tensor(loss))
        losses.add(images, step)
    losses.read_all(1)
    assert group.lead.state.epoch_images == 36
    assert group.lead.state.epoch_loss == 16 * 1.0 + 16 * 2.0 + 4 * 5.0


def test_losses_are_read_one_window_late() -> None:
    losses, group = buffer(["one"])
    for step in range(1, 2 * WINDOW_STEPS + 1):
        group.lead.losses.append(torch.tensor(1.0))
        losses.add(10, step)
        assert losses.is_full == (step % WINDOW_STEPS == 0)
        if losses.is_full:
            losses.read(1)
    assert group.lead.state.epoch_images == 10 * WINDOW_STEPS
    losses.read_all(1)
    assert group.lead.state.epoch_images == 20 * WINDOW_STEPS


def test_one_whose_loss_is_not_finite_leaves_its_group_with_step_and_rate() -> None:
    losses, group = buffer(["tame", "wild"])
    tame, wild = group.learners
    for step, loss in enumerate((2.0, float("inf"), 3.0), 1):
        tame.losses.append(torch.tensor(1.0))
        wild.losses.append(torch.tensor(loss))
        losses.add(16, step)
    losses.read_all(1)
    assert group.learners == [tame]
    assert group.started == (tame, wild)
    assert "wild: the loss became inf at step 2 of 21 (epoch 1), learning rate 0.5" in str(group.failures[0])
    assert (tame.state.epoch_loss, wild.state.epoch_loss) == (48.0, 0.0)


def test_the_loss_that_is_logged_is_the_mean_over_images(
    go: Callable[..., RunFolder], images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """17 images in batches of 16: the last batch has one."""
    seen: list[tuple[int, float]] = []
    original = LossBuffer.add

    def noting(self: LossBuffer, count: int, step: int) -> None:
        seen.append((count, float(self._group.lead.losses[-1])))
        original(self, count, step)

    monkeypatch.setattr(LossBuffer, "add", noting)
    run = run_spec(network=network(epochs=1, lr=0.05, schedule="constant"))
    log = go(run, train_set=images.subset(torch.arange(17))).read_log()
    (first, a), (last, b) = seen
    assert (first, last) == (16, 1)
    assert abs(a - b) > 1e-3  # or it would not matter
    assert log[0]["loss"] == pytest.approx((16 * a + b) / 17, rel=1e-9)
