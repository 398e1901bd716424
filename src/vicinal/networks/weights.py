"""Weights in files: read without unpickling, written whole or not at all."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from vicinal.errors import UsageError
from vicinal.networks.classifier import Classifier
from vicinal.workspace import write_atomically


def save_weights(network: Classifier, path: Path) -> None:
    """A classifier's weights as safetensors, whole or not at all."""
    write_atomically(path, save({name: t.detach().cpu().contiguous() for name, t in network.state_dict().items()}))


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, or of a PyTorch file read with weights_only=True. Raises UsageError."""
    if not path.is_file():
        raise UsageError(f"no weights file {path}; give the path of a safetensors file, 'hub', or leave 'weights' out")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        value = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise UsageError(f"{path} is not a readable safetensors file ({error}); get it again") from None
    except Exception as error:
        raise UsageError(
            f"{path} is not a file of plain tensors ({type(error).__name__}); save the model's state_dict as safetensors"
        ) from None
    value = value.get("state_dict", value) if isinstance(value, dict) else value
    if not isinstance(value, dict) or not all(isinstance(t, Tensor) for t in value.values()):
        raise UsageError(f"{path} is not a state_dict; save model.state_dict() as safetensors")
    return value


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
