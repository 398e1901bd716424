"""The file of a bank: records of fixed size, each with a checksum of its place and content.

Any process may fill any records, in any order. The file is read and written by pread and pwrite: the kernel's page cache does
what a memory map would, and a file that was cut short gives a short read instead of SIGBUS. Nothing is forced to the disk; what
a crash tears, the checksums notice.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vicinal.workspace import cannot_write, locked

CHECK_BYTES = 4
_CHUNK_BYTES = 2**22  # read at a time where a whole file is looked through


class Records:
    """A file of records: the `content_bytes` of each and a checksum.

    Args:
        create: make the file where there is none; without, it is only read.

    Raises:
        VicinalError: the file cannot be opened.
    """

    def __init__(self, path: Path, content_bytes: int, create: bool = True) -> None:
        self.path, self.record_bytes = path, content_bytes + CHECK_BYTES
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT if create else os.O_RDONLY, 0o644)
        except OSError as error:
            raise cannot_write(path, error) from None

    def close(self) -> None:
        """Give the file back; of no use afterwards."""
        os.close(self._file)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever written."""
        return not os.fstat(self._file).st_size

    def read(self, first: int, count: int) -> NDArray[np.uint8] | None:
        """(count, content bytes) from record `first` on, or None where one is not there or not whole."""
        data = os.pread(self._file, count * self.record_bytes, first * self.record_bytes)
        if len(data) < count * self.record_bytes:
            return None
        records = np.frombuffer(data, dtype=np.uint8).reshape(count, self.record_bytes)
        return records[:, :-CHECK_BYTES] if fits(records, first).all() else None

    def write(self, first: int, content: NDArray[np.uint8]) -> None:
        """Store (B, content bytes) from record `first` on. Raises VicinalError where the disk is full."""
        checks = checksums(content, first).view(np.uint8).reshape(len(content), CHECK_BYTES)
        data, written = np.concatenate([content, checks], axis=1).tobytes(), 0
        try:
            while written < len(data):
                written += os.pwrite(self._file, data[written:], first * self.record_bytes + written)
        except OSError as error:
            raise cannot_write(self.path, error) from None

    def survey(self, total: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """(total,) each: which records are whole, and which hold something that does not fit its checksum; all are read."""
        whole, damaged = np.zeros(total, dtype=bool), np.zeros(total, dtype=bool)
        step = max(_CHUNK_BYTES // self.record_bytes, 1)
        for first in range(0, total, step):
            data = os.pread(self._file, min(step, total - first) * self.record_bytes, first * self.record_bytes)
            if not data:
                break
            read = data[: len(data) // self.record_bytes * self.record_bytes]
            records = np.frombuffer(read, dtype=np.uint8).reshape(-1, self.record_bytes)
            part = slice(first, first + len(records))
            whole[part] = fits(records, first)
            damaged[part] = records.any(axis=1) & ~whole[part]
        return whole, damaged

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out of what is changed meanwhile; they may go on reading and writing records."""
        with locked(self._file):
            yield


def checksums(content: NDArray[np.uint8], first: int) -> NDArray[np.uint32]:
    """A checksum for each of (B, bytes) records, whose places in the file begin at `first`: (B,) uint32, never 0.

    CRC-32 over place and content: a change within four neighbouring bytes is always noticed, any other with a chance of 1 − 2⁻³².
    A record at another's place does not fit, and zeros mean that nothing is there.
    """
    count, width = content.shape
    data = memoryview(content.tobytes())
    places = memoryview(np.arange(first, first + count, dtype="<u8").tobytes())
    checks = [
        zlib.crc32(data[k * width : (k + 1) * width], zlib.crc32(places[8 * k : 8 * k + 8])) or 1 for k in range(count)
    ]
    return np.array(checks, dtype="<u4")


def fits(records: NDArray[np.uint8], first: int) -> NDArray[np.bool_]:
    """(B,) whether (B, bytes) records with their checksums are whole."""
    stored = np.ascontiguousarray(records[:, -CHECK_BYTES:]).view("<u4")[:, 0]
    fit: NDArray[np.bool_] = stored == checksums(records[:, :-CHECK_BYTES], first)
    return fit
