"""What the numbers of the classes go by: the source's own, names as text, names as people count, or a list."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vicinal.config import DataSpec
from vicinal.data.types import Source
from vicinal.errors import UsageError


def in_class_order(source: Source, spec: DataSpec) -> Source:
    """A source with its classes numbered as `spec.class_order` says.

    Raises UsageError for a list that is not the source's classes.
    """
    names = source.class_names
    order = spec.class_order
    if order is None:
        return replace(source, notes=(*source.notes, *_warning(source)))
    if isinstance(order, tuple):
        _check_list(source, order)
        wanted, said = order, "as given"
    else:
        wanted, said = tuple(sorted(names, key=natural_key if order == "natural" else str)), order
    place = {name: i for i, name in enumerate(wanted)}
    number = np.array([place[name] for name in names], dtype=np.int64)
    splits = {
        # Labels that are no class stay what they are, so that the check names them.
        role: replace(
            split, labels=np.where(_known(split.labels, names), number[split.labels % len(names)], split.labels)
        )
        for role, split in source.splits.items()
    }
    return replace(source, class_names=wanted, splits=splits, class_order=said)


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorts names as timm does: numbers in them by their value, letters without regard to case; then as text."""
    parts = re.split(r"(\d+)", name.lower())
    return [_number_key(part) if part.isdecimal() else (1, 0, part) for part in parts] + [(-1, 0, name)]


def _number_key(digits: str) -> tuple[int, int, str]:
    """Sorts whole numbers of any length by their value: by how many digits they have, then digit by digit."""
    plain = "".join(str(int(digit)) for digit in digits).lstrip("0")
    return (0, len(plain), plain)


def _known(labels: NDArray[np.int64], names: Sequence[str]) -> NDArray[np.bool_]:
    return (labels >= 0) & (labels < len(names))


def _check_list(source: Source, order: Sequence[str]) -> None:
    missing = [name for name in source.class_names if name not in order]
    extra = [name for name in order if name not in source.class_names]
    if missing or extra:
        parts = [f"it lacks {', '.join(map(repr, missing[:5]))}"] * bool(missing)
        parts += [f"there is no class {', '.join(map(repr, extra[:5]))}"] * bool(extra)
        raise UsageError(
            f"data.class_order is not the list of the classes of {source.name}: {'; '.join(parts)}; "
            f"they are {', '.join(source.class_names[:20])}{', ...' if len(source.class_names) > 20 else ''}"
        )


def _warning(source: Source) -> list[str]:
    """Where names go by text and people, and timm, would count them otherwise."""
    if source.class_order != "text":
        return []
    natural = tuple(sorted(source.class_names, key=natural_key))
    if natural == source.class_names:
        return []
    at = next(i for i, (one, other) in enumerate(zip(source.class_names, natural, strict=True)) if one != other)
    return [
        f"Classes are numbered by their names as text: number {at} is {source.class_names[at]!r}. timm counts in the natural order, "
        f"where it is {natural[at]!r}; data.class_order=natural does so, too."
    ]
