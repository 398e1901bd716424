"""What a study will take before anything is spent: arithmetic, time and storage, from each network measured for a moment.

Shapes: (C, H, W) an image.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from vicinal.networks.bf16 import bf16_training_pays
from vicinal.networks.classifier import Classifier, evaluating
from vicinal.networks.fused import fused

TIMED_IMAGES = 32  # batch that is timed, or the network's own where that is smaller
REPEATS = 3

# Compiling takes about a minute for a network. On two CPU cores a compiled step then takes as long as an eager one (1.05 to 0.97 of it,
# docs/benchmarks.md), so it never pays there; on a GPU it is taken to pay in trainings of a quarter of an hour and more.
COMPILING_PAYS_S = 900
NOMINAL_CUDA_FLOPS = 20e12  # per second of training


@dataclass(frozen=True)
class NetworkCost:
    """What one image costs a network on this device."""

    forward_flops: int  # multiplications and additions of a forward pass
    inference_s: float  # seconds to predict it
    step_s: float  # seconds of forward, backward and update


def network_cost(network: Classifier, pixels: Tensor, batch_size: int, precision: str = "auto") -> NetworkCost:
    """Count and time a network on (1, C, H, W) pixels, on the device and in their memory format; it predicts with fused batch norms.

    Times are medians of a few passes over `batch_size` copies, at most `TIMED_IMAGES`; an estimate, not a benchmark.

    Args:
        precision: of its training: fp32, bf16 or auto.
    """
    batch = _batch(pixels, batch_size)
    flops, inference_s = forward_flops(network, pixels), inference_seconds(network, pixels, batch_size)
    if next(network.parameters(), None) is None:  # it is never trained
        return NetworkCost(flops, inference_s, 0.0)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.0)
    labels = torch.zeros(len(batch), dtype=torch.int64, device=batch.device)
    bf16 = bf16_training_pays(network, pixels) if precision == "auto" else precision == "bf16"

    def step() -> None:
        with torch.autocast(batch.device.type, torch.bfloat16, enabled=bf16):
            logits = network(batch)
        loss = nn.functional.cross_entropy(logits.float(), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    with _training(network):
        seconds = _median_seconds(step, pixels.device)
    return NetworkCost(flops, inference_s, seconds / len(batch))


def inference_seconds(network: Classifier, pixels: Tensor, batch_size: int = TIMED_IMAGES) -> float:
    """Seconds that predicting one image takes, in a batch, with fused batch norms; arguments as of `network_cost`."""
    batch = _batch(pixels, batch_size)
    with evaluating(network), torch.inference_mode():
        inference = fused(network, pixels)
        return _median_seconds(lambda: inference(batch), pixels.device) / len(batch)


def _batch(pixels: Tensor, batch_size: int) -> Tensor:
    return pixels.repeat(min(batch_size, TIMED_IMAGES), 1, 1, 1).contiguous(memory_format=torch.channels_last)


def try_training(network: Classifier, pixels: Tensor) -> None:
    """One forward and backward pass of (1, C, H, W) pixels in train mode, which leaves the network as it was.

    Raises whatever training would.
    """
    batch = pixels.repeat(2, 1, 1, 1).contiguous(memory_format=torch.channels_last)
    with _training(network):
        logits = network(batch)
        nn.functional.cross_entropy(logits, torch.zeros(2, dtype=torch.int64, device=batch.device)).backward()


@contextlib.contextmanager
def _training(network: nn.Module) -> Iterator[None]:
    """Train mode for a moment: modes and batch statistics go back to what they were, gradients go."""
    modes = {module: module.training for module in network.modules()}
    kept = {name: buffer.clone() for name, buffer in network.named_buffers()}
    network.train()
    try:
        yield
    finally:
        _restore(network, modes, kept)


@torch.no_grad()
def _restore(network: nn.Module, modes: dict[nn.Module, bool], kept: dict[str, Tensor]) -> None:
    network.zero_grad(set_to_none=True)
    for name, buffer in network.named_buffers():  # batch statistics have moved
        buffer.copy_(kept[name])
    for module, mode in modes.items():
        module.training = mode


def forward_flops(network: nn.Module, pixels: Tensor) -> int:
    """Multiplications and additions of one forward pass of (1, C, H, W) pixels, in eval mode."""
    with evaluating(network), torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(pixels)
    return int(counter.get_total_flops())


def compiling_pays(training_flops: float, device: torch.device) -> bool:
    """Whether so much training is long enough for torch.compile to pay: by arithmetic and not by a clock, so always the same."""
    return device.type == "cuda" and training_flops / NOMINAL_CUDA_FLOPS >= COMPILING_PAYS_S


def call_seconds(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call, until the device has done it."""
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def _median_seconds(work: Callable[[], object], device: torch.device) -> float:
    """Median seconds of a call, after one that warms up."""
    return median([call_seconds(work, device) for _ in range(REPEATS + 1)][1:])
