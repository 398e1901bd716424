"""A student with a linear map of its features to those of its teacher: trained along, in checkpoints, no part of what is shipped.

Shapes: B samples, K classes, D features of the student, D' of the teacher.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from vicinal.networks import TimmClassifier, features_of_passes

_KEY = 0x9E3779B9  # apart from whatever else is drawn from a run's seed


class Projected(nn.Module):
    """A student and its regressor (Romero et al. 2015) as one module, so that processes add up the gradients of both.

    Args:
        teacher_features: D'.
        seed: of the run. The regressor is drawn from it by a generator of its own: the student's numbers stay what they are.
    """

    def __init__(self, network: TimmClassifier, teacher_features: int, seed: int) -> None:
        super().__init__()
        self.network = network
        if network.last_linear is None:
            raise ValueError("a student that keeps its head inside gives no features to map")
        like = network.last_linear.weight
        self.regressor = _drawn(network.last_linear.in_features, teacher_features, seed).to(like)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, C, H, W) pixels to (B, K) logits, (B, D) features and (B, D') mapped ones, of one pass."""
        with features_of_passes(self.network) as features:
            logits = self.network(pixels)
        return logits, features[0], self.regressor(features[0])


def _drawn(features: int, teacher_features: int, seed: int) -> nn.Linear:
    """A linear layer as torch would draw it, from a generator of its own, on the CPU."""
    key = np.random.SeedSequence([seed, _KEY]).generate_state(1, np.uint64)[0]
    generator = torch.Generator().manual_seed(int(key) >> 1)
    layer: nn.Linear = torch.nn.utils.skip_init(nn.Linear, features, teacher_features)
    bound = 1 / math.sqrt(features)
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound, generator=generator)
        layer.bias.uniform_(-bound, bound, generator=generator)
    return layer
