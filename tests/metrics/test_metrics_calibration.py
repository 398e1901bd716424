import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.classification import MulticlassCalibrationError

from vicinal import functional as vf
from vicinal.metrics import Calibration, proportion_interval

MEANS = ("accuracy", "confidence", "ece", "ece_equal_mass", "nll", "brier")  # the same of data twice over
FIGURES = ("accuracy", "confidence", "ece", "ece_equal_mass", "nll", "brier", "squared_calibration_error")


def answers(n=200, k=5, seed=0, scale=2.0):
    generator = np.random.default_rng(seed)
    return torch.from_numpy(generator.normal(size=(n, k)) * scale), torch.from_numpy(generator.integers(k, size=n))


def measured(logits, labels, batch=None, **values):
    metric = Calibration(**values)
    for z, y in zip(logits.split(batch or len(logits)), labels.split(batch or len(labels)), strict=True):
        metric.update(z, y)
    return metric


def computed(metric):
    """The figures as plain numbers, with the bins."""
    return {name: value.item() for name, value in metric.compute().items()} | {"reliability": metric.reliability()}


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 90), batch=st.integers(1, 40), seed=st.integers(0, 1000))
def test_batches_of_any_size_give_what_the_pure_functions_give(n, batch, seed):
    logits, labels = answers(n, seed=seed)
    got = computed(measured(logits, labels, batch))
    p = logits.softmax(-1)
    expected = {
        "accuracy": (p.argmax(-1) == labels).double().mean(),
        "confidence": p.amax(-1).mean(),
        "ece": vf.expected_calibration_error(p, labels),
        "ece_equal_mass": vf.equal_mass_calibration_error(p, labels),
        "nll": vf.negative_log_likelihood(logits, labels).mean(),
        "brier": vf.brier_score(p, labels).mean(),
    }
    for name, value in expected.items():
        assert got[name] == pytest.approx(float(value), rel=1e-9), name
    assert got["rms_calibration_error"] == pytest.approx(max(got["squared_calibration_error"], 0) ** 0.5)
    assert got == computed(measured(logits, labels))


def test_the_last_partial_batch_counts_by_its_size():
    logits, labels = torch.tensor([[2.0, 0.0]] * 5), torch.tensor([0, 0, 0, 0, 1])
    assert computed(measured(logits, labels, batch=4))["accuracy"] == 0.8  # a mean over batches is 0.5


def test_ece_agrees_with_torchmetrics():
    logits, labels = answers(500, seed=2)
    oracle = MulticlassCalibrationError(num_classes=5, n_bins=10, norm="l1")(logits.softmax(-1), labels)
    assert computed(measured(logits, labels, 64, bins=10))["ece"] == pytest.approx(float(oracle), abs=1e-6)


def test_bins_add_up_to_the_figures():
    logits, labels = answers()
    got = computed(measured(logits, labels, bins=8))
    bins = got["reliability"]
    assert all(len(bins[name]) == 8 for name in ("lower", "upper", "count", "accuracy", "confidence"))
    assert bins["lower"][1:] == bins["upper"][:-1]
    assert (bins["lower"][0], bins["upper"][-1], sum(bins["count"])) == (0, 1, 200)
    full = [(n, a, c) for n, a, c in zip(bins["count"], bins["accuracy"], bins["confidence"], strict=True) if n > 0]
    assert sum(n * a for n, a, c in full) / 200 == pytest.approx(got["accuracy"])
    assert sum(n * c for n, a, c in full) / 200 == pytest.approx(got["confidence"])
    assert sum(n * abs(a - c) for n, a, c in full) / 200 == pytest.approx(got["ece"])
    assert all(lo < c <= hi for lo, hi, c in zip(bins["lower"], bins["upper"], bins["confidence"], strict=True) if c)
    empty = [k for k, n in enumerate(bins["count"]) if n == 0]
    assert empty  # five classes leave no confidence below 0.2
    assert all(bins["accuracy"][k] is None and bins["confidence"][k] is None for k in empty)
    json.dumps(got, allow_nan=False)


def test_temperature_divides_the_logits():
    logits, labels = answers()
    scaled, by_hand = computed(measured(logits, labels, temperature=2.5)), computed(measured(logits / 2.5, labels))
    assert scaled == by_hand
    assert scaled["nll"] != computed(measured(logits, labels))["nll"]


def test_low_precision_logits_are_measured_in_float64():
    logits, labels = answers()
    low = logits.half()
    assert computed(measured(low, labels, 7)) == computed(measured(low.double(), labels))


@pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")
def test_forward_answers_for_its_batch_and_remembers_all():
    logits, labels = answers()
    metric = Calibration()
    for z, y in zip(logits.split(80), labels.split(80), strict=True):
        assert metric(z, y) == measured(z, y).compute()
    assert computed(metric) == computed(measured(logits, labels))
    metric.reset()
    with pytest.raises(ValueError, match="call update first"):
        metric.compute()
    metric.update(logits[:10], labels[:10])
    assert computed(metric) == computed(measured(logits[:10], labels[:10]))


def test_two_metrics_merge():
    logits, labels = answers()
    first, second = measured(logits[:70], labels[:70]), measured(logits[70:], labels[70:])
    first.merge_state(second)
    got, expected = computed(first), computed(measured(logits, labels))
    assert [got[name] for name in FIGURES] == pytest.approx([expected[name] for name in FIGURES])


def test_processes_are_gathered():
    """As torchmetrics gathers them: each process's samples, joined to one tensor."""
    logits, labels = answers()
    joined = measured(logits, labels, distributed_available_fn=lambda: True, dist_sync_fn=lambda x, group=None: [x, x])
    got, expected = computed(joined), computed(measured(logits, labels))
    assert [got[name] for name in MEANS] == pytest.approx([expected[name] for name in MEANS])
    assert sum(got["reliability"]["count"]) == 400


def test_intervals_hold_the_figures():
    logits, labels = answers(1000)
    metric = measured(logits, labels, 300)
    got, intervals = computed(metric), metric.intervals(400)
    errors = {"ece", "squared_calibration_error", "rms_calibration_error"}
    assert set(intervals) == {"accuracy", "confidence", "nll", "brier"} | errors
    for name in ("accuracy", "confidence", "nll", "brier", *errors):
        low, high = intervals[name]
        assert low < got[name] < high, name
    p = got["accuracy"]
    width = 2 * 1.96 * math.sqrt(p * (1 - p) / 1000)
    assert intervals["accuracy"][1] - intervals["accuracy"][0] == pytest.approx(width, rel=0.15)
    assert metric.intervals(400) == intervals
    narrow = metric.intervals(400, confidence_level=0.5)
    assert all(narrow[n][1] - narrow[n][0] < intervals[n][1] - intervals[n][0] for n in intervals)


def test_the_interval_of_accuracy_is_wilsons_and_covers_as_often_as_it_says():
    generator, held = np.random.default_rng(1), 0
    for _ in range(300):
        low, high = proportion_interval(int((generator.random(150) < 0.7).sum()), 150, 0.9)
        held += low <= 0.7 <= high
    assert 0.85 <= held / 300 <= 0.95
    labels = torch.from_numpy((generator.random(150) > 0.7).astype(np.int64))
    intervals = measured(torch.tensor([[2.0, 0.0]]).expand(150, 2), labels).intervals(100, 0.9)
    assert intervals["accuracy"] == list(proportion_interval(int((labels == 0).sum()), 150, 0.9))


@pytest.mark.parametrize("values", [{"bins": 0}, {"temperature": 0}, {"temperature": -1.0}])
def test_bins_and_temperature_must_be_positive(values):
    with pytest.raises(ValueError, match="bins must be at least 1 and temperature above 0"):
        Calibration(**values)


def test_other_shapes_are_an_error():
    with pytest.raises(ValueError, match=r"expected \(N, K\) logits and \(N,\) labels"):
        Calibration().update(torch.zeros(3, 2), torch.zeros(2, dtype=torch.int64))


def two_classifiers(samples: int = 400) -> tuple[Calibration, Calibration]:
    """Two that are mostly right and wrong on the same samples."""
    generator = torch.Generator().manual_seed(5)
    labels = torch.randint(0, 4, (samples,), generator=generator)
    logits = torch.randn(samples, 4, generator=generator) + 2 * torch.nn.functional.one_hot(labels, 4)
    metrics = Calibration(), Calibration()
    metrics[0].update(logits, labels)
    metrics[1].update(1.5 * logits + 0.2 * torch.randn(samples, 4, generator=generator), labels)
    return metrics


def test_a_difference_is_that_of_the_figures_and_pairing_narrows_it():
    one, other = two_classifiers()
    over, figures, others = one.minus(other), computed(one), computed(other)
    assert over["accuracy_pp"] == pytest.approx(100 * (figures["accuracy"] - others["accuracy"]))
    assert over["ece"] == pytest.approx(figures["ece"] - others["ece"])
    low, high = over["accuracy_pp_interval"]
    assert low <= over["accuracy_pp"] <= high
    alone = [100 * bound for bound in one.intervals()["accuracy"]]
    assert high - low < 0.6 * (alone[1] - alone[0])
    for name in ("nll", "brier"):
        assert over[name] == pytest.approx(figures[name] - others[name])
        low, high = over[f"{name}_interval"]
        assert low < over[name] < high
        alone = one.intervals()[name]
        assert high - low < 0.6 * (alone[1] - alone[0])
    assert "ece_interval" not in over


def test_a_classifier_over_itself_is_nothing_and_other_samples_are_refused():
    one, _ = two_classifiers()
    over = one.minus(one)
    assert over["accuracy_pp"] == over["ece"] == over["nll"] == 0
    assert over["nll_interval"] == over["brier_interval"] == [0, 0]  # the answers are the same, and not only as right
    low, high = over["accuracy_pp_interval"]
    assert -low == high == pytest.approx(100 * 1.96**2 / (400 + 1.96**2), rel=1e-3)  # two may differ all the same
    shorter, _ = two_classifiers(300)
    with pytest.raises(ValueError, match="other samples"):
        one.minus(shorter)
