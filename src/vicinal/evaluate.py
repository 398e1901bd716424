"""What is asked of a trained network, once: its logits on validation and test images and on pairs along λ.

Every measure is computed from these stored answers, so a figure can be checked without the network, and a changed
measure asks nothing again. Shapes: P pairs, L values of λ, K classes, (N, H, W, C) images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from vicinal.data import ImageData, ImageSet
from vicinal.functional import mix
from vicinal.metrics import lam_grid
from vicinal.models import Classifier
from vicinal.specs import NetworkSpec, VicinitySpec
from vicinal.store import write_atomically
from vicinal.train import EVALUATION_BATCH, predict
from vicinal.vicinity import evaluation_pixels


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


def draw_pairs(images: int, spec: VicinitySpec) -> tuple[Tensor, Tensor]:
    """(P,) positions i and j ≠ i in the training images: independent uniform draws, a function of the spec and the count."""
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([spec.seed, images])))
    i = generator.integers(images, size=spec.pairs)
    j = (i + generator.integers(1, images, size=spec.pairs)) % images
    return torch.from_numpy(i), torch.from_numpy(j)


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
    i, j = draw_pairs(len(pair_images), vicinity)
    lam = lam_grid(vicinity.lam_points)
    classes = len(data.class_names)
    empty = torch.zeros(0, classes)
    answers_i: list[Tensor] = []
    answers_j: list[Tensor] = []
    answers_mixed: list[Tensor] = []
    pairs_at_once = max(1, EVALUATION_BATCH // len(lam))
    network.eval()
    # TF32 keeps ten bits, too few for a measure, and PyTorch's convolutions use it unasked.
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        for part_i, part_j in zip(i.split(pairs_at_once), j.split(pairs_at_once), strict=True):
            x_i = evaluation_pixels(pair_images.images[part_i].to(device), pair_spec.augment, image_size)
            x_j = evaluation_pixels(pair_images.images[part_j].to(device), pair_spec.augment, image_size)
            clean = network(torch.cat([x_i, x_j])).float().cpu()
            z_i, z_j = clean.split(len(part_i))
            # Only 0 < λ < 1 is asked: the ends are the clean answers.
            inner = lam[1:-1].to(device, x_i.dtype).repeat(len(part_i))
            points = len(lam) - 2
            mixed = mix(x_i.repeat_interleave(points, 0), x_j.repeat_interleave(points, 0), inner)
            z_mixed = (
                network(mixed.contiguous(memory_format=torch.channels_last)).float().cpu().view(-1, points, classes)
            )
            answers_i.append(z_i)
            answers_j.append(z_j)
            answers_mixed.append(torch.cat([z_j[:, None], z_mixed, z_i[:, None]], 1))
            advance(len(part_i) * len(lam))
        validation, test = (
            predict(network, part, spec, image_size, device, advance) if len(part) else empty
            for part in (data.validation, data.test)
        )
    return Predictions(
        validation=validation,
        test=test,
        validation_labels=data.validation.labels,
        test_labels=data.test.labels,
        pair_i=torch.cat(answers_i),
        pair_j=torch.cat(answers_j),
        pair_mixed=torch.cat(answers_mixed),
        lam=lam,
    )
