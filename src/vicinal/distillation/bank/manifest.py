"""What a bank holds and where it came from: its layout, and bank.json."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch

from vicinal.config import AnswersSpec, fingerprint
from vicinal.distillation.bank.checksums import CHECK_BYTES
from vicinal.distillation.bank.codec import EXACT, AnswerCodec
from vicinal.errors import VicinalError
from vicinal.workspace import format_bytes

FORMAT = 2  # of answers.bin and bank.json
ANSWERS, MANIFEST = "answers.bin", "bank.json"


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
        }

    @property
    def fingerprint(self) -> str:
        """12 hex digits of the description; the name of the bank's folder."""
        return fingerprint(self.description)

    @property
    def codec(self) -> AnswerCodec:
        return AnswerCodec.of(self.answers, self.classes)

    @property
    def batches(self) -> int:
        """Of an epoch."""
        return -(-self.images // self.batch_size)

    @property
    def record_bytes(self) -> int:
        """Of one image: its answer and the checksum."""
        return self.codec.bytes + CHECK_BYTES

    @property
    def bytes(self) -> int:
        """On disk, when every image is answered."""
        return self.epochs * self.images * self.record_bytes

    @property
    def size(self) -> str:
        """500 epochs x 50,000 images x 204 B = 5.1 GB."""
        return f"{self.epochs:,} epochs x {self.images:,} images x {self.record_bytes:,} B = {format_bytes(self.bytes)}"

    def batch_images(self, position: int) -> int:
        """Of batch number `position`: the last one is as small as it comes."""
        return min(self.batch_size, self.images - position * self.batch_size)


def read_manifest(folder: Path) -> dict[str, Any]:
    """What the bank.json of a bank's folder says. Raises VicinalError where it is damaged or of another format."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest.get("format") != FORMAT:
            raise VicinalError(f"{folder} holds a bank of another version of vicinal; delete the folder")
        if not {"inputs", "epochs", "teacher_weights", "precision", "provenance", "error"} <= set(manifest):
            raise ValueError
    except (OSError, ValueError, AttributeError, TypeError):
        raise VicinalError(
            f"{folder / MANIFEST} is damaged, so it cannot be told whose answers these are; delete the folder"
        ) from None
    return cast(dict[str, Any], manifest)


def layout_and_manifest(folder: Path) -> tuple[BankLayout, dict[str, Any]]:
    """The layout of the bank in a folder, and all that its bank.json says. Raises VicinalError as `read_manifest` does."""
    manifest = read_manifest(folder)
    try:
        answers = AnswersSpec.model_validate(manifest["answers"])
        epochs, images, batch_size, classes = (
            int(manifest[key]) for key in ("epochs", "images", "batch_size", "classes")
        )
        layout = BankLayout(
            manifest["inputs"], epochs, images, batch_size, classes, answers, str(manifest.get("teacher", ""))
        )
    except (KeyError, TypeError, ValueError):
        layout = None
    if layout is None or layout.fingerprint != folder.resolve().name:
        raise VicinalError(f"{folder / MANIFEST} does not belong to its folder; delete the folder")
    return layout, manifest


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
