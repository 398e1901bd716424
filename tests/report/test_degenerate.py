"""Networks that answer nothing are said to, and nothing good is said of them: in the findings, the claims and the recommendation."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_up_results import CLASSES, LAM, SHAPES, make_results, versus_own_teacher, write_results

from vicinal.claims import judge_all
from vicinal.report import write_report
from vicinal.report.evidence import study_evidence
from vicinal.report.findings import findings, recommendation
from vicinal.report.rows import arrange
from vicinal.report.tables import classes_csv, shown_table, summary_csv, summary_markdown

pytestmark = pytest.mark.usefixtures("without_pictures")

BUMP = LAM * (1 - LAM)


def always_answers(model: dict[str, Any], k: int) -> None:
    """Make a model one that gives the same answer to every image."""
    model |= {
        "accuracy": 0.1,
        "confidence": 0.11,
        "ece": 0.01,
        "nll": 2.31,
        "validation": {**model.get("validation", {})},
    }
    model["intervals"] |= {"accuracy": [0.092, 0.109], "ece": [0.002, 0.018]}
    model["answers"] |= {
        "predicted_classes": 1, "commonest_answer": k, "commonest_answer_share": 1.0,
        "class_accuracy": [float(c == k) for c in range(len(CLASSES))], "balanced_accuracy": 0.1, "information": 0.0,
    }  # fmt: skip
    gain = 0.8 * BUMP
    versus_own_teacher(model)["linearity_gain"] = gain.tolist()
    versus_own_teacher(model)["linearity_gain_interval"] = {
        "lower": (0.9 * gain).tolist(),
        "upper": (1.1 * gain).tolist(),
    }


def no_better_than_chance(model: dict[str, Any], _: int) -> None:
    """Make a model one whose answers differ, but are right as often as by chance."""
    always_answers(model, 0)
    model["answers"] |= {"predicted_classes": 7, "class_accuracy": [0.1] * 10}


def study(change: Any, k: int = 2, arm: str = "kd_mixup", **shape: Any) -> dict[str, Any]:
    raw = make_results(teachers=1, answers=True, **shape)
    for student in raw["students"]:
        student["validation"] = {"accuracy": student["accuracy"], "confidence": student["confidence"], "ece": student["ece"],
                                 "nll": student["nll"], "brier": student["brier"]}  # fmt: skip
        if student["arm"] == arm:
            change(student, k)
    return raw


@pytest.mark.parametrize(
    ("change", "words"),
    [(always_answers, "always answers “Pullover”"), (no_better_than_chance, "no better than chance")],
)
@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
def test_what_answers_nothing_is_neither_linear_nor_calibrated(change: Any, words: str, seeds: tuple[int, ...]) -> None:
    results = arrange(study(change, seeds=seeds))
    by_question = {finding.question: finding for finding in findings(results)}
    apart = by_question["Does every network tell the classes apart?"]
    assert apart.verdict == "no"
    assert words in apart.text
    linear = next(finding for question, finding in by_question.items() if "more linear?" in question)
    assert linear.verdict == "undecided"
    assert words in linear.text
    assert "class shares alone have 2.303" in linear.text
    calibrated = next(finding for question, finding in by_question.items() if "probabilities better" in question)
    assert calibrated.verdict == "undecided"
    verdicts = {judged.claim.key: judged for judged in judge_all(study_evidence(results))}
    for key in ("gain_positive", "gain_near_half", "ece_order", "ece_below_kd"):
        assert verdicts[key].verdict != "supported", key
    assert words in verdicts["gain_positive"].detail


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(k=st.integers(0, 9), gain=st.floats(0, 3), width=st.floats(0, 0.5), chance=st.booleans())
def test_no_gain_makes_a_network_that_answers_nothing_more_linear(
    k: int, gain: float, width: float, chance: bool
) -> None:
    def change(model: dict[str, Any], _: int) -> None:
        (no_better_than_chance if chance else always_answers)(model, k)
        versus_own_teacher(model)["linearity_gain"] = (gain * BUMP).tolist()
        versus_own_teacher(model)["linearity_gain_interval"] = {
            "lower": (gain * BUMP * (1 - width)).tolist(),
            "upper": (gain * BUMP * (1 + width)).tolist(),
        }

    linear = [finding for finding in findings(arrange(study(change))) if "more linear?" in finding.question]
    assert linear
    assert all(finding.verdict != "yes" for finding in linear)


def test_a_network_that_answers_is_judged_as_before() -> None:
    results = arrange(study(lambda model, k: None))
    assert all("tell the classes apart" not in finding.question for finding in findings(results))
    assert any(finding.verdict == "yes" for finding in findings(results) if "more linear?" in finding.question)


def never_recognises(model: dict[str, Any], k: int) -> None:
    model["answers"]["class_accuracy"][k] = 0.0


def answers_the_commonest(model: dict[str, Any], k: int) -> None:
    """As right on validation as on test: nothing but its answers speaks against it."""
    always_answers(model, k)
    model |= {"accuracy": 0.9, "nll": 0.3, "ece": 0.01}
    model["intervals"]["accuracy"] = [0.89, 0.91]
    model["answers"] |= {"prior_accuracy": 0.9, "prior_nll": 0.33}
    model["validation"] = {"accuracy": 0.9, "confidence": 0.9, "ece": 0.01, "nll": 0.3, "brier": 0.2}


@pytest.mark.parametrize(
    ("change", "words"),
    [(never_recognises, "it never recognises “Dress”"), (answers_the_commonest, "it always answers “Dress”")],
)
@pytest.mark.parametrize("selection", ["last", "paper_best_test"])
def test_a_student_that_misses_a_class_is_not_confirmed(change: Any, words: str, selection: str) -> None:
    raw = study(change, k=3, selection=selection)
    for student in raw["students"]:  # it would be selected, and confirmed
        better = student["arm"] == "kd_mixup"
        student["validation"] |= {"accuracy": 0.9 if better else 0.7, "nll": 0.3 if better else 0.9}
        student["accuracy"] = 0.9 if better else 0.7
    found = recommendation(arrange(raw))
    assert found is not None
    assert "KD + mixup" in found.text
    assert found.word != "Confirmed"
    assert words in found.text


def test_the_class_shares_are_a_line_of_every_table_of_accuracies() -> None:
    results = arrange(make_results(answers=True, seeds=(0, 1)))
    first = shown_table(results)[0]
    assert [line.label for line in first.lines] == ["Class shares"]
    cells = dict(zip(summary_markdown(results).splitlines()[0].split("|")[2:-1], first.lines[0].cells, strict=True))
    assert {name.strip(): cell.text for name, cell in cells.items() if cell.text != "–"} == {
        "Accuracy %": "10.0",
        "NLL": "2.303",
    }
    rows = list(csv.DictReader(io.StringIO(summary_csv(results))))
    assert {float(row["prior_accuracy"]) for row in rows} == {0.1}
    by_class = list(csv.DictReader(io.StringIO(classes_csv(results) or "")))
    assert len(by_class) == len(CLASSES) * len(rows)
    assert {row["class"] for row in by_class} == set(CLASSES)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_report_is_made_where_some_temperatures_were_not_fitted(shape: str, tmp_path: Path) -> None:
    """Every other network has no fitted temperature, and so nothing after temperature scaling."""
    raw = make_results(**SHAPES[shape])
    for model in (raw["teachers"] + raw["students"])[::2]:
        model |= {key: None for key in model if key.endswith("_after_temperature_scaling")}
        model |= {"fitted_temperature": None, "no_fitted_temperature": "no finite temperature is best: all are right"}
        model["intervals"].pop("ece_after_temperature_scaling", None)
        for found in model.get("versus_teacher", {}).values():
            found["linearity_gain_after_temperature_scaling"] = None
    page = write_report(write_results(tmp_path, raw)).read_text(encoding="utf-8")
    assert ("no finite temperature is best: all are right" in page) == (raw["measures"]["calibrated_on"] is not None)
    assert not re.search(r"\bnan\b", page.split("<body>")[1])


def test_what_is_worse_than_the_class_shares_is_said() -> None:
    def change(model: dict[str, Any], _: int) -> None:
        model["nll"] = 2.5

    found = next(f for f in findings(arrange(study(change))) if "tell the classes apart" in f.question)
    assert found.verdict == "fact"
    assert (
        "NLL is no better than that of the class shares alone for KD + mixup (calibrated) (2.500 against 2.303)"
        in found.text
    )


def test_a_perfect_accuracy_on_few_images_leaves_the_others_close() -> None:
    from vicinal.report.findings.selection_rule import Candidate, select

    pool = [Candidate("all right", 1.0, 0.5, None, None), Candidate("all but one", 0.9, 0.1, None, None)]
    assert select(pool, 4) == (1, 0)
    assert select(pool, 10_000) == (0, 1)


def test_the_papers_tables_of_accuracies_have_the_class_shares_too(tmp_path: Path) -> None:
    write_report(write_results(tmp_path, make_results(answers=True, temperatures=(1.0, 2.0))))
    with_accuracy = [
        path for path in tmp_path.glob("paper/table*.md") if "Accuracy" in path.read_text(encoding="utf-8")
    ]
    assert with_accuracy
    for path in with_accuracy:
        assert "always the commonest class has an accuracy of 10.0" in path.read_text(encoding="utf-8"), path.name
