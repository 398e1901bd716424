"""ONNX files as networks that teach or are measured, run by onnxruntime on the processor.

Shapes: B samples, (C, H, W) an image, K classes.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vicinal.config import NetworkSpec
from vicinal.errors import UsageError, one_line
from vicinal.networks.said import names_in, names_of

_FLOATS = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
_PROBED = 4  # images that show whether answers are probabilities
_ROUNDING = 2e-3  # by which half-precision probabilities may miss a sum of 1
_SMALLEST = float(np.finfo(np.float32).tiny)  # a probability that was rounded to 0 is at most this
_SIDES = (224, 32, 28, 64, 96, 128, 256, 299, 384)  # px, tried where the file takes any


class OnnxModel(nn.Module):
    """An ONNX file: (B, C, H, W) normalised pixels to (B, K) logits. It has no parameters to train.

    Answers that are probabilities become their logarithms, which are logits of the same probabilities.

    Args:
        file_bytes: of the file, kept as a buffer so that saved weights are enough to make it again.
        what: how messages call it.

    Raises UsageError where it is no classifier of images.
    """

    file_bytes: Tensor

    def __init__(self, file_bytes: bytes, what: str, image_size: int | None = None) -> None:
        super().__init__()
        self.register_buffer("file_bytes", torch.frombuffer(bytearray(file_bytes), dtype=torch.uint8))
        self.what = what
        self._session: Any = None
        session = self.session
        given, answers = session.get_inputs(), session.get_outputs()
        if len(given) != 1:
            raise UsageError(f"{what} takes {len(given)} inputs ({', '.join(i.name for i in given)}), not images alone")
        self._input = given[0].name
        shape = list(given[0].shape)
        if len(shape) != 4 or (given[0].type != "tensor(uint8)" and given[0].type not in _FLOATS):
            raise UsageError(f"{what} takes {given[0].type} {shape}, not images as float or uint8 of four dimensions")
        self.takes_bytes, self._dtype = given[0].type == "tensor(uint8)", _FLOATS.get(given[0].type, np.uint8)
        self.channels_last = shape[1] not in (1, 3) and shape[3] in (1, 3)
        channels, *sides = [shape[3], *shape[1:3]] if self.channels_last else shape[1:]
        self.in_chans = channels if isinstance(channels, int) else 3
        self._batch = shape[0] if isinstance(shape[0], int) else None
        self.side = next((side for side in sides if isinstance(side, int)), None)
        self.metadata: dict[str, str] = dict(session.get_modelmeta().custom_metadata_map)
        self._output, self._gives_probabilities = answers[0].name, False
        self.num_classes, self._gives_probabilities = self._probed([output.name for output in answers], image_size)
        self.pretrained_cfg = _config(self)
        self.value_count = _value_count(file_bytes)

    @property
    def session(self) -> Any:
        """onnxruntime's, made when first asked for."""
        if self._session is None:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.log_severity_level = 4
            options.intra_op_num_threads = torch.get_num_threads()
            try:
                self._session = onnxruntime.InferenceSession(
                    self.file_bytes.numpy(force=True).tobytes(), options, providers=["CPUExecutionProvider"]
                )
            except Exception as error:
                raise UsageError(f"{self.what} cannot be read by onnxruntime ({one_line(error)})") from None
        return self._session

    @property
    def gives_probabilities(self) -> bool:
        """Whether the file answers with probabilities, of which the logarithms are given."""
        return self._gives_probabilities

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, C, H, W) normalised pixels, or pixels in [0, 1] where the file takes bytes, to (B, K) logits."""
        if not len(pixels):
            return pixels.new_zeros(0, self.num_classes)
        found = torch.from_numpy(np.concatenate([self._answered(part) for part in self._parts(pixels)]))
        if self._gives_probabilities:
            found = found.clamp(min=_SMALLEST).log()
        return found.to(pixels.device)

    def _parts(self, pixels: Tensor) -> list[np.ndarray]:
        if pixels.shape[1] == 1 and self.in_chans == 3:
            pixels = pixels.expand(-1, 3, -1, -1)
        if self.takes_bytes:
            pixels = (pixels * 255).round().clamp(0, 255)
        if self.channels_last:
            pixels = pixels.permute(0, 2, 3, 1)
        values = np.ascontiguousarray(pixels.detach().cpu().numpy().astype(self._dtype))
        size = self._batch or max(1, len(values))
        return [values[start : start + size] for start in range(0, len(values), size)] or [values]

    def _answered(self, part: np.ndarray) -> np.ndarray:
        count = len(part)
        if self._batch is not None and count < self._batch:  # filled up with its last image
            part = np.concatenate([part, np.repeat(part[-1:], self._batch - count, axis=0)])
        answer = self.session.run([self._output], {self._input: part})[0]
        return np.asarray(answer, dtype=np.float32).reshape(len(part), -1)[:count]

    def _probed(self, outputs: list[str], image_size: int | None) -> tuple[int, bool]:
        """K of the output that is the answer, and whether it is probabilities."""
        draw, failed = torch.Generator().manual_seed(0), None
        stated = self.side or image_size
        for side in (stated,) if stated else _SIDES:
            pixels = torch.rand(_PROBED, self.in_chans, side, side, generator=draw)
            for name in sorted(outputs, key=lambda name: "logit" not in name.lower()):
                self._output = name
                try:
                    answer = self(pixels)
                except Exception as error:
                    failed = error
                    continue
                if answer.dim() == 2 and answer.shape[1] > 1:
                    sums = answer.double().sum(1)
                    return answer.shape[1], bool((answer >= 0).all() and ((sums - 1).abs() < _ROUNDING).all())
        why = (
            f"({type(failed).__name__}: {one_line(failed)})"
            if failed is not None
            else "(none of its outputs is (B, K) numbers)"
        )
        raise UsageError(f"{self.what} answers images with no classes {why}")

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_session": None}  # a session is this process's

    def __deepcopy__(self, memo: dict[int, Any]) -> OnnxModel:
        return self  # nothing in it is ever changed


def onnx_model(spec: NetworkSpec, saved: bytes | None, notes: list[str]) -> OnnxModel:
    """The network of a file. Raises UsageError where it is not there, is none, or is to be trained."""
    if spec.epochs or spec.head != "keep":
        raise UsageError(
            f"{spec.model} is an ONNX file, which can teach and be measured as it is: head: keep, epochs: 0"
        )
    if saved is None and spec.weights is not None:
        raise UsageError(f"{spec.model} has its weights inside: leave 'weights' out")
    try:
        content = saved if saved is not None else Path(spec.model).read_bytes()
    except OSError as error:
        raise UsageError(f"{spec.model} cannot be read ({error.strerror or error})") from None
    model = OnnxModel(_with_its_data(Path(spec.model), content), spec.model, spec.image_size)
    if model.gives_probabilities:
        notes.append(f"{Path(spec.model).name} answers with probabilities: their logarithms are its logits.")
    return model


def blank_onnx(spec: NetworkSpec, saved: bytes | None) -> OnnxModel:
    """The network of a file that saved weights hold. Raises UsageError."""
    return onnx_model(spec.model_copy(update={"weights": None, "epochs": 0, "head": "keep"}), saved, [])


def _with_its_data(path: Path, content: bytes) -> bytes:
    """A file with the weights that it keeps in others beside it. Raises UsageError where these are not there."""
    import onnx

    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:
        raise UsageError(f"{path} is no ONNX file ({type(error).__name__})") from None
    outside = [t for t in model.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
    if not outside:
        return content
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
        for tensor in outside:
            tensor.data_location = onnx.TensorProto.DEFAULT
        return bytes(model.SerializeToString())
    except Exception as error:
        raise UsageError(f"{path}: its data files cannot be read ({one_line(error)}): keep them beside it") from None


def _value_count(content: bytes) -> int:
    """Numbers that a file holds: weights and statistics, without shapes and the like."""
    import onnx

    graph = onnx.load_model_from_string(content).graph
    integers = (onnx.TensorProto.INT64, onnx.TensorProto.INT32, onnx.TensorProto.BOOL)
    return int(sum(np.prod(t.dims) for t in graph.initializer if t.data_type not in integers))


def _config(model: OnnxModel) -> dict[str, Any]:
    """What the file says of its images and classes, in timm's terms."""
    said: dict[str, Any] = {key: _value(text) for key, text in model.metadata.items()}
    inside = [value for value in said.values() if isinstance(value, Mapping)]
    cfg: dict[str, Any] = {}
    for record in [said, *inside]:
        for key in ("mean", "std", "crop_pct", "crop_mode", "interpolation", "resize"):
            if record.get(key) is not None:
                cfg.setdefault(key, tuple(record[key]) if isinstance(record[key], list) else record[key])
        size = record.get("image_size") or record.get("input_size")
        if size and "input_size" not in cfg:
            side = size[-1] if isinstance(size, list | tuple) else size
            cfg["input_size"] = (model.in_chans, side, side)
        names = names_in(record) or names_of(record.get("names"))
        if names is not None:
            cfg.setdefault("label_names", names)
    if model.side is not None:
        cfg["input_size"] = (model.in_chans, model.side, model.side)
    if model.takes_bytes and model.side is None and isinstance(cfg.get("resize"), int):
        side = cfg.pop("resize")  # it crops them itself: what it crops from is what it is to be given
        cfg["input_size"] = (model.in_chans, side, side)
    if model.takes_bytes:  # it normalises them itself
        cfg |= {"mean": (0.0,) * model.in_chans, "std": (1.0,) * model.in_chans}
    return cfg


def _value(text: str) -> Any:
    """A metadata entry as JSON, as Python writes a dict or list, or as names one a line or between commas."""
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    lines = [line.strip() for line in (text.splitlines() if "\n" in text else text.split(",")) if line.strip()]
    return lines if len(lines) > 1 else text
