"""Images that lie in two splits, or in two classes: counted and named, since figures made from them say less than they seem to.

Shapes: N images of a split.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from vicinal.data.types import ROLES, ImageSet, NearDuplicate, Role

Named = Callable[[Role, int], str]  # the name of a set's image
_WORDS: dict[Role, str] = {"train": "training", "validation": "validation", "test": "test"}
_EFFECT: dict[tuple[Role, Role], str] = {
    ("test", "train"): "measures on them say nothing of new images",
    ("test", "validation"): "what was chosen on validation images was chosen on test images too",
    ("validation", "train"): "choices and temperatures made on them trust too much",
}


def leak_notes(sets: Mapping[Role, ImageSet], class_names: tuple[str, ...], named: Named) -> list[str]:
    """A sentence for each two sets that share images, and one on images with two labels.

    Images are the same where their digests are: by their pixels as stored, or by their encoded bytes where images are lazy.
    """
    keys = {role: _keys(images.digests) for role, images in sets.items()}
    notes = []
    for (here, there), effect in _EFFECT.items():
        shared = np.flatnonzero(np.isin(keys[here], keys[there]))
        if len(shared):
            at = int(np.flatnonzero(keys[there] == keys[here][shared[0]])[0])
            example = f"{named(here, int(shared[0]))} is {named(there, at)}"
            notes.append(
                f"{len(shared):,} of {len(keys[here]):,} {_WORDS[here]} images are also {_WORDS[there]} images ({example}): {effect}."
            )
    return [*notes, *_conflicts(sets, keys, class_names, named)]


def near_notes(pairs: Sequence[NearDuplicate], sets: Mapping[Role, ImageSet], class_names: Sequence[str]) -> list[str]:
    """The same of images that are nearly the same; those that are wholly so are told by `leak_notes`."""
    near = [pair for pair in pairs if not pair.identical]
    notes = []
    for (here, there), effect in _EFFECT.items():
        shared = [pair for pair in near if (pair.first[0], pair.second[0]) == (here, there)]
        if shared:
            count = len({pair.first[1] for pair in shared})
            example = f"{_named(sets, shared[0].first)} is nearly {_named(sets, shared[0].second)}"
            notes.append(
                f"{count:,} of {len(sets[here]):,} {_WORDS[here]} images are near-duplicates of {_WORDS[there]} images ({example}): "
                f"{effect}."
            )
    conflicts = [pair for pair in near if _label(sets, pair.first) != _label(sets, pair.second)]
    if conflicts:
        first, second = conflicts[0].first, conflicts[0].second
        example = (
            f"{_named(sets, first)} as {class_names[_label(sets, first)]!r} and {_named(sets, second)} as "
            f"{class_names[_label(sets, second)]!r}"
        )
        notes.append(f"{len(conflicts):,} pairs of near-duplicates stand under different classes ({example}).")
    return notes


def _named(sets: Mapping[Role, ImageSet], at: tuple[Role, int]) -> str:
    names = sets[at[0]].names
    return names[at[1]] if names is not None else f"{at[0]}#{at[1]}"


def _label(sets: Mapping[Role, ImageSet], at: tuple[Role, int]) -> int:
    return int(sets[at[0]].labels[at[1]])


def _conflicts(
    sets: Mapping[Role, ImageSet], keys: Mapping[Role, NDArray[np.void]], class_names: tuple[str, ...], named: Named
) -> list[str]:
    """On images that stand under more than one class."""
    every = np.concatenate([keys[role] for role in ROLES])
    labels = np.concatenate([sets[role].labels.cpu().numpy() for role in ROLES])
    _, group = np.unique(every, return_inverse=True)
    pairs = np.unique(np.stack([group, labels], 1), axis=0)
    doubled = np.flatnonzero(np.bincount(pairs[:, 0]) > 1)
    if not len(doubled):
        return []
    members = np.flatnonzero(group == doubled[0])
    other = next(i for i in members if labels[i] != labels[members[0]])
    first, second = (_place(sets, int(i)) for i in (members[0], other))
    return [
        f"{len(doubled):,} images stand under more than one class ({named(*first)} as {class_names[labels[members[0]]]!r} and "
        f"{named(*second)} as {class_names[labels[other]]!r}): no classifier can be right about them."
    ]


def _place(sets: Mapping[Role, ImageSet], position: int) -> tuple[Role, int]:
    """The set of an image and its position there, from its position in all sets one after the other."""
    for role in ROLES:
        if position < len(sets[role]):
            return role, position
        position -= len(sets[role])
    raise IndexError(position)


def _keys(digests: NDArray[np.uint8]) -> NDArray[np.void]:
    """(N,) values that compare as a whole."""
    return np.ascontiguousarray(digests).view("V32").reshape(-1)
