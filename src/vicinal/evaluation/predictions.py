"""What every network is asked once: validation and test images, and pairs along λ.

Shapes: N images, P pairs, L values of λ, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from vicinal.config import NetworkSpec, VicinitySpec
from vicinal.data import ImageData, ImageSet
from vicinal.evaluation.pairs import PairAnswers, ask_pairs, pairs_of
from vicinal.evaluation.predict import predict
from vicinal.metrics import lam_grid
from vicinal.networks import Classifier
from vicinal.workspace import write_atomically


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

    def save(self, path: Path) -> None:
        write_atomically(path, save({name: t.contiguous() for name, t in vars(self).items()}))

    @classmethod
    def load(cls, path: Path) -> Predictions | None:
        """The stored answers; None where the file is damaged or holds something else, so that they are asked for again."""
        try:
            predictions = cls(**load_file(path))
        except (SafetensorError, TypeError):
            return None
        return predictions if predictions.are_finite else None

    @property
    def are_finite(self) -> bool:
        return all(bool(t.isfinite().all()) for t in vars(self).values())


def images_asked(data: ImageData, vicinity: VicinitySpec) -> int:
    """The images, clean and mixed, that `ask` passes through a network."""
    return vicinity.pairs * vicinity.lam_points + len(data.validation) + len(data.test)


def ask(
    network: Classifier,
    spec: NetworkSpec,
    data: ImageData,
    pair_images: ImageSet,
    pair_spec: NetworkSpec,
    vicinity: VicinitySpec,
    image_size: int | None,
    device: torch.device,
    advance: Callable[[int], None] = lambda _: None,
) -> Predictions:
    """All that the measures need of a network, in eval mode, fp32.

    Args:
        spec: of the network: test images are prepared as its training prepared them.
        pair_images: the images that pairs are drawn from; pair_spec: how they are prepared, one way for all networks,
            since curves are compared on the same inputs.
        advance: told the number of images after each batch; `images_asked` says how many there are in all.
    """
    lam = lam_grid(vicinity.lam_points)
    answers: list[PairAnswers] = []
    network.eval()
    for answer in ask_pairs(network, pairs_of(pair_images, pair_spec, vicinity, image_size, device), lam):
        answers.append(PairAnswers(*(logits.cpu() for logits in answer)))
        advance(answer.logits_mixed.shape[0] * len(lam))
    validation, test = (
        predict(network, part, spec, image_size, device, advance)
        if len(part)
        else torch.zeros(0, len(data.class_names))
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
