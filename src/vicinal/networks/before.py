"""How a network's images are prepared, told before it is built: a study reads its images first, each once for all networks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import timm

from vicinal.config import NetworkSpec, PreparationSpec
from vicinal.errors import UsageError
from vicinal.networks.build import build_classifier
from vicinal.networks.meaning import Meaning
from vicinal.networks.naming import FOLDER_PREFIX, HUB_PREFIXES
from vicinal.networks.stated import stated_preparation
from vicinal.networks.weights import read_weights_file


class StatedPreparation(NamedTuple):
    """A preparation, and who states it."""

    preparation: PreparationSpec
    by_weights: bool  # the weights themselves; else timm does, for the name of the model alone


def preparation_stated(spec: NetworkSpec) -> StatedPreparation | None:
    """How test images of a network were prepared where it was trained; None where nothing states it, or it starts from nothing.

    A file of weights is asked first, then the config of the model. What cannot be read states nothing: building the network says why.
    """
    if not _is_timms(spec.model):
        return _of_built(spec)
    if spec.weights is None:
        return None
    meaning, by_weights = Meaning(), True
    if spec.weights != "hub":
        path = Path(spec.weights)
        try:
            meaning = _meaning_of(path, path.stat().st_mtime_ns, spec.ema)
        except (UsageError, OSError):
            return None
        by_weights = meaning.preparation is not None or bool(meaning.data_args)
        if (
            not by_weights and meaning.image_size is not None
        ):  # of images that were trained on as they are: no photographs
            return None
    config = _config(spec.model)
    found = stated_preparation(meaning, config, spec.image_size)
    if found is not None and found.crop_mode == "border" and found.fill is None:
        found = found.model_copy(
            update={"fill": _fill(spec.mean or meaning.data_args.get("mean") or config.get("mean"))}
        )
    return None if found is None else StatedPreparation(found, by_weights)


def border_fill(spec: NetworkSpec) -> tuple[int, ...] | None:
    """What borders around a network's images are filled with: its mean, as timm does, 0 to 255; None where nothing states it."""
    return _fill(spec.mean or (_config(spec.model).get("mean") if _is_timms(spec.model) else None))


def _fill(mean: Any) -> tuple[int, ...] | None:
    return tuple(round(255 * value) for value in mean) if mean else None


@lru_cache(maxsize=16)
def _meaning_of(path: Path, _changed: int, ema: bool) -> Meaning:
    """What a file of weights says of itself, remembered while it is the same."""
    return read_weights_file(path, ema).meaning


def _is_timms(model: str) -> bool:
    if model.startswith((*HUB_PREFIXES, FOLDER_PREFIX)):
        return True
    try:
        return bool(timm.is_model(model))
    except Exception:  # a name that timm cannot even take apart
        return False


def _config(model: str) -> Mapping[str, Any]:
    """timm's config of a model; empty where it has none."""
    try:
        if model.startswith(HUB_PREFIXES):
            config = timm.models.load_model_config_from_hf(model.split(":", 1)[1])[0]
        elif model.startswith(FOLDER_PREFIX):
            config = json.loads((Path(model.removeprefix(FOLDER_PREFIX)) / "config.json").read_bytes())
            config = config.get("pretrained_cfg") or config
        else:
            found = timm.get_pretrained_cfg(model)
            config = {} if found is None else found.to_dict()
    except Exception:  # a hub out of reach, a folder of something else
        return {}
    return config if isinstance(config, Mapping) else {}


def _of_built(spec: NetworkSpec) -> StatedPreparation | None:
    """Of a network that is no model of timm's: it is built as its weights have it, and asked."""
    import torch

    if spec.weights is None and spec.model.startswith(
        "torchvision/"
    ):  # it starts from nothing; the others bring weights with their name
        return None
    kept = spec.model_copy(update={"head": "keep", "epochs": 0, "head_warmup_epochs": 0, "class_names": None})
    try:
        with torch.random.fork_rng(devices=[]):
            own = build_classifier(kept, None, 3).own_preparation
    except (UsageError, RuntimeError, ValueError):
        return None
    return None if own is None else StatedPreparation(own, True)
