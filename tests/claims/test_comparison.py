"""The one comparator: its errors against scipy's tests, and which of several things that are known decides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from vicinal.claims import Load, Number, SeedPool, compare, decide, difference, infer, ratio
from vicinal.claims.comparison import why_undecided

LOW, HIGH = Number(0.80, {0: 0.80}, (0.79, 0.81)), Number(0.83, {0: 0.83}, (0.82, 0.84))
values = st.lists(st.floats(-10, 10, allow_nan=False), min_size=3, max_size=8, unique=True)


def of_seeds(by_seed: list[float], deviations: np.ndarray | None = None) -> Number:
    return Number(float(np.mean(by_seed)), dict(enumerate(by_seed)), deviations=deviations, of_arm=True)


@given(values, st.randoms(use_true_random=False))
def test_seeds_alone_are_students_paired_test(by_seed, random):
    other = [random.uniform(-10, 10) for _ in by_seed]
    gap = difference(of_seeds(by_seed), of_seeds(other))
    expected, found = stats.ttest_rel(by_seed, other), infer(gap)
    assert found.p_value() == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval(0.95)), rel=1e-6)
    assert found.p_above() == pytest.approx(stats.ttest_rel(by_seed, other, alternative="greater").pvalue, abs=1e-9)
    assert (found.sign() != 0) == (found.p_value() < 0.05)
    assert found.sign() == decide(gap) == compare(of_seeds(by_seed), of_seeds(other)).sign


def test_a_pool_is_the_two_way_analysis_of_variance():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(6, 4)) + 3 * rng.normal(size=4) + np.arange(6)[:, None]
    pool = SeedPool.of("student", {str(arm): list(row) for arm, row in enumerate(table)})
    arms = [
        Number(row.mean(), dict(enumerate(row)), loads=(Load(pool, str(arm), 1.0),), of_arm=True)
        for arm, row in enumerate(table)
    ]
    found = infer(difference(arms[1], arms[0]))
    rest = table - table.mean(1, keepdims=True) - table.mean(0, keepdims=True) + table.mean()
    square = (rest**2).sum() / 15
    assert found.error == pytest.approx(np.sqrt(2 * square / 4))
    assert found.freedom == pytest.approx(15)
    # One arm alone holds the seeds' common part: the mean over arms of the variances within them.
    alone = infer(arms[0])
    assert alone.error**2 == pytest.approx(table.var(1, ddof=1).mean() / 4)
    assert 3 < alone.freedom < 15
    # Against another teacher's figure of the same seeds the two parts add up.
    other = SeedPool.of("teacher", {"t": list(table[0]), "u": list(table[2])})
    teacher = Number(table[0].mean(), dict(enumerate(table[0])), loads=(Load(other, "t", 1.0),))
    both = infer(difference(teacher, arms[3]))
    assert both.error**2 == pytest.approx(infer(teacher).error ** 2 + infer(arms[3]).error ** 2)


def test_an_arm_that_spreads_differently_goes_by_its_own_seeds():
    rng = np.random.default_rng(1)
    table = rng.normal(size=(8, 5))
    table[3] *= 30
    pool = SeedPool.of("student", {str(arm): list(row) for arm, row in enumerate(table)})
    assert "3" not in pool.arms
    assert len(pool.arms) == 7
    number = Number(table[3].mean(), dict(enumerate(table[3])), loads=(Load(pool, "3", 1.0),))
    assert infer(number).error == pytest.approx(table[3].std(ddof=1) / np.sqrt(5))


def test_no_pool_of_one_arm_or_one_seed():
    assert SeedPool.of("student", {"a": [1.0, 2.0]}) is None
    assert SeedPool.of("student", {"a": [1.0], "b": [2.0]}) is None
    assert SeedPool.of("student", {}) is None


def test_images_are_paired_and_counted_once():
    rng = np.random.default_rng(2)
    shared, own = rng.normal(size=4000), rng.normal(size=(3, 4000))
    a = of_seeds([1.0, 1.1, 0.9], 0.5 * shared + own)
    b = of_seeds([0.0, 0.1, -0.1], np.tile(0.5 * shared, (3, 1)))
    gap = difference(a, b)
    # What both share is gone; a third of each seed's own part is in the spread between seeds already (here 0).
    assert infer(gap).error == pytest.approx(0.0, abs=0.15)
    common = replace(a, deviations=0.5 * shared + 0.01 * own)
    assert infer(common).error ** 2 == pytest.approx(0.25 + np.var([1.0, 1.1, 0.9], ddof=1) / 3, rel=0.05)


def test_one_seed_speaks_of_networks():
    moved = np.random.default_rng(3).normal(size=(1, 2000))
    alone = Number(1.0, {0: 1.0}, deviations=moved, of_arm=True)
    assert infer(alone).of_networks
    assert not infer(replace(alone, of_arm=False)).of_networks
    assert not infer(of_seeds([1.0, 2.0])).of_networks
    assert infer(alone).error == pytest.approx(1, rel=0.05)


def test_an_arm_of_one_seed_beside_one_of_five_speaks_of_networks():
    moved = np.random.default_rng(3).normal(size=(5, 300))
    five = of_seeds([1.0, 1.1, 0.9, 1.2, 0.8], moved)
    lone = Number(2.0, {3: 2.0}, deviations=moved[:1], of_arm=True)
    gap = difference(lone, five)
    assert gap.by_seed == {3: pytest.approx(0.8)}
    assert infer(gap).of_networks
    shared = replace(lone, of_arm=False)
    assert len(difference(shared, five).by_seed) == 5
    assert not infer(difference(shared, five)).of_networks


def test_answers_that_are_all_right_have_an_error_all_the_same():
    number = Number(100.0, {0: 100.0}, deviations=np.zeros((1, 100)), least_error=100 / 52, images=50)
    low, high = infer(number).interval
    assert high - low > 4


def test_few_images_widen_the_interval():
    moved = np.random.default_rng(4).normal(size=(1, 4000))
    many, few = (infer(Number(0.0, {0: 0.0}, deviations=moved, images=n)).interval[1] for n in (None, 5))
    assert few / many == pytest.approx(stats.t.ppf(0.975, 4) / stats.norm.ppf(0.975), rel=1e-3)


def test_a_ratio_is_judged_by_its_logarithm():
    rng = np.random.default_rng(5)
    x, y = 0.01 * rng.normal(size=(2, 1, 20_000))
    found = infer(ratio(Number(2.0, {0: 2.0}, deviations=x), Number(1.0, {0: 1.0}, deviations=y)))
    low, high = found.interval
    assert low * high == pytest.approx(4)
    assert np.log(high / 2) == pytest.approx(1.96 * np.hypot(0.005, 0.01), rel=0.03)
    assert found.p_above(1.0) < 1e-9
    assert found.p_below(10.0) < 1e-9
    assert found.detectable > 1


def test_a_ratio_that_is_not_known_at_all_has_an_interval_of_floats():
    found = infer(replace(Number(1.0, {0: 1.0}, (-1e6, 1e6)), log=True))
    low, high = found.interval
    assert 0 <= low < 1e-9
    assert 1e9 < high < np.inf
    assert np.isfinite(found.detectable)


def test_equivalence_is_two_one_sided_tests():
    by_seed = [0.1, -0.2, 0.05, 0.0, 0.1]
    found = infer(of_seeds(by_seed))
    sides = (
        stats.ttest_1samp(by_seed, -0.5, alternative="greater").pvalue,
        stats.ttest_1samp(by_seed, 0.5, alternative="less").pvalue,
    )
    assert found.p_outside(0.5) == pytest.approx(max(sides), rel=1e-6)
    assert found.p_outside(0.01) > 0.05


def test_the_detectable_effect_is_found_in_four_of_five():
    rng, truth = np.random.default_rng(6), None
    found = []
    for _ in range(1500):
        draws = rng.normal(size=12)
        if truth is None:
            truth = infer(of_seeds(list(rng.normal(size=20000)))).detectable * np.sqrt(20000 / 12)
        found.append(infer(of_seeds(list(draws + truth))).sign() > 0)
    assert 0.7 < np.mean(found) < 0.82


def test_without_resamples_the_stored_intervals_decide():
    assert compare(HIGH, LOW).sign == 1
    assert compare(LOW, HIGH).sign == -1
    assert compare(replace(HIGH, interval=None), LOW).sign == 0
    assert compare(replace(HIGH, interval=(0.79, 0.87)), LOW).sign == 0


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (of_seeds([0.1, -0.1]), "within the interval"),
        (Number(0.1, {0: 0.1}, (-1, 1)), "within the interval"),
        (Number(0.1, {0: 0.1}), "no interval"),
        (Number(0.1, interval=(-1, 1), printed=True), "rounding"),
    ],
)
def test_why_nothing_is_decided(number, words):
    assert decide(number) == 0
    assert words in why_undecided(number)
