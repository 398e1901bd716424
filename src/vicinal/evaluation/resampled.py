"""How far a network's figures move over resamples of the images: what resamples.npz holds and intervals are taken from.

Shapes: R resamples, N images, P pairs, L values of λ, M bins, Q figures.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from vicinal.metrics import resampled_means

SCALED = "_after_temperature_scaling"


def mean_deviations(values: Mapping[str, Tensor], resamples: int) -> dict[str, Tensor]:
    """Means of (P,) or (P, L) values over resampled pairs, less the means: (R,) or (R, L) by the same names.

    Of curves that are symmetric in λ one half is computed, so that the other is the same to the last bit.
    """
    halves = {name: half(value) for name, value in values.items()}
    joined = torch.cat([value.reshape(len(value), -1) for value in halves.values()], 1)
    drawn = resampled_means(joined, resamples) - joined.mean(0)
    parts = drawn.split([value[0].numel() for value in halves.values()], 1)
    return {
        name: part[:, 0] if value.dim() == 1 else whole(part, value.shape[1])
        for (name, value), part in zip(values.items(), parts, strict=True)
    }


def half(values: Tensor) -> Tensor:
    """(P, (L + 1) / 2) of (P, L) values that are symmetric in λ; others as they are."""
    if values.dim() == 2 and torch.equal(values, values.flip(1)):
        return values[:, : values.shape[1] // 2 + 1]
    return values


def whole(values: Tensor, points: int) -> Tensor:
    """What `half` made of (P, L) values, mirrored again."""
    return values if values.shape[1] == points else torch.cat([values, values[:, : points // 2].flip(1)], 1)
