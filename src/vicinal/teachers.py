"""The frozen teacher: eval mode held by its type, asked in the precision that is fast and leaves its answers as they are."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Self, cast

import torch
from torch import Tensor, nn

from vicinal.errors import VicinalError
from vicinal.functional import kl_divergence
from vicinal.machine import processor
from vicinal.models import Classifier
from vicinal.specs import fingerprint
from vicinal.store import write_json

Precision = Literal["fp32", "bf16"]
BF16_BOUND_NATS = 1e-3  # mean KL between a teacher's fp32 and bf16 answers that training may have
BF16_GAIN = 1.2  # times faster that bf16 must be; below that a measurement could fall either way
TURNS = 6
TURN_S = 0.1  # a timed turn asks about as many images as take so long


class FrozenTeacher(nn.Module):
    """A classifier that answers and never changes: no gradients, no batch statistics, no train mode.

    Args:
        network: taken over and frozen; its parameters stop requiring gradients.
        precision: "fp32" or "bf16", of its forward pass. Logits come out as float32 either way.
        call: how the network is called, for example compiled; default: as it is.
    """

    def __init__(
        self, network: Classifier, precision: Precision = "fp32", call: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.precision = precision
        self._call = call
        super().train(False)

    def train(self, mode: bool = True) -> Self:
        """Raises RuntimeError for train mode: its batch statistics would move and its answers with them."""
        if mode:
            raise RuntimeError("a frozen teacher cannot be put into train mode")
        return super().train(False)

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Tensor:
        """(B, C, H, W) pixels in [0, 1] to (B, K) float32 logits."""
        if any(module.training for module in self.network.modules()):
            raise RuntimeError("the frozen teacher's network was put into train mode behind its back")
        with torch.autocast(pixels.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            return cast(Tensor, (self._call or self.network)(pixels)).float()


def choose_precision(network: Classifier, pixels: Tensor) -> Precision:
    """bf16 where it is faster on this machine and the answers to `pixels` keep within `BF16_BOUND_NATS`; else fp32.

    Which one is faster is measured for a moment and remembered (`$XDG_CACHE_HOME/vicinal`), by machine, version and
    architecture, so that one machine always makes one choice and repeats its runs bit for bit.
    """
    if not _bf16_exists(pixels.device) or not _bf16_is_faster(network, pixels):
        return "fp32"
    exact, quick = FrozenTeacher(network, "fp32")(pixels), FrozenTeacher(network, "bf16")(pixels)
    return "bf16" if float(kl_divergence(exact, quick).mean()) <= BF16_BOUND_NATS else "fp32"


def _bf16_exists(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported())


def _bf16_is_faster(network: Classifier, pixels: Tensor) -> bool:
    """As remembered, or measured now and remembered where the cache can be written."""
    remembered = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vicinal" / "bf16.json"
    key = _measurement_key(network, pixels)
    known: dict[str, bool] = {}
    with contextlib.suppress(OSError, ValueError, TypeError):
        known = dict(json.loads(remembered.read_text(encoding="utf-8")))
    if not isinstance(known.get(key), bool):
        known[key] = _bf16_gain(network, pixels) >= BF16_GAIN
        with contextlib.suppress(VicinalError):
            write_json(remembered, known)
    return known[key]


def _measurement_key(network: Classifier, pixels: Tensor) -> str:
    device = pixels.device
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    shapes = {name: list(t.shape) for name, t in network.state_dict().items()}
    return fingerprint([machine, torch.__version__, shapes, list(pixels.shape[1:])])


def _bf16_gain(network: Classifier, pixels: Tensor) -> float:
    """Seconds in fp32 over seconds in bf16: the quickest of a few turns each, on one thread, which other work disturbs least."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _measured_gain(network, pixels)
    finally:
        torch.set_num_threads(threads)


def _measured_gain(network: Classifier, pixels: Tensor) -> float:
    exact, quick = FrozenTeacher(network, "fp32"), FrozenTeacher(network, "bf16")
    some = pixels[:8]
    for teacher in (exact, quick):
        _seconds(teacher, some)
    some = pixels[: max(8, int(8 * TURN_S / _seconds(exact, some)))]
    turns = [(_seconds(exact, some), _seconds(quick, some)) for _ in range(TURNS)]
    return min(seconds for seconds, _ in turns) / min(seconds for _, seconds in turns)


def _seconds(teacher: FrozenTeacher, pixels: Tensor) -> float:
    started = time.perf_counter()
    answers = teacher(pixels)
    if answers.device.type == "cuda":
        torch.cuda.synchronize(answers.device)
    return time.perf_counter() - started
