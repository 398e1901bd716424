"""Lists in a study folder: which image stands at which position of its sets, which cannot be read, which are near-duplicates."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from vicinal.data.types import ROLES, ImageData, Role
from vicinal.workspace import printable, write_atomically

IMAGES_FILE = "images.csv"
UNREADABLE_FILE = "unreadable.csv"
NEAR_DUPLICATES_FILE = "near_duplicates.csv"


def write_lists(folder: Path, data: ImageData) -> None:
    """Write all lists of a set of images that are not empty, and remove those of an earlier one that are.

    Raises VicinalError where they cannot be written.
    """
    write_image_list(folder / IMAGES_FILE, data)
    rows = [(each.place, each.reason) for each in data.unreadable]
    _write_or_remove(folder / UNREADABLE_FILE, ("path", "reason"), rows)
    pairs = [
        (
            *_described(data, pair.first),
            *_described(data, pair.second),
            pair.phash_bits,
            pair.dhash_bits,
            "identical" if pair.identical else "near",
        )
        for pair in data.near_duplicates or ()
    ]
    columns = [f"{which}_{what}" for which in ("first", "second") for what in ("split", "path", "class")]
    _write_or_remove(folder / NEAR_DUPLICATES_FILE, (*columns, "phash_bits", "dhash_bits", "kind"), pairs)


def write_image_list(path: Path, data: ImageData) -> None:
    """Write split, position, path and class of every image; positions (from 0) are those of stored predictions.

    Paths are relative to the source, or `FILE#row` (from 0) where one file holds many images. A list that says the same stays as it
    is. Raises VicinalError where it cannot be written.
    """
    rows = [
        (role, position, name, data.class_names[label])
        for role in ROLES
        for position, (name, label) in enumerate(
            zip(_names(data, role), getattr(data, role).labels.tolist(), strict=True)
        )
    ]
    write_csv(path, ("split", "position", "path", "class"), rows)


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table, unless it is there already. Raises VicinalError where it cannot be written."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(header)
    lines.writerows([printable(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    content = text.getvalue().encode()
    if not path.is_file() or path.read_bytes() != content:
        write_atomically(path, content)


def _write_or_remove(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    if rows:
        write_csv(path, header, rows)
    elif path.is_file():
        path.unlink()


def _names(data: ImageData, role: Role) -> Sequence[str]:
    images = getattr(data, role)
    return images.names if images.names is not None else [""] * len(images)


def _described(data: ImageData, at: tuple[Role, int]) -> tuple[str, str, str]:
    role, position = at
    return role, _names(data, role)[position], data.class_names[int(getattr(data, role).labels[position])]
