"""Calibration and vicinal curves of any classifier on any images: the measures of a study without a study.

Shapes: N images, M images that pairs are drawn from, (H, W, C) an image, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vicinal.config import MeasuresSpec
from vicinal.data import ImageData, ImageSet, View
from vicinal.evaluation.measures import Measured
from vicinal.evaluation.predictions import PAIR_SETS, PredictionInputs, Predictions, predict_all
from vicinal.functional import refuse_probabilities
from vicinal.inputs import Preparation
from vicinal.networks import Classifier, evaluating, match_classes
from vicinal.results import curves_table, model_table

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Measurement:
    """What was measured of one classifier; `predictions` hold the logits that everything is computed from."""

    predictions: Predictions
    measures: MeasuresSpec

    @cached_property
    def numbers(self) -> dict[str, Any]:
        """Accuracy, confidence, ECE, curves and intervals, by the keys that a network has in results.json."""
        return Measured(self.predictions, self.measures).numbers(scale_free=False)

    def to_frame(self) -> pd.DataFrame:
        """The single numbers, one row. Raises UsageError without pandas."""
        return model_table(self._as_results).drop(columns=["role", "arm", "teacher", "temperature", "seed", "model"])

    def curves_frame(self) -> pd.DataFrame:
        """The vicinal curves in long form, a row for each λ and quantity. Raises UsageError without pandas."""
        return curves_table(self._as_results)[["scaled", "lam", "quantity", "value", "lower", "upper"]]

    @property
    def _as_results(self) -> dict[str, Any]:
        return {"teachers": [{"name": "classifier", **self.numbers}], "students": []}


def _reordered(network: Classifier, order: Sequence[int]) -> Classifier:
    """The network with its logits in another order: the k-th becomes what was the order[k]-th."""
    index = torch.tensor(order)
    inside = network.features if getattr(network, "_features", None) is not None else None
    return Classifier.of(_Reordered(network, index), features=inside)


class _Reordered(torch.nn.Module):
    """A network and the order that its logits are read in."""

    def __init__(self, network: Classifier, index: Tensor) -> None:
        super().__init__()
        self.network, self.index = network, index

    def forward(self, pixels: Tensor) -> Tensor:
        return torch.as_tensor(self.network(pixels)).index_select(1, self.index.to(pixels.device))


def measure_images(
    network: Callable[[Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
    validation: tuple[Tensor, Tensor] | None,
    pair_images: Tensor | None,
    class_names: Sequence[str] | None,
    image_size: int | None,
    measures: MeasuresSpec,
    device: torch.device | str,
) -> Measurement:
    """See `vicinal.api.measure`, which has the defaults."""
    given = [("images", images), ("labels", labels), ("pair_images", images if pair_images is None else pair_images)]
    given += zip(("validation images", "validation labels"), validation or (), strict=False)
    for name, value in given:
        if not isinstance(value, Tensor):
            raise ValueError(f"{name} are a tensor, not {type(value).__name__}; torch.from_numpy makes one of an array")
    if len(images) < 2:
        raise ValueError(f"give at least two images: a pair needs two, and there are {len(images)}")
    test = ImageSet(images.contiguous(), labels)
    paired = test if pair_images is None else ImageSet(pair_images.contiguous(), torch.full((len(pair_images),), -1))
    empty = ImageSet(images[:0].contiguous(), labels[:0])
    chosen = ImageSet(validation[0].contiguous(), validation[1]) if validation is not None else empty
    classifier, on = Classifier.of(network).to(device), torch.device(device)
    preparation = Preparation(image_size=image_size)
    if isinstance(network, Classifier):  # it says itself what it was made for, unless the caller does
        preparation = network.preparation if network.preparation and image_size is None else preparation
        if class_names is not None and network.class_names is not None:
            match = match_classes("the network", network.class_names, class_names)
            classifier = classifier if match.order is None else _reordered(classifier, match.order)
        class_names = class_names or network.class_names
    if preparation.view is not None:
        test, paired, chosen = _seen_through(preparation.view, test, paired, chosen)
    with evaluating(classifier), torch.inference_mode():
        first = test.as_seen(preparation.view).images[:1]
        classes = classifier(preparation.pixels(first.to(on))).shape[-1]
    names = tuple(class_names) if class_names is not None else tuple(map(str, range(classes)))
    if len(names) != classes:
        raise ValueError(f"{len(names)} class names for a network of {classes} classes")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ValueError(
            f"labels go from {int(labels.min())} to {int(labels.max())}, and the network has classes 0 to {classes - 1}"
        )
    data = ImageData("images", "images", names, test.content_hash(), paired, chosen, test)
    inputs = PredictionInputs(data, paired, preparation, measures.vicinity, on)
    predictions = predict_all(classifier, preparation, inputs)
    _check_answers(predictions)
    return Measurement(predictions, measures)


def _seen_through(
    view: View, test: ImageSet, paired: ImageSet, chosen: ImageSet
) -> tuple[ImageSet, ImageSet, ImageSet]:
    """The sets with a view of their pixels, which are the originals; one that is two of them stays so."""
    seen = test.with_view(view)
    return seen, seen if paired is test else paired.with_view(view), chosen.with_view(view)


def _check_answers(predictions: Predictions) -> None:
    """Raises ValueError where a network answers what no logits are: NaN, +inf, or probabilities. A class may be masked by −inf."""
    pairs = [getattr(predictions, name) for name in PAIR_SETS]
    of_pairs = [("", logits) for own in pairs if own is not None for logits in (own.i, own.j, own.mixed)]
    for where, logits in [("images", predictions.test), ("validation images", predictions.validation), *of_pairs]:
        unsound = (logits.isnan() | logits.isposinf()).any(-1)
        if bool(unsound.any()):
            images = where or "images of the pairs, clean and mixed"
            raise ValueError(
                f"the network answers NaN or infinity for {int(unsound.sum())} of {unsound.numel()} {images}, so nothing is measured"
            )
        refuse_probabilities(logits)
