"""The error of means over pairs by their images: what the formulas say, and coverage by simulation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, t

from scripts.simulate.pairs import coverage, scaled_coverage
from vicinal.config import VicinitySpec
from vicinal.evaluation import draw_pairs
from vicinal.metrics import PairDesign, resample_counts


def design_of(images: int, pairs: int, seed: int = 0) -> PairDesign:
    spec = VicinitySpec(pairs=pairs, seed=seed)
    return PairDesign(torch.stack(draw_pairs(images, spec), 1))


def incidence(design: PairDesign) -> np.ndarray:
    found = np.zeros((design.pairs, len(design.numbers)))
    for side in (0, 1):
        found[np.arange(design.pairs), design.places[:, side].numpy()] += 1
    return found


def dyadic_robust(values: np.ndarray, touching: np.ndarray) -> float:
    """The sum over all pairs of pairs that share an image, term by term (Fafchamps and Gubert 2007, eq. 2.4)."""
    e = values - values.mean()
    return float((touching * np.outer(e, e)).sum() / len(e) ** 2)


@settings(max_examples=30, deadline=None)
@given(images=st.integers(5, 14), pairs=st.integers(4, 60), seed=st.integers(0, 99))
def test_the_variance_is_the_dyadic_robust_one_less_its_bias(images: int, pairs: int, seed: int):
    design = design_of(images, pairs, seed)
    values = torch.from_numpy(np.random.default_rng(seed).exponential(size=(design.pairs, 3)))
    shared = incidence(design) @ incidence(design).T > 0
    counts = resample_counts(len(design.numbers), 4000, seed)
    moved = design.deviations(values, counts)
    least = (values - values.mean(0)).square().sum(0).numpy()
    for q in range(3):
        e = (values[:, q] - values[:, q].mean()).numpy()
        sums = incidence(design).T @ e
        expected = dyadic_robust(values[:, q].numpy(), shared)
        assert expected == pytest.approx(((sums**2).sum() - least[q]) / design.pairs**2)
        held = max(expected, (sums**2).sum() / 2 / design.pairs**2) / design.kappa
        assert float(moved[:, q].var()) == pytest.approx(held, rel=0.15, abs=1e-12)


@pytest.mark.parametrize(
    ("images", "pairs"), [(12, 6), (7, 21), (12, 66), (13, 78), (20, 30), (8, 12), (13, 20), (12, 20)]
)
@pytest.mark.parametrize(("image_effects", "pair_effects"), [(1.0, 0.0), (0.0, 1.0), (1.0, 0.5)])
def test_kappa_takes_out_the_bias_exactly(images: int, pairs: int, image_effects: float, pair_effects: float):
    design = design_of(images, pairs)
    b = incidence(design)
    covariance = image_effects * b @ b.T + pair_effects * np.eye(design.pairs)
    centring = np.eye(design.pairs) - 1 / design.pairs
    expected = np.trace((b @ b.T - np.eye(design.pairs)) @ centring @ covariance @ centring)
    regular = len(set(b.sum(0))) == 1  # of others it is nearly so
    assert expected == pytest.approx(design.kappa * covariance.sum(), rel=1e-9 if regular else 0.01)


def test_pairs_that_share_no_image_are_independent_values():
    design, values = design_of(200, 100), torch.randn(100, 4, generator=torch.Generator().manual_seed(0)).double()
    moved = design.deviations(values, resample_counts(200, 20_000))
    expected = values.var(0) / 100
    torch.testing.assert_close(moved.var(0), expected, rtol=0.04, atol=0)
    assert design.degrees_of_freedom == pytest.approx(99)
    assert design.widening(0.95) == pytest.approx(t.ppf(0.975, 99) / norm.ppf(0.975))


def test_differences_of_deviations_are_deviations_of_differences_where_no_image_is_shared():
    design, values = design_of(80, 40), torch.randn(40, 2, generator=torch.Generator().manual_seed(1)).double()
    counts = resample_counts(80, 50)
    both = design.deviations(values, counts)
    difference = design.deviations(values[:, :1] - values[:, 1:], counts)
    torch.testing.assert_close(both[:, :1] - both[:, 1:], difference)


def test_means_over_some_of_the_pairs():
    design, generator = design_of(40, 60), torch.Generator().manual_seed(2)
    values, among = torch.randn(60, 1, generator=generator).double(), torch.rand(60, generator=generator) > 0.4
    alone = PairDesign(design.images[among])
    counts = resample_counts(40, 20_000)
    moved = design.deviations(values, counts, among)
    expected = alone.deviations(values[among], counts[:, torch.isin(design.numbers, alone.numbers)])
    assert float(moved.std()) == pytest.approx(float(expected.std()), rel=0.05)


@pytest.mark.parametrize(("images", "pairs"), [(2, 2), (3, 3)])
def test_two_or_three_images_tell_no_error(images: int, pairs: int):
    assert not design_of(images, pairs).tells_error
    assert design_of(images + 2, 10).tells_error


@pytest.mark.parametrize(("images", "pairs"), [(12, 6), (12, 66), (60, 300), (400, 200)])
def test_intervals_hold_the_truth_about_as_often_as_they_say(images: int, pairs: int):
    """v_ij = a_i + a_j + ε_ij; the slow test and scripts/simulate/pairs.py have more."""
    generator, design = np.random.default_rng(3), design_of(images, pairs)
    a, e = generator.normal(size=(images, 1500)), generator.normal(size=(design.pairs, 1500))
    i, j = design.images.numpy().T
    values = torch.from_numpy(a[i] + a[j] + e)
    moved = design.deviations(values, resample_counts(len(design.numbers), 800, 5))
    drawn = values.mean(0) + design.widening(0.95) * moved
    inside = (drawn.quantile(0.025, 0) <= 0) & (drawn.quantile(0.975, 0) >= 0)
    assert 0.925 <= float(inside.double().mean()) <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("effects", [0.0, 0.5, 2.0])
@pytest.mark.parametrize(
    ("images", "pairs"), [(12, 6), (12, 66), (30, 435), (100, 1000), (400, 200), (400, 1000), (2000, 1000)]
)
def test_intervals_of_nl_d_and_gain_hold_the_truth(images: int, pairs: int, effects: float):
    found, as_if_independent = coverage(images, pairs, effects, skewed=False, trials=2000)
    # Of few images and many pairs without images' own effects, c is held above its noise: never too narrow. 2000 trials: ± .01.
    least, most = 0.915 if images < 30 else 0.93, 0.975 if effects and images > 30 else 0.985
    assert all(least <= share <= most for share in found.values()), found
    if effects == 2 and pairs > images:
        assert as_if_independent["NL"] < 0.8
    skewed = coverage(images, pairs, effects, skewed=True, trials=2000)[0]
    # Six exponential values have an interval that holds their mean in .88; from 100 images on skewness costs little.
    assert all((0.86 if images < 100 else 0.92) <= share <= 0.99 for share in skewed.values()), skewed


@pytest.mark.slow
@pytest.mark.parametrize(("images", "pairs", "validation"), [(400, 200, 200), (2000, 1000, 1000)])
def test_intervals_after_temperature_scaling_hold_the_truth(images: int, pairs: int, validation: int):
    found, without = scaled_coverage(images, pairs, validation, trials=400)
    assert all(0.9 <= share <= 0.98 for share in found.values()), found  # 400 trials: ± .02
    assert max(without.values()) < 0.85
