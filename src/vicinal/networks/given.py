"""Modules that Python code gives to a study, which names each as given/NAME: `vicinal.run(study, networks={NAME: module})`."""

from __future__ import annotations

import contextlib
import copy
import hashlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from vicinal.config import GIVEN, NetworkSpec
from vicinal.errors import UsageError, one_line
from vicinal.networks.adapted import AdaptedModel, close_names, loaded
from vicinal.networks.factory import adapted_module, channels_of

_given: dict[str, nn.Module] = {}  # by name, while the call that was given them lasts; its threads see them too


@contextlib.contextmanager
def networks_given(networks: Mapping[str, nn.Module]) -> Iterator[None]:
    """Modules by name, while the block runs: they are copied, so that a study changes none of them.

    Raises UsageError for what is no module.
    """
    for name, module in networks.items():
        if not isinstance(module, nn.Module):
            raise UsageError(
                f"networks: {name} is {type(module).__name__} and no torch.nn.Module of normalised pixels to logits"
            )
    before = dict(_given)
    _given.update(networks)
    try:
        yield
    finally:
        _given.clear()
        _given.update(before)


def given_model(
    spec: NetworkSpec, channels: int, weights: Mapping[str, Tensor] | None, notes: list[str]
) -> AdaptedModel:
    """A copy of the module, with the weights of a file where a study names some. Raises UsageError."""
    if weights is None:
        return new_given(spec, channels)
    return loaded(lambda _: new_given(spec, channels), spec, weights, notes)


def new_given(spec: NetworkSpec, channels: int) -> AdaptedModel:
    """A copy of the module as it was given. Raises UsageError where there is none of its name."""
    module = _module(spec.model)
    try:
        model = copy.deepcopy(module).cpu()
    except Exception as error:
        raise UsageError(f"{spec.model} cannot be copied: {type(error).__name__}: {one_line(error)}") from None
    return adapted_module(model, spec, channels, channels_of(model, channels))


def given_hash(model: str) -> str:
    """SHA-256 (hex) of a module: the kinds of its parts with what they print of themselves, and every tensor."""
    digest = hashlib.sha256()
    module = _module(model)
    for name, part in module.named_modules():
        kind = type(part)
        digest.update(f"{name}={kind.__module__}.{kind.__qualname__}({part.extra_repr()});".encode())
    for name, value in module.state_dict().items():
        if isinstance(value, Tensor):
            digest.update(f"{name}:{value.dtype}{tuple(value.shape)};".encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _module(model: str) -> nn.Module:
    name = model.removeprefix(GIVEN)
    if name not in _given:
        raise UsageError(
            f"{model}: no module of that name is given{close_names(name, list(_given))}; give it from Python: "
            f"vicinal.run(study, networks={{{name!r}: module}})"
        )
    return _given[name]
