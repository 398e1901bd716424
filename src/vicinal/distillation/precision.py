"""The precision in which a teacher is fast and its answers stay as they are."""

from __future__ import annotations

import torch
from torch import Tensor

from vicinal.distillation.teacher import FrozenTeacher, Precision
from vicinal.functional import kl_divergence
from vicinal.networks import Classifier, bf16_inference_pays

BF16_BOUND_NATS = 1e-3  # mean KL between a teacher's fp32 and bf16 answers that training may have


def choose_precision(network: Classifier, pixels: Tensor) -> Precision:
    """bf16 where it pays on this machine and the answers to `pixels` keep within `BF16_BOUND_NATS`; else fp32."""
    return kept_precision(network, pixels, worthwhile_precision(network, pixels[:1], pixels.device))


def worthwhile_precision(network: Classifier, pixels: Tensor, device: torch.device) -> Precision:
    """The faster one on a device, whatever the answers are.

    Args:
        network: on the device, or on the CPU until it is brought there.
        pixels: (1, C, H, W) where the network is.
    """
    if next(network.parameters(), None) is None:  # a plain function, whose operators may be anything
        return "fp32"
    return "bf16" if bf16_inference_pays(network.eval(), pixels, device) else "fp32"


def kept_precision(network: Classifier, pixels: Tensor, wanted: Precision) -> Precision:
    """The wanted one where the answers to `pixels` keep within `BF16_BOUND_NATS`; else fp32."""
    if wanted == "fp32":
        return wanted
    exact, quick = FrozenTeacher(network, "fp32")(pixels), FrozenTeacher(network, "bf16")(pixels)
    return "bf16" if float(kl_divergence(exact, quick).mean()) <= BF16_BOUND_NATS else "fp32"
