"""What timm says of a model before anything is built or fetched: its size, the side it was made for, whether the hub has weights."""

from __future__ import annotations

import re
from dataclasses import dataclass

import timm
import torch

from vicinal.errors import UsageError
from vicinal.networks import small  # noqa: F401  (registers the built-in networks with timm)

HUB_TIMEOUT_S = 5.0
_TRANSFORMERS = re.compile(
    r"vit|deit|beit|eva|swin|cait|xcit|maxvit|coat|twins|pit_|volo|levit|tnt|mvit|former|hiera|siglip"
)


@dataclass(frozen=True)
class ModelFacts:
    """A timm model as its name alone says it is."""

    name: str
    parameters: int
    image_size: int | None  # side in px that its own weights were made for; None where timm states none
    is_transformer: bool  # by its name; such networks want a lower learning rate
    hub_id: str | None  # OWNER/NAME of its weights; None where there are none


def model_facts(name: str, classes: int = 1000) -> ModelFacts:
    """Look at a model; nothing is fetched and no weight is drawn. Raises UsageError for a name that timm does not know."""
    try:
        with torch.device("meta"):
            model = timm.create_model(name, num_classes=classes)
        cfg = getattr(model, "pretrained_cfg", None) or {}
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise UsageError(f"no timm model is named {name!r} ({reason}); timm.list_models() has the names") from None
    size = cfg.get("input_size") or (0, 0, 0)
    parameters = sum(p.numel() for p in model.parameters())
    family = name.rpartition(":")[2].rpartition("/")[2]
    return ModelFacts(
        name, parameters, int(size[-1]) or None, bool(_TRANSFORMERS.search(family)), cfg.get("hf_hub_id") or None
    )


def hub_weights_at_hand(facts: ModelFacts) -> bool:
    """Whether a model's weights lie in the hub's cache here, or the hub answers for them now; waits a few seconds at most."""
    if facts.hub_id is None:
        return False
    import huggingface_hub

    for file in ("model.safetensors", "pytorch_model.bin"):
        try:
            if isinstance(huggingface_hub.try_to_load_from_cache(facts.hub_id, file), str):
                return True
            url = huggingface_hub.hf_hub_url(facts.hub_id, file)
            huggingface_hub.get_hf_file_metadata(url, timeout=HUB_TIMEOUT_S)
        except Exception as error:  # no network, no such file, a proxy's page: all the same to whoever wants weights
            if getattr(getattr(error, "response", None), "status_code", None) != 404:
                return False
            continue
        return True
    return False
