"""The Pareto front and the selection rule, on numbers whose answer is known."""

import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import fisher_exact, norm

from scripts.simulate.recommendation import answers, not_confirmed
from vicinal.report.findings.recommendation import ece_noise_of_bins
from vicinal.report.findings.selection_rule import (
    Candidate,
    OnTest,
    broken_promises,
    least_accuracy,
    pareto_front,
    select,
    selection,
)

SHARES = st.one_of(st.none(), st.sampled_from([0.0, 0.1, 0.2, 0.5, 1.0, math.nan]))


def candidate(label, accuracy=0.8, nll=0.6, test=0.8, ece=0.02, validation_ece=0.02, test_nll=None):
    return Candidate(
        label, accuracy, nll, test, ece, validation_ece, test_nll, nll_deviation=1.0, ece_deviation=0.3, ece_floor=1.0
    )


# --- the front --------------------------------------------------------------------------------------------------------


def test_a_known_front():
    accuracy = [0.80, 0.85, 0.90, 0.84, 0.90, 0.70]
    ece = [0.01, 0.02, 0.05, 0.03, 0.06, 0.01]
    assert pareto_front(accuracy, ece) == [2, 1, 0]


def test_equal_ones_stand_together_and_one_without_metrics_does_not():
    assert pareto_front([0.8, 0.8, None, 0.9, math.nan], [0.1, 0.1, 0.0, None, 0.0]) == [0, 1]
    assert pareto_front([], []) == []
    with pytest.raises(ValueError, match="as many"):
        pareto_front([0.8], [])


@given(points=st.lists(st.tuples(SHARES, SHARES), max_size=12))
def test_the_front_is_what_nobody_beats_and_beats_all_else(points):
    front = pareto_front([a for a, _ in points], [e for _, e in points])
    known = {k for k, (a, e) in enumerate(points) if None not in (a, e) and not math.isnan(a + e)}

    def beats(k, other):
        (a, e), (b, f) = points[k], points[other]
        return a >= b and e <= f and points[k] != points[other]

    assert set(front) == {k for k in known if not any(beats(other, k) for other in known)}
    assert all(any(beats(k, other) for k in front) for other in known - set(front))
    accuracy = [points[k][0] for k in front]
    assert accuracy == sorted(accuracy, reverse=True)


# --- the selection -------------------------------------------------------------------------------------------------------


def test_accuracy_decides_where_validation_can_tell():
    # One standard error at 0.9 of 1000 images is 0.0095.
    candidates = [candidate("a", 0.88, 0.2), candidate("b", 0.90, 0.5), candidate("c", 0.895, 0.4)]
    assert select(candidates, 1000) == (2, 1)
    assert select(candidates, 100) == (0, 2)  # all three are close, so the NLL decides
    assert select(candidates, 1_000_000) == (1, 2)


def test_close_is_one_standard_error():
    # One standard error at 0.9 of 900 images is 0.01.
    assert select([candidate("best", 0.90, 0.5), candidate("within", 0.8901, 0.4)], 900) == (1, 0)
    assert select([candidate("best", 0.90, 0.5), candidate("beyond", 0.8899, 0.4)], 900) == (0, 1)


def test_ties_go_to_the_higher_accuracy_then_to_the_first():
    assert select([candidate("a", 0.80), candidate("b", 0.801), candidate("c", 0.801)], 500) == (1, 2)


def test_the_selection_does_not_look_at_the_test_images():
    candidates = [candidate(str(k), 0.8 + k / 1000, 0.6 - k / 100) for k in range(4)]
    expected = select(candidates, 400)
    for test in (0.1, 0.99, None):
        assert select([replace(c, test_accuracy=test, test_ece=test) for c in candidates], 400) == expected


def test_without_validation_metrics_nothing_is_chosen():
    assert select([], 100) is None
    assert selection([candidate("a", None), candidate("b", 0.8, math.nan)], 100, 100) is None
    assert select([candidate("a", None), candidate("b")], 100) == (1, None)


# --- the sentence -----------------------------------------------------------------------------------------------------


def test_a_confirmed_selection():
    best = candidate("KD + mixup at T = 4 with teacher X", 0.90, 0.30, 0.895, 0.021)
    got = selection([candidate("Baseline"), best], 1000, 2000)
    assert (got.selected, got.runner_up, got.confirmed) == (1, 0, True)
    assert got.sentence == (
        "For this data: KD + mixup at T = 4 with teacher X; selected on validation (accuracy 0.900, NLL 0.300), "
        "confirmed on test (accuracy 0.895, ECE 0.021)."
    )


def test_an_accuracy_below_the_promise_is_not_confirmed():
    got = selection([candidate("a", 0.90, 0.3, 0.85)], 1000, 2000)
    assert got.confirmed is False
    assert "not confirmed on test (accuracy 0.850, ECE 0.020): validation promised an accuracy of at least 0.870." in (
        got.sentence
    )
    assert selection([candidate("a", 0.90, 0.3, 0.95)], 1000, 2000).confirmed  # better than promised is no fault


@given(
    right=st.integers(0, 60), validation=st.integers(1, 60), test=st.integers(1, 200), level=st.floats(0.0005, 0.2)
)  # fmt: skip
def test_the_least_accuracy_is_where_fishers_test_begins_to_accept(right, validation, test, level):
    right = min(right, validation)
    least = round(least_accuracy(right / validation, validation, test, level) * test)

    def p_value(found):
        return fisher_exact([[found, test - found], [right, validation - right]], alternative="less").pvalue

    assert p_value(least) > level * (1 - 1e-9)
    assert least == 0 or p_value(least - 1) <= level * (1 + 1e-9)


def test_the_nll_has_the_error_of_two_means():
    level = 0.01
    most = 0.3 + norm.ppf(1 - level) * np.sqrt(1 / 1000 + 1 / 2000)
    assert not broken_promises(candidate("a", 0.9, 0.3, 0.9, test_nll=most - 1e-6), 1000, 2000, level)
    broken = broken_promises(candidate("a", 0.9, 0.3, 0.9, test_nll=most + 1e-3), 1000, 2000, level)
    assert broken == [f"validation promised an NLL of at most {most:.3f}, and it is {most + 1e-3:.3f}"]


def test_the_ece_has_its_own_error_and_its_floor_where_there_are_fewer_test_images():
    level = 0.01
    for images in (2000, 500):
        most = 0.02 + 0.3 * norm.ppf(1 - level) * np.sqrt(1 / 1000 + 1 / images)
        most += max(0, 1 / np.sqrt(images) - 1 / np.sqrt(1000))
        assert not broken_promises(candidate("a", 0.9, 0.3, 0.9, ece=most - 1e-6), 1000, images, level)
        assert broken_promises(candidate("a", 0.9, 0.3, 0.9, ece=most + 1e-6), 1000, images, level) == [
            f"validation promised an ECE of at most {most:.3f}"
        ]


def test_the_more_candidates_the_less_is_promised():
    """The best of twenty equal ones looks better on validation than it is."""
    fallen = candidate("a", 0.90, 0.2, 0.866)
    assert not selection([fallen], 1000, 2000).confirmed
    assert selection([fallen, *(candidate(str(k), 0.89, 0.3) for k in range(19))], 1000, 2000).confirmed


def test_the_noise_of_the_ece_is_what_answers_have():
    """Of an overconfident network the ECE's spread, of a calibrated one its mean, over draws."""
    draws = [answers(np.random.default_rng(k), 1, 2000, 0.1) for k in range(200)]
    spread, _ = ece_noise_of_bins(*answers(np.random.default_rng(999), 1, 100_000, 0.1).bins(0))
    assert np.std([one.ece(0) for one in draws]) == pytest.approx(spread / np.sqrt(2000), rel=0.15)
    calibrated = [answers(np.random.default_rng(k), 1, 2000, 0.0) for k in range(100)]
    _, floor = ece_noise_of_bins(*answers(np.random.default_rng(999), 1, 100_000, 0.0).bins(0))
    assert np.mean([one.ece(0) for one in calibrated]) == pytest.approx(floor / np.sqrt(2000), rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("candidates", [2, 6, 20])
@pytest.mark.parametrize("overconfidence", [0.0, 0.09])
def test_where_nothing_is_wrong_not_confirmed_is_rare(candidates, overconfidence):
    assert not_confirmed(candidates, 1000, 5000, overconfidence, trials=600) <= 0.05


def test_the_runner_up_may_speak_against_it():
    two = [candidate("a", 0.9, 0.3), candidate("b", 0.8, 0.3)]
    two = [replace(c, test_accuracy=0.9) for c in two]
    beaten = selection(two, 1000, 2000, OnTest(-1, "p < 0.001"))
    assert beaten.confirmed is False
    assert "the runner-up, b, is more accurate there: the selected one less it p < 0.001" in beaten.sentence
    open_ = selection(two, 1000, 2000, OnTest(0, "p = 0.420"))
    assert open_.confirmed
    assert open_.sentence.endswith("It is not told apart from the runner-up, b, on the test images: p = 0.420.")
    clear = selection(two, 1000, 2000, OnTest(1, "p < 0.001"))
    assert clear.confirmed
    assert clear.sentence.endswith("It is more accurate than the runner-up, b, on the test images: p < 0.001.")


def test_every_failure_is_named():
    fallen = candidate("a", 0.9, 0.3, 0.5, 0.4, test_nll=2.0)
    got = selection([fallen, candidate("b", 0.8)], 1000, 2000, OnTest(-1, "p < 0.001"))
    assert got.confirmed is False
    for words in ("accuracy of at least", "NLL of at most", "ECE of at most", "the runner-up, b, is more accurate"):
        assert words in got.sentence


def test_without_test_metrics_nothing_is_confirmed():
    got = selection([candidate("a", test=None)], 1000, 2000)
    assert got.confirmed is None
    assert "not confirmed: there are no test metrics" in got.sentence


def test_a_perfect_score_on_few_images_promises_little():
    assert selection([candidate("a", 1.0, 0.0, 0.9)], 10, 2000).confirmed
    assert selection([candidate("a", 1.0, 0.0, 0.9)], 2000, 2000).confirmed is False


def test_no_torch_is_needed():
    script = "import sys, vicinal.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
