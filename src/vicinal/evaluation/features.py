"""Penultimate features of a few classes of test images.

Shapes: N images, D features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vicinal.config import MeasuresSpec, RepresentationSpec, fingerprint
from vicinal.data import ImageSet
from vicinal.evaluation.predict import EVALUATION_BATCH
from vicinal.evaluation.stored import (
    EvaluationContext,
    TrainedNetwork,
    load_stored,
    read_entry,
    save_entry,
    save_stored,
)
from vicinal.inputs import Preparation
from vicinal.metrics import draw_images, represent
from vicinal.networks import Classifier, evaluating


def measure_representation(
    runs: Mapping[Path, TrainedNetwork], measures: MeasuresSpec, classes: Sequence[str], context: EvaluationContext
) -> dict[Path, dict[str, Any]]:
    """The entry "representation" of every network, by the run's folder: features of the same test images of `classes`."""
    data, spec = context.data, measures.representation or RepresentationSpec()
    resamples, level = measures.bootstrap_resamples, measures.confidence_level
    wanted = [data.class_names.index(name) for name in classes]
    where = draw_images(data.test.labels, wanted, spec.images_per_class, spec.seed)
    shown = data.test.subset(where)
    entries: dict[Path, dict[str, Any]] = {}
    bar = None
    for path, run in runs.items():
        images = shown.as_seen(run.preparation.view)
        value: dict[str, Any] = {"classes": list(classes), "seed": spec.seed, "images": images.content_hash()}
        value["preparation"] = run.preparation.fingerprint()
        file = run.folder.stored("features", fingerprint(value))
        picture = run.folder.stored(
            "representation", fingerprint(value | {"resamples": resamples, "confidence_level": level}), "json"
        )
        stored = load_stored(file, ("features", "labels"), run.weights, context.progress.say)
        entry = read_entry(picture, run.weights, context.progress.say)
        if stored is None or entry is None:
            bar = bar or context.progress.inference("features", len(runs) * len(shown))
        if stored is None:
            stored = {"features": _features(run.load(), images, run.preparation, context), "labels": shown.labels}
            save_stored(file, stored, run.weights)
            entry = None
        if entry is None:
            entry = represent(
                stored["features"], shown.labels, data.class_names, classes, None, spec.seed, resamples, level
            )
            save_entry(picture, entry, run.weights)
        if bar is not None:
            bar.advance(len(shown))
        entries[path] = entry
    if bar is not None:
        bar.finish(f"features of {len(shown)} test images, clustered and pictured")
    return entries


@torch.inference_mode()
def _features(network: Classifier, images: ImageSet, preparation: Preparation, context: EvaluationContext) -> Tensor:
    """(N, D) float32 penultimate features in eval mode."""
    parts = images.images.split(EVALUATION_BATCH)
    pixels = (preparation.pixels(part.to(context.device)) for part in parts)
    with evaluating(network):
        return torch.cat([network.features(x).float().cpu() for x in pixels]).contiguous()
