"""images.csv: which image of the source stands at which position of a study's sets, so that a stored prediction can be looked at."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from vicinal.data.types import ROLES, ImageData
from vicinal.workspace import printable, write_atomically

IMAGES_FILE = "images.csv"


def write_image_list(path: Path, data: ImageData) -> None:
    """Write split, position, path and class of every image; positions (from 0) are those of stored predictions.

    Paths are relative to the source, or `FILE#row` (from 0) where one file holds many images. A list that says the same stays as it
    is. Raises VicinalError where it cannot be written.
    """
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(("split", "position", "path", "class"))
    for role in ROLES:
        images = getattr(data, role)
        names = images.names or ("",) * len(images)
        for position, (name, label) in enumerate(zip(names, images.labels.tolist(), strict=True)):
            lines.writerow((role, position, printable(name), printable(data.class_names[label])))
    content = text.getvalue().encode()
    if not path.is_file() or path.read_bytes() != content:
        write_atomically(path, content)
