"""The precision in which a teacher is fast and its answers stay as they are."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import torch
from torch import Tensor

from vicinal.config import fingerprint
from vicinal.distillation.teacher import FrozenTeacher, Precision
from vicinal.errors import VicinalError
from vicinal.functional import kl_divergence
from vicinal.networks import Classifier, call_seconds
from vicinal.workspace import processor, write_json

BF16_BOUND_NATS = 1e-3  # mean KL between a teacher's fp32 and bf16 answers that training may have
BF16_GAIN = 1.2  # times faster that bf16 must be; below that a measurement could fall either way
TURNS = 6
TURN_S = 0.1  # a timed turn predicts about as many images as take so long


def choose_precision(network: Classifier, pixels: Tensor) -> Precision:
    """bf16 where it is faster on this machine and the answers to `pixels` keep within `BF16_BOUND_NATS`; else fp32.

    Which one is faster is measured for a moment and remembered (`$XDG_CACHE_HOME/vicinal`), by machine, version and
    architecture, so that one machine always makes one choice and repeats its runs bit for bit.
    """
    if next(network.parameters(), None) is None:  # a plain function, of which nothing says which one it is
        return "fp32"
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
        _answer_seconds(teacher, some)
    some = pixels[: max(8, int(8 * TURN_S / _answer_seconds(exact, some)))]
    turns = [(_answer_seconds(exact, some), _answer_seconds(quick, some)) for _ in range(TURNS)]
    return min(seconds for seconds, _ in turns) / min(seconds for _, seconds in turns)


def _answer_seconds(teacher: FrozenTeacher, pixels: Tensor) -> float:
    return call_seconds(lambda: teacher(pixels), pixels.device)
