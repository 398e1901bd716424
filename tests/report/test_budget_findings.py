"""What longer training changes, in sentences: on made-up runs whose answer is known, and their error rates."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_budgets import with_budgets
from made_up_results import make_results

from vicinal.report.budget_comparisons import holm
from vicinal.report.findings.budgets import MIXUP_QUESTION, ORDER_QUESTION, over_budgets
from vicinal.report.findings.finding import Finding
from vicinal.report.findings.findings import findings
from vicinal.report.rows import arrange

TURNS = {"baseline": (0.80, 0.80, 0.80), "kd": (0.83, 0.83, 0.83), "kd_mixup": (0.82, 0.84, 0.85)}
STAYS = {"baseline": (0.80, 0.80, 0.80), "kd": (0.82, 0.82, 0.82), "kd_mixup": (0.84, 0.85, 0.86)}
CLOSE = {"baseline": (0.80, 0.80, 0.80), "kd": (0.82, 0.82, 0.82), "kd_mixup": (0.821, 0.82, 0.819)}


def answer(question: str, gains: dict[str, tuple[float, float, float]], **shape: object) -> Finding:
    (found,) = [f for f in findings(arrange(with_budgets(gains, **shape))) if f.question == question]
    return found


def test_arms_that_change_places_are_named_with_both_differences():
    found = answer(ORDER_QUESTION, TURNS)
    assert found.verdict == "yes"
    assert "KD is more accurate than KD + mixup after 30 epochs, +1.00 points (+0.7" in found.text
    assert "and less accurate after 120 epochs, −2.00 points (−" in found.text
    assert "after Holm’s correction for 3 pairs of arms." in found.text


def test_an_order_that_stays_is_clear_at_every_budget():
    found = answer(ORDER_QUESTION, STAYS)
    assert found.verdict == "no"
    assert found.text == (
        "All 3 pairs of arms stand in one order of accuracy at 30, 60 and 120 epochs, clear at each of them."
    )


@pytest.mark.parametrize("gains", [CLOSE, TURNS], ids=["close", "wide intervals"])
def test_what_is_not_clear_is_open_with_what_would_have_been_found(gains: dict[str, tuple[float, float, float]]):
    found = answer(ORDER_QUESTION, gains, width=0.002 if gains is CLOSE else 0.05)
    assert found.verdict == "undecided"
    assert "No change of places is clear (least p = " in found.text
    assert "KD against KD + mixup" in found.text
    assert "points would have been found" in found.text


@pytest.mark.parametrize(
    ("gains", "width", "verdict", "words"),
    [
        (TURNS, 0.002, "yes", "From 30 to 120 epochs the lead in accuracy of KD + mixup over KD changes by +3.00 points (+"),
        (
            {"baseline": (0.8, 0.8, 0.8), "kd": (0.80, 0.83, 0.86), "kd_mixup": (0.82, 0.82, 0.82)},
            0.002, "no", "by −6.00 points (−",
        ),
        (CLOSE, 0.002, "no", "does not grow"),  # within the margin of a point
        (CLOSE, 0.02, "undecided", "points would have been found"),
        ({"baseline": (0.8, 0.8, 0.8), "mixup": (0.8, 0.82, 0.84)}, 0.002, "yes", "Mixup over Baseline changes by +4.00"),
    ],
)  # fmt: skip
def test_whether_mixup_needs_longer(
    gains: dict[str, tuple[float, float, float]], width: float, verdict: str, words: str
):
    found = answer(MIXUP_QUESTION, gains, width=width)
    assert found.verdict == verdict, found.text
    assert words in found.text


def test_one_seed_is_about_networks():
    for question in (ORDER_QUESTION, MIXUP_QUESTION):
        found = answer(question, TURNS, seeds=(0,))
        assert found.word == "Yes, these networks"


def test_a_study_of_one_budget_asks_nothing():
    assert over_budgets(arrange(make_results(seeds=(0, 1, 2)))) == []
    assert over_budgets(arrange(with_budgets({"mixup": (0.8, 0.81, 0.82)}))) == []  # and one arm has no order


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holms_correction_is_that_of_its_definition(p_values: list[float]):
    """A hypothesis goes at a level where Holm's sequence gets to it: each smallest p left against the level over those left."""
    adjusted = holm(p_values)
    for level in (0.01, 0.05, 0.3):
        rejected, left = set(), sorted(range(len(p_values)), key=lambda k: p_values[k])
        while left and p_values[left[0]] * len(left) < level:
            rejected.add(left.pop(0))
        assert {k for k, p in enumerate(adjusted) if p < level} == rejected


@pytest.mark.slow
def test_equal_arms_seldom_change_places():
    """Four arms alike at every budget, three seeds: in at most 5 % of studies some two are said to change places."""
    rng = np.random.default_rng(0)
    answers = []
    for _ in range(400):
        raw = with_budgets(dict.fromkeys(("baseline", "mixup", "kd", "kd_mixup"), (0.8, 0.8, 0.8)))
        for student in raw["students"]:
            student["accuracy"] = 0.8 + 0.004 * rng.standard_normal()
            student["intervals"]["accuracy"] = [student["accuracy"] - 1e-5, student["accuracy"] + 1e-5]
        answers.append({f.question: f.verdict for f in over_budgets(arrange(raw))})
    assert np.mean([found[ORDER_QUESTION] == "yes" for found in answers]) <= 0.05
    assert np.mean([found[ORDER_QUESTION] == "no" for found in answers]) <= 0.05
    assert np.mean([found[MIXUP_QUESTION] == "yes" for found in answers]) <= 0.05
