"""Confidence against accuracy: against scikit-learn, torchmetrics, scipy and counts by hand."""

import math

import numpy as np
import pytest
import scipy.optimize
import sklearn.metrics
import torch
import torch.nn.functional as F
from drawn_logits import PROPERTY, predictions, random_predictions
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.classification import MulticlassCalibrationError

from vicinal import functional as vf


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("bins", [15, 10])
def test_ece_agrees_with_torchmetrics(seed, bins):
    probabilities, labels = random_predictions(seed, 500, 7)
    probabilities = probabilities.float()
    edge = (probabilities.amax(-1) * bins).frac()
    away = (edge > 1e-4) & (edge < 1 - 1e-4)
    probabilities, labels = probabilities[away], labels[away]
    oracle = MulticlassCalibrationError(num_classes=7, n_bins=bins, norm="l1")
    torch.testing.assert_close(
        vf.expected_calibration_error(probabilities, labels, bins), oracle(probabilities, labels), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bins", [2, 5, 8, 10, 15, 20, 100])
def test_a_confidence_on_an_edge_falls_in_the_lower_bin(bins, dtype):
    edges = torch.tensor([k / bins for k in range(bins + 1)], dtype=dtype)
    where = [vf.calibration_bins(edge[None], torch.ones(1), bins)[0].argmax().item() for edge in edges]
    assert where == [0, *range(bins)]


def test_bins_hold_count_confidence_and_hits():
    conf, correct = torch.tensor([0.1, 0.25, 0.5, 0.6, 1.0]), torch.tensor([True, False, True, False, True])
    count, total, right = vf.calibration_bins(conf, correct, 4)
    assert count.tolist() == [2, 1, 1, 1]
    assert total.tolist() == pytest.approx([0.35, 0.5, 0.6, 1.0])
    assert right.tolist() == [1, 1, 0, 1]
    assert count.dtype == total.dtype == right.dtype == torch.float64
    with pytest.raises(ValueError, match=r"confidences must lie in \[0, 1\]"):
        vf.calibration_bins(torch.tensor([1.5]), torch.ones(1))


def test_ece_by_hand():
    probabilities = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.95, 0.05]], dtype=torch.float64)
    labels = torch.tensor([0, 1, 1, 0])  # two bins: all in the upper, three of four right
    assert float(vf.expected_calibration_error(probabilities, labels, 2)) == pytest.approx(abs(0.75 - 3.25 / 4))
    # Four bins: (0.5, 0.75] holds .6 (right), the last .9 .8 .95 (two right).
    assert float(vf.expected_calibration_error(probabilities, labels, 4)) == pytest.approx((0.4 + 0.65) / 4)


@PROPERTY
@given(predictions())
def test_ece_lies_between_its_bounds(case):
    probabilities, labels = case
    conf, predicted = probabilities.max(-1)
    accuracy, confidence = float((predicted == labels).double().mean()), float(conf.mean())
    for error in (vf.expected_calibration_error, vf.equal_mass_calibration_error):
        for bins in (1, 3, 15):
            ece = float(error(probabilities, labels, bins))
            assert abs(accuracy - confidence) - 1e-12 <= ece <= (1 - accuracy) + (1 - confidence) + 1e-12
    assert float(vf.expected_calibration_error(probabilities, labels, 1)) == pytest.approx(abs(accuracy - confidence))


def test_no_samples_have_no_calibration_error():
    assert math.isnan(vf.expected_calibration_error(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)))
    assert math.isnan(vf.equal_mass_calibration_error(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)))


@PROPERTY
@given(predictions(), st.integers(0, 2**32 - 1), st.booleans())
def test_equal_mass_ece_does_not_depend_on_the_order(case, seed, tied):
    probabilities, labels = case
    if tied:
        probabilities = torch.nn.functional.one_hot(probabilities.argmax(-1), probabilities.shape[-1]).double()
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(labels)))
    first = vf.equal_mass_calibration_error(probabilities, labels, 5)
    torch.testing.assert_close(vf.equal_mass_calibration_error(probabilities[order], labels[order], 5), first)


def test_equal_mass_ece_is_that_of_sorted_equal_parts():
    probabilities, labels = random_predictions(3, 103, 4)
    conf, predicted = (t.numpy() for t in probabilities.max(-1))
    gap = ((predicted == labels.numpy()) - conf)[np.argsort(conf)]
    expected = sum(abs(part.sum()) for part in np.array_split(gap, 15)) / 103
    assert float(vf.equal_mass_calibration_error(probabilities, labels)) == pytest.approx(expected)


def test_equal_mass_ece_shares_ties_out_evenly():
    # Four samples of confidence 0.75, three right: each half holds 1.5 right of 2, so both gaps are 0.
    probabilities, labels = torch.tensor([[0.75, 0.25]] * 4), torch.tensor([0, 0, 0, 1])
    assert float(vf.equal_mass_calibration_error(probabilities, labels, 2)) == pytest.approx(0, abs=1e-7)


@PROPERTY
@given(predictions())
def test_brier_and_nll_agree_with_scikit_learn(case):
    probabilities, labels = case
    classes = list(range(probabilities.shape[-1]))
    brier = sklearn.metrics.brier_score_loss(labels, probabilities, labels=classes, scale_by_half=False)
    assert float(vf.brier_score(probabilities, labels).mean()) == pytest.approx(brier)
    nll = sklearn.metrics.log_loss(labels, probabilities, labels=classes)
    assert float(vf.negative_log_likelihood(probabilities.log(), labels).mean()) == pytest.approx(nll)
    assert vf.brier_score(probabilities, labels).shape == labels.shape


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_the_fitted_temperature_is_the_one_that_labels_were_drawn_with(temperature):
    generator = np.random.default_rng(0)
    z = generator.normal(size=(20000, 5)) * 2
    labels = (z + generator.gumbel(size=z.shape)).argmax(-1)
    fitted = vf.fit_temperature(torch.from_numpy(z * temperature), torch.from_numpy(labels))
    assert fitted == pytest.approx(temperature, rel=0.05)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.2, 5), st.floats(-50, 50))
def test_the_fitted_temperature_minimises_nll(seed, scale, shift):
    generator = np.random.default_rng(seed)
    z = torch.from_numpy(generator.normal(size=(200, 4)))
    labels = torch.from_numpy((z.numpy() + generator.gumbel(size=z.shape)).argmax(-1))
    z = z * scale
    fitted = vf.fit_temperature(z, labels)

    def nll(log_t):
        return float(F.cross_entropy(z / math.exp(log_t), labels))

    oracle = scipy.optimize.minimize_scalar(nll, bounds=(math.log(0.01), math.log(100)), method="bounded")
    assert nll(math.log(fitted)) <= oracle.fun + 1e-9
    assert fitted == pytest.approx(math.exp(oracle.x), rel=1e-3)
    assert vf.fit_temperature(z / fitted, labels) == pytest.approx(1, rel=1e-6)
    assert vf.fit_temperature(z + shift, labels) == pytest.approx(fitted, rel=1e-6)


def test_no_temperature_is_fitted_where_none_is_best():
    separated = torch.tensor([[5.0, 0.0], [0.0, 5.0]])
    for labels, limit in (([0, 1], 0.0), ([1, 0], math.inf)):
        assert vf.fit_temperature(separated, torch.tensor(labels)) is None
        assert vf.temperature_limit(separated, torch.tensor(labels)) == limit
    assert math.isnan(vf.temperature_limit(torch.full((3, 2), 4.0), torch.tensor([0, 1, 1])))
    with pytest.raises(ValueError, match="at least one sample"):
        vf.fit_temperature(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.floats(0.01, 30))
def test_a_temperature_is_fitted_inside_the_bounds_or_not_at_all(seed, n, scale):
    generator = np.random.default_rng(seed)
    z = torch.from_numpy(generator.normal(size=(n, 3)) * scale)
    labels = torch.from_numpy(generator.integers(3, size=n))
    fitted, limit = vf.fit_temperature(z, labels), vf.temperature_limit(z, labels)
    if fitted is None:
        assert limit in (0.0, math.inf)
    else:
        assert fitted == limit
        assert 0.001 < fitted < 1000
    if bool((z.argmax(-1) == labels).all()):
        assert fitted is None
        assert limit == 0.0


def test_an_impossible_class_changes_no_fit():
    generator = np.random.default_rng(0)
    z = torch.from_numpy(generator.normal(size=(200, 4)) * 3)
    labels = torch.from_numpy((z.numpy() / 2 + generator.gumbel(size=z.shape)).argmax(-1))
    masked = torch.cat([z, torch.full((200, 2), -math.inf)], 1)
    assert vf.fit_temperature(masked, labels) == pytest.approx(vf.fit_temperature(z, labels), rel=1e-9)
    with pytest.raises(ValueError, match="no temperature makes it likely"):
        vf.fit_temperature(masked, labels + 2)
