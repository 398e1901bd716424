"""Curves over resamples: halves of what is symmetric in λ, and what another fitted temperature does.

Shapes: R resamples, P pairs, L values of λ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

SCALED = "_after_temperature_scaling"
_FURTHEST = 3.0  # steps, beyond which a resample's temperature moves nothing more


def half(values: Tensor) -> Tensor:
    """(P, (L + 1) / 2) of (P, L) values that are symmetric in λ; others as they are."""
    if values.dim() == 2 and torch.equal(values, values.flip(1)):
        return values[:, : values.shape[1] // 2 + 1]
    return values


def whole(values: Tensor, points: int) -> Tensor:
    """What `half` made of (P, L) values, mirrored again."""
    return values if values.shape[1] == points else torch.cat([values, values[:, : points // 2].flip(1)], 1)


def quadratic(along: Sequence[Tensor], steps: Tensor) -> Tensor:
    """How far the quadratic through figures at −1, 0 and 1 steps lies from that at 0: (R, ...) at (R,) steps."""
    below, here, above = along
    x = steps.clamp(-_FURTHEST, _FURTHEST).view(-1, *[1] * here.dim())
    return x * (above - below) / 2 + x.square() * (above - 2 * here + below) / 2


def quadratic_of_two(at: Mapping[tuple[int, int], Tensor], first: Tensor, second: Tensor) -> Tensor:
    """The same of figures that follow two temperatures: the quadratic through six points, (R, ...) at (R,) steps of each.

    Args:
        at: the figures at (0, 0), (±1, 0), (0, ±1) and (1, 1) steps.
    """
    alone = quadratic([at[-1, 0], at[0, 0], at[1, 0]], first) + quadratic([at[0, -1], at[0, 0], at[0, 1]], second)
    both = (first.clamp(-_FURTHEST, _FURTHEST) * second.clamp(-_FURTHEST, _FURTHEST)).view(-1, *[1] * at[0, 0].dim())
    return alone + both * (at[1, 1] - at[1, 0] - at[0, 1] + at[0, 0])
