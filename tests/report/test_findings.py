"""The sentences of "What came out", on made-up runs whose verdicts are known, in every direction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from made_up_results import LAM, make_results, versus_own_teacher

from vicinal.report.findings.findings import Finding, findings
from vicinal.report.rows import arrange

Change = Callable[[dict[str, Any]], None]


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


def set_gain(values: np.ndarray, width: float) -> Change:
    def change(model: dict[str, Any]) -> None:
        inside = width * (LAM * (1 - LAM) > 0)
        versus_own_teacher(model)["linearity_gain"] = values.tolist()
        versus_own_teacher(model)["linearity_gain_interval"] = {
            "lower": (values - inside).tolist(),
            "upper": (values + inside).tolist(),
        }

    return change


BUMP = 0.1 + LAM * (1 - LAM)


@pytest.mark.parametrize(
    ("values", "width", "verdict", "words"),
    [
        (BUMP, 0.01, "yes", "above 0 at every λ"),
        (-BUMP, 0.01, "no", "below 0 at every λ"),
        (BUMP, 0.5, "undecided", "above 0 at 0 of 19 λ between 0 and 1; at the other 19 its interval includes 0"),
        (np.where(LAM < 0.5, 0.2, -0.2), 0.01, "no", "below 0 at 10 of 19 λ between 0 and 1, above 0 at 9"),
    ],
)
def test_linearity_gain_in_all_directions(values, width, verdict, words):
    finding = find(one_teacher(set_gain(values, width)), "more linear?")
    assert finding.verdict == verdict
    assert words in finding.text
    assert "Mixup, without a teacher, stands at +0." in finding.text


def test_with_seeds_every_seed_has_to_agree():
    results = one_teacher(set_gain(BUMP, 0.01), seeds=(0, 1, 2))
    assert find(results, "more linear?").verdict == "yes"
    set_gain(-BUMP, 0.01)(next(s for s in results["students"] if s["arm"] == "kd_mixup" and s["seed"] == 1))
    assert find(results, "more linear?").verdict == "undecided"


def test_the_gain_of_a_scale_free_student_is_not_judged():
    finding = find(one_teacher(temperatures=("sigma",)), "more linear?")
    assert finding.verdict == "undecided"
    assert "no scale of their own" in finding.text


def set_ece(value: float, half_width: float = 0.005) -> Change:
    def change(model: dict[str, Any]) -> None:
        model["ece"] = value
        model["intervals"]["ece"] = [value - half_width, value + half_width]

    return change


@pytest.mark.parametrize(
    ("ece", "half_width", "verdict", "words"),
    [
        (0.02, 0.005, "yes", "times lower (difference"),
        (0.30, 0.005, "no", "times higher (difference"),
        (0.09, 0.05, "undecided", "undecided: difference"),
    ],
)
def test_ece_against_the_baseline(ece, half_width, verdict, words):
    finding = find(one_teacher(set_ece(ece, half_width)), "ECE below the baseline")
    assert finding.verdict == verdict
    assert words in finding.text


def test_the_ratio_of_ece_is_that_of_the_shown_numbers():
    results = one_teacher(set_ece(0.02))
    set_ece(0.1)(next(s for s in results["students"] if s["arm"] == "baseline"))
    assert "ECE is 0.100 for the baseline and 0.020 for KD + mixup, 5.0 times lower" in find(results, "ECE below").text


def test_a_scale_free_student_is_compared_after_temperature_scaling():
    scaled = find(one_teacher(temperatures=("sigma",)), "ECE below the baseline")
    assert "after temperature scaling" in scaled.text
    unscaled = find(one_teacher(temperatures=("sigma",), validation=False), "ECE below the baseline")
    assert unscaled.verdict == "undecided"
    assert "cannot be judged" in unscaled.text


@pytest.mark.parametrize(
    ("ece", "verdict", "words"),
    [
        (0.001, "yes", "it does not reach"),
        (0.2, "no", "it goes below"),
        (0.012, "undecided", "it is not told apart from"),
    ],
)
def test_against_one_fitted_number(ece, verdict, words):
    finding = find(one_teacher(set_ece(ece, 0.0005 if ece < 0.01 else 0.005)), "beat temperature scaling")
    assert finding.verdict == verdict
    assert words in finding.text


def test_no_sentence_about_temperature_scaling_without_a_validation_split():
    assert not [f for f in findings(arrange(one_teacher(validation=False))) if "temperature scaling" in f.question]


def set_accuracy(value: float, half_width: float = 0.001) -> Change:
    def change(model: dict[str, Any]) -> None:
        model["accuracy"] = value
        model["intervals"]["accuracy"] = [value - half_width, value + half_width]

    return change


def test_accuracy_in_all_directions():
    better = find(one_teacher(set_accuracy(0.95)), "more accurate")
    assert better.verdict == "yes"
    assert "KD + mixup (calibrated) has the highest accuracy of the students, 95.0\u00a0%" in better.text
    unsure = find(one_teacher(set_accuracy(0.95, 0.5)), "more accurate")
    assert unsure.verdict == "undecided"
    assert "over these two networks alone" in unsure.text
    worse = find(one_teacher(set_accuracy(0.99), arm="baseline"), "more accurate")
    assert worse.verdict == "no"


def test_seeds_that_spread_are_undecided():
    results = one_teacher(set_accuracy(0.95), seeds=(0, 1, 2))
    assert "95\u00a0% interval over 3 seeds" in find(results, "more accurate").text
    set_accuracy(0.1)(next(s for s in results["students"] if s["arm"] == "kd_mixup" and s["seed"] == 2))
    for student in results["students"]:
        if student["arm"] in ("kd", "mixup"):
            set_accuracy(0.2)(student)
        if student["arm"] == "baseline":
            set_accuracy(0.6)(student)
    finding = find(results, "more accurate")
    assert finding.verdict == "undecided"
    assert "undecided: difference −" in finding.text


@pytest.mark.parametrize(
    ("value", "half_width", "verdict", "words"),
    [(2.0, 0.1, "yes", "above 1"), (0.5, 0.1, "no", "below 1"), (1.05, 0.2, "undecided", "not told apart from 1")],
)
def test_dominance_in_all_directions(value, half_width, verdict, words):
    results = make_results(teachers=1)
    vicinity = results["teachers"][0]["vicinity"]
    for key, level, room in (("nonlinearity", value, half_width), ("entropy", 1.0, 0.01)):
        vicinity[key][10] = level
        vicinity["intervals"][key]["lower"][10] = level - room
        vicinity["intervals"][key]["upper"][10] = level + room
    finding = find(results, "does mismatch dominate")
    assert finding.verdict == verdict
    assert words in finding.text
    assert f"{value:.2f}" in finding.text


@pytest.mark.parametrize(
    ("first", "second", "verdict"), [(0.01, 0.09, "yes"), (0.09, 0.01, "no"), (0.05, 0.051, "undecided")]
)
def test_calibration_passes_on_or_not(first, second, verdict):
    results = make_results()
    for student in results["students"]:
        if student["arm"] == "kd_mixup":
            set_ece(first if student["teacher"] == "calibrated" else second)(student)
    assert find(results, "pass from teacher to student").verdict == verdict


def test_many_temperatures_share_one_finding():
    results = one_teacher(set_gain(BUMP, 0.01), temperatures=(1.0, 2.0, 4.0))
    finding = find(results, "are its students more linear")
    assert finding.verdict == "yes"
    assert "T = 1, KD + mixup · T = 2" in finding.text


def test_one_seed_is_said_to_give_no_spread():
    assert "One seed gives no spread" in find(make_results(), "How sure").text
    assert not [f for f in findings(arrange(make_results(seeds=(0, 1)))) if f.question == "How sure is this?"]


def test_teachers_alone():
    found = findings(arrange(make_results(arms=())))
    assert next(f.question for f in found if "calibrated is" not in f.question) == "Which teacher is the most accurate?"
    assert sum("How well calibrated" in f.question for f in found) == 2
