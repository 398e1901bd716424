"""Numbers with a spread: how they are combined and told apart, against outside oracles."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from vicinal.claims import Number, decide, difference, mean, ratio
from vicinal.claims.numbers import combine, kendall_tau
from vicinal.paper.tables import Printed, number

finite = st.floats(-100, 100, allow_nan=False)


@given(
    st.lists(
        st.tuples(st.integers(0, 50), st.integers(0, 50)),
        min_size=2,
        max_size=7,
        unique_by=(lambda p: p[0], lambda p: p[1]),
    )
)
def test_kendall_tau_is_scipys(pairs):
    assert kendall_tau(pairs) == pytest.approx(kendalltau(*zip(*pairs, strict=True)).statistic)


def test_a_tie_is_neither_concordant_nor_discordant():
    assert kendall_tau([(1, 1), (2, 1)]) == 0


@given(finite, finite, st.integers(0, 4))
def test_printed_numbers_differ_where_rounding_cannot_hide_it(a, b, decimals):
    first, second = (number(Printed(f"{value:.{decimals}f}")) for value in (a, b))
    sign = decide(difference(first, second))
    if sign:
        # The exact values behind the digits differ in the same direction.
        assert sign * (a - b) >= -1e-9
    else:
        assert first.value == pytest.approx(second.value, abs=1e-9)


@pytest.mark.parametrize(
    ("a", "b", "sign"),
    [("0.040", "0.0436", -1), ("0.040", "0.0403", 0), ("86.30", "86.3", 0), ("0.0203", "0.0204", -1)],
)
def test_digits_of_different_length(a, b, sign):
    assert decide(difference(number(Printed(a)), number(Printed(b)))) == sign


@given(st.dictionaries(st.integers(0, 5), finite, min_size=2), st.dictionaries(st.integers(0, 5), finite, min_size=2))
def test_seeds_are_paired(a, b):
    found = difference(Number(float(np.mean(list(a.values()))), a), Number(float(np.mean(list(b.values()))), b))
    common = sorted(a.keys() & b.keys())
    assert found.by_seed == {seed: a[seed] - b[seed] for seed in found.by_seed}
    assert sorted(found.by_seed) == common
    if len(common) > 1:
        gaps = [a[seed] - b[seed] for seed in common]
        assert decide(found) == (1 if min(gaps) > 0 else -1 if max(gaps) < 0 else 0)
    else:
        assert decide(found) == 0


def test_a_shared_teacher_of_one_seed_stands_against_every_seed():
    shared, students = Number(1.0, {7: 1.0}), Number(2.0, {0: 1.5, 1: 2.5})
    assert difference(students, shared).by_seed == {0: 0.5, 1: 1.5}
    assert difference(shared, students).by_seed == {0: -0.5, 1: -1.5}


@given(st.tuples(finite, finite, finite).map(sorted), st.tuples(finite, finite, finite).map(sorted))
def test_intervals_decide_exactly_where_they_do_not_meet(a, b):
    first, second = Number(a[1], {0: a[1]}, (a[0], a[2])), Number(b[1], {0: b[1]}, (b[0], b[2]))
    # Subtraction rounds, so intervals that all but touch are left out.
    if min(abs(a[0] - b[2]), abs(b[0] - a[2])) > 1e-9:
        assert decide(difference(first, second)) == (1 if a[0] > b[2] else -1 if b[0] > a[2] else 0)


def test_negation_ratio_and_mean():
    one, two = Number(1.0, {0: 1.0}, (0.5, 1.5)), Number(2.0, {0: 2.0}, (1.9, 2.1))
    assert ((-two).value, (-two).interval) == (-2.0, (-2.1, -1.9))
    assert ratio(two, one).interval == (pytest.approx(1.9 / 1.5), pytest.approx(2.1 / 0.5))
    assert ratio(two, Number(0.0)).value == math.inf
    assert (mean([one, two]).value, mean([one, two]).interval) == (1.5, (pytest.approx(1.2), pytest.approx(1.8)))
    assert mean([Number(2, {0: 1, 1: 3}), Number(4, {0: 3, 1: 5})]).by_seed == {0: 2, 1: 4}
    assert combine(lambda x, y: x, one, Number(3.0, impossible=True)).impossible
    with pytest.raises(ValueError, match="no numbers"):
        mean([])
