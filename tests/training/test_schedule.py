"""Learning rates over the epochs, and the plateau that lowers them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_runs import network, run_spec

from vicinal.inputs import VicinalPlan
from vicinal.training.schedule import learning_rate, lowered, watch_plateau
from vicinal.training.state import Phase, State
from vicinal.workspace import RunFolder

PLATEAU_FINGERPRINT = "0f9f0b615c87"  # of a run with plateau: {}, as it was before it could be told what to watch


def a_phase() -> Phase:
    objective = run_spec().objective
    return Phase("train", 3, objective, VicinalPlan(16, 16, 0, objective.mixing))


def test_schedules_start_rise_peak_and_end() -> None:
    one_cycle = network(epochs=10, lr=1.0, warmup_fraction=0.2)
    lrs = [learning_rate(one_cycle, "train", step / 100, 1000) for step in range(1000)]
    assert lrs[0] == pytest.approx(1 / 25)
    assert max(lrs) == pytest.approx(1.0)
    assert lrs.index(max(lrs)) == 200
    assert lrs[-1] == pytest.approx(1 / 25e4)  # reached, by the last step
    assert learning_rate(one_cycle, "train", 0, 1) == pytest.approx(1 / 25)
    cosine = network(epochs=10, lr=1.0, schedule="cosine", warmup_fraction=0.0)
    assert learning_rate(cosine, "train", 0, 1000) == pytest.approx(1.0)
    assert learning_rate(cosine, "train", 5, 1000) == pytest.approx(0.5)
    assert learning_rate(network(schedule="constant", lr=0.3), "train", 2.5, 1000) == 0.3
    assert learning_rate(one_cycle, "head_warmup", 0.5, 1000) == one_cycle.head_warmup_lr


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
        assert learning_rate(spec, "train", epoch, 500) == pytest.approx(lr), epoch


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "constant"])
def test_lr_that_changes_by_epoch_is_one_within_it_and_ends_where_it_should(schedule: str) -> None:
    spec = network(epochs=5, lr=1.0, schedule=schedule, lr_changes="epoch")
    by_epoch = [{learning_rate(spec, "train", (7 * epoch + step) / 7, 35) for step in range(7)} for epoch in range(5)]
    assert [len(lrs) for lrs in by_epoch] == [1] * 5
    assert by_epoch[0] == {learning_rate(spec, "train", 0, 35)}
    if schedule == "one_cycle":
        assert by_epoch[-1].pop() == pytest.approx(1 / 25e4)


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


def test_plateau_watches_the_loss_as_keras_does() -> None:
    """The authors' teachers: patience 1, factor .9, min_delta 1e-4, min_lr 1e-5. A made-up log, its lr by Keras' rule by hand."""
    plateau = {"monitor": "loss", "patience_epochs": 1, "factor": 0.9, "min_lr": 1e-5}
    spec = network(schedule="plateau", plateau=plateau, lr=2e-5, epochs=13)
    log = [
        (1.00, 2e-5),  # the first is the best so far
        (0.90, 2e-5),
        (0.95, 1.8e-5),  # worse: falls at once
        (0.90, 1.62e-5),  # no better than the best, and falls after every further such epoch
        (0.80, 1.62e-5),
        (0.79995, 1.458e-5),  # a gain below 1e-4 is none
        (0.7998, 1.458e-5),  # better by more than that than the best, which is still .8
        (0.9, 1.3122e-5),
        (0.9, 1.18098e-5),
        (0.9, 1.062882e-5),
        (0.9, 1e-5),  # .9 of it would be below min_lr
        (0.9, 1e-5),
        (0.6, 1e-5),
    ]
    state, phase = State(), a_phase()
    for epoch, (loss, lr) in enumerate(log):
        watch_plateau(state, spec, 0.5, loss)
        assert lowered(2e-5, spec, phase, state) == pytest.approx(lr, rel=1e-12), epoch
    assert lowered(2e-5, spec, replace(phase, name="head_warmup"), state) == 2e-5


@given(
    values=st.lists(st.floats(0, 1).map(lambda x: round(x, 3)), min_size=1, max_size=40),
    monitor=st.sampled_from(["accuracy", "loss"]),
    patience=st.integers(1, 4),
    factor=st.sampled_from([0.1, 0.5, 0.9]),
    min_delta=st.sampled_from([None, 0.0, 1e-4, 0.0105]),
)
def test_plateau_is_that_of_pytorch(
    values: list[float], monitor: str, patience: int, factor: float, min_delta: float | None
) -> None:
    """PyTorch lowers after more than its patience, Keras after as many: one epoch apart."""
    plateau = {
        "monitor": monitor,
        "patience_epochs": patience,
        "factor": factor,
        "min_delta": min_delta,
        "min_lr": 1e-3,
    }
    spec = network(schedule="plateau", plateau=plateau, lr=0.1)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    gain = {"loss": 1e-4, "accuracy": 0.0}[monitor] if min_delta is None else min_delta
    oracle = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, {"loss": "min", "accuracy": "max"}[monitor], factor, patience - 1, gain, "abs", min_lr=1e-3, eps=0
    )
    state, phase = State(), a_phase()
    for value in values:
        watch_plateau(state, spec, *((value, 0.0) if monitor == "accuracy" else (0.0, value)))
        oracle.step(value)
        assert lowered(0.1, spec, phase, state) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)


def test_a_training_that_watches_its_loss_lowers_lr_by_it(go: Callable[..., RunFolder]) -> None:
    plateau = {"monitor": "loss", "patience_epochs": 1, "factor": 0.5, "min_delta": 0.05}
    log = go(run_spec(network=network(schedule="plateau", plateau=plateau, lr=1e-3, epochs=8))).read_log()
    best, lr = math.inf, 1e-3
    for entry in log:
        assert entry["lr"] == pytest.approx(lr)
        best, lr = (entry["selection_loss"], lr) if entry["selection_loss"] < best - 0.05 else (best, lr / 2)
    assert 1e-3 / 2**7 < lr < 1e-3  # it fell, and not after every epoch


def test_what_a_plateau_watches_is_part_of_a_run_and_todays_defaults_are_what_it_always_did() -> None:
    def prints(plateau: dict[str, Any]) -> str:
        return run_spec(network=network(schedule="plateau", plateau=plateau)).fingerprint()

    assert prints({}) == PLATEAU_FINGERPRINT
    assert prints({"monitor": "accuracy", "min_delta": 0}) == PLATEAU_FINGERPRINT
    loss, other = prints({"monitor": "loss"}), prints({"min_delta": 0.01})
    assert prints({"monitor": "loss", "min_delta": 1e-4}) == loss
    assert len({PLATEAU_FINGERPRINT, loss, other, prints({"monitor": "loss", "min_delta": 0})}) == 4


def test_plateau_watches_so_validation_images_define_the_run() -> None:
    plain = run_spec(network=network(schedule="constant"))
    watching = run_spec(network=network(schedule="plateau", plateau={}))
    assert not plain.selects_by_images
    assert watching.selects_by_images


def test_one_cycle_is_that_of_pytorch_from_its_start_to_its_end() -> None:
    """PyTorch's peak stands one step before the share that it is given, ours at it."""
    spec = network(epochs=10, lr=0.4, warmup_fraction=0.3)
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    steps = 101
    oracle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.4, total_steps=steps, pct_start=(0.3 * 100 + 1) / 101, cycle_momentum=False
    )
    expected = []
    for _ in range(steps):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        oracle.step() if len(expected) < steps else None
    got = [learning_rate(spec, "train", 10 * step / steps, steps) for step in range(steps)]
    assert got == pytest.approx(expected, rel=1e-6)
    assert got[-1] == pytest.approx(0.4 / 25e4)
