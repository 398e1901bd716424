"""What a bank holds: whose answers, to which inputs, how many, and in which form."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, cast

from vicinal.config import AnswersSpec, fingerprint
from vicinal.distillation.bank.codec import EXACT, AnswerCodec
from vicinal.distillation.bank.records import CHECK_BYTES
from vicinal.workspace import format_bytes

FORMAT = 3  # of answers.bin and bank.json


@dataclass(frozen=True)
class BankLayout:
    """What a bank holds: whose answers, to which inputs, how many, and in which form."""

    inputs: dict[str, Any]  # all that decides a batch and the answer to it
    epochs: int
    images: int
    batch_size: int
    classes: int
    answers: AnswersSpec = EXACT
    teacher: str = field(default="", compare=False)  # what people call it
    rows_per_image: int = 1  # that are answered
    mixed_images: int | None = (
        None  # of all epochs', from the first on, that have so many, those behind have one; None: all
    )

    @property
    def description(self) -> dict[str, Any]:
        """What makes two banks one: all but the epochs, so that a longer run continues a shorter one's bank."""
        return {
            "format": FORMAT,
            "inputs": self.inputs,
            "images": self.images,
            "batch_size": self.batch_size,
            "classes": self.classes,
            "answers": self.answers.model_dump(mode="json"),
            **({} if self.rows_per_image == 1 else {"rows_per_image": self.rows_per_image}),
            **({} if self.mixed_images is None else {"mixed_images": self.mixed_images}),
        }

    @property
    def fingerprint(self) -> str:
        """12 hex digits of the description; the name of the bank's folder."""
        return fingerprint(self.description)

    @property
    def input_kind(self) -> Literal["mixed", "clean"]:
        """Which images of a batch the teacher answered."""
        return cast(Literal["mixed", "clean"], self.inputs.get("input_kind", "mixed"))

    @property
    def codec(self) -> AnswerCodec:
        """How its answers are stored."""
        return AnswerCodec.of(self.answers, self.classes)

    @property
    def batches(self) -> int:
        """Of an epoch."""
        return -(-self.images // self.batch_size)

    @property
    def record_bytes(self) -> int:
        """Of one row: its answer and the checksum."""
        return self.codec.bytes + CHECK_BYTES

    @property
    def bytes(self) -> int:
        """On disk, when every image is answered."""
        return self.records * self.record_bytes

    @property
    def records(self) -> int:
        """Rows of all epochs."""
        return self.records_before(self.epochs * self.images)

    def records_before(self, images: int) -> int:
        """How many rows so many images have, counted from the first of the first epoch."""
        mixed = images if self.mixed_images is None else min(images, self.mixed_images)
        return mixed * self.rows_per_image + images - mixed

    def batch_records(self, epoch: int, position: int) -> tuple[int, int]:
        """The first record of a batch, and how many there are."""
        before = epoch * self.images + position * self.batch_size
        first = self.records_before(before)
        return first, self.records_before(before + self.batch_images(position)) - first

    @property
    def size(self) -> str:
        """500 epochs x 50,000 images x 204 B = 5.1 GB."""
        each = "" if self.rows_per_image == 1 else f" x {self.rows_per_image} rows"
        if each and self.mixed_images is not None:
            each += f" ({self.epochs * self.images - self.mixed_images:,} of them 1)"
        return f"{self.epochs:,} epochs x {self.images:,} images{each} x {self.record_bytes:,} B = {format_bytes(self.bytes)}"

    def batch_images(self, position: int) -> int:
        """Of batch number `position`: the last one is as small as it comes."""
        return min(self.batch_size, self.images - position * self.batch_size)
