import math

import numpy as np
import pytest
import scipy.stats
import torch

from vicinal.metrics import bootstrap, interval, sample_size
from vicinal.metrics.bootstrap import poisson_quantile, poisson_weights, resampled_means


def values(n=50, m=3, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, m)))


def test_values_of_one_length_are_resampled_in_pairs():
    a, b = values(seed=1), values(seed=2, m=1)
    together = resampled_means(torch.cat([a, b], 1), 120)
    torch.testing.assert_close(resampled_means(a, 120), together[:, :3])
    torch.testing.assert_close(resampled_means(b, 120), together[:, 3:])
    difference = resampled_means(a[:, :1] - b, 120)
    torch.testing.assert_close(difference, together[:, :1] - together[:, 3:])


def test_resamples_are_repeatable_and_depend_on_the_seed():
    assert torch.equal(resampled_means(values(), 60, seed=1), resampled_means(values(), 60, seed=1))
    assert not torch.equal(resampled_means(values(), 60, seed=1), resampled_means(values(), 60, seed=2))


def test_resampled_means_are_means_with_replacement(monkeypatch):
    indicator = torch.eye(7)  # the mean of column k is how often sample k was drawn, over 7
    drawn = resampled_means(indicator, 501) * 7
    assert drawn.shape == (501, 7)
    assert drawn.dtype == torch.float64
    torch.testing.assert_close(drawn.sum(1), torch.full((501,), 7.0, dtype=torch.float64))
    torch.testing.assert_close(drawn, drawn.round())
    assert float(drawn.max()) >= 2  # with replacement
    torch.testing.assert_close(drawn.mean(0), torch.ones(7, dtype=torch.float64), atol=0.2, rtol=0)
    monkeypatch.setattr(bootstrap, "NUMBERS_AT_ONCE", 49)
    torch.testing.assert_close(resampled_means(indicator, 501) * 7, drawn)  # how many at once is no part of the draw


def test_the_interval_is_of_the_statistic_and_narrows_with_a_lower_confidence_level():
    v = values()
    low, high = interval(v, lambda means: means[:, :2] ** 2, resamples=400, confidence_level=0.9)
    drawn = resampled_means(v, 400)[:, :2].numpy() ** 2
    np.testing.assert_allclose(low, np.quantile(drawn, 0.05, axis=0))
    np.testing.assert_allclose(high, np.quantile(drawn, 0.95, axis=0))
    inner_low, inner_high = interval(v, lambda means: means[:, :2] ** 2, resamples=400, confidence_level=0.5)
    assert bool((inner_low > low).all())
    assert bool((inner_high < high).all())


def test_constant_values_have_an_interval_of_no_width():
    low, high = interval(torch.full((20, 1), 0.3), lambda means: means[:, 0], resamples=100)
    assert (float(low), float(high)) == pytest.approx((0.3, 0.3))


def test_intervals_hold_the_true_mean_about_as_often_as_they_say():
    generator, held = np.random.default_rng(0), 0
    for _ in range(200):
        sample = torch.from_numpy(generator.exponential(size=(100, 1)))
        low, high = interval(sample, lambda means: means[:, 0], resamples=200, confidence_level=0.9)
        held += bool(low <= 1 <= high)
    assert 0.82 <= held / 200 <= 0.96


# --- Poisson weights --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resamples", [1, 6, 100])
def test_weights_are_those_of_the_sample_wherever_it_is_drawn(resamples):
    whole = poisson_weights(0, 50, resamples, seed=2)
    parts = [poisson_weights(first, count, resamples, seed=2) for first, count in ((0, 7), (7, 0), (7, 1), (8, 42))]
    assert torch.equal(torch.cat(parts), whole)
    assert whole.shape == (50, resamples)
    assert not torch.equal(poisson_weights(0, 50, resamples, seed=3), whole)


def test_weights_are_poisson_and_independent():
    weights = poisson_weights(1000, 300, 400).numpy()
    counts = np.bincount(weights.astype(int).ravel(), minlength=6)
    expected = scipy.stats.poisson(1).pmf(np.arange(5)) * weights.size
    assert (
        scipy.stats.chisquare([*counts[:5], counts[5:].sum()], [*expected, weights.size - expected.sum()]).pvalue > 1e-3
    )
    assert abs(np.corrcoef(weights[0], weights[1])[0, 1]) < 0.2
    assert abs(np.corrcoef(weights[:, 0], weights[:, 1])[0, 1]) < 0.2


def test_each_count_takes_its_share_of_the_unit_interval_closed_below():
    """P(0) = 1/e: numbers in [0, 1/e) are 0, those in [1/e, 2/e) are 1. At an edge a count begins, as 0 begins at 0."""
    edges = np.cumsum([math.exp(-1) / math.factorial(k) for k in range(5)])
    assert poisson_quantile(np.array([0.0, *edges])).tolist() == [0, 1, 2, 3, 4, 5]
    assert poisson_quantile(np.nextafter(edges, 0)).tolist() == [0, 1, 2, 3, 4]
    assert float(poisson_quantile(np.nextafter(np.ones(1), 0))[0]) <= 19


# --- how many samples -------------------------------------------------------------------------------------------------


def test_the_sample_size_brings_the_interval_to_the_half_width():
    pilot = values(400, 3) * torch.tensor([1.0, 3.0, 2.0])  # the widest counts
    n = sample_size(pilot, 0.2)
    assert n == pytest.approx((1.96 * 3 / 0.2) ** 2, rel=0.1)
    drawn = values(n, 3, seed=5) * torch.tensor([1.0, 3.0, 2.0])
    lower, upper = interval(drawn, lambda means: means)
    assert float(((upper - lower) / 2).max()) == pytest.approx(0.2, rel=0.1)


def test_the_sample_size_grows_with_precision_and_confidence_level():
    pilot = values(100)
    assert sample_size(pilot, 0.05) == pytest.approx(4 * sample_size(pilot, 0.1), rel=0.01)
    assert sample_size(pilot, 0.1, 0.99) > sample_size(pilot, 0.1, 0.95)
    assert sample_size(torch.zeros(5, 2), 0.1) == 2


@pytest.mark.parametrize(("n", "half_width"), [(1, 0.1), (5, 0.0), (5, -1.0)])
def test_a_sample_size_of_nothing_is_an_error(n, half_width):
    with pytest.raises(ValueError, match="pilot of at least 2"):
        sample_size(values(n), half_width)
