"""A measurement's folder: the page, measurement.json, tables, and the logits that everything can be computed from again."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vicinal.errors import UsageError
from vicinal.evaluation import save_stored
from vicinal.measuring.answers import answer_rows
from vicinal.measuring.images import seen_by
from vicinal.measuring.measure import SourceMeasurement
from vicinal.measuring.page import html_page
from vicinal.measuring.tables import csv_files
from vicinal.measuring.thumbnails import thumbnails
from vicinal.report import csv_text, inert
from vicinal.results import MEASUREMENT_FILE, write_measurement_results
from vicinal.workspace import check_place, write_atomically

PAGE = "measurement.html"
PREDICTIONS = "predictions-{}.safetensors"
_SOMETIMES = ("differences.csv", "vicinity.csv")
ANSWER_COLUMNS = (
    "position",
    "path",
    "true_class",
    "answer",
    "right",
    "probability",
    "true_probability",
    "second",
    "second_probability",
)


def check_measurement_folder(folder: Path, mark: str = MEASUREMENT_FILE, what: str = "a measurement") -> None:
    """Raises UsageError where a measurement, or what else has this mark, would be written over something else."""
    check_place(folder)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / mark).is_file():
        raise UsageError(f"{folder} holds something else than {what}: give another --out")


def write_measurement(measurement: SourceMeasurement, folder: Path) -> Path:
    """Write the folder of a measurement; returns the page's path. An earlier measurement there is replaced.

    Raises VicinalError where it cannot be written, UsageError as `check_measurement_folder`.
    """
    check_measurement_folder(folder)
    value = inert(measurement.results.to_json())
    listed = {
        e["position"]
        for model in value["models"]
        for key in ("confident_mistakes", "least_certain")
        for e in model[key]
    }
    seen = seen_by(measurement.data, measurement.subjects[0].subject)
    page = html_page(value, thumbnails(seen.test, sorted(listed)))
    tables = csv_files(value) | {"answers.csv": csv_text(["model", *ANSWER_COLUMNS], _answers(measurement))}
    for name, text in tables.items():
        write_atomically(folder / "tables" / name, text)
    for name in set(_SOMETIMES) - tables.keys():
        (folder / "tables" / name).unlink(missing_ok=True)
    for k, one in enumerate(measurement.subjects):
        answers = one.measured.image_answers
        tensors = {"test": answers.test, "test_labels": answers.test_labels}
        tensors |= {"validation": answers.validation, "validation_labels": answers.validation_labels}
        save_stored(folder / PREDICTIONS.format(k), tensors)
    write_measurement_results(folder, measurement.results)
    # Last, so that a page never stands beside older numbers.
    write_atomically(folder / PAGE, page)
    return folder / PAGE


def _answers(measurement: SourceMeasurement) -> Iterable[list[Any]]:
    paths = measurement.data.test.names
    for one in measurement.subjects:
        labels = one.measured.image_answers.test_labels
        rows = answer_rows(one.logits, labels, one.class_names, paths or [None] * len(labels), one.temperature)
        yield from ([inert(one.subject.name), *(inert(row[key]) for key in ANSWER_COLUMNS)] for row in rows)
