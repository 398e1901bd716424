"""Prediction sets and selective thresholds keep their promises, in simulation and against independent computations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from vicinal.functional import (
    binomial_upper_bound,
    conformal_quantile,
    conformal_scores,
    prediction_sets,
    selective_threshold,
)

CLASSES = 5


def answers(count: int, generator: torch.Generator, sharpness: float = 2.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities and labels that are drawn from flatter ones: a classifier that is too sure."""
    logits = torch.randn(count, CLASSES, generator=generator, dtype=torch.float64) * 2
    labels = torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]
    return (sharpness * logits).softmax(-1), labels


@pytest.mark.parametrize(("count", "coverage"), [(19, 0.9), (50, 0.8), (200, 0.95)])
def test_sets_hold_the_true_class_as_often_as_promised_and_not_much_more_often(count: int, coverage: float):
    """Over calibration sets the coverage of the rule is k / (n + 1) where scores do not tie, whatever the classifier."""
    generator, held = torch.Generator().manual_seed(1), []
    for _ in range(400):
        quantile = conformal_quantile(conformal_scores(*answers(count, generator)), coverage)
        held.append(float((conformal_scores(*answers(200, generator)) <= quantile).double().mean()))
    promised = math.ceil((count + 1) * coverage - 1e-9) / (count + 1)
    # Of the coverage given a calibration set (a beta variable) and of 200 samples, over 400 draws.
    error = math.sqrt(promised * (1 - promised) * (1 / (count + 2) + 1 / 200) / 400)
    assert promised >= coverage
    assert abs(np.mean(held) - promised) < 4 * error


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(0.01, 0.99).map(lambda value: round(value, 3)))
def test_the_quantile_is_numpys_at_the_corrected_level(scores: list[float], coverage: float):
    level = math.ceil((len(scores) + 1) * coverage - 1e-9) / len(scores)
    found = conformal_quantile(torch.tensor(scores, dtype=torch.float64), coverage)
    assert found == (math.inf if level > 1 else np.quantile(scores, level, method="inverted_cdf"))


def test_sets_grow_with_the_quantile_and_are_never_empty():
    probabilities, labels = answers(300, torch.Generator().manual_seed(2))
    scores = conformal_scores(probabilities, labels)
    before = torch.zeros_like(probabilities, dtype=torch.bool)
    for coverage in (0.01, 0.3, 0.6, 0.9, 0.99):
        sets = prediction_sets(probabilities, conformal_quantile(scores, coverage))
        assert bool(sets.any(-1).all())
        assert bool((before <= sets).all())
        held = sets.gather(1, labels[:, None]).double().mean()
        assert held >= coverage
        before = sets
    assert bool(prediction_sets(probabilities, math.inf).all())


@pytest.mark.parametrize(("errors", "count", "delta"), [(0, 10, 0.05), (3, 40, 0.01), (39, 40, 0.1)])
def test_the_bound_is_where_so_few_errors_become_too_rare(errors: int, count: int, delta: float):
    bound = binomial_upper_bound(errors, count, delta)
    assert binom.cdf(errors, count, bound) == pytest.approx(delta, rel=1e-6)


def test_the_promised_risk_is_broken_in_no_more_than_delta_of_calibration_sets():
    """The true risk above the threshold, from 200,000 samples, exceeds the stated one in at most delta of 300 sets."""
    generator = torch.Generator().manual_seed(3)
    probabilities, labels = answers(200_000, generator)
    sure, right = probabilities.max(-1).values, probabilities.argmax(-1) == labels
    order = sure.sort(descending=True)
    risk_from = (~right[order.indices]).double().cumsum(0) / torch.arange(1, len(sure) + 1)
    broken = found_any = 0
    for _ in range(300):
        own, own_labels = answers(400, generator)
        found = selective_threshold(own.max(-1).values, own.argmax(-1) == own_labels, 0.3, delta=0.1)
        if found is None:
            continue
        found_any += 1
        answered = int((sure >= found.threshold).sum())
        broken += bool(answered) and float(risk_from[answered - 1]) > 0.3
    assert found_any > 250  # else nothing was tried
    assert broken <= 30 + 3 * math.sqrt(300 * 0.1 * 0.9)


def test_what_cannot_be_promised_is_not():
    sure, right = torch.linspace(0.5, 1, 20), torch.ones(20, dtype=torch.bool)
    assert selective_threshold(sure, right, 0.05) is None  # 20 right answers are too few
    assert selective_threshold(sure, ~right, 0.5) is None
    with pytest.raises(ValueError, match="between 0 and 1"):
        selective_threshold(sure, right, 0.0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        conformal_quantile(sure, 1.0)
    with pytest.raises(ValueError, match="one shape"):
        selective_threshold(sure, right[:3], 0.1)
