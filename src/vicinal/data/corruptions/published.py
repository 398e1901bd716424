"""Published corruption files (CIFAR-10-C, CIFAR-100-C) in place of those made here.

Shapes: N test images, (H, W, C) an image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vicinal.config import CORRUPTIONS, SEVERITIES, Corruption, corruption_named
from vicinal.errors import UsageError, one_line
from vicinal.workspace import content_hash_of


@dataclass(frozen=True, eq=False)
class PublishedCorruptions:
    """A folder of CIFAR-10-C's form, memory-mapped: pixels are read when asked for.

    `labels`: int64 (N,), of the N test images, in the files' order.
    """

    folder: Path
    labels: Tensor
    _arrays: Mapping[Corruption, NDArray[np.uint8]]

    def content_hash(self, corruption: str) -> str:
        """SHA-256 of a corruption's file."""
        return content_hash_of(self.folder / f"{corruption_named(corruption)}.npy")

    @property
    def corruptions(self) -> tuple[Corruption, ...]:
        """Those that were opened."""
        return tuple(self._arrays)

    def images(self, corruption: str, severity: int, start: int = 0, stop: int | None = None) -> Tensor:
        """uint8 (N, H, W, C), or of the images `start` to `stop`, copied. Raises UsageError for what the folder lacks."""
        name = corruption_named(corruption, severity)
        if name not in self._arrays:
            raise UsageError(f"{name} was not opened from {self.folder}: opened were {', '.join(self._arrays)}")
        count = len(self.labels)
        rows = self._arrays[name][(severity - 1) * count : severity * count][start:stop]
        return torch.from_numpy(np.array(rows))


def published_corruptions(
    folder: str | Path, test_labels: Tensor | None = None, corruptions: Sequence[str] = CORRUPTIONS
) -> PublishedCorruptions:
    """Open a folder in the form of CIFAR-10-C and CIFAR-100-C: `<corruption>.npy` for each, and `labels.npy`.

    Each file holds uint8 (5 N, H, W, C): the N test images at severity 1, then at 2, and so on (CIFAR: 50,000, 32 px, RGB);
    `labels.npy` holds their 5 N classes. No pickled content is read.

    Args:
        test_labels: int64 (N,) of the test split these images are to stand for, checked against `labels.npy`.

    Raises UsageError for a missing or damaged file, another shape or type, and labels that are not the test split's.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise UsageError(f"{root} is not a folder: give the unpacked CIFAR-10-C or CIFAR-100-C folder of .npy files")
    names = [corruption_named(name) for name in corruptions]
    rows = _open_array(root / "labels.npy")
    if rows.ndim != 1 or rows.dtype.kind not in "iu" or not len(rows) or len(rows) % len(SEVERITIES):
        raise UsageError(
            f"{root / 'labels.npy'} holds {rows.dtype} {rows.shape}, not the classes of 5 x N images, severity after "
            "severity: use the published file"
        )
    labels = torch.from_numpy(np.array(rows, dtype=np.int64)).view(len(SEVERITIES), -1)
    if not bool((labels == labels[0]).all()):
        raise UsageError(
            f"{root / 'labels.npy'} has other classes at one severity than at another: use the published file"
        )
    if test_labels is not None:
        _check_test_labels(root, labels[0], test_labels)
    arrays: dict[Corruption, NDArray[np.uint8]] = {}
    for name in names:
        path = root / f"{name}.npy"
        array = _open_array(path)
        if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] not in (1, 3) or len(array) != len(rows):
            raise UsageError(
                f"{path} holds {array.dtype} {array.shape}, not uint8 ({len(rows)}, H, W, 1 or 3) as labels.npy asks for: "
                "use the published file"
            )
        arrays[name] = array
    return PublishedCorruptions(root, labels[0].clone(), MappingProxyType(arrays))


def _check_test_labels(root: Path, published: Tensor, test_labels: Tensor) -> None:
    if len(published) != len(test_labels):
        raise UsageError(
            f"{root} holds {len(published)} test images at each severity, the test split has {len(test_labels)}: "
            "use the data set they were made from, with all its test images"
        )
    differ = (published != test_labels.cpu()).nonzero()
    if len(differ):
        k = int(differ[0])
        raise UsageError(
            f"{root} does not fit the test split: image {k} (from 0) is of class {int(published[k])} there and of class "
            f"{int(test_labels[k])} here; use the data set they were made from, in its own order (torch/cifar10 or torch/cifar100)"
        )


def _open_array(path: Path) -> NDArray[Any]:
    if not path.is_file():
        raise UsageError(f"{path} is missing: unpack the whole published folder there")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = one_line(error, None)
        raise UsageError(f"{path} cannot be read as an array ({reason}): fetch it again") from None
    if not isinstance(array, np.ndarray):
        raise UsageError(f"{path} is an archive, not one array: use the published .npy file")
    return array
