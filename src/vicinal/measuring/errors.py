"""What a finished network gets wrong, image by image: of a study's run, or of a measurement.

Shapes: N images, K classes.
"""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from vicinal.config import DataSpec, StudySpec
from vicinal.data import IMAGES_FILE, ImageSet, load_data, load_test_images
from vicinal.errors import UsageError, VicinalError
from vicinal.evaluation import load_stored
from vicinal.measuring.answers import answer_rows, confident_mistakes, confusion_matrix, confusions, least_certain
from vicinal.measuring.page import environment
from vicinal.measuring.thumbnails import thumbnails
from vicinal.measuring.write import ANSWER_COLUMNS, PREDICTIONS
from vicinal.report import csv_text, inert, recommended_run
from vicinal.results import MEASUREMENT_FILE, RESULTS_FILE, StudyResults, read_measurement_results, read_results
from vicinal.version import __version__
from vicinal.workspace import DamagedError, check_place, read_sealed_json, write_atomically

SHOWN = 60  # images of each sheet
MATRIX_MOST = 20
PAGE, TABLE = "errors.html", "errors.csv"
_Say = Callable[[str], None]


@dataclass(frozen=True)
class AnsweredImages:
    """A network's answers to the images that it was measured on."""

    title: str
    class_names: tuple[str, ...]
    logits: Tensor  # (N, K)
    labels: Tensor  # (N,)
    paths: tuple[str | None, ...]
    temperature: float | None
    images: ImageSet | None  # None: they are not at hand
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class WrittenErrors:
    """What `write_errors` wrote, and the counts that a terminal shows."""

    page: Path
    table: Path
    images: int
    mistakes: int
    confusions: tuple[dict[str, Any], ...]  # the commonest first


def answers_of(target: Path, run: str | None = None, say: _Say = lambda _: None) -> AnsweredImages:
    """The stored answers of a study folder's run, of a run folder, or of a measurement folder.

    Args:
        run: of a study the name of a run's folder, or a part that no other has; default: the one that the study's report says to
            take. Of a measurement the name of a classifier; default: the first.

    Raises:
        UsageError: no such folder or run, or one without answers.
    """
    if (target / MEASUREMENT_FILE).is_file():
        return _of_measurement(target, run, say)
    if (target / RESULTS_FILE).is_file():
        return _of_study(target, run, say)
    study = target.resolve().parent.parent
    if (target / "spec.json").is_file() and (study / RESULTS_FILE).is_file():
        if run is not None:
            raise UsageError(f"{target} is the folder of one run: leave --run out")
        return _of_study(study, target.resolve().name, say)
    if not target.is_dir():
        raise UsageError(f"there is no folder {target}")
    raise UsageError(
        f"{target} holds neither {RESULTS_FILE} of a study that has finished nor {MEASUREMENT_FILE}, nor is it a run of such a study"
    )


def write_errors(answers: AnsweredImages, out: Path, count: int = SHOWN) -> WrittenErrors:
    """Write the page and the CSV of what is wrong and what is least certain; all images are in the CSV, the wrong ones first.

    Raises UsageError for a folder that cannot be written to.
    """
    check_place(out)
    wrong = confident_mistakes(answers.logits, answers.labels, len(answers.labels), answers.temperature)
    unsure = least_certain(answers.logits, len(answers.labels), answers.temperature)
    order = [*wrong, *(position for position in unsure if position not in set(wrong))]
    rows = [
        {key: inert(value) for key, value in row.items()}
        for row in answer_rows(
            answers.logits, answers.labels, answers.class_names, answers.paths, answers.temperature, order
        )
    ]
    by_position = {row["position"]: row for row in rows}
    matrix = confusion_matrix(answers.logits, answers.labels)
    names = [inert(name) for name in answers.class_names]
    found = tuple(confusions(matrix, names))
    shown = [*wrong[:count], *unsure[:count]]
    pictures = {} if answers.images is None else thumbnails(answers.images, shown)
    page = (
        environment()
        .get_template("errors.html.j2")
        .render(
            title=inert(answers.title),
            version=__version__,
            images=len(rows),
            wrong=len(wrong),
            scaled=answers.temperature is not None,
            mistakes=[_card(by_position[k], pictures) for k in wrong[:count]],
            uncertain=[_card(by_position[k], pictures) for k in unsure[:count]],
            names=names,
            matrix=_lines(matrix, names) if len(names) <= MATRIX_MOST else None,
            confusions=found[:40],
            confusion_count=len(found),
            notes=[inert(note) for note in answers.notes],
            table=TABLE,
        )
    )
    write_atomically(out / TABLE, csv_text(ANSWER_COLUMNS, ([row[key] for key in ANSWER_COLUMNS] for row in rows)))
    write_atomically(out / PAGE, page)
    return WrittenErrors(out / PAGE, out / TABLE, len(rows), len(wrong), found)


def _card(row: dict[str, Any], pictures: dict[int, str]) -> dict[str, Any]:
    return {
        **row,
        "picture": pictures.get(row["position"]),
        "percent": f"{100 * row['probability']:.1f}",
        "true_percent": f"{100 * row['true_probability']:.1f}",
        "file": row["path"] or f"image {row['position']:,}",
    }


def _lines(matrix: Tensor, names: Sequence[str]) -> list[dict[str, Any]]:
    lines = []
    for i, (name, counts) in enumerate(zip(names, matrix.tolist(), strict=True)):
        if total := sum(counts):
            cells = [{"count": n, "share": n / total, "own": k == i} for k, n in enumerate(counts)]
            lines.append({"name": name, "cells": cells})
    return lines


# --- of a measurement ----------------------------------------------------------------------------------------------


def _of_measurement(folder: Path, name: str | None, say: _Say) -> AnsweredImages:
    results = read_measurement_results(folder)
    names = [model.name for model in results.models]
    if name is not None and name not in names:
        raise UsageError(f"{folder} has no classifier {name!r}; it has {', '.join(names)}")
    k = 0 if name is None else names.index(name)
    model = results.models[k]
    path = folder / PREDICTIONS.format(k)
    stored = load_stored(path, ("test", "test_labels"), say=say)
    if stored is None:
        raise UsageError(f"{path} is not there or damaged; measure again with `vicinal measure`")
    images, notes = None, list(model.notes)
    try:
        spec = DataSpec.model_validate(results.data.spec)
        say(f"reading the images of {spec.source}")
        images = load_test_images(spec).test
    except (UsageError, ValidationError, VicinalError, KeyError) as error:
        notes.append(f"Without pictures: the images cannot be read any more ({' '.join(str(error).split())[:200]}).")
    if images is not None and not torch.equal(images.labels, stored["test_labels"]):
        images, notes = None, [*notes, "Without pictures: the images are not those that were measured."]
    return AnsweredImages(
        f"{model.name} on {results.data.name}",
        tuple(model.class_names),
        stored["test"],
        stored["test_labels"],
        _paths_in(folder / "tables" / "answers.csv", "model", model.name, len(stored["test_labels"])),
        model.fitted_temperature,
        images,
        tuple(notes),
    )


# --- of a study ----------------------------------------------------------------------------------------------------


def _of_study(folder: Path, run: str | None, say: _Say) -> AnsweredImages:
    results = read_results(folder)
    entry = _chosen([*results.teachers, *results.students], run or _default_run(results, folder), folder)
    place = folder / "runs" / str(entry.run)
    if not place.is_dir():
        raise UsageError(f"{place} is not there any more: run the study again, which trains what is missing")
    stored = _stored_answers(place, say)
    if stored is None:
        raise UsageError(
            f"{place} keeps no answers of its network: give the study's command again, which predicts anew"
        )
    names = tuple(results.data.class_names or map(str, range(stored["test"].shape[1])))
    notes, images = [], None
    try:
        spec = StudySpec.model_validate(results.spec)
        say(f"reading the images of {spec.data.source}")
        images = load_data(spec.data, results.data.stored_side).test
    except (UsageError, ValidationError, VicinalError) as error:
        notes.append(f"Without pictures: the images cannot be read any more ({' '.join(str(error).split())[:200]}).")
    if images is not None and not torch.equal(images.labels, stored["test_labels"]):
        images, notes = None, [*notes, "Without pictures: the images are not those that the study was measured on."]
    scale = getattr(entry, "logit_scale", None) or 1.0
    paths = _paths_in(folder / IMAGES_FILE, "split", "test", len(stored["test_labels"]))
    if images is not None and images.names is not None:
        paths = tuple(images.names)
    called = str(entry.run)
    title = f"{called} on {results.data.name}"
    temperature = entry.fitted_temperature
    return AnsweredImages(
        title, names, scale * stored["test"], stored["test_labels"], paths, temperature, images, tuple(notes)
    )


def _default_run(results: StudyResults, folder: Path) -> str:
    """The run that the report recommends; the only one where a study has no students."""
    models = results.students or results.teachers
    runs = list(dict.fromkeys(str(model.run) for model in models if model.run))
    run = recommended_run(folder) if results.students else runs[0] if len(runs) == 1 else None
    if run is None:
        raise UsageError(f"{folder} recommends no run: choose one with --run, of {', '.join(runs)}")
    return run


def _chosen(models: Sequence[Any], run: str, folder: Path) -> Any:
    """The model of a run's name, or of a part that no other run has."""
    found = [model for model in models if model.run == run] or [m for m in models if m.run and run in m.run]
    runs = list(dict.fromkeys(str(model.run) for model in (found or models)))
    if len(runs) == 1 and found:
        return found[0]
    what = "several runs" if found else "no run"
    raise UsageError(f"{folder} has {what} {run!r}: {', '.join(runs)}")


def _stored_answers(place: Path, say: _Say) -> dict[str, Tensor] | None:
    """The newest whole answers in a run's folder, of the weights that lie beside them."""
    weights = None
    with contextlib.suppress(DamagedError, OSError, UsageError):
        weights = read_sealed_json(place / "done.json").get("weights_sha256")
    files = sorted(place.glob("predictions-*.safetensors"), key=lambda path: -path.stat().st_mtime)
    for path in files:
        found = load_stored(path, ("test", "test_labels"), str(weights), say)
        if found is not None:
            return found
    return None


def _paths_in(path: Path, column: str, value: str, count: int) -> tuple[str | None, ...]:
    """Each image's place by its position, from a table that names them; None where it does not."""
    found: list[str | None] = [None] * count
    with (
        contextlib.suppress(OSError, UnicodeDecodeError, csv.Error, KeyError, ValueError),
        path.open(encoding="utf-8") as file,
    ):
        for row in csv.DictReader(file):
            if row[column] == value and 0 <= int(row["position"]) < count:
                found[int(row["position"])] = row["path"] or None
    return tuple(found)
