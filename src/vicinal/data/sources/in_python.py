"""`python/NAME`: a data set that the calling program has at hand, as torchvision's are: a sequence of (image, label)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vicinal.config import DataSpec
from vicinal.data.types import Item, Role, Source, Split
from vicinal.errors import UsageError

PREFIX = "python/"


class Dataset(Protocol):
    """What torchvision's data sets are: `len`, and an image with its class number at each position."""

    def __len__(self) -> int: ...

    def __getitem__(self, position: int, /) -> Any: ...


_KNOWN: dict[str, Source] = {}


def data_of(
    train: Dataset | None = None,
    *,
    test: Dataset | None = None,
    validation: Dataset | None = None,
    class_names: Sequence[str] | None = None,
    name: str = "dataset",
) -> str:
    """Make data sets of this program a source; returns what `data.source` calls it, here `python/dataset`.

    An image is a PIL image, a uint8 array (H, W), (H, W, 1) or (H, W, 3), or a tensor (C, H, W) of uint8 or of floats in [0, 1]; a
    label a whole number from 0. No transform that draws at random belongs in these: the study draws its own. Other processes do not
    know the name; a second call with it replaces the data.

    Args:
        train, test, validation: sequences of (image, label), torchvision's among them; at least one.
        class_names: in the order of the labels; default: the data set's own `classes`, else numbers.
        name: letters, digits, `-` and `_`.

    Raises UsageError for data sets that are empty or hold something else.
    """
    if not name.replace("-", "").replace("_", "").isalnum():
        raise UsageError(f"data_of: the name {name!r} may have letters, digits, - and _ alone")
    given: dict[Role, Dataset | None] = {"train": train, "validation": validation, "test": test}
    sets = {role: dataset for role, dataset in given.items() if dataset is not None}
    if not sets:
        raise UsageError("data_of: give at least one data set, for example data_of(train)")
    splits = {role: _split(f"{PREFIX}{name} {role}", dataset) for role, dataset in sets.items()}
    names = class_names if class_names is not None else getattr(next(iter(sets.values())), "classes", None)
    if names is None:
        names = [str(i) for i in range(1 + max(int(split.labels.max()) for split in splits.values()))]
    unfit = None if "train" in splits else f"{PREFIX}{name} has no training images: give data_of(train, ...)"
    source = Source(name, tuple(map(str, names)), splits, unfit_for_training=unfit)
    _KNOWN[name] = source
    return f"{PREFIX}{name}"


def find_in_python(spec: DataSpec) -> Source:
    """The data that `data_of` was given under this name. Raises UsageError where it was given none."""
    name = spec.source.removeprefix(PREFIX)
    if name not in _KNOWN:
        known = f"; there are {', '.join(f'{PREFIX}{n}' for n in _KNOWN)}" if _KNOWN else ""
        raise UsageError(
            f"{spec.source} is not known in this process: call vicinal.data_of(..., name={name!r}) first{known}"
        )
    return _KNOWN[name]


def _split(where: str, dataset: Dataset) -> Split:
    count = len(dataset)
    if not count:
        raise UsageError(f"{where} is empty: give a data set with images")
    targets = getattr(dataset, "targets", None)
    if targets is None or len(targets) != count:
        targets = [_pair(where, dataset, i)[1] for i in range(count)]
    labels = np.array([_label(where, i, value) for i, value in enumerate(targets)], dtype=np.int64)

    def items(index: NDArray[np.int64]) -> Iterator[Item]:
        return ((_pixels(where, i, _pair(where, dataset, i)[0]), f"{where}, image {i}") for i in index.tolist())

    return Split(labels, items)


def _pair(where: str, dataset: Dataset, position: int) -> tuple[Any, Any]:
    found = dataset[position]
    if not isinstance(found, tuple | list) or len(found) < 2:
        raise UsageError(f"{where}: what stands at {position} is {type(found).__name__}, not (image, label)")
    return found[0], found[1]


def _label(where: str, position: int, value: Any) -> int:
    number = value.item() if isinstance(value, Tensor | np.generic) else value
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise UsageError(f"{where}: the label of image {position} is {value!r}, not a whole number from 0")
    return number


def _pixels(where: str, position: int, image: Any) -> NDArray[np.uint8]:
    """uint8 (H, W) or (H, W, 3)."""
    if isinstance(image, Image.Image):
        if image.has_transparency_data:
            layers = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", layers.size, (255, 255, 255, 255)), layers)
        return np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB"))
    values = (
        image.permute(1, 2, 0).cpu().numpy() if isinstance(image, Tensor) and image.ndim == 3 else np.asarray(image)
    )
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    if isinstance(image, Tensor) and image.is_floating_point():
        if not (values.min() >= 0 and values.max() <= 1):
            raise UsageError(f"{where}: image {position} has values outside [0, 1]: give it without normalisation")
        values = (values * 255).round().astype(np.uint8)
    if values.dtype != np.uint8 or values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] != 3):
        raise UsageError(
            f"{where}: image {position} is {type(image).__name__} {values.dtype} {values.shape}, not a PIL image, uint8 "
            "(H, W) or (H, W, 3), or a tensor (C, H, W)"
        )
    return np.ascontiguousarray(values)
