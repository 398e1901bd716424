"""A user's own code as a network: package.module:factory, imported because the user wrote it.

Its factory takes `num_classes` (and `in_chans`) where it has such arguments, and gives an nn.Module of pixels to logits. The module
says what it knows of itself as timm's do, in an attribute `pretrained_cfg`: mean, std, input_size, crop_pct, label_names and the like.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from vicinal.config import NetworkSpec
from vicinal.errors import UsageError, one_line
from vicinal.networks.adapted import AdaptedModel, close_names, loaded


def factory_model(
    spec: NetworkSpec, channels: int, weights: Mapping[str, Tensor] | None, notes: list[str]
) -> AdaptedModel:
    """What the factory gives, with the weights of a file where there are any. Raises UsageError."""
    if weights is None:
        return made_by_factory(spec, channels, None)
    return loaded(lambda classes: made_by_factory(spec, channels, classes), spec, weights, notes)


def made_by_factory(spec: NetworkSpec, channels: int, classes: int | None) -> AdaptedModel:
    """What the factory gives for so many classes; None: for its own number. Raises UsageError for whatever goes wrong in it."""
    factory = _factory(spec.model)
    wanted: dict[str, Any] = dict(spec.model_args)
    takes = _arguments(factory)
    for name in ("num_classes", "classes", "n_classes"):
        if name in takes:
            if classes is not None:
                wanted[name] = classes
            elif takes[name].default is inspect.Parameter.empty:
                wanted[name] = _UNKNOWN_CLASSES
            break
    for name in ("in_chans", "in_channels", "channels"):
        if name in takes:
            wanted[name] = channels
            break
    try:
        model = factory(**wanted)
    except Exception as error:
        raise UsageError(f"{spec.model} failed{_where(error)}: {type(error).__name__}: {one_line(error)}") from None
    if not isinstance(model, nn.Module):
        raise UsageError(f"{spec.model} gives {type(model).__name__} and no torch.nn.Module of pixels to logits")
    takes_channels = any(name in takes for name in ("in_chans", "in_channels", "channels"))
    return adapted_module(model, spec, channels, channels if takes_channels else channels_of(model, channels))


def adapted_module(model: nn.Module, spec: NetworkSpec, channels: int, takes: int) -> AdaptedModel:
    """A user's module, with what it says of itself in `pretrained_cfg`.

    Args:
        channels: of the images. takes: those that the module itself takes.

    Raises UsageError where it is no classifier.
    """
    stated = getattr(model, "pretrained_cfg", None)
    cfg = dict(stated) if isinstance(stated, Mapping) else {}
    if spec.image_size is not None and not cfg.get("input_size"):
        cfg["input_size"] = (channels, spec.image_size, spec.image_size)
    return AdaptedModel(model, cfg, spec.model, takes)


_UNKNOWN_CLASSES = 1000  # asked for where nothing says yet how many there are: weights or a new head do


def channels_of(model: nn.Module, channels: int) -> int:
    """C that a module's first convolution takes; the images' own where it has none."""
    first = next((part for part in model.modules() if isinstance(part, nn.Conv2d)), None)
    return channels if first is None else first.in_channels


def _arguments(factory: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return {}


def _factory(model: str) -> Callable[..., Any]:
    module_name, _, name = model.partition(":")
    with _current_folder():
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name is not None and (module_name == error.name or module_name.startswith(f"{error.name}.")):
                raise UsageError(
                    f"there is no module {module_name} here or among the installed ones: {model} is read as package.module:factory"
                ) from None
            raise UsageError(f"{module_name} cannot be imported{_where(error)}: {one_line(error)}") from None
        except Exception as error:
            raise UsageError(
                f"{module_name} cannot be imported{_where(error)}: {type(error).__name__}: {one_line(error)}"
            ) from None
    found = getattr(module, name, None)
    if not callable(found):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise UsageError(f"{module.__file__ or module_name} has no function {name}{close_names(name, known)}")
    return found  # type: ignore[no-any-return]


def code_file(model: str) -> Path | None:
    """The file of a factory's module, where it has one."""
    with _current_folder(), contextlib.suppress(Exception):
        spec = importlib.util.find_spec(model.partition(":")[0])
        if spec is not None and spec.origin and Path(spec.origin).is_file():
            return Path(spec.origin)
    return None


@contextlib.contextmanager
def _current_folder() -> Iterator[None]:
    """The current folder importable for a moment, as `python -m` has it."""
    here = str(Path.cwd())
    added = here not in sys.path and "" not in sys.path
    if added:
        sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        if added and here in sys.path:
            sys.path.remove(here)


def _where(error: BaseException) -> str:
    """File and line of the user's code that an error came from."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}, line {error.lineno})"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).is_file()]
    own = [
        f
        for f in frames
        if "site-packages" not in f.filename and not f.filename.startswith(str(Path(__file__).parents[1]))
    ]
    own = [f for f in own if Path(f.filename).parent.name != "importlib"]
    return f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
