"""The grid of λ that everything about pairs is measured along.

Shapes: P pairs, L values of λ, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor


def lam_grid(points: int = 21) -> Tensor:
    """(L,) float64 values of λ from 0 to 1, both included, exactly symmetric about 0.5.

    Example:
        >>> lam_grid(5).tolist()
        [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    half = torch.arange(points, dtype=torch.float64) / (points - 1)
    return torch.where(half <= 0.5, half, 1 - half.flip(0))


def symmetric_grid(lam: Tensor | None, both_orders: bool) -> Tensor:
    """The (L,) float64 grid of a metric over pairs; ValueError where both orders ask for a symmetric one and it is not."""
    grid = lam_grid() if lam is None else lam.double()
    if both_orders and not torch.allclose(grid, 1 - grid.flip(0), atol=1e-9):
        raise ValueError("both_orders needs a grid that is symmetric about 0.5")
    return grid


def along_pairs(
    logits_i: Tensor, logits_j: Tensor, logits_mixed: Tensor, lam: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(P, K), (P, K) and (P, L, K) answers to pairs as (P L, K) float64 each, with their (P L,) λ.

    Raises ValueError where the shapes do not go together.
    """
    if logits_mixed.shape != (len(logits_i), len(lam), logits_i.shape[-1]) or logits_i.shape != logits_j.shape:
        raise ValueError(
            f"expected (P, K), (P, K) and (P, {len(lam)}, K), got "
            f"{tuple(logits_i.shape)}, {tuple(logits_j.shape)} and {tuple(logits_mixed.shape)}"
        )
    pairs, _, classes = logits_mixed.shape
    i, j = (z[:, None].expand_as(logits_mixed).reshape(-1, classes).double() for z in (logits_i, logits_j))
    return i, j, logits_mixed.reshape(-1, classes).double(), lam.to(logits_mixed.device).repeat(pairs)
