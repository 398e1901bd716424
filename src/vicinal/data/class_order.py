"""What the numbers of the classes go by: the source's own, names as text, names as people count, or a list."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
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


def in_classes_of(source: Source, class_names: Sequence[str]) -> Source:
    """A source whose labels are positions among a classifier's classes, found by their names.

    Names that differ in case or Unicode form alone are the same class, and so is one of the synonyms of a name that lists them
    (`tench, Tinca tinca`); classes without names, or named by whole numbers alone, are positions. Each where it leaves no two ways.

    Raises UsageError for a class that the classifier does not have.
    """
    wanted = tuple(class_names)
    number, note = _positions(source, wanted)
    lost = np.append(number, -1)
    splits = {
        role: replace(
            split, labels=np.where(_known(split.labels, number), lost[split.labels % len(number)], split.labels)
        )
        for role, split in source.splits.items()
    }
    notes = (*source.notes, note) if note else source.notes
    return replace(source, class_names=wanted, splits=splits, class_order="as given", notes=notes)


def _positions(source: Source, wanted: Sequence[str]) -> tuple[NDArray[np.int64], str | None]:
    """(classes of the source,) positions in `wanted`, and what is to be said."""
    held = source.class_names
    readings: list[tuple[Callable[[str], list[str]], str | None]] = [
        (lambda name: [name], None),
        (lambda name: [_folded(name)], "Classes were matched by name without regard to case or Unicode form."),
        (
            lambda name: [_folded(name), *map(_folded, name.split(", "))],
            "Classes were matched by one of the names that the classifier gives them.",
        ),
    ]
    for read, note in readings:
        place: dict[str, int] = {}
        twice = set()
        for i, name in enumerate(wanted):
            for form in dict.fromkeys(read(name)):
                twice |= {form} if form in place else set()
                place.setdefault(form, i)
        found = [place.get(form) if (form := read(name)[0]) not in twice else None for name in held]
        if None not in found and len(set(found)) == len(held):
            return np.array(found, dtype=np.int64), note
    if all(name.isdecimal() for name in held):
        numbers = [int(name) for name in held]
        if len(set(numbers)) == len(held) and max(numbers) < len(wanted):
            return np.array(
                numbers, dtype=np.int64
            ), "Classes are numbers: they were taken as positions of the classifier's logits."
    unknown = [name for name in held if _folded(name) not in set(map(_folded, wanted))] or list(held)
    raise UsageError(
        f"{source.name} has the classes {_listed(held)}, and the classifier knows {_listed(wanted)}: it has none called "
        f"{_listed(unknown)}; rename the classes, or leave out what it does not know"
    )


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:5])) + (f", ... ({len(names):,} in all)" if len(names) > 5 else "")


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorts names as timm does: numbers in them by their value, letters without regard to case; then as text."""
    parts = re.split(r"(\d+)", name.lower())
    return [_number_key(part) if part.isdecimal() else (1, 0, part) for part in parts] + [(-1, 0, name)]


def _number_key(digits: str) -> tuple[int, int, str]:
    """Sorts whole numbers of any length by their value: by how many digits they have, then digit by digit."""
    plain = "".join(str(int(digit)) for digit in digits).lstrip("0")
    return (0, len(plain), plain)


def _known(labels: NDArray[np.int64], names: Sequence[str] | NDArray[np.int64]) -> NDArray[np.bool_]:
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
