"""The file of a checkpoint: written whole with a checksum, and read only where it is this run's and sound."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from vicinal.training.state import State
from vicinal.workspace import DamagedError, RunFolder, check_sealed_file, write_sealed_file

_KEYS = {"fingerprint", "phase", "state", "network", "optimizer", "generators", "log"}
_NEWER = {"threads", "regressor", "average"}  # that a checkpoint of an older version lacks
_STATE = {field.name for field in fields(State)}


def write_checkpoint(folder: RunFolder, value: Mapping[str, Any]) -> None:
    """A checkpoint with its checksum, whole or not at all. Raises VicinalError where it cannot be written."""
    value = {"fingerprint": folder.spec.fingerprint(), **value}
    assert value.keys() == _KEYS | _NEWER
    write_sealed_file(folder.checkpoint, lambda file: torch.save(value, file))


def read_checkpoint(
    folder: RunFolder, network: Mapping[str, Tensor], say: Callable[[str], None]
) -> dict[str, Any] | None:
    """The checkpoint that a run continues from; None where there is none, or none to be used, which `say` is told in a line.

    Nothing in it is executed. What is damaged, of another version or another run's is left where it is until the next checkpoint.

    Args:
        network: the run's weights by name, whose shapes the checkpoint's must have.
    """
    if not folder.checkpoint.exists():
        return None
    value: Any = None
    try:
        check_sealed_file(folder.checkpoint)
        with warnings.catch_warnings(action="ignore"):  # of torch, about pickles that are not its own
            value = torch.load(folder.checkpoint, map_location="cpu", weights_only=True)
        reason = _why_not(value, folder.spec.fingerprint(), network)
    except DamagedError:
        reason = "is damaged (its checksum does not fit)"
    except Exception as error:  # whatever torch makes of a file that is none of ours
        reason = f"cannot be read ({type(error).__name__})"
    if not reason:
        return dict(value)
    say(f"{folder.checkpoint} {reason}; the run starts from its beginning")
    return None


def _why_not(value: Any, fingerprint: str, network: Mapping[str, Tensor]) -> str:
    """Why a checkpoint is not continued from; empty where it is."""
    if not isinstance(value, dict) or not isinstance(value.get("state"), dict) or value.keys() - _NEWER != _KEYS:
        return "is of another version of vicinal"
    if value["fingerprint"] != fingerprint:
        return "belongs to another run"
    if not isinstance(value.get("threads", 0), int):
        return "is of another version of vicinal"
    held = value["network"]
    fits = isinstance(held, dict) and {k: t.shape for k, t in held.items()} == {k: t.shape for k, t in network.items()}
    lists = isinstance(value["generators"], list) and isinstance(value["log"], list)
    if value["state"].keys() != _STATE or not lists or not fits:
        return "is of another version of vicinal"
    return ""
