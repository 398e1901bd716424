"""The table "Class by class": what networks are right about, and whether they answer more than one thing."""

from __future__ import annotations

from functools import partial
from statistics import fmean
from typing import Any

from vicinal.report.degenerate import answers_of, class_name
from vicinal.report.rows import Model, Results, Row
from vicinal.report.tables.core import (
    ABSENT,
    Cell,
    Column,
    TableSection,
    csv_text,
    identity,
    shown_markdown,
    shown_table,
)


def classes_context(results: Results) -> dict[str, Any] | None:
    """The table as the page shows it; None where no model says what it answers."""
    if not _measured(results):
        return None
    return {"columns": _columns(results), "sections": _sections(results), "notes": _notes(results)}


def classes_markdown(results: Results) -> str | None:
    """The table in Markdown; None as `classes_context`."""
    return shown_markdown(_columns(results), _sections(results), _notes(results)) if _measured(results) else None


def classes_csv(results: Results) -> str | None:
    """Every class's test images, accuracy and ECE with floor and p, one line for each model, seed and class; None as above."""
    if not _measured(results):
        return None
    header = ["role", "name", "arm", "teacher", "temperature", "seed", "selection", "class", "images", "accuracy"]
    header += ["ece", "ece_floor", "ece_p_value"]
    names = results.data.get("class_names") or []
    lines = [
        [
            *identity(row, model),
            results.selection,
            names[k] if k < len(names) else k,
            _of_class(model, "images", k),
            value,
            *(_of_class(model, key, k) for key in ("ece", "floor", "p_value")),
        ]
        for row in results.rows
        for model in row.models
        for k, value in enumerate(answers_of(model).get("class_accuracy") or ())
    ]
    return csv_text(header, lines)


def _of_class(model: Model, key: str, k: int) -> float | None:
    """A number of a class; None in results of earlier versions."""
    values: list[float] = (model.get("class_calibration") or {}).get(key) or []
    return values[k] if k < len(values) else None


def _measured(results: Results) -> bool:
    return any(answers_of(model) for row in results.rows for model in row.models)


def _sections(results: Results) -> list[TableSection]:
    return shown_table(results, _columns(results))


def _notes(results: Results) -> list[str]:
    return [
        results.selection_sentence,
        "Worst class: the one whose test images are classified correctly least often, the first of several; every class is in "
        "tables/classes.csv, with its number of images, the ECE of “is it this class?”, that ECE’s floor and p. Information: the "
        "entropy of the mean answer less the mean entropy of the answers; 0 where all images get the same answer, at most the "
        "logarithm of the number of classes.",
    ]


def _columns(results: Results) -> tuple[Column, ...]:
    def answer(key: str) -> Any:
        def value(model: Model, _: str | None) -> float | None:
            found: float | None = answers_of(model).get(key)
            return found

        return value

    return (
        Column("Balanced accuracy %", "mean of the classes’ accuracies", answer("balanced_accuracy"), percent=True, needs_scale=False),
        Column("Worst class %", "least accuracy of a class", answer("balanced_accuracy"), cell=partial(_worst, results)),
        Column("Classes answered", "classes that are the answer to at least one test image", answer("predicted_classes"),
               cell=_answered),
        Column("Commonest answer %", "share of the answers that are the commonest one", answer("commonest_answer_share"),
               cell=partial(_commonest, results)),
        Column("Information", "entropy of the mean answer less mean entropy of the answers, nats", answer("information")),
    )  # fmt: skip


def _told(row: Row) -> list[dict[str, Any]]:
    return [found for model in row.models if (found := answers_of(model))]


def _worst(results: Results, row: Row) -> Cell:
    """The class with the least accuracy, meaned over seeds."""
    recalls = [found["class_accuracy"] for found in _told(row)]
    if not recalls:
        return Cell(ABSENT)
    by_class = [[value for value in values if value is not None] for values in zip(*recalls, strict=True)]
    value, k = min((fmean(values), k) for k, values in enumerate(by_class) if values)
    return Cell(f"{100 * value:.1f}", class_name(results, k))


def _answered(row: Row) -> Cell:
    counts = [found["predicted_classes"] for found in _told(row)]
    if not counts:
        return Cell(ABSENT)
    classes = len(_told(row)[0]["class_accuracy"])
    low, high = min(counts), max(counts)
    return Cell(f"{low} of {classes}" if low == high else f"{low} to {high} of {classes}")


def _commonest(results: Results, row: Row) -> Cell:
    found = _told(row)
    if not found:
        return Cell(ABSENT)
    names = list(dict.fromkeys(class_name(results, entry["commonest_answer"]) for entry in found))
    return Cell(f"{100 * fmean(entry['commonest_answer_share'] for entry in found):.1f}", ", ".join(names[:2]))
