"""Which student to take from a study: the selection rule applied to its results."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

from vicinal.report.degenerate import objections
from vicinal.report.evidence import compare_rows, comparison_words
from vicinal.report.findings.selection_rule import Candidate, OnTest, select, selection
from vicinal.report.rows import ARM_LABELS, SCALED, Results, Row, temperature_label

RULE = (
    "The rule: among the students within one standard error of the best validation accuracy, the one with the lowest "
    "validation NLL."
)


@dataclass(frozen=True)
class Recommendation:
    """The recommendation as the page shows it."""

    verdict: str  # the class of its mark: yes, no or undecided
    word: str
    text: str
    notes: tuple[str, ...]


def candidate_label(row: Row) -> str:
    """A student in a sentence, as in "KD + mixup at T = 4 with teacher X"."""
    label = ARM_LABELS.get(row.arm or "", row.arm or "")
    if row.temperature is not None:
        label += f" at {temperature_label(row.temperature)}"
    return label if row.teacher is None else f"{label} with teacher {row.teacher}"


def candidate(row: Row) -> Candidate:
    """A student's means over seeds; a metric that a seed does not have is None."""

    def mean(key: str) -> float | None:
        values = row.values(key)
        return fmean(values) if len(values) == len(row.models) else None

    def validation(key: str) -> float | None:
        found = [(model.get("validation") or {}).get(key) for model in row.models]
        values = [value for value in found if value is not None]
        return fmean(values) if len(values) == len(row.models) else None

    return Candidate(
        candidate_label(row), validation("accuracy"), validation("nll"), mean("accuracy"),
        mean("ece" + SCALED if row.scale_free else "ece"), validation("ece"),
    )  # fmt: skip


def recommendation(results: Results) -> Recommendation | None:
    """The recommendation; None where fewer than two students have validation metrics to be selected by.

    Scale-free students are left out: their validation NLL and ECE are those of logits without a scale.
    """
    pool = [row for row in results.students if not row.scale_free]
    rows = [row for row in pool if None not in (candidate(row).validation_accuracy, candidate(row).validation_nll)]
    images = results.images("validation")
    if len(rows) < 2 or images <= 0:
        return None
    candidates = [candidate(row) for row in rows]
    picked = select(candidates, images)
    assert picked is not None
    selected, runner_up = picked
    on_test = None
    if runner_up is not None and None not in (candidates[k].test_accuracy for k in picked if k is not None):
        comparison = compare_rows(results, rows[selected], rows[runner_up], "accuracy")
        on_test = OnTest(comparison.sign, comparison_words(results, comparison).removeprefix("undecided: "))
    selected_on_test = results.selected_on_test
    against = objections(rows[selected], results)
    found = selection(candidates, images, results.images("test"), on_test, selected_on_test, against)
    assert found is not None
    notes = [RULE]
    if runner_up is not None:
        second = candidates[runner_up]
        notes.append(
            f"Second on validation: {second.label} (accuracy {second.validation_accuracy:.3f}, NLL {second.validation_nll:.3f})."
        )
    if left_out := len(results.students) - len(pool):
        students = f"the {left_out} students" if left_out > 1 else "the student"
        notes.append(
            f"Left out of the selection: {students} with T = σ, since validation NLL of logits without a scale says nothing."
        )
    incomplete = [candidate_label(row) for row in pool if row not in rows]
    if incomplete:
        notes.append(f"Left out, for want of validation metrics: {'; '.join(incomplete)}.")
    if len(results.seeds) > 1:
        notes.append(f"Metrics are means over {len(results.seeds)} seeds.")
    verdict, word = {True: ("yes", "Confirmed"), False: ("no", "Not confirmed"), None: ("undecided", "Open")}[
        found.confirmed
    ]
    return Recommendation(verdict, word, found.sentence, tuple(notes))
