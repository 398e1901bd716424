"""Numbers with a spread: how they are combined and told apart, against outside oracles."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from vicinal.claims import Load, Number, SeedPool, decide, difference, mean, ratio
from vicinal.claims.numbers import combine, constant, kendall_tau
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
    assert found.value == pytest.approx(np.mean([a[s] - b[s] for s in common]) if len(common) > 1 else found.value)


def test_a_shared_teacher_of_one_seed_stands_against_every_seed():
    shared, students = Number(1.0, {7: 1.0}), Number(2.0, {0: 1.5, 1: 2.5})
    assert difference(students, shared).by_seed == {0: 0.5, 1: 1.5}
    assert difference(shared, students).by_seed == {0: -0.5, 1: -1.5}


@given(st.tuples(finite, finite, finite).map(sorted), st.tuples(finite, finite, finite).map(sorted))
def test_intervals_that_do_not_meet_decide(a, b):
    first, second = (Number((n[0] + n[2]) / 2, {0: 0.0}, (n[0], n[2])) for n in (a, b))
    sign = 1 if a[0] > b[2] + 1e-6 else -1 if b[0] > a[2] + 1e-6 else None
    if sign is not None:
        assert decide(difference(first, second)) == sign


def test_deviations_go_through_every_combination():
    rng = np.random.default_rng(0)
    a, b = (Number(value, {0: value, 1: value}, deviations=0.1 * rng.normal(size=(2, 50))) for value in (3.0, 2.0))
    assert difference(a, b).deviations == pytest.approx(a.deviations - b.deviations)
    assert ratio(a, b).deviations == pytest.approx((3 + a.deviations) / (2 + b.deviations) - 1.5)
    assert mean([a, b]).deviations == pytest.approx((a.deviations + b.deviations) / 2)
    assert (-a).deviations == pytest.approx(-a.deviations)
    shared = Number(1.0, {7: 1.0}, deviations=rng.normal(size=(1, 50)))
    assert difference(a, shared).deviations == pytest.approx(a.deviations - shared.deviations)
    assert difference(a, Number(1.0, {0: 1.0, 1: 1.0})).deviations is None
    assert difference(a, constant(1.0)).deviations == pytest.approx(a.deviations)
    # Seeds stay with their own resamples where only some are common.
    turned = Number(2.0, {1: 2.0, 5: 2.0}, deviations=b.deviations)
    assert difference(a, turned).deviations == pytest.approx(a.deviations[1:] - b.deviations[:1])


def test_loads_follow_the_slopes():
    pool = SeedPool.of("student", {"a": [1.0, 2.0, 4.0], "b": [2.0, 2.5, 5.0]})
    a, b = (Number(3.0, {0: 3.0, 1: 3.0}, loads=(Load(pool, name, 1.0),)) for name in "ab")
    assert {(load.arm, round(load.weight, 6)) for load in difference(a, b).loads} == {("a", 1), ("b", -1)}
    assert difference(a, a).loads == ()
    assert {(load.arm, round(load.weight, 6)) for load in mean([a, b]).loads} == {("a", 0.5), ("b", 0.5)}
    other = SeedPool.of("student", {"a": [1.0, 2.0, 4.0], "b": [2.0, 2.5, 5.0]})
    assert difference(a, Number(1.0, {0: 1.0, 1: 1.0}, loads=(Load(other, "a", 1.0),))).loads is None
    teachers = SeedPool.of("teacher", {"a": [1.0, 2.0, 4.0], "b": [2.0, 2.5, 5.0]})
    assert len(difference(Number(1.0, {0: 1.0, 1: 1.0}, loads=(Load(teachers, "a", 1.0),)), a).loads) == 2
    assert difference(a, Number(1.0, {0: 1.0, 1: 1.0})).loads is None


def test_negation_ratio_and_mean():
    one, two = Number(1.0, {0: 1.0}, (0.5, 1.5)), Number(2.0, {0: 2.0}, (1.9, 2.1))
    assert ((-two).value, (-two).interval) == (-2.0, (pytest.approx(-2.1), pytest.approx(-1.9)))
    assert ratio(two, one).interval == (
        pytest.approx(2 - math.hypot(0.1, 1.0)),
        pytest.approx(2 + math.hypot(0.1, 1.0)),
    )
    assert ratio(two, Number(0.0)).value == math.inf
    assert (mean([one, two]).value, mean([one, two]).interval) == (1.5, (pytest.approx(1.2), pytest.approx(1.8)))
    assert mean([Number(2, {0: 1, 1: 3}), Number(4, {0: 3, 1: 5})]).by_seed == {0: 2, 1: 4}
    assert combine(lambda x, y: x, one, Number(3.0, impossible=True)).impossible
    printed = replace(one, printed=True, by_seed={}), replace(two, printed=True, by_seed={})
    assert difference(*printed).interval == (pytest.approx(0.5 - 2.1), pytest.approx(1.5 - 1.9))
    with pytest.raises(ValueError, match="no numbers"):
        mean([])
