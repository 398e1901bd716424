"""From what a user names to a measurement, written where a folder is given."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from vicinal.config import DataSpec, MeasuresSpec
from vicinal.errors import UsageError
from vicinal.inputs import Preparation
from vicinal.measuring.images import data_spec
from vicinal.measuring.measure import DEFAULT_PAIRS, SourceMeasurement, measure_source
from vicinal.measuring.subject import Subject, subject_of
from vicinal.measuring.write import check_measurement_folder, write_measurement
from vicinal.networks import Classifier
from vicinal.workspace import StudyProgress

Model = str | Classifier | Callable[[Tensor], Tensor]
Source = str | Path | DataSpec


@dataclass(frozen=True)
class MeasuringOptions:
    """How named classifiers are measured; see `measure_source` for what is not said here."""

    weights: str | None = None  # of a single model
    validation: Source | None = None
    pairs: int = DEFAULT_PAIRS
    classes: Literal["data"] | None = None
    class_names: Sequence[str] | Path | None = None  # of the models' logits; a file has one on each line
    image_size: int | None = None  # px, in place of what a model says
    on_error: Literal["raise", "skip"] = "raise"
    lazy: bool = False
    batch_size: int | None = None
    device: torch.device | str = "cpu"
    measures: MeasuresSpec | None = None


def measure_named(
    models: Sequence[Model],
    source: Source,
    options: MeasuringOptions,
    out: Path | None = None,
    command: str = "",
) -> SourceMeasurement:
    """Measure one classifier or several on the images of a source, and write the folder where one is given."""
    if out is not None:
        check_measurement_folder(out)
    if options.batch_size is not None and options.batch_size < 1:
        raise UsageError(f"--batch-size is at least 1, not {options.batch_size}")
    device = device_of(options.device)
    names = _class_names(options.class_names)
    values = {"on_error": options.on_error, "lazy": options.lazy}
    spec = data_spec(source, **values, image_size=options.image_size)
    validation = None if options.validation is None else data_spec(options.validation, **values)
    with StudyProgress(0, name=None) as progress:
        subjects: list[Subject] = []
        for model in models:
            progress.say(f"loading {model}" if isinstance(model, str) else "taking the classifier given")
            subject = subject_of(model, options.weights, names, device=device)
            if options.image_size is not None:
                subject = replace(subject, preparation=Preparation(image_size=options.image_size))
            subjects.append(subject)
        measurement = measure_source(
            _told_apart(subjects),
            spec,
            validation=validation,
            pairs=options.pairs,
            only_data_classes=options.classes == "data",
            batch_size=options.batch_size,
            measures=options.measures,
            device=device,
            command=command,
            progress=progress,
        )
    if out is not None:
        write_measurement(measurement, out)
    return measurement


def default_folder(models: Sequence[str], source: str) -> Path:
    """Where a measurement goes when nobody says."""
    shown = [_word(model) for model in models]
    return Path("measurements") / f"{'-and-'.join(shown)[:120]}-on-{_word(source)}"


def _word(text: str) -> str:
    """The last part of a name or path, as a folder may be called."""
    parts = [part for part in re.split(r"[/\\]", text.partition("=")[0]) if part not in ("", ".", "..")]
    return re.sub(r"[^\w.-]+", "-", parts[-1] if parts else "data").strip("-.") or "data"


def device_of(name: torch.device | str) -> torch.device:
    """The device of a name, `auto` included. Raises UsageError where this machine does not have it."""
    if isinstance(name, torch.device):
        return name
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"--device {name} is none: choose cpu, cuda, mps or auto") from None
    here = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not here.get(device.type, False):
        raise UsageError(f"--device {name}: this machine has none; use cpu or auto")
    return device


def _class_names(given: Sequence[str] | Path | None) -> tuple[str, ...] | None:
    if given is None or not isinstance(given, Path):
        return None if given is None else tuple(given)
    try:
        lines = given.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"--class-names {given} cannot be read ({type(error).__name__}): a text file, a name on each line"
        ) from None
    names = tuple(line.strip() for line in lines if line.strip())
    if not names or len(set(names)) < len(names):
        what = "holds no name" if not names else f"names {next(n for n in names if names.count(n) > 1)!r} twice"
        raise UsageError(f"--class-names {given} {what}: a name on each line, in the order of the logits")
    return names


def _told_apart(subjects: Sequence[Subject]) -> list[Subject]:
    """Two of one name are numbered."""
    names = [subject.name for subject in subjects]
    found = []
    for k, subject in enumerate(subjects):
        twice = names.count(subject.name) > 1
        found.append(
            replace(subject, name=f"{subject.name} #{1 + names[:k].count(subject.name)}") if twice else subject
        )
    return found
