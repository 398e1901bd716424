"""Tango's interval of paired shares: published examples, the closed form, and coverage."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vicinal.metrics import paired_interval


@pytest.mark.parametrize(
    ("only_first", "only_second", "samples", "published"),
    [
        (
            1,
            7,
            21,
            (-0.517, -0.026),
        ),  # Fagerland, Lydersen and Laake 2014: airway hyper-responsiveness (Bentur et al. 2009)
        (6, 16, 161, (-0.124, -0.005)),  # there, complete response (Cavo et al. 2012)
    ],
)
def test_published_examples(only_first, only_second, samples, published):
    assert paired_interval(only_first, only_second, samples) == pytest.approx(published, abs=5e-4)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 60), st.sampled_from([0.8, 0.95, 0.99]))
def test_ends_are_the_roots_of_the_closed_form(b, c, others, level):
    """Yang, Sun and Hardin 2013: the ends are the outer roots of a quartic."""
    samples = b + c + others
    if samples == 0:
        assert paired_interval(0, 0, 0) == (-1, 1)
        return
    g, d = NormalDist().inv_cdf(0.5 + level / 2) ** 2, b - c
    quartic = [
        samples**2 * (samples / g + 1) ** 2,
        -samples * d * (samples / g + 1) * (4 * samples / g + 1),
        2 * samples * d**2 * (3 * samples / g + 2) / g - samples**2 * ((b + c) / g + 1),
        samples * d * (2 * (b + c) / g + 1) - d**3 * (4 * samples / g + 1) / g,
        d**2 * (d**2 / g - (b + c)) / g,
    ]
    roots = np.roots(quartic)
    real = roots[np.abs(roots.imag) < 1e-6].real
    assert paired_interval(b, c, samples, level) == pytest.approx((real.min(), real.max()), abs=1e-5)


def test_two_that_are_right_about_the_same_have_a_width_and_signs_turn():
    z2 = 1.959964**2
    assert paired_interval(0, 0, 50) == pytest.approx((-z2 / (50 + z2), z2 / (50 + z2)), abs=1e-6)
    low, high = paired_interval(9, 4, 40)
    assert paired_interval(4, 9, 40) == pytest.approx((-high, -low))
    with pytest.raises(ValueError, match="at most 5 samples"):
        paired_interval(3, 3, 5)


@pytest.mark.parametrize("samples", [20, 200])
def test_it_covers(samples):
    generator, held = np.random.default_rng(0), 0
    for _ in range(500):
        b, c, _ = generator.multinomial(samples, [0.12, 0.05, 0.83])
        low, high = paired_interval(int(b), int(c), samples)
        held += low <= 0.07 <= high
    assert 0.92 <= held / 500 <= 0.99
    assert math.isclose(sum(paired_interval(1, 1, samples)), 0, abs_tol=1e-9)
