"""Answers to the test images of another data set.

Shapes: M images, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from vicinal.config import DataSpec, fingerprint
from vicinal.data import ImageData, View, load_data
from vicinal.errors import UsageError
from vicinal.evaluation.predict import predict
from vicinal.evaluation.stored import EvaluationContext, TrainedNetwork, load_stored, save_stored


def load_other(spec: DataSpec, data: ImageData, image_size: int | None, views: Sequence[View] = ()) -> ImageData:
    """The other data set, whose test images are shown; UsageError where its images cannot be shown to these networks.

    Args:
        views: that these networks have of original images.
    """
    height, width, channels = data.train.images.shape[1:]
    if spec.image_size is None:
        spec = spec.model_copy(update={"image_size": image_size or min(height, width)})
    other = load_data(spec, None, views)
    shape = other.test.images.shape[1:]
    if shape[2] != channels:
        raise UsageError(
            f"measures.ood: {other.name} has {shape[2]} channel(s) and {data.name} {channels}; give other images"
        )
    return other


def predict_other(
    runs: Mapping[Path, TrainedNetwork], other: ImageData, context: EvaluationContext
) -> dict[Path, Tensor]:
    """(M, K) float32 logits of every network on the other data set's test images, by the run's folder."""
    answers: dict[Path, Tensor] = {}
    height, width = context.data.train.images.shape[1:3]
    bar = None
    for path, run in runs.items():
        side = run.preparation.image_size or min(height, width)
        prepared = replace(run.preparation, image_size=side)
        images = other.test.as_seen(prepared.view)
        key = fingerprint({"images": images.content_hash(), "preparation": prepared.fingerprint()})
        file = run.folder.stored("other", key)
        stored = load_stored(file, ("logits",), run.weights, context.progress.say)
        if stored is None:
            bar = bar or context.progress.inference(other.name, len(runs) * len(other.test))
            logits = predict(run.load(), other.test, prepared, context.device, bar.advance)
            save_stored(file, {"logits": logits}, run.weights)
            stored = {"logits": logits}
        answers[path] = stored["logits"]
    if bar is not None:
        bar.finish(f"predicted {len(other.test)} images of another data set")
    return answers
