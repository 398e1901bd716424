import numpy as np
import pytest
import torch

from vicinal.metrics import bootstrap
from vicinal.metrics.bootstrap import interval, resampled_means


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


def test_the_interval_is_of_the_statistic_and_narrows_with_coverage():
    v = values()
    low, high = interval(v, lambda means: means[:, :2] ** 2, resamples=400, coverage=0.9)
    drawn = resampled_means(v, 400)[:, :2].numpy() ** 2
    np.testing.assert_allclose(low, np.quantile(drawn, 0.05, axis=0))
    np.testing.assert_allclose(high, np.quantile(drawn, 0.95, axis=0))
    inner_low, inner_high = interval(v, lambda means: means[:, :2] ** 2, resamples=400, coverage=0.5)
    assert bool((inner_low > low).all())
    assert bool((inner_high < high).all())


def test_constant_values_have_an_interval_of_no_width():
    low, high = interval(torch.full((20, 1), 0.3), lambda means: means[:, 0], resamples=100)
    assert (float(low), float(high)) == pytest.approx((0.3, 0.3))


def test_intervals_hold_the_true_mean_about_as_often_as_they_say():
    generator, held = np.random.default_rng(0), 0
    for _ in range(200):
        sample = torch.from_numpy(generator.exponential(size=(100, 1)))
        low, high = interval(sample, lambda means: means[:, 0], resamples=200, coverage=0.9)
        held += bool(low <= 1 <= high)
    assert 0.82 <= held / 200 <= 0.96
