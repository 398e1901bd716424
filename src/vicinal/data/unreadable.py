"""Images that were asked for and are not among those read: which, and why."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vicinal.data.decode import BrokenImageError, open_image
from vicinal.data.splits import Assigned
from vicinal.data.types import ROLES, Role, Source, Unreadable


def unreadable_images(
    source: Source, asked: Mapping[Role, Assigned], read: Mapping[Role, Assigned]
) -> tuple[Unreadable, ...]:
    """Those that reading left out, each opened again for its reason: they are few."""
    found = list(source.unreadable)
    for role in ROLES:
        split = source.splits[asked[role].split]
        missing = np.setdiff1d(asked[role].positions, read[role].positions)
        names = split.names(asked[role].split, missing)
        for (data, where), name in zip(split.items(missing), names, strict=True):
            reason = "changed while it was read"
            try:
                if (mode := open_image(data, where).mode).startswith(("I", "F")):
                    reason = f"more than 8 bits per channel (mode {mode})"
            except BrokenImageError as error:
                reason = unreadable(error, where, Path()).reason
            found.append(Unreadable(name, reason))
    return tuple(found)


def unreadable(error: BrokenImageError, where: str, root: Path) -> Unreadable:
    """What an error says of the image called `where`, whose place is told relative to `root`."""
    reason = str(error).removeprefix(where).strip()
    start, end = "cannot be read as an image (", ")"
    if reason.startswith(start) and reason.endswith(end):
        reason = reason.removeprefix(start).removesuffix(end)
    return Unreadable(where.removeprefix(f"{root}/"), reason)
