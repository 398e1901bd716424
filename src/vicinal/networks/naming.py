"""What a MODEL names: the many ways in which people call a classifier, brought to a model's name and the weights it starts from."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vicinal.config import brings_weights, is_factory, is_onnx
from vicinal.errors import UsageError
from vicinal.networks.meaning import Meaning
from vicinal.networks.weights import read_weights_file

HUB_PREFIXES = ("hf-hub:", "hf_hub:")  # timm's names for anyone's model on the Hugging Face hub
FOLDER_PREFIX = "local-dir:"  # timm's name for a model in a folder
TORCHVISION, TRANSFORMERS = "torchvision/", "transformers/"
WAYS = (
    "a timm name, hf-hub:OWNER/NAME, torchvision/NAME, transformers/NAME_OR_FOLDER, FILE.onnx, package.module:factory, a folder with "
    "a config.json, a run folder, a weights file that names its model, or NAME=FILE"
)
_FILES = (".onnx", ".safetensors", ".pth", ".pt", ".th", ".ckpt", ".bin", ".tar")
_RUN_WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class ModelName:
    """A model as a study names it."""

    model: str
    weights: (
        str | None
    )  # hub (also: what lies in the model's folder), a file, or None where the model brings them itself
    model_args: Mapping[str, Any] = field(default_factory=dict)


def weights_file(model: str, weights: str | None) -> Path | None:
    """The file that `weights` of a model names; None where they are the hub's, torchvision's by name, or none."""
    if weights is None or weights == "hub":
        return None
    published = model.startswith(TORCHVISION) and re.fullmatch(r"[A-Z][A-Z0-9_]*", weights) is not None
    return None if published and not Path(weights).exists() else Path(weights)


def model_name(text: str, weights: str | None = None) -> ModelName:
    """What a MODEL names, as the command line takes it.

    Args:
        text: see `WAYS`; `NAME=FILE` gives weights to a name.
        weights: a file, or hub; default: the model's own.

    Raises UsageError where nothing of that name is known.
    """
    if not text:
        raise UsageError(f"no model is named: give {WAYS}")
    path = Path(text)
    if "=" in text and weights is None and not path.exists():
        name, _, file = text.partition("=")
        if name and file:
            return model_name(name, file)
    if text.startswith(FOLDER_PREFIX):
        _check_timm_folder(Path(text.removeprefix(FOLDER_PREFIX)))
    elif text.startswith((TORCHVISION, TRANSFORMERS)) or is_factory(text):
        pass
    elif "/" in text or path.suffix or path.exists():  # a timm name is a word
        if path.is_dir():
            return _in_folder(path, weights)
        if path.is_file() and not is_onnx(text):
            return _of_file(path, weights)
        if path.suffix in _FILES and not path.is_file():
            raise UsageError(f"there is no file {text}")
    return ModelName(text, weights or (None if brings_weights(text) else "hub"))


def _of_file(path: Path, weights: str | None) -> ModelName:
    """A file of weights that says itself which model it is of. Raises UsageError where it does not."""
    if weights is not None:
        raise UsageError(f"{path} is a file of weights and no model: give the model's name, as NAME={path}")
    meaning = read_weights_file(path).meaning
    if meaning.model is None:
        raise UsageError(f"{path} does not say which model it is of: give its name too, as NAME={path}")
    return ModelName(meaning.model, str(path), _arguments(meaning))


def _arguments(meaning: Meaning) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in meaning.model_args.items()}


def _in_folder(path: Path, weights: str | None) -> ModelName:
    """A folder of a run, of timm or of transformers. Raises UsageError for any other."""
    if (path / _RUN_WEIGHTS).is_file() and (path / "spec.json").is_file():
        if weights is not None:
            raise UsageError(f"{path} is the folder of a run and has its weights: leave the others out")
        return _of_file(path / _RUN_WEIGHTS, None)
    if (path / "runs").is_dir() and (path / "study.json").is_file():
        runs = sorted(run.parent.name for run in path.glob(f"runs/*/{_RUN_WEIGHTS}"))
        named = f", such as {path / 'runs' / runs[0]}" if runs else ""
        raise UsageError(f"{path} is a study of {len(runs)} trained networks: name the folder of one of them{named}")
    config = read_config(path)
    if "architecture" in config:
        return ModelName(f"{FOLDER_PREFIX}{path}", weights or "hub")
    if "model_type" in config or "architectures" in config:
        return ModelName(f"{TRANSFORMERS}{path}", weights or "hub")
    raise UsageError(f"{path / 'config.json'} is neither timm's (architecture) nor one of transformers (model_type)")


def read_config(folder: Path) -> dict[str, Any]:
    """The config.json of a folder. Raises UsageError where there is none, or none of JSON."""
    file = folder / "config.json"
    if not file.is_file():
        raise UsageError(
            f"{folder} holds no model: no config.json, as timm and transformers write it, and no run ({_RUN_WEIGHTS} and spec.json)"
        )
    try:
        value = json.loads(file.read_bytes())
        if not isinstance(value, dict):
            raise ValueError("no mapping")
        return value
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{file} cannot be read ({type(error).__name__}): get it again") from None


def _check_timm_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise UsageError(f"{FOLDER_PREFIX}{folder}: there is no such folder")
    if "architecture" not in read_config(folder):
        raise UsageError(f"{folder / 'config.json'} names no architecture of timm: it is none that timm has written")
