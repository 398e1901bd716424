"""`TeacherBank`: a teacher's answers along a plan, computed once and read by every arm that shares teacher and plan.

A plan makes every mixed input a pure function of (seed, epoch, position), so a stored answer is the answer to exactly the batch
in hand, crops and flips included. An `AnswerCodec` says how an answer is stored: whole and exact (a run that reads such answers
has the same weights, bit for bit, as one whose teacher predicts), or smaller, and then live answers pass through the codec too.
`answers.bin` (`Records`) holds a record for every row of the plan, in the plan's order; `bank.json` (`Manifest`) says whose
answers these are. Shapes: N images, B of a batch, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vicinal.distillation.bank.codec import AnswerParts
from vicinal.distillation.bank.layout import BankLayout
from vicinal.distillation.bank.manifest import MANIFEST, Manifest
from vicinal.distillation.bank.records import Records
from vicinal.distillation.teacher import Precision
from vicinal.errors import UsageError
from vicinal.workspace import cannot_write

ANSWERS = "answers.bin"


@dataclass(frozen=True)
class BankContent:
    """Which records of a bank are there."""

    stored: NDArray[np.bool_]  # (epochs, N): whole
    damaged: NDArray[np.bool_]  # (epochs, N): something is there that does not fit its checksum

    @property
    def share(self) -> float:
        """Of the answers that the bank has room for, those that are stored."""
        return float(self.stored.mean()) if self.stored.size else 1.0


class TeacherBank:
    """Answers on disk in fixed-size records, one for each image of the plan; filled by whoever needs them first.

    A batch counts as stored only if every record of it fits its checksum, so a process killed while writing costs one batch.

    Args:
        root: folder of all banks of a study; the bank lies in a folder of its layout's fingerprint.
        teacher_weights: SHA-256 of the file of the teacher's weights; None where that is not known, and then it is not compared.
        device: that the answers come from, as it is kept in bank.json.
        create: False for a bank that must be there and is only read.

    Raises:
        VicinalError: the folder holds another bank, or answers of other weights, or cannot be written.
        UsageError: `create` is False and there is no such bank.
    """

    def __init__(
        self,
        root: Path,
        layout: BankLayout,
        teacher_weights: str | None = None,
        device: torch.device | str = "cpu",
        create: bool = True,
    ) -> None:
        self.layout, self.path, self.codec = layout, root / layout.fingerprint, layout.codec
        if not create and not (self.path / MANIFEST).exists():
            raise UsageError(f"{self.path} holds no bank; vicinal bank build makes it")
        if create:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise cannot_write(self.path, error) from None
        self._records = Records(self.path / ANSWERS, self.codec.bytes, create)
        try:
            if create:
                locked, has_answers = self._records.locked, not self._records.is_empty
                self._manifest = Manifest.open(self.path, layout, teacher_weights, device, locked, has_answers)
            else:
                self._manifest = Manifest(self.path, self._records.locked)
                self._manifest.check(layout, teacher_weights)
        except BaseException:
            self._records.close()
            raise

    def close(self) -> None:
        """Give the file back; the bank is of no use afterwards."""
        self._records.close()

    @property
    def precision(self) -> Precision | None:
        """What its answers were computed in; set once, by the first to write, and the same for all. None before.

        Raises VicinalError where it is set and differs.
        """
        return self._manifest.precision

    @precision.setter
    def precision(self, value: Precision) -> None:
        self._manifest.precision = value

    def was_computed_on(self, device: torch.device) -> bool:
        """Whether its answers come from such a device."""
        return self._manifest.was_computed_on(device)

    def read(self, epoch: int, position: int, rows: slice | None = None) -> Tensor | None:
        """(B, K) float32 answers to a batch, or to `rows` of it; None where they are not stored, or not whole."""
        records = self._records.read(*self._place(epoch, position, rows))
        return None if records is None else self.codec.decode(records)

    def read_parts(self, epoch: int, position: int) -> AnswerParts | None:
        """What is kept of the answers to a batch, or None as in `read`."""
        records = self._records.read(*self._place(epoch, position))
        return None if records is None else self.codec.unpacked(records)

    def holds(self, epoch: int, position: int, rows: slice | None = None) -> bool:
        """Whether `read` would give answers."""
        return self._records.read(*self._place(epoch, position, rows)) is not None

    def write(self, epoch: int, position: int, answers: Tensor, rows: slice | None = None) -> None:
        """Store the (B, K) answers, as the teacher gave them, to a batch or to `rows` of it.

        Raises VicinalError where the disk is full, or where the form kept cannot hold the answers.
        """
        first, count = self._place(epoch, position, rows)
        if tuple(answers.shape) != (count, self.layout.classes):
            raise ValueError(
                f"batch {position} has {count} images of {self.layout.classes} classes there, not {tuple(answers.shape)}"
            )
        if not count:
            return
        self._records.write(first, self.codec.encode(answers))
        if not self.codec.is_exact:
            self._manifest.add_error(answers, self.codec)

    def content(self) -> BankContent:
        """Which records are there, from reading them all."""
        layout = self.layout
        shape = (layout.epochs, layout.images)
        stored, damaged = self._records.survey(layout.records)
        if layout.rows_per_image > 1:  # an image is stored once all its rows are
            images = np.arange(layout.epochs * layout.images)
            mixed = images if layout.mixed_images is None else np.minimum(images, layout.mixed_images)
            first = mixed * layout.rows_per_image + images - mixed
            stored, damaged = np.logical_and.reduceat(stored, first), np.logical_or.reduceat(damaged, first)
        return BankContent(stored.reshape(shape), damaged.reshape(shape))

    def _place(self, epoch: int, position: int, rows: slice | None = None) -> tuple[int, int]:
        """The first record of (rows of) a batch, and how many there are."""
        layout = self.layout
        if not (0 <= epoch < layout.epochs and 0 <= position < layout.batches):
            raise IndexError(
                f"epoch {epoch}, batch {position}: the bank has {layout.epochs} epochs of {layout.batches} batches"
            )
        first, count = layout.batch_records(epoch, position)
        start, stop, step = (rows or slice(None)).indices(count)
        if step != 1:
            raise ValueError(f"rows of a batch are neighbours, so a slice has no step; got {rows}")
        return first + start, max(stop - start, 0)
