"""A student as one graph, from the bytes of an image to calibrated probabilities: for torch.export and ONNX.

Shapes: N images of one size, (H, W, C) an image, K classes.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vicinal.errors import VicinalError
from vicinal.networks import Classifier
from vicinal.shipping.pixels import PillowPixels
from vicinal.shipping.shown import Shown, ShownPixels

TOLERANCE = 5e-5  # of a probability, between torch and onnxruntime on the same graph (Lite2: 1.5e-5)
INPUT, OUTPUT = "images", "probabilities"
PIXELS, LOGITS = "pixels", "logits"
_PREFIX = "network/"


class StudentGraph(nn.Module):
    """uint8 (N, H, W, C) images of any one size to (N, K) probabilities: resized, normalised, answered, divided by the temperature."""

    def __init__(self, network: Classifier, shown: Shown, channels: int, temperature: float | None) -> None:
        super().__init__()
        self.pixels, self.shown = PillowPixels(shown.stored, channels), ShownPixels(shown)
        self.network = network
        self.temperature = temperature or 1.0

    def forward(self, images: Tensor) -> Tensor:
        """(N, H, W, C) uint8 to (N, K) float32."""
        logits = self.network(self.shown(self.pixels(images)))
        return cast(Tensor, (logits / self.temperature).softmax(-1))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what exporters and runtimes say of themselves."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def exported(graph: StudentGraph, channels: int) -> torch.export.ExportedProgram:
    """The graph for any number of images of any size. Raises VicinalError for a network that torch.export does not take."""
    side = graph.pixels.view.side
    example = torch.zeros(2, side + 7, side + 11, channels, dtype=torch.uint8)
    return _exported(graph, example, sizes=True)


def _exported(module: nn.Module, example: Tensor, sizes: bool) -> torch.export.ExportedProgram:
    """A module for any number of images (N, ...), and of any size (N, H, W, C) where `sizes`. Raises VicinalError as `exported`."""
    free = torch.export.Dim.DYNAMIC
    try:
        with quiet(), torch.no_grad():
            return torch.export.export(
                module, (example,), dynamic_shapes=({0: free, 1: free, 2: free} if sizes else {0: free},)
            )
    except Exception as error:
        raise VicinalError(
            f"torch.export does not take this network ({' '.join(str(error).split())[:160]}), so it cannot be shipped as a graph"
        ) from None


def write_pt2(program: torch.export.ExportedProgram, path: Path) -> None:
    """The graph as a file of torch.export."""
    with quiet():
        torch.export.save(program, path)


class _Front(nn.Module):
    """uint8 (N, H, W, C) images to (N, C, S, S) floats."""

    def __init__(self, graph: StudentGraph) -> None:
        super().__init__()
        self.pixels, self.shown = graph.pixels, graph.shown

    def forward(self, images: Tensor) -> Tensor:
        """What the network sees."""
        return cast(Tensor, self.shown(self.pixels(images)))


class _Network(nn.Module):
    """(N, C, S, S) floats to (N, K) logits; a plain module, whatever kind of classifier it holds."""

    def __init__(self, graph: StudentGraph) -> None:
        super().__init__()
        self.network = graph.network

    def forward(self, pixels: Tensor) -> Tensor:
        """Not yet divided by a temperature."""
        return cast(Tensor, self.network(pixels))


@dataclass(frozen=True)
class Parts:
    """A student's graph in two: `front` from bytes to pixels, `network` from these to logits. ONNX models."""

    front: Any
    network: Any


def parts_of(graph: StudentGraph, channels: int) -> Parts:
    """A student's graph in two. Raises VicinalError for a network that no exporter takes."""
    side = graph.pixels.view.side
    images = torch.zeros(2, side + 7, side + 11, channels, dtype=torch.uint8)
    front = _Front(graph).eval()
    with torch.inference_mode():
        pixels = front(images)
    network = _onnx_model(_exported(_Network(graph).eval(), torch.zeros_like(pixels), sizes=False), PIXELS, LOGITS)
    for position, node in enumerate(network.graph.node):  # layers are left in float by their names
        node.name = f"{node.op_type}_{position}"
    return Parts(_onnx_model(_exported(front, images, sizes=True), INPUT, PIXELS), network)


def assembled(parts: Parts, temperature: float | None, classes: int) -> Any:
    """One graph, from bytes to (N, K) probabilities at a temperature."""
    import onnx
    from onnx import TensorProto, compose, helper

    front, network = parts.front, compose.add_prefix(parts.network, _PREFIX)
    for model in (front, network):
        del model.metadata_props[:], model.graph.value_info[:]
        model.ir_version = max(front.ir_version, network.ir_version)
    model = compose.merge_models(front, network, io_map=[(PIXELS, _PREFIX + PIXELS)], name="student")
    model.graph.initializer.append(helper.make_tensor("temperature", TensorProto.FLOAT, (), [temperature or 1.0]))
    model.graph.node.append(
        helper.make_node("Div", [_PREFIX + LOGITS, "temperature"], ["calibrated"], name="calibrate")
    )
    model.graph.node.append(helper.make_node("Softmax", ["calibrated"], [OUTPUT], name="softmax", axis=-1))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ("batch", classes)))
    onnx.checker.check_model(model)
    return model


def _onnx_model(program: torch.export.ExportedProgram, takes: str, gives: str) -> Any:
    """The graph as an ONNX model, its input and output so named. Raises VicinalError where the exporter does not take it."""
    try:
        with quiet():
            made = torch.onnx.export(
                program, (), dynamo=True, input_names=[takes], output_names=[gives], verbose=False, optimize=True
            )
            assert made is not None
            model = made.model_proto
    except Exception as error:
        raise VicinalError(
            f"the ONNX exporter does not take this network ({' '.join(str(error).split())[:160]}); --no-onnx leaves it out"
        ) from None
    for node in model.graph.node:  # where in Python each one comes from: paths of this machine
        del node.metadata_props[:]
    for info in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        del info.metadata_props[:]
    del model.graph.metadata_props[:], model.metadata_props[:]
    return model


def save_onnx(model: Any, path: Path, metadata: dict[str, Any]) -> None:
    """An ONNX model from bytes to probabilities as one file, its free dimensions named."""
    import onnx

    for position, name in enumerate(("batch", "height", "width")):
        _rename_dimension(model, model.graph.input[0].type.tensor_type.shape.dim[position].dim_param, name)
    model.producer_name, model.doc_string = "vicinal", "uint8 (batch, height, width, channels) to probabilities"
    onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in metadata.items()})
    onnx.save_model(model, str(path))


def _rename_dimension(model: Any, old: str, new: str) -> None:
    values = (*model.graph.input, *model.graph.output, *model.graph.value_info)
    for dim in (dim for info in values for dim in info.type.tensor_type.shape.dim):
        if dim.dim_param == old:
            dim.dim_param = new


def onnx_session(path: Path | bytes, threads: int | None = None) -> Any:
    """A session of onnxruntime on the CPU, on as many threads as torch has where no number of them is given."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.log_severity_level = 4
    model = path if isinstance(path, bytes) else str(path)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


@torch.inference_mode()
def largest_difference(graph: StudentGraph, session: Any, images: Sequence[NDArray[np.uint8]]) -> float:
    """Of a probability, between torch and onnxruntime, over images (H, W, C) uint8 of any sizes."""
    most = 0.0
    for image in images:
        ours = graph(torch.from_numpy(image.copy())[None]).numpy()
        most = max(most, float(np.abs(ours - session.run([OUTPUT], {INPUT: image[None]})[0]).max()))
    return most
