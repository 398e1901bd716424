"""`TeacherBank`: a teacher's answers along a plan, asked once and read by every arm that shares teacher and plan.

A plan makes every mixed input a pure function of (seed, epoch, position), so a stored answer is the answer to exactly the batch
in hand, crops and flips included. Answers are stored as they came, float32: a run that reads them has the same weights, bit
for bit, as one that asks. Shapes: N images, B of a batch, K classes.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vicinal.errors import VicinalError
from vicinal.specs import fingerprint
from vicinal.store import cannot_write, write_json

VALUE_BYTES = 4  # float32
_CHECK_BYTES = 4  # CRC-32 of a batch's answers; 0 where there are none


@dataclass(frozen=True)
class BankSpec:
    """What a bank holds: whose answers, to which inputs, and how many."""

    inputs: dict[str, Any]  # all that decides a batch and the answer to it
    epochs: int
    images: int
    batch_size: int
    classes: int

    @property
    def fingerprint(self) -> str:
        """12 hex digits; epochs are left out, so that a longer run continues a shorter one's bank."""
        return fingerprint(
            {"inputs": self.inputs, "images": self.images, "batch": self.batch_size, "classes": self.classes}
        )

    @property
    def bytes(self) -> int:
        """On disk, when every batch is answered."""
        return self.epochs * (self.images * self.classes * VALUE_BYTES + self.batches * _CHECK_BYTES)

    @property
    def batches(self) -> int:
        """Of an epoch."""
        return -(-self.images // self.batch_size)


class TeacherBank:
    """Answers on disk in fixed-size records, one for each image of the plan; filled by whoever asks first.

    A batch counts as stored only if its checksum fits, so a process killed while writing costs one batch.

    Args:
        root: folder of all banks of a study; the bank lies in a folder of its fingerprint.
    """

    def __init__(self, root: Path, spec: BankSpec) -> None:
        self.spec, self.path = spec, root / spec.fingerprint
        described = {
            "inputs": spec.inputs,
            "images": spec.images,
            "batch_size": spec.batch_size,
            "classes": spec.classes,
        }
        told = self.path / "bank.json"
        if not told.exists():
            write_json(told, described)
        else:
            with contextlib.suppress(OSError, ValueError):
                if json.loads(told.read_text(encoding="utf-8")) != json.loads(json.dumps(described)):
                    raise VicinalError(f"{self.path} holds another bank; delete the folder and give the command again")
        try:
            flags = os.O_RDWR | os.O_CREAT
            self._answers = os.open(self.path / "logits.f32", flags, 0o644)
            self._checks = os.open(self.path / "checks.u32", flags, 0o644)
        except OSError as error:
            raise cannot_write(self.path, error) from None

    def close(self) -> None:
        """Give the files back; the bank is of no use afterwards."""
        os.close(self._answers)
        os.close(self._checks)

    def read(self, epoch: int, position: int) -> Tensor | None:
        """(B, K) float32 answers to a batch, or None where they are not stored, or not whole."""
        size = self._size(position)
        check = os.pread(self._checks, _CHECK_BYTES, self._check_place(epoch, position))
        if len(check) < _CHECK_BYTES or not any(check):
            return None
        data = os.pread(self._answers, size * self._record, self._place(epoch, position))
        if _checksum(data) != check or len(data) < size * self._record:
            return None
        return torch.from_numpy(np.frombuffer(data, dtype="<f4").reshape(size, self.spec.classes).copy())

    def write(self, epoch: int, position: int, answers: Tensor) -> None:
        """Store the (B, K) answers to a batch. Raises VicinalError where the disk is full."""
        data = answers.detach().cpu().contiguous().numpy().astype("<f4").tobytes()
        if len(data) != self._size(position) * self._record:
            raise ValueError(f"batch {position} has {self._size(position)} images, not {len(answers)}")
        try:
            _write(self._answers, data, self._place(epoch, position))
            _write(
                self._checks, _checksum(data), self._check_place(epoch, position)
            )  # last: it says that they are there
        except OSError as error:
            raise cannot_write(self.path, error) from None

    @property
    def _record(self) -> int:
        return self.spec.classes * VALUE_BYTES

    def _size(self, position: int) -> int:
        return min(self.spec.batch_size, self.spec.images - position * self.spec.batch_size)

    def _place(self, epoch: int, position: int) -> int:
        return (epoch * self.spec.images + position * self.spec.batch_size) * self._record

    def _check_place(self, epoch: int, position: int) -> int:
        return (epoch * self.spec.batches + position) * _CHECK_BYTES


def _checksum(data: bytes) -> bytes:
    return (zlib.crc32(data) or 1).to_bytes(_CHECK_BYTES, "little")  # 0 means that nothing is there


def _write(file: int, data: bytes, place: int) -> None:
    written = 0
    while written < len(data):
        written += os.pwrite(file, data[written:], place + written)
