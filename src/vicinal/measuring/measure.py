"""From classifiers and images to a measurement: every image predicted once by each, every number by the code that measures studies.

Shapes: N images, K classes, R resamples.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import torch
from torch import Tensor

from vicinal.config import DataSpec, MeasuresSpec, VicinitySpec
from vicinal.data import ImageData
from vicinal.errors import UsageError
from vicinal.evaluation import (
    ImagesMeasured,
    Measured,
    PredictionInputs,
    Predictions,
    doubt_of_order,
    predict,
    predict_all,
)
from vicinal.functional import look_like_probabilities
from vicinal.measuring.answers import (
    answer_rows,
    confident_mistakes,
    confusion_matrix,
    confusions,
    least_certain,
)
from vicinal.measuring.compare import compare_models
from vicinal.measuring.images import load_images, seen_by
from vicinal.measuring.subject import Subject
from vicinal.networks import FUSING_IMAGES, fused
from vicinal.results import MEASUREMENT_SCHEMA, MeasurementResults
from vicinal.version import __version__
from vicinal.workspace import StudyProgress, environment

DEFAULT_PAIRS = 200  # a minute or so of a small network on two cores
LAM_POINTS = 11
LARGE = 130  # px: above, images go through a network in smaller batches on a CPU
BATCH, LARGE_BATCH = 500, 50


@dataclass(frozen=True)
class ImagePredictions:
    """A classifier's float32 logits on single images."""

    validation: Tensor  # (N', K)
    test: Tensor  # (N, K)
    validation_labels: Tensor
    test_labels: Tensor


@dataclass(frozen=True)
class MeasuredSubject:
    """One classifier with its answers and numbers."""

    subject: Subject
    class_names: tuple[str, ...]  # (K,) what its logits stand for
    measured: ImagesMeasured  # `Measured` where pairs were asked for
    seconds: float

    @property
    def logits(self) -> Tensor:
        """(N, K) on the images measured."""
        return self.measured.image_answers.test

    @property
    def temperature(self) -> float | None:
        """The fitted one."""
        return self.measured.temperature


@dataclass(frozen=True)
class SourceMeasurement:
    """What was measured of one or several classifiers on the images of a source."""

    results: MeasurementResults
    data: ImageData
    subjects: tuple[MeasuredSubject, ...]

    @property
    def numbers(self) -> dict[str, Any]:
        """All numbers of the first classifier, as measurement.json has them."""
        found: dict[str, Any] = self.results.to_json()["models"][0]
        return found


def measure_source(
    subjects: Sequence[Subject],
    spec: DataSpec,
    *,
    validation: DataSpec | None = None,
    pairs: int = DEFAULT_PAIRS,
    only_data_classes: bool = False,
    batch_size: int | None = None,
    measures: MeasuresSpec | None = None,
    device: torch.device | str = "cpu",
    command: str = "",
    progress: StudyProgress | None = None,
) -> SourceMeasurement:
    """Measure classifiers on every image of a source; nothing is written.

    Args:
        spec, validation: see `load_images`; without validation images a temperature is fitted on each half of the images for the other.
        pairs: of images behind the vicinal curves; 0 leaves them out.
        only_data_classes: leave classes out that the data does not have.
        batch_size: images at once; default: 500, of large ones on a CPU 50.
        measures: bins, resamples, level and λ grid.

    Raises:
        UsageError: images or classes that do not fit, or a network that answers what no logits are.
    """
    started, on = time.monotonic(), torch.device(device)
    progress = progress or StudyProgress(0, name=None)
    if pairs < 0 or pairs == 1:
        raise UsageError(f"--pairs is 0, which leaves them out, or at least 2, not {pairs}")
    chosen = measures or MeasuresSpec(vicinity=VicinitySpec(lam_points=LAM_POINTS))
    if chosen.vicinity.path != "mixup":
        raise UsageError("measures.vicinity.path: cutmix is for studies; a classifier is measured along mixup's line")
    if pairs:
        chosen = chosen.model_copy(update={"vicinity": chosen.vicinity.model_copy(update={"pairs": pairs})})
    progress.say(f"reading the images of {spec.source}")
    data, spec = load_images(spec, subjects, validation)
    progress.say(f"{len(data.test):,} images of {len(data.class_names):,} classes")
    notes = []
    with_pairs = pairs > 0 and len(data.test) > 1
    if pairs and not with_pairs:
        notes.append("There is one image, so that no pair can be made.")
    found = [
        _measured(subject, data, chosen, with_pairs, only_data_classes, batch_size, on, progress)
        for subject in subjects
    ]
    models = [_entry(one, data) for one in found]
    value = {
        "kind": "measurement",
        "schema": MEASUREMENT_SCHEMA,
        "version": __version__,
        "command": command,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": environment(on),
        "data": _data_entry(data, spec, validation),
        "measures": _settings(chosen, found[0], with_pairs),
        "models": models,
        "comparisons": compare_models([one.measured for one in found], models),
        "notes": notes,
        "wall_time_s": round(time.monotonic() - started, 2),
    }
    return SourceMeasurement(MeasurementResults.model_validate(value), data, tuple(found))


def _measured(
    subject: Subject,
    data: ImageData,
    measures: MeasuresSpec,
    with_pairs: bool,
    only: bool,
    batch_size: int | None,
    device: torch.device,
    progress: StudyProgress,
) -> MeasuredSubject:
    """One classifier's answers to every image, once, and to pairs."""
    guessed = subject.classifier.class_names is None
    subject = subject.taking(data.test.images.shape[3])
    seen, preparation = seen_by(data, subject), subject.preparation
    look = preparation.pixels(seen.test.images[:FUSING_IMAGES]).to(device)
    subject = subject.giving_logits(look)
    subject, names = subject.answering(data.class_names, only, look[:1])
    with torch.inference_mode():
        network = fused(subject.classifier.to(device), look)
    if batch_size is None:
        batch_size = LARGE_BATCH if device.type == "cpu" and max(look.shape[-2:]) > LARGE else BATCH
    started = time.monotonic()
    count = len(seen.test) + len(seen.validation)
    inputs = PredictionInputs(replace(seen, class_names=names), seen.test, preparation, measures.vicinity, device)
    bar = progress.inference(subject.name, inputs.count if with_pairs else count)
    answers: Predictions | ImagePredictions
    if with_pairs:
        answers = predict_all(network, preparation, inputs, bar.advance, batch_size)
    else:
        test, fitted_on = (
            predict(network, part, preparation, device, bar.advance, batch_size)
            if len(part)
            else torch.zeros(0, len(names))
            for part in (seen.test, seen.validation)
        )
        answers = ImagePredictions(fitted_on, test, seen.validation.labels, seen.test.labels)
    seconds = time.monotonic() - started
    bar.finish(f"answered {count:,} images" + (" and pairs of them" if with_pairs else ""))
    _check(subject.name, answers.test, len(names))
    if guessed and len(names) == answers.test.shape[1]:
        doubt = doubt_of_order(answers.test, answers.test_labels)
        if doubt is not None:
            line = f"It says no class names, and the data's order was taken for its logits: {doubt.sentence(data.class_names)}."
            progress.say(f"{subject.name}: {line}")
            subject = replace(subject, notes=(*subject.notes, line))
    measured = (
        Measured(answers, measures, cross_fit=True)
        if isinstance(answers, Predictions)
        else ImagesMeasured(answers, measures, cross_fit=True)
    )
    return MeasuredSubject(subject, names, measured, seconds)


def _check(name: str, logits: Tensor, classes: int) -> None:
    """Raises UsageError where a network answers what no logits are."""
    if logits.shape[1] != classes:
        raise UsageError(f"{name} answers with {logits.shape[1]:,} numbers, and names {classes:,} classes")
    unsound = (logits.isnan() | logits.isposinf()).any(-1)
    if bool(unsound.any()):
        raise UsageError(
            f"{name} answers NaN or infinity for {int(unsound.sum()):,} of {len(logits):,} images, so nothing is measured; its weights "
            "or its normalisation are not what it was made for"
        )
    if look_like_probabilities(logits):
        raise UsageError(
            f"{name} answers with probabilities, and logits are asked for: leave out its softmax, or give their logarithm"
        )


def _entry(one: MeasuredSubject, data: ImageData) -> dict[str, Any]:
    """A classifier's entry of measurement.json."""
    measured, subject, names = one.measured, one.subject, one.class_names
    labels = measured.image_answers.test_labels
    numbers = measured.numbers(False) if isinstance(measured, Measured) else measured.image_numbers(False)
    numbers.pop("held_out", None)
    paths: Sequence[str | None] = data.test.names or [None] * len(labels)
    listed: dict[str, Any] = {}
    sheets: tuple[tuple[str, Callable[[], list[int]]], ...] = (
        ("confident_mistakes", lambda: confident_mistakes(one.logits, labels, temperature=one.temperature)),
        ("least_certain", lambda: least_certain(one.logits, temperature=one.temperature)),
    )
    for key, positions in sheets:
        rows = answer_rows(one.logits, labels, names, paths, one.temperature, positions())
        listed[key] = [{name: value for name, value in row.items() if name != "right"} for row in rows]
    return {
        "name": subject.name,
        "model": subject.model,
        "weights": subject.weights,
        "class_names": list(names),
        "parameters": sum(p.numel() for p in subject.classifier.parameters()),
        "preparation": subject.preparation_words,
        "notes": list(subject.notes),
        "predicting_s": round(one.seconds, 3),
        "confusions": confusions(confusion_matrix(one.logits, labels), names),
        **listed,
        **numbers,
    }


def _data_entry(data: ImageData, spec: DataSpec, validation: DataSpec | None) -> dict[str, Any]:
    return {
        "name": spec.name or data.name,
        "source": data.source,
        "content_hash": data.test.content_hash(),
        "class_names": list(data.class_names),
        "images": len(data.test),
        "images_by_class": data.test.labels.bincount(minlength=len(data.class_names)).tolist(),
        "validation_source": validation.source if validation is not None else None,
        "validation": len(data.validation),
        "spec": spec.model_dump(mode="json", exclude_defaults=True),
        "notes": list(data.notes),
    }


def _settings(measures: MeasuresSpec, one: MeasuredSubject, with_pairs: bool) -> dict[str, Any]:
    pairs = one.measured.pairs.answers.images if isinstance(one.measured, Measured) else None
    return {
        "ece_bins": measures.ece_bins,
        "pairs": len(pairs) if pairs is not None else None,
        "pair_images": len(set(pairs.flatten().tolist())) if pairs is not None else None,
        "lam_points": measures.vicinity.lam_points if with_pairs else None,
        "confidence_level": measures.confidence_level,
        "bootstrap_resamples": measures.bootstrap_resamples,
        "calibrated_on": "halves" if one.measured.cross_fitted else "validation",
    }
