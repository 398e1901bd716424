"""Several classifiers as one: the mean of their probabilities.

Shapes: B samples, (C, H, W) an image, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vicinal.functional import log_mean_prediction
from vicinal.networks.classifier import Classifier


class Ensemble(Classifier):
    """Answers with the log of its members' mean probability at T = 1 (Lakshminarayanan et al. 2017; as a teacher Hinton et al. 2015).

    Of probabilities, not of logits: that is what the members together predict (its NLL is at most their mean NLL), and logits of one
    network have another zero and another scale than those of the next.

    Args:
        members: of the same classes in the same order; each normalises and resizes the pixels for itself.
    """

    def __init__(self, members: Sequence[Classifier]) -> None:
        super().__init__(class_names=members[0].class_names)
        self.members = nn.ModuleList(members)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, C, H, W) pixels in [0, 1] to (B, K) float32 logits, of which the softmax is the mean."""
        return log_mean_prediction(torch.stack([member(pixels).float() for member in self.members]))
