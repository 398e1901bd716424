"""Calibration error told from noise: figures by hand, ends where they must be, and coverage of the intervals."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vicinal.functional import bin_of, equal_mass_shares
from vicinal.metrics import Calibration, proportion_interval
from vicinal.metrics.binned import BinnedGaps, _folded, error_interval, gap_drift, squared_error_interval


def classifier(samples: int, sets: int, temperature: float, seed: int, classes: int = 10) -> tuple[torch.Tensor, ...]:
    """(sets, samples) confidences of logits too sure by `temperature`, how often each is right, and whether it was."""
    generator = torch.Generator().manual_seed(seed)
    z = 2 * torch.randn(sets, samples, classes, generator=generator, dtype=torch.float64)
    likely, top = z.softmax(-1).max(-1)
    confidences = (z * temperature).softmax(-1).gather(-1, top[..., None])[..., 0]
    return confidences, likely, torch.rand(sets, samples, generator=generator, dtype=torch.float64) < likely


def equal_width(confidences: torch.Tensor, bins: int = 15) -> torch.Tensor:
    return (
        torch.nn.functional.one_hot(bin_of(confidences.flatten(), bins), bins).double().view(*confidences.shape, bins)
    )


def equal_mass(confidences: torch.Tensor, bins: int = 15) -> torch.Tensor:
    return torch.stack([equal_mass_shares(row, bins) for row in confidences])


def test_gaps_by_hand():
    found = BinnedGaps.of(
        torch.tensor([0.9, 0.7, 0.6, 0.2]), torch.tensor([1, 0, 1, 0]), torch.tensor([[1, 0], [1, 0], [1, 0], [0, 1]])
    )
    gaps = np.array([0.1, -0.7, 0.4])
    assert found.share.tolist() == [0.75, 0.25]
    assert found.gap.tolist() == pytest.approx([gaps.mean(), -0.2])
    assert found.variance.tolist() == pytest.approx([gaps.var(ddof=1) / 3, 0.16])  # of one sample what it promises
    assert float(found.error) == pytest.approx(0.75 * abs(gaps.mean()) + 0.25 * 0.2)
    expected = 0.75 * (gaps.mean() ** 2 - gaps.var(ddof=1) / 3) + 0.25 * (0.04 - 0.16)
    assert float(found.squared_error) == pytest.approx(expected)


def test_the_squared_error_has_no_bias_where_the_plain_one_has():
    confidences, likely, correct = classifier(300, 400, 1.0, seed=0)
    found = BinnedGaps.of(confidences, correct, equal_mass(confidences))
    noise = float(found.squared_error.std()) / math.sqrt(400)
    assert abs(float(found.squared_error.mean())) < 3.5 * noise
    assert float((found.share * found.gap.square()).sum(-1).mean()) > 20 * noise
    assert float(likely.mean()) == pytest.approx(float(confidences.mean()))


@settings(max_examples=30, deadline=None)
@given(st.floats(-3, 3), st.floats(0.01, 2))
def test_a_folded_normal_has_scipys_moments(mean, deviation):
    oracle = stats.foldnorm(abs(mean) / deviation, scale=deviation)
    first, variance = _folded(torch.tensor(mean, dtype=torch.float64), torch.tensor(deviation, dtype=torch.float64))
    assert (float(first), float(variance)) == (pytest.approx(oracle.mean()), pytest.approx(oracle.var(), abs=1e-9))


def test_drift_is_the_derivative_of_the_gap_in_the_temperature():
    logits = torch.randn(50, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 3
    step = 1e-5
    higher, lower = ((logits / math.exp(s)).softmax(-1).amax(-1) for s in (step, -step))
    torch.testing.assert_close(gap_drift(logits), -(higher - lower) / (2 * step), rtol=1e-6, atol=1e-9)
    masked = torch.cat([logits, torch.full((50, 1), -math.inf, dtype=torch.float64)], 1)
    torch.testing.assert_close(gap_drift(masked), gap_drift(logits))


@pytest.mark.parametrize("interval", [error_interval, squared_error_interval])
def test_ends_hold_the_figure_and_move_with_level_and_fit(interval):
    confidences, _, correct = classifier(2000, 1, 1.5, seed=2)
    drift = torch.full_like(confidences, 0.15)
    binned = BinnedGaps.of(confidences, correct, equal_width(confidences), drift)
    figure = binned.error if interval is error_interval else binned.squared_error
    low, high = interval(binned)
    assert 0 < float(low) < float(figure) < float(high)
    narrow_low, narrow_high = interval(binned, 0.5)
    assert float(low) < float(narrow_low) < float(narrow_high) < float(high)
    fitted_low, fitted_high = interval(binned, 0.95, 0.2)
    assert float(fitted_high - fitted_low) > 1.2 * float(high - low)


def test_answers_that_are_sure_and_all_right_have_an_upper_end_near_wilsons():
    """Resampling them gives no width, and what they promise no variance: forty such answers do not exclude an error of 8 %."""
    metric = Calibration()
    metric.update(torch.tensor([[20.0, 0.0]]).repeat(40, 1), torch.zeros(40, dtype=torch.int64))
    found = metric.intervals(100)
    assert found["ece"] == pytest.approx([0, 1 - proportion_interval(40, 40)[0]], abs=0.012)
    low, high = found["rms_calibration_error"]
    assert low == 0
    assert 0.05 < high < 0.15


def test_one_sample_tells_nothing():
    metric = Calibration()
    metric.update(torch.tensor([[2.0, 0.0]]), torch.tensor([1]))
    low, high = metric.intervals(100)["ece"]
    assert low < 0.2
    assert high > 0.88


@pytest.mark.parametrize(("temperature", "samples"), [(1.0, 300), (1.15, 1000), (1.6, 1000), (1.6, 5000)])
def test_intervals_cover(temperature, samples):
    """The true error is that of 200 sets' probabilities of being right; more in scripts/simulate/calibration.py."""
    sets = 200
    confidences, likely, correct = classifier(samples, sets, temperature, seed=int(samples * temperature))
    every, right = confidences.flatten()[None], likely.flatten()[None]
    wide, mass = equal_width(every), equal_mass(every)
    true = BinnedGaps.of(every, right, wide).error if temperature > 1 else torch.zeros(1)
    true_squared = (BinnedGaps.of(every, right, mass).share * BinnedGaps.of(every, right, mass).gap.square()).sum(-1)
    low, high = error_interval(BinnedGaps.of(confidences, correct, equal_width(confidences)))
    held = float(((low <= true + 1e-9) & (true <= high)).double().mean())
    assert 0.90 <= held <= 1
    low, high = squared_error_interval(BinnedGaps.of(confidences, correct, equal_mass(confidences)))
    true_squared = true_squared if temperature > 1 else torch.zeros(1)
    held = float(((low <= true_squared + 1e-9) & (true_squared <= high)).double().mean())
    assert 0.90 <= held <= 1
