"""Weights in files: read without unpickling, unwrapped, looked over, and written whole or not at all with what they mean."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from vicinal.errors import UsageError, one_line
from vicinal.networks.classifier import Classifier
from vicinal.networks.inert import is_inert, read_torch_file
from vicinal.networks.meaning import METADATA_KEY, Meaning
from vicinal.networks.said import said_in
from vicinal.workspace import Seal, safetensors_seal, write_sealed_tensors

# Under which names training scripts keep a state_dict: PyTorch's examples, timm, Lightning, mmpretrain, DeiT, kuangliu's.
PLAIN_KEYS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module", "weights", "params")
EMA_KEYS = ("state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema", "params_ema")
# What DataParallel, torch.compile, Lightning and wrappers of their kind put before every name.
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.")
FILE_BYTES = "file_bytes"  # the buffer of a network that is made from a file: its bytes
_DEEPEST = 8  # wrappings of one file
_UNSCALED = (torch.bool, torch.int8, torch.uint8, torch.int16, torch.complex64, torch.complex128, torch.complex32)
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_FLOATING_NAMES = ("weight", "bias", "running_mean", "running_var", "mean", "std")


@dataclass(frozen=True)
class WeightsFile:
    """The tensors of a file, by the names that the network itself gives them, and what the file says of them."""

    path: Path
    tensors: dict[str, Tensor]
    meaning: Meaning
    notes: tuple[str, ...] = ()  # what was chosen, a sentence each


def save_weights(network: Classifier, path: Path) -> None:
    """A classifier's weights as safetensors, whole or not at all, with what they mean and a checksum in the file's metadata.

    Tensors that share memory are each written in full, so that the file can be read one by one.
    """
    tensors: dict[str, Tensor] = {}
    seen: set[int] = set()
    check_writable(network)
    for name, tensor in network.state_dict().items():
        own = tensor.detach().cpu().contiguous()
        storage = own.untyped_storage().data_ptr()
        tensors[name] = own.clone() if storage in seen else own
        seen.add(storage)
    write_sealed_tensors(path, save(tensors), {METADATA_KEY: Meaning.of(network).to_json()})


def check_writable(network: Classifier) -> None:
    """Raises UsageError where a network holds something that no file of plain tensors can."""
    for name, value in network.state_dict().items():
        if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_quantized or value.is_meta:
            raise UsageError(f"its weights cannot be saved: {name} is no plain dense tensor")


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, or of a PyTorch file read with weights_only=True. Raises UsageError."""
    return read_weights_file(path).tensors


def read_weights_file(path: Path, ema: bool = False) -> WeightsFile:
    """The tensors of a safetensors file, or of a PyTorch file read with weights_only=True, out of all their wrappings.

    Args:
        ema: take the moving averages of a checkpoint that holds both.

    Raises UsageError for what is no file of weights: damaged, of numbers that are no weights, not finite, without averages.
    """
    if not path.is_file():
        raise UsageError(f"no weights file {path}; give the path of a safetensors file, 'hub', or leave 'weights' out")
    notes: list[str] = []
    meaning = Meaning()
    if _is_safetensors(path):
        value, meaning = _read_safetensors(path)
    else:
        value, classes = read_torch_file(path)
        meaning = said_in(value)
        _refuse_objects(path, value)
        if classes:
            more = f", and {len(classes) - 3} more" if len(classes) > 3 else ""
            notes.append(
                f"{path.name}: what it holds of other kinds ({', '.join(classes[:3])}{more}) is left out, unread."
            )
    tensors = _unwrapped(path, value, ema, notes)
    _check_tensors(path, tensors)
    return WeightsFile(path, tensors, meaning, tuple(notes))


def _is_safetensors(path: Path) -> bool:
    """By its first bytes, since files are renamed; by its ending where these tell nothing."""
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError:
        start = b""
    if start.startswith(b"PK\x03\x04"):  # a zip file, as torch.save writes it
        return False
    return path.suffix == ".safetensors" or start[8:] == b"{"


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], Meaning]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        if safetensors_seal(path) is Seal.DAMAGED:  # other programs' files have no checksum
            raise SafetensorError("its checksum does not fit: it was damaged after it was written")
        return load_file(path), Meaning.from_json(metadata.get(METADATA_KEY), path)
    except SafetensorError as error:
        raise UsageError(f"{path} is not a readable safetensors file ({one_line(error)}); get it again") from None
    except (OSError, RuntimeError, ValueError, KeyError, MemoryError, AttributeError) as error:
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise UsageError(f"{path} is not a readable safetensors file ({reason}); get it again") from None


def _refuse_objects(path: Path, value: Any) -> None:
    """Raises UsageError for a file that holds a whole pickled network and not its weights."""
    inside = [value, *(value.get(key) for key in (*PLAIN_KEYS, *EMA_KEYS))] if isinstance(value, Mapping) else [value]
    for part in inside:
        name = is_inert(part)
        if name is not None:
            raise UsageError(
                f"{path} holds a whole object of the class {name}, which only code could read: save model.state_dict() in its place"
            )


def _unwrapped(path: Path, value: Any, ema: bool, notes: list[str]) -> dict[str, Tensor]:
    """The state_dict in whatever a training script wrapped around it, without what wrappers put before its names."""
    averages = False
    for _ in range(_DEEPEST):
        if not isinstance(value, Mapping) or not value:
            break
        if all(isinstance(part, Tensor) for part in value.values()):
            if ema and not averages:
                raise UsageError(f"{path} holds no EMA weights ({', '.join(EMA_KEYS)}): leave 'ema' out")
            return _stripped(path, value)
        plain = [key for key in PLAIN_KEYS if isinstance(value.get(key), Mapping)]
        moving = [key for key in EMA_KEYS if isinstance(value.get(key), Mapping)]
        if moving and (ema or not plain):
            key, averages = moving[0], True
            notes.append(f"{path.name}: its EMA weights are taken ({key}).")
        elif plain:
            key = plain[0]
            if moving:
                notes.append(
                    f"{path.name} holds EMA weights too ({moving[0]}): its plain ones are taken ({key}); ema: true takes the others."
                )
        else:
            named = [key for key, part in value.items() if _is_state_dict(part)]
            if len(named) > 1:
                listed = ", ".join(map(repr, named[:5]))
                raise UsageError(
                    f"{path} holds {len(named)} state_dicts ({listed}): save the one that is meant by itself"
                )
            if not named:
                break
            key = named[0]
        value = value[key]
    raise UsageError(f"{path} is not a state_dict; save model.state_dict() as safetensors")


def _is_state_dict(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(isinstance(part, Tensor) for part in value.values())


def _stripped(path: Path, tensors: Mapping[Any, Tensor]) -> dict[str, Tensor]:
    for name in tensors:
        if not isinstance(name, str):
            raise UsageError(f"{path} names a tensor by {name!r}: save model.state_dict(), whose keys are names")
    found = dict(tensors)
    while prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in found)), None):
        found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    return found


def _check_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raises UsageError for tensors that are no weights: whole numbers, complex ones, not finite ones."""
    for name, tensor in tensors.items():
        if name.rpartition(".")[2] == FILE_BYTES:
            continue
        kind = str(tensor.dtype).removeprefix("torch.")
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
            raise UsageError(f"{path}: {name} is no plain dense tensor; save the network's weights as floats")
        if tensor.is_floating_point():
            if tensor.dtype not in _FLOATS:
                raise UsageError(f"{path}: {name} is {kind}, without its scale; save the network's weights as floats")
            if not bool(tensor.isfinite().all()):
                raise UsageError(
                    f"{path}: {name} holds NaN or infinite numbers; its training diverged: get other weights"
                )
        elif tensor.dtype in _UNSCALED or name.rpartition(".")[2] in _FLOATING_NAMES:
            raise UsageError(f"{path}: {name} is {kind} and no float; save the network's weights as floats")


def check_kinds(path: Path | str, tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Raises UsageError where whole numbers lie under the name of one of the network's floats."""
    for name in tensors.keys() & wanted.keys():
        if wanted[name].is_floating_point() and not tensors[name].is_floating_point():
            kind = str(tensors[name].dtype).removeprefix("torch.")
            raise UsageError(f"{path}: {name} is {kind} and no float; save the network's weights as floats")


def shapes_differ(held: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Iterator[str]:
    """Names in both whose tensors have other shapes."""
    return (name for name in held if name in wanted and held[name].shape != wanted[name].shape)


def first_difference(held: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str | None:
    """A name that only one of them has, or whose shapes differ; None where they fit one another."""
    missing, unexpected = (n for n in wanted if n not in held), (n for n in held if n not in wanted)
    return next(itertools.chain(missing, unexpected, shapes_differ(held, wanted)), None)
