"""The one comparator: which of several things that are known of two numbers decides between them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vicinal.claims import Evidence, ModelResults, Number, PairedTest, compare, decide
from vicinal.claims.comparison import why_undecided

LOW, HIGH = Number(0.80, {0: 0.80}, (0.78, 0.82)), Number(0.81, {0: 0.81}, (0.79, 0.83))


@pytest.mark.parametrize(
    ("only_first", "only_second", "p_value", "sign"),
    [(70, 20, 0.001, 1), (20, 70, 0.001, -1), (30, 20, 0.049, 1), (30, 20, 0.05, 0), (30, 20, 0.2, 0), (9, 9, 0.0, 0)],
)
def test_a_paired_test_decides_where_intervals_overlap(only_first, only_second, p_value, sign):
    assert compare(HIGH, LOW).sign == 0
    found = compare(HIGH, LOW, PairedTest(only_first, only_second, p_value, 0.05))
    assert (found.sign, found.difference.spread) == (sign, "paired test")
    assert found.difference.value == pytest.approx(0.01)


def test_the_level_is_that_of_the_study():
    assert compare(HIGH, LOW, PairedTest(70, 20, 0.02, 0.05)).sign == 1
    assert compare(HIGH, LOW, PairedTest(70, 20, 0.02, 0.01)).sign == 0


def test_without_a_test_the_intervals_must_not_meet():
    assert compare(replace(HIGH, interval=(0.821, 0.83)), LOW).sign == 1
    assert compare(LOW, replace(HIGH, interval=(0.821, 0.83))).sign == -1
    assert compare(replace(HIGH, interval=None), LOW).sign == 0


def test_several_seeds_decide_before_a_test():
    a, b = Number(0.8, {0: 0.82, 1: 0.78}), Number(0.7, {0: 0.7, 1: 0.7})
    assert compare(a, b, PairedTest(1, 99, 1e-9, 0.05)).sign == 1
    assert compare(a, Number(0.8, {0: 0.8, 1: 0.8})).sign == 0


def test_a_test_speaks_for_a_difference_of_0_only():
    gap = replace(Number(0.01, {0: 0.01}, (-0.03, 0.05)), test=PairedTest(70, 20, 0.001, 0.05))
    assert decide(gap) == 1
    assert decide(gap, 0.5) == -1
    assert decide(gap, 0.02) == 0


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (Number(0.1, {0: 0.1, 1: -0.1}), "seeds disagree"),
        (Number(0.1, {0: 0.1}, (-1, 1), test=PairedTest(1, 2, 0.9, 0.05)), "McNemar"),
        (Number(0.1, {0: 0.1}, (-1, 1)), "within the interval"),
        (Number(0.1, {0: 0.1}), "no interval"),
        (Number(0.1, interval=(-1, 1), printed=True), "rounding"),
    ],
)
def test_why_nothing_is_decided(number, words):
    assert decide(number) == 0
    assert words in why_undecided(number)


def test_a_gap_of_accuracies_finds_its_test_either_way_round():
    first, second = (
        ModelResults(arm, arm, None, None, numbers={"accuracy": n, "ece": n}) for arm, n in (("a", HIGH), ("b", LOW))
    )
    evidence = Evidence(
        "made up", (), (first, second), tests={(first.key, second.key): PairedTest(70, 20, 0.001, 0.05)}
    )
    assert decide(evidence.gap("accuracy", first, second)) == 1
    assert decide(evidence.gap("accuracy", second, first)) == -1
    assert evidence.gap("ece", first, second).test is None
    assert evidence.gap("nll", first, second) is None
