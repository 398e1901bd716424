"""The network's part of a student's graph in 8 bits, by onnxruntime's static quantisation.

Shapes: N images, (C, S, S) what the network sees of one, K classes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vicinal.shipping.graphs import PIXELS, quiet

Pixels = NDArray[np.float32]  # (N, C, S, S), in [0, 1]
_LAYERS = ("Conv", "Gemm", "MatMul")

# int8 weights keep to 7 bits: sums of products of full ones with uint8 activations can saturate on x86 processors without VNNI, which
# would answer otherwise than others do (quantize_static's own advice).
STORED_AS = "QDQ, weights int8 per channel (-64 to 64), activations uint8"


@dataclass(frozen=True)
class Form:
    """One way of bringing a network to 8 bits.

    Attributes:
        ranges: what the range of an activation is over the calibration images: all of it, or but for its outermost 0.001 %.
        ends_in_float: the first and the last layer stay in float.
    """

    ranges: Literal["MinMax", "Percentile"]
    ends_in_float: bool

    def __str__(self) -> str:
        return f"{self.ranges} ranges, {'first and last layer in float' if self.ends_in_float else 'every layer in 8 bits'}"


FORMS = tuple(Form(ranges, ends) for ends in (False, True) for ranges in ("MinMax", "Percentile"))


class _Batches:
    """Calibration images as onnxruntime reads them, a batch at a time, so that histograms hold one batch's activations at once."""

    def __init__(self, batches: Sequence[Pixels]) -> None:
        self.batches, self.at, self.end = batches, 0, len(batches)

    def __len__(self) -> int:
        return len(self.batches)

    def set_range(self, start_index: int, end_index: int) -> None:
        """The batches to be read next."""
        self.at, self.end = start_index, end_index

    def get_next(self) -> dict[str, Pixels] | None:
        """The next batch; None behind the last."""
        if self.at >= self.end:
            return None
        self.at += 1
        return {PIXELS: self.batches[self.at - 1]}


def quantised(network: Any, batches: Sequence[Pixels], form: Form) -> Any:
    """The network of `Parts` in 8 bits, its activations' ranges those of the batches. Raises whatever onnxruntime does."""
    import onnx
    from onnxruntime import quantization

    with tempfile.TemporaryDirectory(prefix="vicinal-int8-") as folder, quiet():
        before, after = Path(folder, "float.onnx"), Path(folder, "int8.onnx")
        onnx.save_model(network, str(before))
        quantization.quantize_static(
            str(before),
            str(after),
            _Batches(batches),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            calibrate_method=quantization.CalibrationMethod[form.ranges],
            nodes_to_exclude=ends_of(network) if form.ends_in_float else [],
            extra_options={"CalibStridedMinMax": 1, "CalibTensorRangeSymmetric": False},
        )
        return onnx.load(str(after))


def ends_of(network: Any) -> list[str]:
    """The names of the first and the last layer with weights."""
    layers = [node.name for node in network.graph.node if node.op_type in _LAYERS]
    return sorted({*layers[:1], *layers[-1:]})
