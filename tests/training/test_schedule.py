"""Learning rates over the epochs, and the plateau that lowers them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from small_runs import network, run_spec

from vicinal.training.schedule import learning_rate
from vicinal.workspace import RunFolder


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
