import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vicinal.config import CORRUPTIONS, SEVERITIES
from vicinal.errors import UsageError
from vicinal.metrics import Calibration, measure_corruptions
from vicinal.metrics.robustness import Robustness, accuracy_gain_interval, accuracy_gain_pp, correct_under_corruption


def network(n=200, k=5, seed=0, names=CORRUPTIONS, dtype=torch.float32):
    """Made-up answers that get worse with severity, and the labels."""
    labels = np.random.default_rng(99).integers(k, size=n)
    generator = np.random.default_rng(seed)
    logits = {}
    for name in names:
        noise = generator.normal(size=(5, n, k)) * np.arange(1, 6)[:, None, None]
        logits[name] = torch.from_numpy(noise + 3 * np.eye(k)[labels]).to(dtype)
    return logits, torch.from_numpy(labels)


def by_hand(logits, labels, bins):
    """Accuracy and ECE, image by image."""
    right, totals = 0, [[0, 0.0, 0] for _ in range(bins)]
    for z, y in zip(logits.double().numpy(), labels.numpy(), strict=True):
        p = np.exp(z - z.max())
        p /= p.sum()
        hit = int(p.argmax()) == y
        right += hit
        cell = totals[min(max(int(np.ceil(p.max() * bins)) - 1, 0), bins - 1)]
        cell[0] += 1
        cell[1] += p.max()
        cell[2] += hit
    return right / len(labels), sum(abs(hits - conf) for _, conf, hits in totals) / len(labels)


@settings(max_examples=15, deadline=None)
@given(
    n=st.integers(1, 60),
    k=st.integers(2, 7),
    seed=st.integers(0, 99),
    bins=st.integers(1, 20),
    dtype=st.sampled_from([torch.float16, torch.float32]),
)
def test_figures_are_those_counted_by_hand(n, k, seed, bins, dtype):
    logits, labels = network(n, k, seed, dtype=dtype)
    base, _ = network(n, k, seed + 1)
    got = measure_corruptions(logits, labels, base, bins, 100)
    assert tuple(got) == CORRUPTIONS
    for name in CORRUPTIONS:
        assert got[name]["severity"] == [1, 2, 3, 4, 5]
        for s in range(5):
            accuracy, ece = by_hand(logits[name][s], labels, bins)
            other, _ = by_hand(base[name][s], labels, bins)
            assert got[name]["accuracy"][s] == pytest.approx(accuracy, abs=1e-12)
            assert got[name]["ece"][s] == pytest.approx(ece, abs=1e-9)
            assert got[name]["gain_pp"][s] == pytest.approx(100 * (accuracy - other), abs=1e-9)


def test_each_severity_agrees_with_calibration():
    logits, labels = network(names=["fog"])
    got = measure_corruptions(logits, labels, bins=9)["fog"]
    for s in range(5):
        metric = Calibration(9)
        metric.update(logits["fog"][s], labels)
        expected = metric.compute()
        assert (got["accuracy"][s], got["ece"][s]) == (expected["accuracy"], pytest.approx(expected["ece"]))


def test_no_baseline_no_gain():
    logits, labels = network(30)
    got = measure_corruptions(logits, labels)
    assert all(figures["gain_pp"] is None and figures["gain_pp_interval"] is None for figures in got.values())
    json.dumps(got, allow_nan=False)


def test_floors_and_p_are_those_of_calibration():
    logits, labels = network(150, names=["fog"])
    got = measure_corruptions(logits, labels, bins=9, resamples=300, confidence_level=0.9)["fog"]
    assert got["images"] == 150
    for s in range(5):
        metric = Calibration(9)
        metric.update(logits["fog"][s], labels)
        test = metric.tests(300, 0.9)["ece"]
        assert (got["ece_floor"][s], got["ece_floor_upper"][s], got["ece_p_value"][s]) == tuple(test.values())
        assert 0 < test["floor"] < test["floor_upper"]


def test_intervals_are_near_the_paired_bootstraps():
    logits, labels = network(150, names=["contrast", "fog"])
    base, _ = network(150, seed=1, names=["contrast", "fog"])
    got = measure_corruptions(logits, labels, base, resamples=200)
    generator = np.random.default_rng(5)
    json.dumps(got, allow_nan=False)
    for name in ("contrast", "fog"):
        own = (logits[name].argmax(-1) == labels).numpy().astype(float)
        other = (base[name].argmax(-1) == labels).numpy().astype(float)
        draws = [generator.integers(150, size=150) for _ in range(3000)]
        gains = np.array([100 * (own[:, d].mean(1) - other[:, d].mean(1)) for d in draws])
        bounds = got[name]["gain_pp_interval"]
        assert bounds["lower"] == pytest.approx(np.quantile(gains, 0.025, axis=0), abs=2)
        assert bounds["upper"] == pytest.approx(np.quantile(gains, 0.975, axis=0), abs=2)
        assert all(
            lo < g < hi for lo, g, hi in zip(bounds["lower"], got[name]["gain_pp"], bounds["upper"], strict=True)
        )


def test_pairing_narrows_the_interval_of_networks_that_err_alike():
    generator = np.random.default_rng(0)
    right = torch.from_numpy(generator.random((1, 1000)) < 0.7)
    alike = right.clone()
    alike[0, :20] = True
    lower, upper = accuracy_gain_interval(alike, right)
    shuffled = right[:, torch.from_numpy(generator.permutation(1000))]
    wide_lower, wide_upper = accuracy_gain_interval(alike, shuffled)
    assert float(upper - lower) < 0.3 * float(wide_upper - wide_lower)


def test_networks_that_are_right_about_the_same_few_images_may_differ_all_the_same():
    right = torch.tensor([[True] * 7 + [False] * 3])
    lower, upper = accuracy_gain_interval(right, right)
    assert float(accuracy_gain_pp(right, right)) == 0
    assert -float(lower) == float(upper) == pytest.approx(100 * 1.96**2 / (10 + 1.96**2), rel=1e-3)


def test_gains_are_in_points():
    logits = torch.tensor([[[1.0, 0.0]] * 4])
    labels = torch.tensor([0, 0, 0, 1])
    right = correct_under_corruption(logits, labels)
    assert right.tolist() == [[True, True, True, False]]
    assert accuracy_gain_pp(right, correct_under_corruption(-logits, labels)).tolist() == [50.0]


def test_low_precision_and_order_of_names_change_nothing():
    logits, labels = network()
    half = {name: logits[name].half() for name in reversed(CORRUPTIONS)}
    exact = {name: z.half().double() for name, z in logits.items()}
    assert measure_corruptions(half, labels) == measure_corruptions(exact, labels)
    assert list(measure_corruptions(half, labels)) == list(CORRUPTIONS)


def test_what_does_not_fit_is_an_error():
    logits, labels = network(20, names=["fog", "contrast"])
    with pytest.raises(UsageError, match="corruption 'snow' is not known"):
        measure_corruptions({"snow": logits["fog"]}, labels)
    with pytest.raises(ValueError, match=r"fog: expected \(5, N, K\) logits"):
        measure_corruptions({"fog": logits["fog"][:4]}, labels)
    with pytest.raises(ValueError, match=r"fog: expected \(5, N, K\) logits"):
        measure_corruptions(logits, labels[:19])
    with pytest.raises(ValueError, match="the baseline has no answers under contrast"):
        measure_corruptions(logits, labels, {"fog": logits["fog"]})
    with pytest.raises(ValueError, match=r"contrast: expected \(5, N, K\)"):
        measure_corruptions(logits, labels, {**logits, "contrast": logits["contrast"][:, :10]})
    broken = logits["fog"].clone()
    broken[2, 3, 1] = float("nan")
    with pytest.raises(ValueError, match="fog: an answer is not finite"):
        measure_corruptions({"fog": broken}, labels)
    with pytest.raises(ValueError, match="expected two of"):
        accuracy_gain_pp(torch.ones(5, 3), torch.ones(5, 4))
    assert measure_corruptions({}, labels, {}) == {}


# --- the metric -------------------------------------------------------------------------------------------------------


def fed(logits, labels, batch=64, severities=SEVERITIES, order=None, **values):
    metric = Robustness(**values)
    cells = [(name, s) for name in logits for s in severities]
    for name, s in cells if order is None else [cells[i] for i in order]:
        for z, y in zip(logits[name][s - 1].split(batch), labels.split(batch), strict=True):
            metric.update(name, s, z, y)
    return metric


def test_any_batches_in_any_order_of_corruptions_give_the_same():
    logits, labels = network(names=["pixelate", "fog"])
    expected = measure_corruptions(logits, labels, bins=7)
    order = np.random.default_rng(0).permutation(10)
    assert fed(logits, labels, 33, order=order, bins=7).figures() == expected
    assert fed(logits, labels, 200, bins=7).figures() == expected


def test_gain_against_another_metric():
    logits, labels = network(names=["pixelate", "fog"])
    base, _ = network(seed=4, names=["pixelate", "fog"])
    got = fed(logits, labels, 50).compute_against(fed(base, labels, 77), 300, 0.9)
    assert got == measure_corruptions(logits, labels, base, resamples=300, confidence_level=0.9)


def test_some_severities():
    logits, labels = network(names=["fog"])
    got = fed(logits, labels, severities=(2, 5)).figures()["fog"]
    full = measure_corruptions(logits, labels)["fog"]
    assert got["severity"] == [2, 5]
    assert got["accuracy"] == [full["accuracy"][1], full["accuracy"][4]]


def test_images_that_are_not_the_same_are_refused():
    logits, labels = network(names=["fog", "contrast"])
    metric = fed({"fog": logits["fog"]}, labels)
    metric.update("contrast", 1, logits["contrast"][0], labels)
    with pytest.raises(ValueError, match="must be seen at the same severities"):
        metric.figures()
    shuffled = labels.flip(0)
    metric = fed(logits, labels, severities=(1,))
    metric.update("fog", 2, logits["fog"][1], shuffled)
    metric.update("contrast", 2, logits["contrast"][1], labels)
    with pytest.raises(ValueError, match="must see the same images in the same order"):
        metric.figures()
    with pytest.raises(ValueError, match="the baseline saw other images"):
        fed(logits, labels).compute_against(fed(logits, shuffled))
    with pytest.raises(ValueError, match="the baseline saw other images or severities"):
        fed(logits, labels).compute_against(fed(logits, labels, severities=(1, 2)))


@pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")
def test_the_metric_forgets_and_refuses():
    logits, labels = network(names=["fog"])
    metric = fed(logits, labels)
    metric.reset()
    with pytest.raises(ValueError, match="call update first"):
        metric.figures()
    with pytest.raises(ValueError, match="bins must be at least 1"):
        Robustness(bins=0)
    with pytest.raises(ValueError, match=r"expected \(B, K\) logits"):
        metric.update("fog", 1, logits["fog"], labels)
    with pytest.raises(UsageError, match="severity 0 is not known"):
        metric.update("fog", 0, logits["fog"][0], labels)
    with pytest.raises(UsageError, match="corruption 'rain' is not known"):
        metric.update("rain", 1, logits["fog"][0], labels)


def test_two_metrics_merge_and_processes_are_gathered():
    logits, labels = network(names=["fog"])
    first = fed({"fog": logits["fog"][:, :70]}, labels[:70])
    first.merge_state(fed({"fog": logits["fog"][:, 70:]}, labels[70:]))
    gathered = fed(logits, labels, distributed_available_fn=lambda: True, dist_sync_fn=lambda x, group=None: [x, x])
    expected = measure_corruptions(logits, labels)["fog"]
    for metric in (first, gathered):
        got = metric.figures()["fog"]
        assert got["accuracy"] == pytest.approx(expected["accuracy"])
        assert got["ece"] == pytest.approx(expected["ece"])
