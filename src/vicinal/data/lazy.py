"""Images that are read when they are asked for, for data sets that no memory holds. Random access: the plan shuffles over all of it.

Shapes: N images, B of a batch, (H, W, C) an image, uint8.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vicinal.data.crops import Cropper
from vicinal.data.decode import Reader
from vicinal.data.types import Item, Split
from vicinal.errors import UsageError, VicinalError
from vicinal.workspace import ContentHashes

REMEMBERED_BYTES = 1 << 30  # of pixels that are read again and again
_TASK = 4  # crops that a thread makes before it takes others: enough that handing them out costs nothing


class LazyImages:
    """Looks like a uint8 (N, H, W, C) tensor that is indexed along N, and decodes only what is asked for, in threads.

    Args:
        split: where the images are; positions: (N,) which of its images these are.
        reader: how one becomes pixels.
        remembered: pixels by position, which are kept up to `REMEMBERED_BYTES` where a dict is given: for a few that come again.
    """

    def __init__(
        self,
        split: Split,
        positions: NDArray[np.int64],
        reader: Reader,
        remembered: dict[int, NDArray[np.uint8]] | None = None,
    ) -> None:
        self._split, self._positions, self._reader, self._remembered = split, positions, reader, remembered
        self._pool = ThreadPoolExecutor(min(16, os.cpu_count() or 1), thread_name_prefix="vicinal-decode")

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (len(self._positions), *self._reader.shape)

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, key: Tensor | slice) -> Tensor:
        """(B, H, W, C) uint8 at int64 positions (any order, also twice) or a slice. Raises UsageError for a broken image."""
        chosen = self._positions[key] if isinstance(key, slice) else self._positions[key.cpu().numpy()]
        # Sources are read in their own order, each image once.
        unique, where = np.unique(chosen, return_inverse=True)
        pixels = self._read(unique, self._split.items if isinstance(key, slice) else self._items)
        return torch.from_numpy(np.stack(pixels)[where] if pixels else np.empty((0, *self._reader.shape), np.uint8))

    def _items(self, positions: NDArray[np.int64]) -> Iterator[Item]:
        """The encoded images at sorted positions that lie far from each other; those that are remembered are too few to prepare for."""
        scattered = self._split.scattered if self._remembered is None else None
        try:
            yield from (scattered or self._split.items)(positions)
        except OSError as error:
            reason = error.strerror or str(error)
            raise VicinalError(
                f"images could not be read ({reason}): check the disk, and give the same command again"
            ) from None

    def _read(
        self, positions: NDArray[np.int64], items: Callable[[NDArray[np.int64]], Iterator[Item]]
    ) -> list[NDArray[np.uint8]]:
        """The images at sorted positions, each once."""
        known = self._remembered if self._remembered is not None else {}
        missing = np.array([p for p in positions.tolist() if p not in known], dtype=np.int64)
        read = self._pool.map(lambda item: self._reader.read(*item), items(missing))
        found = dict(zip(missing.tolist(), read, strict=True))
        if self._remembered is not None:
            room = REMEMBERED_BYTES // math.prod(self._reader.shape) - len(known)
            self._remembered.update(itertools.islice(found.items(), max(0, room)))
        return [found[p] if p in found else known[p] for p in positions.tolist()]

    @property
    def crops_originals(self) -> bool:
        """Whether crops are cut from the originals: always, but where stored pixels have borders."""
        return self._cropper is not None

    @property
    def _cropper(self) -> Cropper | None:
        view = self._reader.view
        if view is None:
            return Cropper(self._reader.side)
        squashed = view.mode == "squash" and view.resize == view.side
        return Cropper(self._reader.side, squashed=True) if squashed else None

    def start_crops(self, key: Tensor, boxes: Tensor, size: int) -> Callable[[], Tensor]:
        """See `CroppedImages`: encoded images are read by the caller's thread, and decoded by others. Waiting raises UsageError."""
        cropper = self._cropper
        assert cropper is not None
        chosen = self._positions[key.cpu().numpy()]
        order = np.argsort(chosen, kind="stable")  # sources are read in their own order
        unique, counts = np.unique(chosen, return_counts=True)
        places = iter(zip(order.tolist(), boxes.numpy()[order].tolist(), strict=True))
        pixels = np.empty((len(chosen), size, size, self._reader.channels), np.uint8)

        def cut(task: list[tuple[Item, list[tuple[int, list[int]]]]]) -> None:
            for (data, where), wanted in task:
                for place, (top, left, height, width) in wanted:
                    pixels[place] = cropper.read(data, where, (top, left, height, width), size)

        wanted = (list(itertools.islice(places, count)) for count in counts.tolist())
        items = zip(self._items(unique), wanted, strict=True)
        tasks: list[Future[None]] = []
        while task := list(itertools.islice(items, _TASK)):
            tasks.append(self._pool.submit(cut, task))

        def wait() -> Tensor:
            for task in tasks:
                task.result()
            return torch.from_numpy(pixels)

        return wait

    def split(self, size: int) -> Iterator[Tensor]:
        """All images in order, in parts of `size`, the next part read while one is used."""
        starts = range(0, len(self), size)
        with ThreadPoolExecutor(1) as ahead:
            following = ahead.submit(self.__getitem__, slice(0, size)) if len(self) else None
            for start in starts:
                assert following is not None
                part = following.result()
                following = ahead.submit(self.__getitem__, slice(start + size, start + 2 * size))
                yield part

    def subset(self, index: Tensor) -> LazyImages:
        """The images at `index` (int64 positions, or a bool mask of length N)."""
        return LazyImages(self._split, self._positions[index.cpu().numpy()], self._reader, self._remembered)

    def digests(self) -> NDArray[np.uint8]:
        """uint8 (N, 32): hashes of the encoded images, which change when a file does, also to one of the same name and size."""
        return np.frombuffer(b"".join(self.contents.digests), dtype=np.uint8).reshape(-1, 32)

    @cached_property
    def contents(self) -> ContentHashes:
        """Hashes of the encoded images. Raises UsageError where a file cannot be read."""
        assert self._split.contents is not None  # checked where lazy images are made
        try:
            return self._split.contents(self._positions)
        except OSError as error:
            raise UsageError(f"cannot read {error.filename}: {error.strerror}; check it and its permissions") from None
