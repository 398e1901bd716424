"""Whether a folder can be made and filled at a place, before anything is spent on what goes there."""

from __future__ import annotations

import os
from pathlib import Path

from vicinal.errors import UsageError


def check_place(folder: Path, *, writes: bool = True) -> None:
    """UsageError where no folder can be at a place: a file stands in its way, or its path is no text, which weights files need.

    Changes nothing.

    Args:
        folder: that may be there already.
        writes: whether something goes in, so that a place where nothing may be written is refused, too.
    """
    try:
        if "\0" in str(folder):
            raise ValueError("a NUL stands in its name")
        str(folder).encode("utf-8")
        nearest = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    except UnicodeEncodeError:
        raise UsageError(f"the name {folder} has bytes that are no UTF-8; choose another folder with --out") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{folder} cannot be a folder: {reason}; choose another with --out") from None
    if not nearest.is_dir():
        raise UsageError(f"{nearest} is a file; choose a folder with --out")
    if writes and not os.access(nearest, os.W_OK | os.X_OK):
        raise UsageError(f"nothing may be written into {nearest}; choose another folder with --out")
