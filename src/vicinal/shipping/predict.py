"""A student asked about files: class, calibrated probability, a set at a coverage, "don't know" at a risk."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vicinal.data import SUFFIXES, BrokenImageError, read_image
from vicinal.errors import UsageError
from vicinal.shipping.student import Student

DONT_KNOW = "don't know"
_SLACK = 1e-9


@dataclass(frozen=True)
class Prediction:
    """What a student says of one file. Of one that cannot be read all but `path` and `error` are None."""

    path: str
    label: str | None = None  # the most probable class
    probability: float | None = None  # calibrated
    classes: tuple[str, ...] | None = (
        None  # the prediction set, by falling probability; None where no coverage was asked for
    )
    answer: str | None = None  # the class, or "don't know"; None where no risk was stated
    error: str | None = None


@dataclass(frozen=True)
class Rules:
    """From which scores on a class is in the set, and from which confidence on an answer is given."""

    quantile: float | None = None  # infinite: every class
    threshold: float | None = None
    notes: tuple[str, ...] = ()  # what was taken in place of what was asked for, a sentence each


def rules_of(student: Student, coverage: float | None, risk: float | None) -> Rules:
    """The student's rules for a coverage and a risk, the next stricter ones where it has none for exactly these.

    Raises UsageError for what it cannot promise.
    """
    notes: list[str] = []
    quantile = threshold = None
    for name, value in (("coverage", coverage), ("risk", risk)):
        if value is not None and not 0 < value < 1:
            raise UsageError(f"--{name} {value:g}: a {name} lies between 0 and 1, both excluded")
    if coverage is not None:
        entries = _entries(student, "conformal", "quantiles", "--coverage")
        fitting = [entry for entry in entries if entry["coverage"] >= coverage - _SLACK]
        if not fitting:
            raise UsageError(f"--coverage {coverage:g}: this student promises at most {entries[-1]['coverage']:g}")
        quantile = math.inf if fitting[0]["quantile"] is None else float(fitting[0]["quantile"])
        if fitting[0]["coverage"] > coverage + _SLACK:
            notes.append(f"sets are of coverage {fitting[0]['coverage']:g}, the next one above {coverage:g}")
        if math.isinf(quantile):
            notes.append(f"coverage {coverage:g} asks for every class: it was calibrated on too few images for less")
    if risk is not None:
        entries = _entries(student, "selective", "thresholds", "--risk")
        below = [entry for entry in entries if entry["risk"] <= risk + _SLACK and entry["threshold"] is not None]
        if not below:
            kept = [entry["risk"] for entry in entries if entry["threshold"] is not None]
            none = "nor any other: too few images calibrated it, or it is too often wrong; leave --risk out"
            way = f"the lowest that it does is {min(kept):g}" if kept else none
            raise UsageError(f"--risk {risk:g}: this student cannot promise it, {way}")
        threshold = float(below[-1]["threshold"])
        if below[-1]["risk"] < risk - _SLACK:
            notes.append(f"answers are of risk {below[-1]['risk']:g}, the next one below {risk:g}")
    return Rules(quantile, threshold, tuple(notes))


def _entries(student: Student, kind: str, key: str, option: str) -> list[Mapping[str, Any]]:
    found = (student.promises or {}).get(kind)
    if not found or not found.get(key):
        raise UsageError(
            f"{student.folder} promises nothing that {option} could ask for (vicinal.json has no {kind} part, which vicinal export "
            "writes from validation images): leave it out for probabilities alone"
        )
    entries: list[Mapping[str, Any]] = found[key]
    return entries


def files_of(paths: Iterable[str], listed: Iterable[str] = ()) -> Iterator[str]:
    """The files that paths mean: those of a folder with an image's ending, sorted, in its folders too; "-" for those `listed`."""
    for path in paths:
        if path == "-":
            yield from (line.rstrip("\r\n") for line in listed if line.strip())
        elif Path(path).is_dir():
            for folder, folders, names in os.walk(path):
                folders.sort()
                yield from (str(Path(folder, name)) for name in sorted(names) if name.lower().endswith(SUFFIXES))
        else:
            yield path


def predictions(
    student: Student,
    files: Sequence[str],
    rules: Rules,
    batch_size: int,
    advance: Callable[[int], None] = lambda _: None,
) -> Iterator[Prediction]:
    """What a student says of every file, in order, in batches; `advance` is told how many more are done."""
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        for start in range(0, len(files), batch_size):
            part = files[start : start + batch_size]
            read = list(pool.map(lambda file: _read(file, student.channels), part))
            images = [image for image in read if isinstance(image, Image.Image)]
            answers = iter(student.probabilities(images)) if images else iter(())
            for file, image in zip(part, read, strict=True):
                yield (
                    _said(student, file, next(answers), rules)
                    if isinstance(image, Image.Image)
                    else Prediction(file, error=image)
                )
            advance(len(part))


def _read(file: str, channels: int) -> Image.Image | str:
    """The image, or why it cannot be read."""
    try:
        return read_image(Path(file), channels)
    except (BrokenImageError, ValueError, OSError) as error:  # ValueError: a NUL in its name
        return str(error).removeprefix(f"{file} ")


def _said(student: Student, file: str, p: np.ndarray[Any, Any], rules: Rules) -> Prediction:
    order = np.argsort(-p, kind="stable")
    name, top = student.class_names[order[0]], float(p[order[0]])
    classes = answer = None
    if rules.quantile is not None:
        classes = tuple(student.class_names[k] for k in order if k == order[0] or 1 - p[k] <= rules.quantile)
    if rules.threshold is not None:
        answer = name if top >= rules.threshold else DONT_KNOW
    return Prediction(file, name, top, classes, answer)
