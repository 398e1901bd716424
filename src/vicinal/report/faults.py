"""What keeps a student from being shipped, from its test images: the rule of docs/statistics.md, "Fit to ship".

Each of three tests (a lost class, less accurate than the baseline, less than half of what its teacher knows) has a third of the
study's error.
"""

from __future__ import annotations

from dataclasses import dataclass

from vicinal.claims import Inference, Number, constant, difference, infer, mean
from vicinal.report.degenerate import answers_nothing, answers_of, missed_classes, percent, some
from vicinal.report.evidence import margins_of, scalar, teacher_of
from vicinal.report.fitness import LEAST_RECALL, Recall, least_recall, lost_classes, most_recall, never_recognised
from vicinal.report.recalls import test_recalls
from vicinal.report.rows import Model, Results, Row

TESTS = 3
RULE = (
    "Fit to ship: it does not always give one answer and is clearly better than always answering the commonest class; no class is "
    "never recognised, or clearly less often than in {least} of its images (guessing evenly, and at least a fifth); it is not clearly "
    "less accurate than the baseline, by more than the study’s margin; and it keeps at least half of the accuracy that its teacher has "
    "beyond the commonest class’s share. A student without these faults is called unfit in at most {error} of studies."
)


@dataclass(frozen=True)
class Faults:
    """Clauses that begin with "it": what is shown to be wrong, and what too few images leave open."""

    answers: tuple[str, ...] = ()  # of what it answers
    accuracy: tuple[str, ...] = ()  # beside the baseline and its teacher
    left_open: tuple[str, ...] = ()

    @property
    def clear(self) -> tuple[str, ...]:
        """All that is shown to be wrong."""
        return self.answers + self.accuracy


def rule_words(results: Results) -> str:
    """The rule, with its numbers."""
    least = least_recall(len(results.data.get("class_names") or []) or 10)
    return RULE.format(least=f"{100 * least:.0f}\u00a0%", error=f"{100 * (1 - results.confidence_level):.3g}\u00a0%")


def faults_of(results: Results, row: Row, model: Model) -> Faults:
    """What is wrong with a student.

    Args:
        model: the network of the row that would be shipped.
    """
    level = (1 - results.confidence_level) / TESTS
    clear: list[str] = []
    left_open: list[str] = []
    if reason := answers_nothing(model, results):
        shown = answers_of(model)["predicted_classes"] == 1 or model["accuracy"] <= answers_of(model)["prior_accuracy"]
        (clear if shown else left_open).append(f"it {reason}")
    if "always answers" not in "".join(clear):
        for found, words in zip((clear, left_open), _of_classes(results, row, model, level), strict=True):
            found += words
    return Faults(tuple(clear), tuple(_of_accuracy(results, row, model, level)), tuple(left_open))


def _of_classes(results: Results, row: Row, model: Model, level: float) -> tuple[list[str], list[str]]:
    """What is clear, and what is open, of the classes that it does not recognise."""
    recalls = test_recalls(results, model)
    if not recalls:  # of an older version, which did not store how many images a class has
        missed = missed_classes(row, results)
        return [], [f"it never recognises {some(missed)}"] if missed else []
    lost = lost_classes(recalls, level)
    few = [recall for recall in never_recognised(recalls) if recall not in lost]
    least = least_recall(len(recalls))
    below = f"clearly fewer than {'guessing would, ' if least > LEAST_RECALL else ''}{percent(least)}"
    clear = [f"it recognises {some([_counted(one) for one in lost])}, {below}"] if lost else []
    left_open = [
        f"it never recognises {some([f'{one.name} ({one.images} images: at most {percent(most_recall(one))})' for one in few])}"
    ]
    return clear, left_open if few else []


def _counted(recall: Recall) -> str:
    return f"{recall.right} of {recall.images} images of {recall.name}"


def _of_accuracy(results: Results, row: Row, model: Model, level: float) -> list[str]:
    """Clauses on a student that is clearly worse than it would have to be."""
    own, found = scalar(results, row, "accuracy", 100.0), []
    baseline = next((other for other in results.undistilled if other.arm == "baseline"), None)
    margin = margins_of(results)["points"]
    if own is not None and baseline is not None and row is not baseline:
        gap = _gap(own, scalar(results, baseline, "accuracy", 100.0))
        if gap is not None and gap.p_below(-margin) < level:
            found.append(f"it is {-gap.value:.1f} points less accurate than the baseline, clearly more than {margin:g}")
    teacher = teacher_of(results, row.teacher, model) if row.teacher else None
    taught = next((other for other in results.teachers if other.label == row.teacher), None)
    prior = answers_of(model).get("prior_accuracy")
    if own is not None and taught is not None and teacher is not None and prior is not None:
        theirs = scalar(results, taught, "accuracy", 100.0)
        gap = None if theirs is None else _gap(own, mean([theirs, constant(100.0 * prior)]))
        if gap is not None and teacher["accuracy"] > prior and gap.p_below() < level:
            found.append(
                f"it keeps less than half of what its teacher {taught.label} has beyond the commonest class’s share "
                f"({percent(model['accuracy'])} against {percent(teacher['accuracy'])}; the commonest class {percent(prior)})"
            )
    return found


def _gap(own: Number, other: Number | None) -> Inference | None:
    return None if other is None else infer(difference(own, other))
