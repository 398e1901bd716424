"""Encoded images of Parquet files, laid out so that any of them is one read: Parquet gives a page or a row group at the least.

Every file's images are written once, one after the other, into the folder of `ArrayCache` (as Hugging Face's `datasets` does with
Arrow files), found again by the content of the Parquet file, and read by their places.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from vicinal.data.types import Item
from vicinal.workspace import ArrayCache, Streamed, content_hashes_of, shown_if_slow

_LAYOUT = "encoded images 1"  # raised when the arrays below are laid out in another way
Items = Callable[[NDArray[np.int64]], Iterator[Item]]
Rows = Callable[[Path], Iterator[list[bytes]]]  # the encoded images of a file, some rows at a time


@dataclass(frozen=True)
class _Images:
    """The images of a file: image i has the bytes from starts[i] to starts[i + 1] of what begins at `place`, starts (n + 1,) int64."""

    file: BinaryIO
    place: int
    starts: NDArray[np.int64]

    def read(self, row: int) -> bytes:
        first, end = self.starts[row : row + 2].tolist()
        return os.pread(self.file.fileno(), end - first, self.place + first)  # other threads run meanwhile


@dataclass(eq=False)
class Unpacked:
    """Reads images of `files` at sorted positions; image i lies in the file k for which starts[k] <= i < starts[k + 1].

    Args:
        rows: reads a file.
        bytes_of: what its images take.
        column: that they lie in.
        otherwise: reads them where there is no room to lay them out.
    """

    files: Sequence[Path]
    starts: NDArray[np.int64]
    rows: Rows
    bytes_of: Callable[[Path], int]
    column: str
    otherwise: Items
    _lock: Lock = field(default_factory=Lock)

    def items(self, index: NDArray[np.int64]) -> Iterator[Item]:
        """As `Split.items`."""
        with self._lock:  # the first one lays them out, others wait
            laid_out = self._laid_out
        if laid_out is None:
            yield from self.otherwise(index)
            return
        of = np.searchsorted(self.starts, index, side="right") - 1
        for k, row in zip(of.tolist(), (index - self.starts[of]).tolist(), strict=True):
            yield laid_out[k].read(row), f"{self.files[k]}, row {row} (from 0)"

    @cached_property
    def _laid_out(self) -> list[_Images] | None:
        cache = ArrayCache.here()
        if cache is None:
            return None
        cache = cache.of("images of Parquet files, laid out to be read in any order,")
        digests = content_hashes_of(self.files).digests
        keys = [hashlib.sha256(f"{_LAYOUT} {d.hex()} {self.column}".encode()).hexdigest() for d in digests]
        if not cache.has_room(sum(self.bytes_of(file) for file in self.files)):
            return None
        found = []
        count = int(self.starts[-1])
        with cache.alone(), shown_if_slow(f"laying out {count:,} images of Parquet files", count) as progress:
            for k, (file, key) in enumerate(zip(self.files, keys, strict=True)):
                images = _found(cache, key)
                if images is None:
                    self._write(cache, key, file)
                    images = _found(cache, key)
                if images is None or len(images.starts) != self.starts[k + 1] - self.starts[k] + 1:
                    return None
                found.append(images)
                progress.advance(len(images.starts) - 1)
        return found

    def _write(self, cache: ArrayCache, key: str, file: Path) -> None:
        lengths = np.array([len(image) for some in self.rows(file) for image in some], dtype=np.int64)
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        data = Streamed("U8", (int(starts[-1]),), lambda: (b"".join(some) for some in self.rows(file)))
        cache.write(key, {"starts": Streamed("I64", starts.shape, lambda: [starts]), "data": data}, {})


def _found(cache: ArrayCache, key: str) -> _Images | None:
    with cache.read(key) as file:
        if file is None or list(file.shapes) != ["starts", "data"]:
            return None
        starts = np.empty(file.shapes["starts"], np.int64)
        file.read_into(starts)
        try:
            return _Images(file.path.open("rb"), file.places["data"], starts)
        except OSError:  # another process made room just now
            return None
