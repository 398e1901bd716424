"""What every network predicts once: validation and test images, and pairs along λ.

Shapes: N images, P pairs, L values of λ, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from torch import Tensor

from vicinal.config import VicinitySpec, fingerprint
from vicinal.data import ImageData, ImageSet
from vicinal.evaluation.pairs import PairLogits, pairs_of, predict_pairs
from vicinal.evaluation.predict import predict
from vicinal.evaluation.stored import load_stored, save_stored
from vicinal.inputs import Preparation
from vicinal.metrics import lam_grid
from vicinal.networks import Classifier


@dataclass(frozen=True)
class Predictions:
    """A network's float32 logits. With them every measure can be recomputed."""

    validation: Tensor  # (N, K)
    test: Tensor  # (N, K)
    validation_labels: Tensor  # (N,)
    test_labels: Tensor
    pair_i: Tensor  # (P, K) answers to the first image of each pair
    pair_j: Tensor
    pair_mixed: Tensor  # (P, L, K) answers to λ x_i + (1 − λ) x_j
    lam: Tensor  # (L,) float64

    def save(self, path: Path, weights: str = "") -> None:
        """Keep them, by the SHA-256 of the network's weights. Raises VicinalError where they cannot be written."""
        save_stored(path, vars(self), weights)

    @classmethod
    def load(cls, path: Path, weights: str = "", say: Callable[[str], None] = lambda _: None) -> Predictions | None:
        """The stored answers; None as `load_stored` where they are to be asked for again, of which `say` is told."""
        names = tuple(field.name for field in fields(cls))
        stored = load_stored(path, names, weights, say)
        return cls(**{name: stored[name] for name in names}) if stored is not None else None

    def times(self, scale: float) -> Predictions:
        """The answers of a network whose logits are `scale` times as large."""
        logits = {name: t for name, t in vars(self).items() if t.is_floating_point() and name != "lam"}
        return replace(self, **{name: scale * t for name, t in logits.items()})

    @property
    def are_finite(self) -> bool:
        return all(bool(t.isfinite().all()) for t in vars(self).values())


@dataclass(frozen=True)
class PredictionInputs:
    """The images that every network of a study predicts, so that all are compared on the same ones.

    Pairs are prepared in one way for all networks; validation and test images as each network's training prepared its own.
    """

    data: ImageData
    pair_images: ImageSet  # that pairs are drawn from
    pair_preparation: Preparation
    vicinity: VicinitySpec
    device: torch.device

    @property
    def count(self) -> int:
        """The images, clean and mixed, that `predict_all` passes through a network."""
        return self.vicinity.pairs * self.vicinity.lam_points + len(self.data.validation) + len(self.data.test)

    @property
    def images(self) -> dict[str, str]:
        """Hashes of the images and of how they are prepared."""
        return {
            "test": self.data.test.content_hash(),
            "validation": self.data.validation.content_hash(),
            "pairs": self.pair_images.content_hash(),
            "preparation": self.pair_preparation.fingerprint(),
        }

    def fingerprint(self) -> str:
        """12 hex digits over all that decides a network's predictions, beside its weights."""
        vicinity = self.vicinity.model_dump(mode="json", exclude={"precision_nats"})  # only how many were chosen counts
        return fingerprint({**self.images, "vicinity": vicinity})


def predict_all(
    network: Classifier,
    preparation: Preparation,
    inputs: PredictionInputs,
    advance: Callable[[int], None] = lambda _: None,
) -> Predictions:
    """All that the measures need of a network, in eval mode, fp32.

    Args:
        preparation: of the network's own validation and test images.
        advance: told the number of images after each batch; `inputs.count` says how many there are in all.
    """
    data, device, lam = inputs.data, inputs.device, lam_grid(inputs.vicinity.lam_points)
    answers: list[PairLogits] = []
    pairs = pairs_of(inputs.pair_images, inputs.pair_preparation, inputs.vicinity, device)
    for answer in predict_pairs(network, pairs, lam):
        answers.append(PairLogits(*(logits.cpu() for logits in answer)))
        advance(answer.logits_mixed.shape[0] * len(lam))
    validation, test = (
        predict(network, part, preparation, device, advance) if len(part) else torch.zeros(0, len(data.class_names))
        for part in (data.validation, data.test)
    )
    pair_i, pair_j, pair_mixed = (torch.cat(parts) for parts in zip(*answers, strict=True))
    return Predictions(
        validation=validation,
        test=test,
        validation_labels=data.validation.labels,
        test_labels=data.test.labels,
        pair_i=pair_i,
        pair_j=pair_j,
        pair_mixed=pair_mixed,
        lam=lam,
    )
