"""Logits of a network on a set of images."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vicinal.data import ImageSet
from vicinal.inputs import Preparation
from vicinal.networks import evaluating

EVALUATION_BATCH = 500


@torch.inference_mode()
def predict(
    network: nn.Module,
    images: ImageSet,
    preparation: Preparation,
    device: torch.device,
    advance: Callable[[int], None] = lambda _: None,
    batch_size: int = EVALUATION_BATCH,
) -> Tensor:
    """(N, K) float32 logits on a set of images, in eval mode and fp32; the last partial batch included.

    The images are seen through the view of the preparation, which the set must have.

    A network in train mode is put into eval mode and back.
    """
    answers = []
    # TF32 keeps ten bits, too few for a measure, and PyTorch's convolutions use it unasked.
    with evaluating(network), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        for part in images.as_seen(preparation.view).images.split(batch_size):
            answers.append(network(preparation.pixels(part.to(device))).float().cpu())
            advance(len(part))
    return torch.cat(answers)
