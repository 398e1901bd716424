"""A study's images again, from the original files, in the order in which a network's answers to them are stored."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from torch import Tensor

from vicinal.data import IMAGES_FILE, Originals
from vicinal.errors import VicinalError
from vicinal.shipping.finished import FinishedRun


class GoneError(Exception):
    """Why images that were measured cannot be had again, a clause; caught by whoever asks for them."""


@dataclass(frozen=True, eq=False)
class StoredImages:
    """The validation or test images that were measured.

    `places` are where they stand in the originals' split, None where one is not there any more; `labels` (n,) as stored.
    """

    originals: Originals
    role: str
    channels: int
    places: Sequence[int | None]
    labels: Tensor

    def __len__(self) -> int:
        return len(self.places)

    def read(self, positions: Sequence[int]) -> list[Image.Image]:
        """The originals (RGB or L) at positions of the stored answers, in their order. Raises GoneError."""
        there = [(place, k) for k in positions if (place := self.places[k]) is not None]
        if len(there) < len(positions):
            raise GoneError(f"{self.role} images are gone or have other names")
        there.sort()
        found = list(self.originals.of(self.role, self.channels, [place for place, _ in there]))  # type: ignore[arg-type]
        at = [k for _, k in there]
        if [one.label for one in found] != self.labels[at].tolist():
            raise GoneError(f"the {self.role} images are not those measured any more")
        images = {k: one.image for k, one in zip(at, found, strict=True)}
        return [images[k] for k in positions]


def stored_images(run: FinishedRun, role: str) -> StoredImages:
    """Validation or test images of a run's stored answers. Raises GoneError."""
    stored = run.predictions
    labels = None if stored is None else stored.validation_labels if role == "validation" else stored.test_labels
    if labels is None or not len(labels):
        raise GoneError(f"the study has stored no answers to {role} images")
    try:
        originals = run.images
    except VicinalError as error:
        raise GoneError(f"the {role} images are not to be had ({error})") from None
    at = originals.where[role]  # type: ignore[index]
    names = originals.source.splits[at.split].names(at.split, at.positions)
    rows = _listed(run.study / IMAGES_FILE, role)
    if len(rows) != len(labels):
        raise GoneError(f"{IMAGES_FILE} does not list the {role} images that were measured")
    places = {name: place for place, name in enumerate(names)}
    return StoredImages(originals, role, run.channels, [places.get(row) for row in rows], labels)


def _listed(path: Path, role: str) -> list[str]:
    """The places of a split's images, in the order of the stored answers; empty where no list is."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [(int(row["position"]), row["path"]) for row in csv.DictReader(file) if row["split"] == role]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [name for _, name in sorted(rows)]
