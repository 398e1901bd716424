"""What a training script's file says of its network beside the weights: model, classes, and how images were prepared."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
from pydantic import ValidationError

from vicinal.config import PreparationSpec
from vicinal.networks.meaning import Meaning

_NAMES = ("class_names", "classes", "label_names", "labels", "idx_to_class", "id2label", "class_to_idx", "label2id")
_MODELS = ("model_name", "model", "arch", "architecture", "backbone", "encoder", "net")
_OF_TIMM = (
    "input_size",
    "img_size",
    "crop_pct",
    "crop_mode",
    "interpolation",
    "mean",
    "std",
)  # arguments of its train.py
_LARGEST_CLASS_MAP = 10_000_000  # bytes


def said_in(value: Any) -> Meaning:
    """What the value of a PyTorch file says; nothing where it is weights alone."""
    if not isinstance(value, Mapping):
        return Meaning()
    args = _record(value.get("args"))
    if "val_crop_size" in args:
        return _of_torchvision(args)
    if "crop_pct" in args and isinstance(args.get("model"), str):
        return _of_timm(args)
    for key in ("hyper_parameters", "hparams", "config", "cfg", "args"):
        found = _record(value.get(key))
        if found:
            meaning = Meaning(class_names=names_in(found), model=_timm_model_in(found))
            if meaning != Meaning():
                return meaning
    arch = value.get("arch")
    is_of_examples = (
        isinstance(arch, str) and "state_dict" in value and "best_acc1" in value
    )  # pytorch/examples/imagenet
    return Meaning(class_names=names_in(value), model=f"torchvision/{arch}" if is_of_examples else None)


def _of_timm(args: Mapping[str, Any]) -> Meaning:
    """Of timm's train.py."""
    kwargs = args.get("model_kwargs")
    plain = (
        {k: v for k, v in kwargs.items() if isinstance(v, bool | int | float | str)} if isinstance(kwargs, dict) else {}
    )
    return Meaning(
        class_names=_class_map(args.get("class_map")),
        model=args["model"],
        model_args=plain,
        data_args={key: _plain(args[key]) for key in _OF_TIMM if args.get(key)},
    )


def _of_torchvision(args: Mapping[str, Any]) -> Meaning:
    """Of torchvision's references/classification/train.py."""
    model = args.get("model")
    try:
        preparation = PreparationSpec(
            image_size=args["val_crop_size"],
            resize=max(args["val_resize_size"], args["val_crop_size"]),
            interpolation=args.get("interpolation", "bilinear"),
        )
    except (ValidationError, KeyError, TypeError):
        preparation = None
    return Meaning(model=f"torchvision/{model}" if isinstance(model, str) else None, preparation=preparation)


def _record(value: Any) -> dict[str, Any]:
    """The entries of a mapping or a namespace, by name."""
    if isinstance(value, argparse.Namespace):
        value = vars(value)
    return {k: v for k, v in value.items() if isinstance(k, str)} if isinstance(value, Mapping) else {}


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def names_in(record: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The names of classes under any of the usual keys of a record, in the order of the logits."""
    for key in _NAMES:
        names = names_of(record.get(key))
        if names is not None:
            return names
    return None


def names_of(value: Any) -> tuple[str, ...] | None:
    """Names in the order of the logits: of a list, of a mapping from numbers to names, or of one from names to numbers.

    None where these are not two or more names, each once, for the numbers from 0 on.
    """
    if isinstance(value, Mapping):
        pairs = list(value.items())
        if all(_number(k) is not None and isinstance(v, str) for k, v in pairs):
            pairs = [(v, _number(k)) for k, v in pairs]
        by_number = {_number(v): k for k, v in pairs if isinstance(k, str)}
        if len(by_number) != len(value) or set(by_number) != set(range(len(value))):
            return None
        value = [by_number[k] for k in range(len(value))]
    if (
        not isinstance(value, list | tuple)
        or len(value) < 2
        or not all(isinstance(name, str) and name for name in value)
    ):
        return None
    return tuple(value) if len(set(value)) == len(value) else None


def _number(value: Any) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, str) and value.isdecimal() else None


def _timm_model_in(record: Mapping[str, Any]) -> str | None:
    for key in _MODELS:
        name = record.get(key)
        if isinstance(name, str) and timm.is_model(name):
            return name
    return None


def _class_map(path: Any) -> tuple[str, ...] | None:
    """The names in the file that timm's --class-map names, where it is here: one a line, in order."""
    try:
        file = Path(path) if isinstance(path, str) and path else None
        if file is None or not file.is_file() or file.stat().st_size > _LARGEST_CLASS_MAP:
            return None
        return names_of([line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()])
    except (OSError, ValueError):
        return None
