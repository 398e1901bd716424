"""Selective prediction, detection of other data, class-wise ECE and McNemar's test: against their definitions and torchmetrics."""

import itertools
import json
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from torchmetrics.functional.classification import binary_calibration_error

from vicinal.metrics import classwise_expected_calibration_error, mcnemar, ood_auroc, selective
from vicinal.metrics.selective import aurc, confidence_score, risk_coverage


def draw(n=200, k=5, seed=0, scale=2.0):
    generator = np.random.default_rng(seed)
    return torch.from_numpy(generator.normal(size=(n, k)) * scale), torch.from_numpy(generator.integers(k, size=n))


# --- selective prediction ---------------------------------------------------------------------------------------------


def test_the_curve_is_the_error_rate_of_those_answered():
    logits, labels = draw()
    confidence, wrong = softmax(logits.numpy(), -1).max(-1), (logits.argmax(-1) != labels).numpy()
    order = np.argsort(-confidence)
    expected = np.cumsum(wrong[order]) / np.arange(1, 201)
    coverage, risk = risk_coverage(torch.from_numpy(confidence), ~torch.from_numpy(wrong))
    np.testing.assert_allclose(risk, expected)
    np.testing.assert_allclose(coverage, np.arange(1, 201) / 200)
    assert float(aurc(torch.from_numpy(confidence), ~torch.from_numpy(wrong))) == pytest.approx(expected.mean())
    assert float(risk[-1]) == pytest.approx(wrong.mean())


@settings(max_examples=25, deadline=None)
@given(scores=st.lists(st.integers(0, 2), min_size=1, max_size=6), seed=st.integers(0, 1000))
def test_ties_give_the_mean_over_all_orders(scores, seed):
    wrong = np.random.default_rng(seed).integers(2, size=len(scores))
    curves = []
    for order in itertools.permutations(range(len(scores))):
        ordered = [scores[k] for k in order]
        if ordered == sorted(scores, reverse=True):
            curves.append(np.cumsum(wrong[list(order)]) / np.arange(1, len(scores) + 1))
    _, risk = risk_coverage(torch.tensor(scores, dtype=torch.float64), torch.from_numpy(1 - wrong))
    np.testing.assert_allclose(risk, np.mean(curves, 0), atol=1e-12)


def test_known_areas():
    scores = torch.tensor([0.9, 0.8, 0.7, 0.6])
    assert float(aurc(scores, torch.ones(4))) == 0
    assert float(aurc(scores, torch.zeros(4))) == 1
    best, worst = torch.tensor([1, 1, 1, 0]), torch.tensor([0, 1, 1, 1])
    assert float(aurc(scores, best)) == pytest.approx(1 / 16)
    assert float(aurc(scores, worst)) == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert float(aurc(torch.ones(4), best)) == pytest.approx(1 / 4)  # confidence that says nothing: the error rate


def test_the_order_of_the_data_changes_nothing():
    logits, labels = draw()
    scores, correct = confidence_score(logits).round(decimals=0), logits.argmax(-1) == labels
    order = torch.from_numpy(np.random.default_rng(1).permutation(200))
    torch.testing.assert_close(risk_coverage(scores[order], correct[order])[1], risk_coverage(scores, correct)[1])


def test_the_score_ranks_as_the_confidence_does_and_tells_sure_answers_apart():
    logits, _ = draw()
    confidence = softmax(logits.numpy(), -1).max(-1)
    np.testing.assert_allclose(confidence_score(logits), np.log(confidence / (1 - confidence)))
    sure = torch.tensor([[50.0, 0, 0], [60.0, 0, 0]])
    assert sure.double().softmax(-1).amax(-1).tolist() == [1, 1]
    assert confidence_score(sure).tolist() == pytest.approx([50 - math.log(2), 60 - math.log(2)])


def test_the_entry_is_the_curve_at_even_coverages():
    logits, labels = draw(n=103)
    got = selective(logits, labels, points=10)
    assert json.loads(json.dumps(got)) == got
    coverage, risk = risk_coverage(confidence_score(logits), logits.argmax(-1) == labels)
    assert len(got["coverage"]) == len(got["risk"]) == 10
    assert got["coverage"][-1] == 1
    for c, r in zip(got["coverage"], got["risk"], strict=True):
        assert r == float(risk[(coverage - c).abs().argmin()])
    np.testing.assert_allclose(got["coverage"], np.arange(1, 11) / 10, atol=1 / 103)
    assert got["aurc"] == pytest.approx(float(risk.mean()))
    assert selective(*draw(n=3), points=10)["coverage"] == pytest.approx([1 / 3, 2 / 3, 1])


def test_a_curve_needs_paired_finite_scores():
    for scores, correct in ((torch.ones(3), torch.ones(2)), (torch.ones(0), torch.ones(0))):
        with pytest.raises(ValueError, match="one shape"):
            risk_coverage(scores, correct)
    with pytest.raises(ValueError, match="finite"):
        risk_coverage(torch.tensor([1.0, math.nan]), torch.ones(2))


# --- another data set -------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 40), m=st.integers(1, 40), seed=st.integers(0, 1000), whole=st.booleans())
def test_auroc_is_the_share_of_pairs_in_order(n, m, seed, whole):
    known, other = 9 + draw(n, 4, seed, 3.0)[0], 9 + draw(m, 4, seed + 1, 1.0)[0]  # never as probabilities are
    if whole:  # many ties
        known, other = known.round(), other.round()

    def share(score):
        of_known, of_other = score(known)[:, None], score(other)[None]
        # Equal ones differ by rounding.
        tied = (of_known - of_other).abs() < 1e-12
        return float(((of_known > of_other) & ~tied).double().mean() + tied.double().mean() / 2)

    assert ood_auroc(known, other) == pytest.approx(share(lambda z: z.softmax(-1).amax(-1)), abs=1e-9)
    if not whole:
        minus_entropy = share(lambda z: (z.softmax(-1) * z.log_softmax(-1)).sum(-1))
        assert ood_auroc(known, other, "entropy") == pytest.approx(minus_entropy, abs=1e-9)


@pytest.mark.parametrize("score", ["max_probability", "entropy"])
def test_known_detections(score):
    sure, flat = 9.0 * torch.eye(4), torch.zeros(3, 4)
    assert ood_auroc(sure, flat, score) == 1
    assert ood_auroc(flat, sure, score) == 0
    assert ood_auroc(sure, sure, score) == 0.5
    assert ood_auroc(flat, flat + 2, score) == 0.5


def test_detection_needs_images_of_both():
    with pytest.raises(ValueError, match="at least one image"):
        ood_auroc(torch.zeros(0, 3), torch.zeros(2, 3))
    with pytest.raises(ValueError, match="max_probability or entropy"):
        ood_auroc(torch.zeros(2, 3), torch.zeros(2, 3), "energy")


# --- class-wise calibration -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bins", [1, 10, 15])
@pytest.mark.parametrize("k", [2, 5])
def test_classwise_ece_is_the_mean_of_the_classes_binary_errors(bins, k):
    logits, labels = draw(500, k)
    p = logits.softmax(-1)
    expected = np.mean(
        [float(binary_calibration_error(p[:, c], (labels == c).long(), n_bins=bins, norm="l1")) for c in range(k)]
    )
    got = classwise_expected_calibration_error(p, labels, bins)
    assert got.dtype == torch.float64
    assert float(got) == pytest.approx(expected, abs=1e-6)


def test_known_classwise_errors():
    labels = torch.tensor([0, 0, 1, 1])
    right = torch.nn.functional.one_hot(labels, 2).double()
    assert float(classwise_expected_calibration_error(right, labels)) == 0
    assert float(classwise_expected_calibration_error(right.flip(1), labels)) == 1
    assert float(classwise_expected_calibration_error(torch.full((4, 2), 0.5), labels)) == 0
    # The top class is calibrated, and the other two are not: only the class-wise figure sees it.
    p = torch.tensor([[0.5, 0.5 - 1e-9, 1e-9]]).double().repeat(4, 1)
    assert float(classwise_expected_calibration_error(p, torch.tensor([0, 0, 2, 2]))) == pytest.approx(1 / 3)


def test_classwise_ece_needs_samples():
    with pytest.raises(ValueError, match="expected"):
        classwise_expected_calibration_error(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))


# --- McNemar ----------------------------------------------------------------------------------------------------------


def two_sided(b, c):
    """The p-value in whole numbers: twice the tail of the binomial distribution, at most 1."""
    term = tail = 1  # binomial coefficients, each from the one before: whole numbers of thousands of digits
    for k in range(min(b, c)):
        term = term * (b + c - k) // (k + 1)
        tail += term
    return min(1.0, float(Fraction(2 * tail, 2 ** (b + c))))


@settings(max_examples=60, deadline=None)
@given(b=st.integers(0, 60), c=st.integers(0, 60), both=st.integers(0, 5), neither=st.integers(0, 5))
def test_mcnemar_is_counted_in_whole_numbers(b, c, both, neither):
    first = torch.tensor([1] * b + [0] * c + [1] * both + [0] * neither)
    second = torch.tensor([0] * b + [1] * c + [1] * both + [0] * neither)
    got = mcnemar(first, second)
    assert (got["only_first"], got["only_second"]) == (b, c)
    assert got["p_value"] == pytest.approx(two_sided(b, c), rel=1e-12)
    assert mcnemar(second, first)["p_value"] == got["p_value"]


@pytest.mark.parametrize(("b", "c"), [(2_000, 2_100), (3, 900), (0, 5_000), (20_000, 20_000)])
def test_mcnemar_of_many_images(b, c):
    first = torch.cat([torch.ones(b), torch.zeros(c)])
    assert mcnemar(first, 1 - first)["p_value"] == pytest.approx(two_sided(b, c), rel=1e-10, abs=1e-300)


def test_mcnemar_needs_the_same_images():
    with pytest.raises(ValueError, match="one shape"):
        mcnemar(torch.ones(3), torch.ones(4))
