"""The sentences of "What came out", on made-up runs whose verdicts are known, in every direction."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_results import LAM, make_results, versus_own_teacher

from vicinal.report.findings.accuracy import holm
from vicinal.report.findings.finding import Finding
from vicinal.report.findings.findings import findings
from vicinal.report.rows import arrange

Change = Callable[[dict[str, Any]], None]
SCALED = "_after_temperature_scaling"


def find(results: dict[str, Any], question: str) -> Finding:
    found = [finding for finding in findings(arrange(results)) if question in finding.question]
    assert len(found) == 1, [finding.question for finding in found]
    return found[0]


def one_teacher(change: Change = lambda model: None, arm: str = "kd_mixup", **shape: Any) -> dict[str, Any]:
    """A study of one teacher with one arm's numbers changed."""
    results = make_results(teachers=1, **shape)
    for student in results["students"]:
        if student["arm"] == arm:
            change(student)
    return results


def set_gain(values: np.ndarray, width: float, ending: str = "") -> Change:
    def change(model: dict[str, Any]) -> None:
        inside = width * (LAM * (1 - LAM) > 0)
        key = f"linearity_gain{ending}"
        versus_own_teacher(model)[key] = values.tolist()
        bounds = {"lower": (values - inside).tolist(), "upper": (values + inside).tolist()}
        versus_own_teacher(model)[f"{key}_interval"] = bounds

    return change


def set_scalar(key: str, value: float, half_width: float = 0.003) -> Change:
    def change(model: dict[str, Any]) -> None:
        model[key] = value
        model["intervals"][key] = [value - half_width, value + half_width]

    return change


BUMP = 0.1 + LAM * (1 - LAM)


@pytest.mark.parametrize(
    ("values", "width", "verdict", "words"),
    [
        (BUMP, 0.01, "yes", "above 0 at every λ"),
        (-BUMP, 0.01, "no", "below 0 at every λ"),
        (BUMP, 0.5, "undecided", "above 0 at 0 of 10 λ up to ½; at the other 10 it is not decided"),
        (np.where(LAM < 0.5, 0.2, -0.2), 0.01, "no", "below 0 at 10 of 19 λ between 0 and 1, above 0 at 9 of 19 λ"),
    ],
)
def test_linearity_gain_in_all_directions(values, width, verdict, words):
    finding = find(one_teacher(set_gain(values, width)), "more linear?")
    assert finding.verdict == verdict
    assert words in finding.text
    assert "Mixup, without a teacher, stands at +0." in finding.text


def test_one_of_many_lam_is_not_enough_for_a_no():
    """At one of 19 λ the interval lies just below 0: as good as sure to happen somewhere among so many."""
    values = np.where(np.isclose(LAM, 0.5), -0.0105, 0.001)
    assert find(one_teacher(set_gain(values, 0.01)), "more linear?").verdict == "undecided"


@pytest.mark.parametrize(
    ("scaled", "width", "words"),
    [
        (BUMP, 0.01, ""),
        (-BUMP, 0.01, "So the answer as measured is an effect of confidence scale."),
        (BUMP, 0.5, "So the answer as measured may be an effect of confidence scale."),
    ],
)
def test_a_gain_that_scaling_takes_away_is_an_effect_of_scale(scaled, width, words):
    results = one_teacher(set_gain(BUMP, 0.01))
    for student in results["students"]:
        if student["arm"] == "kd_mixup":
            set_gain(scaled, width, SCALED)(student)
    finding = find(results, "more linear?")
    assert finding.verdict == "yes"
    assert finding.text.endswith(words)
    assert ("effect of confidence scale" in finding.text) == bool(words)
    assert "After temperature scaling it is " in finding.text


def test_seeds_that_spread_leave_the_gain_open():
    results = one_teacher(set_gain(BUMP, 0.01), seeds=(0, 1, 2))
    assert find(results, "more linear?").verdict == "yes"
    set_gain(-BUMP, 0.01)(next(s for s in results["students"] if s["arm"] == "kd_mixup" and s["seed"] == 1))
    assert find(results, "more linear?").verdict == "undecided"


def test_the_gain_of_a_scale_free_student_is_judged_after_temperature_scaling_alone():
    results = one_teacher(set_gain(BUMP, 0.01, SCALED), temperatures=("sigma",))
    finding = find(results, "more linear?")
    assert finding.verdict == "yes"
    assert "after temperature scaling: Δ_lin is above 0 at every λ" in finding.text
    without = find(one_teacher(temperatures=("sigma",), validation=False), "more linear?")
    assert without.verdict == "undecided"
    assert "no scale of their own" in without.text


def test_many_temperatures_share_one_finding():
    finding = find(one_teacher(set_gain(BUMP, 0.01), temperatures=(1.0, 2.0, 4.0)), "are its students more linear")
    assert finding.verdict == "yes"
    assert "T = 1, KD + mixup · T = 2" in finding.text


# --- probabilities ----------------------------------------------------------------------------------------------------


def with_nll(own: float, baseline: float, half_width: float = 0.003, ending: str = "", **shape: Any) -> dict[str, Any]:
    results = one_teacher(set_scalar("nll" + ending, own, half_width), **shape)
    for student in results["students"]:
        if student["arm"] == "baseline":
            set_scalar("nll" + ending, baseline, half_width)(student)
    return results


@pytest.mark.parametrize(
    ("own", "half_width", "verdict"), [(0.3, 0.01, "yes"), (0.9, 0.01, "no"), (0.51, 0.05, "undecided")]
)
def test_probabilities_against_the_baseline(own, half_width, verdict):
    finding = find(with_nll(own, 0.5, half_width), "probabilities better than the baseline")
    assert finding.verdict == verdict
    sign = "+" if own > 0.5 else "−"
    assert f"KD + mixup: NLL {own:.3f}, {sign}{abs(own - 0.5):.3f} nats (" in finding.text
    assert (" in 80\u00a0% of cases" in finding.text) == (verdict == "undecided")


def test_probabilities_that_scaling_makes_equal_are_an_effect_of_scale():
    results = with_nll(0.3, 0.5, 0.01)
    for student in results["students"]:
        set_scalar("nll" + SCALED, 0.4, 0.01)(student)
    finding = find(results, "probabilities better than the baseline")
    assert finding.verdict == "yes"
    assert finding.text.endswith("So the answer as measured may be an effect of confidence scale.")


def test_the_floor_of_an_ece_stands_beside_it():
    results = with_nll(0.3, 0.5)
    for student in results["students"]:
        student["calibration_tests"] = {"ece": {"floor": 0.0123, "floor_upper": 0.02, "p_value": 0.3}}
    assert find(results, "probabilities better").text.count("(noise alone: 0.012)") == 2


def test_a_scale_free_student_is_compared_after_temperature_scaling():
    scaled = find(with_nll(0.4, 0.5, ending=SCALED, temperatures=("sigma",)), "probabilities better")
    assert "KD + mixup · T = σ, both after temperature scaling −0.100 nats" in scaled.text
    assert scaled.verdict == "yes"
    unscaled = find(one_teacher(temperatures=("sigma",), validation=False), "probabilities better")
    assert unscaled.verdict == "undecided"
    assert "cannot be judged" in unscaled.text


@pytest.mark.parametrize(("own", "verdict"), [(0.3, "yes"), (0.6, "no"), (0.402, "undecided")])
def test_against_one_fitted_number(own, verdict):
    results = one_teacher(set_scalar("nll", own))
    for student in results["students"]:
        if student["arm"] == "baseline":
            set_scalar("nll" + SCALED, 0.4)(student)
    finding = find(results, "beat temperature scaling")
    assert finding.verdict == verdict
    assert "brings the baseline to NLL 0.400" in finding.text


def test_no_sentence_about_temperature_scaling_without_a_validation_split():
    assert not [f for f in findings(arrange(one_teacher(validation=False))) if "temperature scaling" in f.question]


def test_two_teachers_are_no_test_of_what_passes_on():
    results = make_results()
    finding = find(results, "better calibrated students")
    assert finding.verdict == "fact"
    assert "in one order by chance too often" in finding.text


# --- accuracy ---------------------------------------------------------------------------------------------------------


def test_accuracy_in_all_directions():
    better = find(one_teacher(set_scalar("accuracy", 0.95, 0.001)), "more accurate")
    assert (better.verdict, better.word) == ("yes", "Yes, these networks")
    assert "KD + mixup (calibrated) has the highest accuracy of the students, 95.0\u00a0%" in better.text
    assert "clear after Holm’s correction for 3 students" in better.text
    two = ("baseline", "kd_mixup")
    unsure = find(one_teacher(set_scalar("accuracy", 0.95, 0.5), arms=two), "more accurate")
    assert unsure.verdict == "undecided"
    assert re.search(r"Runs like these find a difference of \d+\.\d\d points in 80\u00a0% of cases\.$", unsure.text)
    others = find(one_teacher(set_scalar("accuracy", 0.95, 0.5)), "more accurate")
    assert others.verdict == "yes"
    assert "not clear after Holm’s correction for 3 students. Clearly above it: KD (calibrated)." in others.text
    worse = find(one_teacher(set_scalar("accuracy", 0.99, 0.001), arm="baseline"), "more accurate")
    assert worse.verdict == "no"


def test_a_baseline_that_is_best_by_a_hair_is_no_answer():
    results = one_teacher(set_scalar("accuracy", 0.861, 0.01), arm="baseline")
    assert find(results, "more accurate").verdict == "undecided"


def test_the_best_of_many_is_corrected_for_having_been_looked_for():
    """One p of .03 among five students is within chance."""

    def study(arms: tuple[str, ...]) -> dict[str, Any]:
        results = make_results(teachers=2, arms=arms)
        for student in results["students"]:
            best = student["arm"] == "kd_mixup" and student["teacher"] == "calibrated"
            set_scalar("accuracy", 0.831 if best else 0.82, 0.007)(student)
        return results

    many = find(study(("baseline", "mixup", "kd", "kd_mixup")), "more accurate")
    assert many.verdict == "undecided"
    assert "not clear after Holm’s correction for 5 students" in many.text
    results = study(("baseline", "kd_mixup"))
    results["students"] = [s for s in results["students"] if s["teacher"] != "overconfident"]
    assert find(results, "more accurate").verdict == "yes"


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_between_the_p_values_and_bonferroni_and_keeps_their_order(p_values):
    adjusted = holm(p_values)
    for p, a in zip(p_values, adjusted, strict=True):
        assert p <= a <= min(1.0, len(p_values) * p) + 1e-12 or a == max(adjusted)
    order = np.argsort(p_values, kind="stable")
    assert np.all(np.diff(np.array(adjusted)[order]) >= 0)
    assert adjusted[order[0]] == pytest.approx(min(1.0, len(p_values) * p_values[order[0]]))


def test_seeds_that_spread_are_undecided():
    results = one_teacher(set_scalar("accuracy", 0.95, 0.001), seeds=(0, 1, 2))
    assert find(results, "more accurate").word == "Yes"
    for student in results["students"]:
        spread = {0: 0.3, 1: -0.3, 2: 0.0}[student["seed"]] * (1 if student["arm"] == "kd_mixup" else -1)
        set_scalar("accuracy", 0.6 + spread + 0.05 * (student["arm"] == "kd_mixup"), 0.001)(student)
    assert find(results, "more accurate").verdict == "undecided"


# --- the rest ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "half_width", "verdict", "words"),
    [(2.0, 0.1, "yes", "above 1"), (0.5, 0.1, "no", "below 1"), (1.05, 0.4, "undecided", "not told apart from 1")],
)
def test_dominance_in_all_directions(value, half_width, verdict, words):
    results = make_results(teachers=1)
    vicinity = results["teachers"][0]["vicinity"]
    entropy = vicinity["entropy"][10]
    vicinity["nonlinearity"][10] = value * entropy
    vicinity["intervals"]["nonlinearity"]["lower"][10] = (value - half_width) * entropy
    vicinity["intervals"]["nonlinearity"]["upper"][10] = (value + half_width) * entropy
    finding = find(results, "does mismatch dominate")
    assert finding.verdict == verdict
    assert words in finding.text
    assert f"D(0.5) of calibrated is {value:.3f} (" in finding.text


def test_a_teacher_at_another_scale_of_its_logits_is_left_to_the_claims():
    results = make_results(teachers=1)
    before = [finding.question for finding in findings(arrange(results))]
    variant = copy.deepcopy(results["teachers"][0])
    results["teachers"].append(variant | {"name": "calibrated@2", "logit_scale": 2.0})
    assert [finding.question for finding in findings(arrange(results))] == before


def test_one_seed_is_said_to_be_about_networks():
    assert "One seed gives no spread" in find(make_results(), "How sure").text
    assert not [f for f in findings(arrange(make_results(seeds=(0, 1)))) if f.question == "How sure is this?"]


def test_teachers_alone():
    found = findings(arrange(make_results(arms=())))
    assert next(f.question for f in found if "calibrated is" not in f.question) == "Which teacher is the most accurate?"
    assert sum("How well calibrated" in f.question for f in found) == 2
