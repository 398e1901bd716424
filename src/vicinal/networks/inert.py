"""PyTorch files read without running anything of them: what is no tensor and no plain value becomes an inert placeholder."""

from __future__ import annotations

import argparse
import re
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vicinal.errors import UsageError

# Records that training scripts put beside the weights: they hold plain values and run no code.
_PLAIN_CLASSES: list[Any] = [
    argparse.Namespace,
    np.dtype,
    np.ndarray,
    *(type(np.dtype(kind)) for kind in "?bBhHiIlLqQefdgFDGSU"),
]
_PLAIN_CLASSES += [(np._core.multiarray.scalar, "numpy.core.multiarray.scalar"), np._core.multiarray.scalar]  # type: ignore[attr-defined]
# Nobody's training script keeps one of these: a file that wants them is an attack, and is not read around them.
_NEVER = re.compile(
    r"(os|posix|nt|sys|io|_io|subprocess|commands|socket|shutil|ctypes|importlib|runpy|pty|webbrowser)\.|"
    r"builtins\.(eval|exec|compile|open|__import__|breakpoint|input)$"
)
_MOST_CLASSES = 200  # of one file
_MAPPING = re.compile(r"Can only SETITEMS? for .* but got <class 'inert\.([\w.]+)'>")
_UNSUPPORTED = re.compile(r"[Uu]nsupported (?:global: GLOBAL|class) ([\w.]+)")


class Inert(list[Any]):
    """What stands for an object of a class that is not loaded: it keeps nothing and does nothing.

    A list, since torch appends to lists alone what a file appends to an object.
    """

    inert_name = ""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Inert:
        return list.__new__(cls)

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        """Whatever it is made with is dropped."""

    def __setstate__(self, _state: Any) -> None:
        """Whatever its state was is dropped."""

    def __hash__(self) -> int:  # type: ignore[override]
        return id(self)

    def append(self, _item: Any) -> None:
        """It holds no items."""

    def extend(self, _items: Any) -> None:
        """It holds no items."""


class InertMapping:
    """Makes a plain ordered dict where a file makes an object of a mapping's class, since torch sets items of these alone."""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> OrderedDict[Any, Any]:  # type: ignore[misc]
        return OrderedDict()


def _placeholder(name: str, is_mapping: bool) -> type:
    """A class of its own for each name, so that what is told of a file can say it."""
    base = InertMapping if is_mapping else Inert
    return type(name.rpartition(".")[2], (base,), {"__module__": "inert", "__qualname__": name, "inert_name": name})


def read_torch_file(path: Path) -> tuple[Any, list[str]]:
    """What torch.save wrote, with weights_only=True, and the names of the classes that placeholders stand for.

    No code of the file and of no class that it names is run: the few classes that are loaded hold plain values.

    Raises UsageError for what cannot be read so.
    """
    names: list[str] = []
    for named in _named_in(path):
        _refuse_attack(path, named)
        names.append(named)
    mappings: set[str] = set()
    while True:
        try:
            known = [*_PLAIN_CLASSES, *((_placeholder(name, name in mappings), name) for name in names)]
            with torch.serialization.safe_globals(known), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what is wrong is said below
                with path.open("rb") as file:  # opened here: given a name, torch goes by its ending
                    return torch.load(file, map_location="cpu", weights_only=True), names
        except Exception as error:
            mapping = _MAPPING.search(str(error))
            if mapping and mapping[1] not in mappings:
                mappings.add(mapping[1])
                continue
            # Files of torch before 1.6 hold no list of what they name: it is asked for a class at a time.
            found = _UNSUPPORTED.search(str(error))
            name = _full_name(found[1]) if found else None
            if name is None or name in names or len(names) >= _MOST_CLASSES:
                raise UsageError(_why_not(path, error)) from None
            _refuse_attack(path, name)
            names.append(name)


def _named_in(path: Path) -> Iterator[str]:
    """What a file names that torch does not load by itself."""
    try:
        with torch.serialization.safe_globals(_PLAIN_CLASSES):
            found = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # of another form, or damaged, which reading it says
        return
    yield from sorted(found)[:_MOST_CLASSES]


def _full_name(said: str) -> str:
    """A name as files have it, of one that torch has said without its `builtins`."""
    return said if "." in said else f"builtins.{said}"


def _refuse_attack(path: Path, name: str) -> None:
    if _NEVER.match(name):
        raise UsageError(
            f"{path} wants to call {name}, which no file of weights needs: it is not read; get the weights elsewhere"
        )


def _why_not(path: Path, error: Exception) -> str:
    said = " ".join(str(error).split())
    blocked = re.search(r"unsupported GLOBAL ([\w.]+) whose module", said)
    if blocked:
        return f"{path} wants to call {blocked[1]}, which no file of weights needs: it is not read; get the weights elsewhere"
    if "TorchScript" in said or "torchscript" in said:
        return f"{path} is a TorchScript archive, which is code: save model.state_dict() of it as safetensors, or export it to ONNX"
    return f"{path} is not a file of plain tensors ({type(error).__name__}); save the model's state_dict as safetensors"


def is_inert(value: Any) -> str | None:
    """The name of the class that a placeholder stands for; None for anything else."""
    return getattr(type(value), "inert_name", None)
