"""The kinds of models that a study may name, and how each is made: with its weights, or blank for weights that were saved here."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

import timm
from torch import Tensor, nn

from vicinal.config import NetworkSpec, is_factory, is_given, is_onnx
from vicinal.errors import UsageError
from vicinal.networks import small  # noqa: F401  (registers the built-in networks with timm)
from vicinal.networks.factory import code_file, factory_model, made_by_factory
from vicinal.networks.given import given_hash, given_model, new_given
from vicinal.networks.naming import (
    FOLDER_PREFIX,
    HUB_PREFIXES,
    TORCHVISION,
    TRANSFORMERS,
    WAYS,
    weights_file,
)
from vicinal.networks.onnx_models import blank_onnx, onnx_model
from vicinal.networks.timm_models import new_model, timm_model
from vicinal.networks.torchvision_models import blank_torchvision, torchvision_model
from vicinal.networks.transformers_models import blank_transformers, transformers_model
from vicinal.workspace import content_hash_of

_MODEL_FILES = ("config.json", "preprocessor_config.json", "model.safetensors", "pytorch_model.bin")


def started_model(
    spec: NetworkSpec, channels: int, weights: Mapping[str, Tensor] | None, saved: bytes | None, notes: list[str]
) -> tuple[nn.Module, NetworkSpec]:
    """A model with its classifier, from the weights that a spec names, and the spec that it was made by; `notes` are told.

    Args:
        weights: of a file, by the model's own names; None: the model's published ones, or new, as the spec says.
        saved: the bytes that weights saved here keep of what their model is made from.

    Raises UsageError where it cannot be made or weights do not fit.
    """
    if spec.model.startswith(TORCHVISION):
        return torchvision_model(spec, weights, notes)
    if spec.model.startswith(TRANSFORMERS):
        return transformers_model(spec, weights, saved, notes), spec
    if is_onnx(spec.model):
        return onnx_model(spec, saved, notes), spec
    if is_factory(spec.model):
        return factory_model(spec, channels, weights, notes), spec
    if is_given(spec.model):
        return given_model(spec, channels, weights, notes), spec
    _check_timm_name(spec.model)
    return timm_model(spec, channels, weights, notes)


def blank_model(spec: NetworkSpec, channels: int, classes: int | None, saved: bytes | None) -> nn.Module:
    """An untrained model, into which weights that were saved here are loaded.

    Args:
        classes: of its own classifier; None: any number, since it is taken out.
        saved: see `started_model`.

    Raises UsageError where it cannot be made.
    """
    if spec.model.startswith(TORCHVISION):
        return blank_torchvision(spec, classes)
    if spec.model.startswith(TRANSFORMERS):
        return blank_transformers(spec, classes, saved)
    if is_onnx(spec.model):
        return blank_onnx(spec, saved)
    if is_factory(spec.model):
        return made_by_factory(spec, channels, classes)
    if is_given(spec.model):
        return new_given(spec, channels)
    return new_model(spec, channels, classes)


def weights_hash(spec: NetworkSpec) -> str | None:
    """SHA-256 (hex) over what lies here that a network starts from: weights, files of its folder, code, a module; None without any."""
    file = weights_file(spec.model, spec.weights)
    files = [] if file is None else [file]
    if is_onnx(spec.model):
        files.append(Path(spec.model))
    elif is_factory(spec.model):
        code = code_file(spec.model)
        files += [code] if code is not None else []
    elif spec.model.startswith((FOLDER_PREFIX, TRANSFORMERS)):
        folder = Path(spec.model.removeprefix(FOLDER_PREFIX).removeprefix(TRANSFORMERS))
        files += [folder / name for name in _MODEL_FILES if (folder / name).is_file()]
    hashes = [content_hash_of(path) for path in files]
    if is_given(spec.model):
        hashes.append(given_hash(spec.model))
    if len(hashes) < 2:
        return hashes[0] if hashes else None
    import hashlib

    return hashlib.sha256(" ".join(hashes).encode()).hexdigest()


def _check_timm_name(name: str) -> None:
    try:
        known = timm.is_model(name) or name.startswith((*HUB_PREFIXES, FOLDER_PREFIX))
    except Exception:  # a name that timm cannot even take apart
        known = False
    if not known:
        close = difflib.get_close_matches(name, timm.list_models(), n=3)
        if close:
            raise UsageError(f"no timm model is named {name!r}; close ones: {', '.join(close)}")
        other = f"; a model is {WAYS}" if not name.isidentifier() else ""
        raise UsageError(f"no timm model is named {name!r}{other}")
