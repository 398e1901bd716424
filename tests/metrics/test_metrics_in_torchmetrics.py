"""Our metrics as torchmetrics' tools want them: wrappers, collections, plots, pickles, and processes that gather."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
import torch
import torch.multiprocessing
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics import BootStrapper, Metric, MetricCollection

from vicinal.metrics import (
    Alignment,
    Calibration,
    Information,
    InformationBound,
    Recall,
    Robustness,
    VicinalCurves,
    lam_grid,
)
from vicinal.metrics.proportions import proportion_interval

POINTS, CLASSES = 5, 3
LAM = lam_grid(POINTS)
SILENT = pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")


def drawn(*shape: int, seed: int) -> torch.Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def batch(name: str, count: int, seed: int = 0) -> tuple[Any, ...]:
    """Arguments of `update` for so many samples or pairs."""
    labels = torch.randint(0, CLASSES, (count,), generator=torch.Generator().manual_seed(seed))
    one, other = (drawn(count, CLASSES, seed=seed + k) for k in (1, 2))
    mixed, others = (drawn(count, POINTS, CLASSES, seed=seed + k) for k in (3, 4))
    return {
        "Calibration": (one, labels),
        "Recall": (one, labels),
        "VicinalCurves": (one, other, mixed),
        "VicinalCurves of sums": (one, other, mixed),
        "Information": (one, other, mixed),
        "InformationBound": (mixed, others),
        "Alignment": (torch.cat([one, other]), torch.cat([other, one]), mixed, others),
        "Robustness": ("fog", 3, one, labels),
    }[name]


MAKE: dict[str, Callable[..., Any]] = {
    "Calibration": lambda **k: Calibration(10, **k),
    "Recall": lambda **k: Recall(**k),
    "VicinalCurves": lambda **k: VicinalCurves(LAM, **k),
    "VicinalCurves of sums": lambda **k: VicinalCurves(LAM, keep_pairs=False, resamples=50, **k),
    "Information": lambda **k: Information(LAM, **k),
    "InformationBound": lambda **k: InformationBound(LAM, **k),
    "Alignment": lambda **k: Alignment(LAM, **k),
    "Robustness": lambda **k: Robustness(**k),
}
EACH = pytest.mark.parametrize("name", MAKE)


def fed(name: str, *counts: int, **values: Any) -> Any:
    metric = MAKE[name](**values)
    for k, count in enumerate(counts):
        metric.update(*batch(name, count, seed=10 * k))
    return metric


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert list(first) == list(second)
    for key in first:
        torch.testing.assert_close(first[key], second[key], rtol=1e-9, atol=1e-9, equal_nan=True, msg=key)


@EACH
def test_the_flags_are_stated_and_compute_gives_tensors(name: str) -> None:
    metric = fed(name, 8, 5)
    assert (metric.is_differentiable, metric.higher_is_better, metric.full_state_update) == (False, None, False)
    figures = metric.compute()
    assert all(isinstance(value, torch.Tensor) and value.dtype == torch.float64 for value in figures.values())
    for key, value in figures.items():
        alone = fed(name, 8, 5, only=key).compute()
        torch.testing.assert_close(alone, value.float(), equal_nan=True)
    with pytest.raises(ValueError, match="is no figure of it; there are"):
        MAKE[name](only="f1")


@EACH
@SILENT
def test_no_graph_is_kept(name: str) -> None:
    metric, given_batch = MAKE[name](), batch(name, 6)
    needs = [z.requires_grad_() if isinstance(z, torch.Tensor) and z.is_floating_point() else z for z in given_batch]
    metric(*needs)
    metric.update(*needs)
    states = [getattr(metric, key) for key in metric._defaults]
    kept = [z for state in states for z in (state if isinstance(state, list) else [state])]
    assert kept
    assert not any(z.requires_grad or z.grad_fn is not None for z in kept)
    assert not any(value.requires_grad for value in metric.compute().values())


@EACH
@SILENT
def test_copies_pickles_and_collections_say_the_same(name: str) -> None:
    metric = fed(name, 8, 5)
    expected = metric.compute()
    same(metric.clone().compute(), expected)
    same(pickle.loads(pickle.dumps(metric)).compute(), expected)
    together = MetricCollection({"one": MAKE[name](), "two": MAKE[name]()})
    for k, count in enumerate((8, 5)):
        together.update(*batch(name, count, seed=10 * k))
    found = together.compute()
    assert len(found) == 2 * len(expected)
    by_batch = MAKE[name]()
    for k, count in enumerate((8, 5)):
        same(by_batch(*batch(name, count, seed=10 * k)), fed(name, count).compute()) if k == 0 else by_batch(
            *batch(name, count, seed=10 * k)
        )
    same(by_batch.compute(), expected)


@EACH
def test_it_is_drawn(name: str) -> None:
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    metric = fed(name, 8, 5)
    figure, axes = metric.plot()
    assert figure is not None
    assert len(axes.lines) >= 2
    _, onto = plt.subplots()
    assert metric.plot(metric.compute(), onto) == (None, onto)
    plt.close("all")


@pytest.mark.parametrize(
    ("name", "only"),
    [("Calibration", "ece"), ("VicinalCurves", "nonlinearity"), ("Alignment", "kl_mixed"), ("Information", "residual_eq11"),
     ("InformationBound", "bound_of_mean")],
)  # fmt: skip
def test_torchmetrics_own_bootstrap_works(name: str, only: str) -> None:
    torch.manual_seed(0)
    wrapped = BootStrapper(MAKE[name](only=only), num_bootstraps=40, quantile=torch.tensor([0.05, 0.95]))
    arguments = batch(name, 60)
    if name == "Alignment":  # rows are drawn along the first dimension: a clean answer for each pair
        arguments = (arguments[0][:60], arguments[1][:60], *arguments[2:])
    wrapped.update(*arguments)
    found = wrapped.compute()
    whole = MAKE[name](only=only)
    whole.update(*arguments)
    exact = whole.compute()
    assert found["mean"].shape == exact.shape
    assert bool(((found["mean"] - exact).abs() <= 4 * found["std"] + 1e-9).all())
    assert bool((found["std"] >= 0).all())


@settings(max_examples=25, deadline=None)
@given(counts=st.lists(st.integers(1, 9), min_size=1, max_size=5), seed=st.integers(0, 100))
def test_the_interval_of_alignment_is_that_of_the_pairs_however_they_came(counts: list[int], seed: int) -> None:
    one, other, theirs = (drawn(sum(counts), CLASSES, seed=seed + k) for k in range(3))
    mixed, others = (drawn(sum(counts), POINTS, CLASSES, seed=seed + k) for k in (3, 4))
    metric, whole = Alignment(LAM), Alignment(LAM)
    for i, j, s, t_mixed, s_mixed in zip(*(z.split(counts) for z in (one, other, theirs, mixed, others)), strict=True):
        metric.update(torch.cat([i, j]), torch.cat([s, s]), t_mixed, s_mixed)
    whole.update(torch.cat([one, other]), torch.cat([theirs, theirs]), mixed, others)
    torch.testing.assert_close(metric.interval(50), whole.interval(50))
    low, high = metric.interval(50)
    if sum(counts) > 5:
        assert low <= metric.compute()["independent_response"] <= high


def test_clean_answers_of_other_pairs_have_no_interval() -> None:
    metric = fed("Alignment", 4)
    metric.update(drawn(3, CLASSES, seed=1), drawn(3, CLASSES, seed=2), *batch("Alignment", 5)[2:])
    with pytest.raises(ValueError, match="11 clean answers do not go with 9 pairs"):
        metric.interval(10)


# --- refusals ---------------------------------------------------------------------------------------------------------


@EACH
def test_probabilities_are_refused_with_a_way_out(name: str) -> None:
    probabilities = [
        z.softmax(-1) if isinstance(z, torch.Tensor) and z.is_floating_point() else z for z in batch(name, 6)
    ]
    with pytest.raises(ValueError, match=r"these are probabilities .* refuse_probabilities=False"):
        MAKE[name]().update(*probabilities)
    MAKE[name](refuse_probabilities=False).update(*probabilities)
    logarithms = [z.log() if isinstance(z, torch.Tensor) and z.is_floating_point() else z for z in probabilities]
    metric = MAKE[name]()
    metric.update(*logarithms)
    expected = MAKE[name]()
    expected.update(*batch(name, 6))
    for key, value in metric.compute().items():
        torch.testing.assert_close(value, expected.compute()[key], rtol=1e-4, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize("name", ["Calibration", "Robustness"])
@settings(max_examples=20, deadline=None)
@given(label=st.one_of(st.integers(CLASSES, 2**62), st.integers(-(2**62), -1)), row=st.integers(0, 5))
def test_labels_outside_the_classes_are_refused(name: str, label: int, row: int) -> None:
    *rest, labels = batch(name, 6)
    labels[row] = label
    with pytest.raises(ValueError, match="leave out what has no label"):
        MAKE[name]().update(*rest, labels)
    with pytest.raises(ValueError, match="labels are whole numbers"):
        MAKE[name]().update(*rest, labels.double())


# --- shares -----------------------------------------------------------------------------------------------------------


def test_an_accuracy_of_1_has_an_interval() -> None:
    metric = Calibration()
    logits = torch.eye(2)[[0, 1] * 10] * 6
    metric.update(logits, logits.argmax(1))
    assert metric.intervals(100)["accuracy"] == pytest.approx([0.8389, 1.0], abs=1e-4)


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("samples", [10, 50, 500])
@pytest.mark.parametrize("truth", [0.5, 0.9, 0.98])
def test_intervals_of_shares_hold_the_truth_as_often_as_they_say(truth: float, samples: int, level: float) -> None:
    """Exactly: summed over the binomial distribution, no simulation. Wilson's lies a little below at some shares."""
    from scipy.stats import binom

    counts = range(samples + 1)
    bounds = [proportion_interval(k, samples, level) for k in counts]
    held = sum(
        binom.pmf(k, samples, truth) for k, (low, high) in zip(counts, bounds, strict=True) if low <= truth <= high
    )
    assert level - 0.06 <= held <= 1
    assert all(low <= k / samples <= high for k, (low, high) in zip(counts, bounds, strict=True))


def test_intervals_of_shares_are_scipys() -> None:
    from scipy.stats import binomtest

    for right, samples in ((0, 7), (3, 7), (7, 7), (981, 1000)):
        expected = binomtest(right, samples).proportion_ci(0.9, method="wilson")
        assert proportion_interval(right, samples, 0.9) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert proportion_interval(0, 0) == (0, 1)
    with pytest.raises(ValueError, match="expected 0 to 3 successes"):
        proportion_interval(4, 3)


# --- two processes ----------------------------------------------------------------------------------------------------

# Samples of each process; 0: one that has seen no data.
SHARES = ((8, 5), (13, 0), (0, 13))


def said(metric: Any) -> dict[str, Any]:
    """Everything that a metric says, intervals included."""
    found = {"compute": metric.compute()}
    for method in ("intervals", "interval"):
        if hasattr(metric, method) and not isinstance(metric, Recall):
            found[method] = getattr(metric, method)(50)
    if isinstance(metric, Recall):
        ends = metric.intervals()
        bounds = [*ends["accuracy_balanced"], *ends["recall_by_class"]["lower"], *ends["recall_by_class"]["upper"]]
        found["intervals"] = torch.tensor([torch.nan if bound is None else bound for bound in bounds])
    if isinstance(metric, Calibration):
        found |= {"reliability": metric.reliability(50), "minus": metric.minus(metric, 50), "tests": metric.tests(50)}
    if isinstance(metric, Robustness):
        found |= {"figures": metric.figures(), "against": metric.compute_against(metric, 50)}
    if hasattr(metric, "per_pair") and getattr(metric, "keep_pairs", True):
        found["per_pair"] = metric.per_pair(*([] if isinstance(metric, Alignment) else ["nonlinearity"]))
    return found


def one_process(rank: int, folder: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    results = {}
    for name in MAKE:
        for share in SHARES:
            metric = MAKE[name]()
            first, count = sum(share[:rank]), share[rank]
            if count:
                # The same 13 samples whichever process has them.
                parts = [
                    z[first : first + count] if isinstance(z, torch.Tensor) and len(z) == 13 else z
                    for z in batch(name, 13)
                ]
                if name == "Alignment":
                    clean = [
                        torch.cat([z[:13][first : first + count], z[13:][first : first + count]])
                        for z in batch(name, 13)[:2]
                    ]
                    parts[:2] = clean
                metric.update(*parts, **({"first_pair": first} if name == "VicinalCurves of sums" else {}))
            results[name, share] = said(metric)
    torch.save(results, f"{folder}/rank{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_say_the_same_as_one_also_where_one_has_no_data(tmp_path: Path) -> None:
    context = torch.multiprocessing.start_processes(
        one_process,
        (str(tmp_path),),
        nprocs=2,
        start_method="spawn",
        join=False,  # a fork after training may stand still
    )
    until = time.monotonic() + 300
    while not context.join(timeout=10):  # returns when any of them ends
        assert time.monotonic() < until
    for rank in range(2):
        results = torch.load(tmp_path / f"rank{rank}.pt")
        for (name, share), found in results.items():
            metric: Metric = MAKE[name]()
            metric.update(*batch(name, 13))
            expected = said(metric)
            torch.testing.assert_close(
                found, expected, rtol=1e-12, atol=1e-12, equal_nan=True, msg=lambda m, n=name, s=share: f"{n} {s}: {m}"
            )


@SILENT
def test_without_any_data_nothing_is_said() -> None:
    for make in MAKE.values():
        with pytest.raises(ValueError, match="call update first"):
            make().compute()
        for method in ("intervals", "interval", "reliability"):
            if hasattr(make(), method):
                with pytest.raises(ValueError, match="call update first"):
                    getattr(make(), method)(*([] if method == "reliability" else [50]))
