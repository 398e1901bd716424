"""A student's folder read back: its classes, its preparation, its network or graph, and what it promises.

Shapes: N images, K classes, S the side of what a network sees.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from vicinal.data import View
from vicinal.errors import UsageError, VicinalError, one_line
from vicinal.shipping.export import STUDENT_FILE
from vicinal.shipping.graphs import INPUT, OUTPUT, onnx_session, quiet
from vicinal.shipping.int8 import INT8_FILE

Engine = Literal["timm", "onnx", "int8"]
Answers = NDArray[np.float64]  # (N, K) probabilities


@dataclass(frozen=True)
class Student:
    """What `vicinal predict` asks. `promises` is None where the folder makes none: one that timm wrote, or older."""

    folder: Path
    class_names: tuple[str, ...]
    channels: int
    probabilities: Callable[[Sequence[Image.Image]], Answers]
    promises: Mapping[str, Any] | None


def open_student(folder: Path, engine: Engine | None = None) -> Student:
    """Read a student's folder, or any folder that timm wrote.

    Args:
        engine: timm, onnx or int8 (its int8.onnx, with promises of its own); default: timm where the folder holds its files, else onnx.

    Raises:
        UsageError: no such folder, or not what the engine needs in it.
        VicinalError: its files are damaged.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder: vicinal export DIR --out {folder} writes a student there")
    facts = _read_json(folder / STUDENT_FILE) if (folder / STUDENT_FILE).is_file() else None
    has_timm, has_onnx = (folder / "config.json").is_file(), (folder / "model.onnx").is_file()
    if not has_timm and not has_onnx:
        raise UsageError(f"{folder} holds no student (no config.json, no model.onnx): vicinal export DIR writes one")
    engine = engine or ("timm" if has_timm else "onnx")
    if engine == "timm" and not has_timm:
        raise UsageError(f"{folder} has no config.json of timm: use --engine onnx")
    if engine == "onnx" and not has_onnx:
        raise UsageError(f"{folder} has no model.onnx: use --engine timm")
    if engine == "int8" and not (folder / INT8_FILE).is_file():
        raise UsageError(_without_int8(folder, facts))
    promises = None
    if facts is not None:
        if facts.get("schema") != 1 or not isinstance(facts.get("class_names"), list):
            raise UsageError(f"{folder / STUDENT_FILE} is of another version of vicinal: export the student again")
        told = (facts.get("int8") or {}) if engine == "int8" else facts
        promises = {key: told.get(key) for key in ("conformal", "selective")}
    file = folder / (INT8_FILE if engine == "int8" else "model.onnx")
    names, channels, ask = _timm(folder) if engine == "timm" else _onnx(file)
    if facts is not None and tuple(facts["class_names"]) != names:
        raise VicinalError(f"{folder}: {STUDENT_FILE} and the network name different classes: export the student again")
    return Student(folder, names, channels, ask, promises)


def _without_int8(folder: Path, facts: Mapping[str, Any] | None) -> str:
    refused = ((facts or {}).get("int8") or {}).get("refused")
    if refused:
        return f"{folder} has no {INT8_FILE}, which its export refused ({refused}): use --engine onnx"
    return f"{folder} has no {INT8_FILE}: vicinal export DIR --int8 writes one"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise VicinalError(
            f"{path} cannot be read ({' '.join(str(error).split())}): export the student again"
        ) from None
    if not isinstance(value, dict):
        raise VicinalError(f"{path} is no mapping: export the student again")
    return value


def _timm(folder: Path) -> tuple[tuple[str, ...], int, Callable[[Sequence[Image.Image]], Answers]]:
    import timm

    try:
        with quiet():
            model: Any = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
        config: dict[str, Any] = timm.data.resolve_model_data_config(model)
    except Exception as error:
        reason = one_line(error, 160)
        raise VicinalError(f"timm cannot load {folder} ({reason}): export the student again") from None
    channels, height, width = config["input_size"]
    mode: Any = config.get("crop_mode") or "center"
    kind: Any = config["interpolation"]
    if (
        height != width
        or mode not in ("center", "squash", "border")
        or kind not in ("nearest", "bilinear", "bicubic", "lanczos")
    ):
        raise UsageError(
            f"{folder}: its preparation ({height} x {width} px, {mode}, {kind}) is not one that vicinal knows"
        )
    fill = tuple(round(255 * value) for value in config["mean"]) if mode == "border" else ()
    view = View(height, math.floor(height / config["crop_pct"]), mode, kind, fill)
    mean, std = (torch.tensor(config[key]).view(1, -1, 1, 1) for key in ("mean", "std"))
    told = model.pretrained_cfg.get("label_names")
    names = tuple(told) if isinstance(told, list | tuple) and len(told) == model.num_classes else None

    @torch.inference_mode()
    def ask(images: Sequence[Image.Image]) -> Answers:
        seen = torch.from_numpy(np.stack([view.array(image) for image in images]))
        pixels = seen.permute(0, 3, 1, 2).float() / 255
        answers: Answers = model((pixels - mean) / std).double().softmax(-1).numpy()
        return answers

    return names or tuple(map(str, range(model.num_classes))), int(channels), ask


def _onnx(path: Path) -> tuple[tuple[str, ...], int, Callable[[Sequence[Image.Image]], Answers]]:
    try:
        session = onnx_session(path)
        told = session.get_modelmeta().custom_metadata_map
        names = tuple(json.loads(told["class_names"]))
        form = session.get_inputs()[0]
        if form.name != INPUT or form.type != "tensor(uint8)" or len(form.shape) != 4:
            raise ValueError(f"its input is {form.name} {form.type} {form.shape}")
        channels = int(form.shape[3])
    except Exception as error:
        reason = one_line(error, 160)
        raise VicinalError(f"{path} is no student's graph ({reason}): export the student again") from None

    def ask(images: Sequence[Image.Image]) -> Answers:
        answers = np.empty((len(images), len(names)))
        order = sorted(range(len(images)), key=lambda k: images[k].size)  # a batch is of one size
        for size, same in groupby(order, key=lambda k: images[k].size):
            places = list(same)
            batch = np.stack([np.asarray(images[k]).reshape(size[1], size[0], channels) for k in places])
            answers[places] = session.run([OUTPUT], {INPUT: batch})[0]
        return answers

    return names, channels, ask
