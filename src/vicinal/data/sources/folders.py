"""A folder of class folders, ROOT/<class>/*.jpg, or one for each split, ROOT/{train,val,test}/<class>/*.jpg."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vicinal.config import DataSpec
from vicinal.data.decode import SUFFIXES
from vicinal.data.types import Item, Role, Source, Split
from vicinal.errors import UsageError

SPLIT_FOLDERS: dict[str, Role] = {
    "train": "train",
    "val": "validation",
    "validation": "validation",
    "valid": "validation",
    "test": "test",
}


def find_folders(spec: DataSpec) -> Source:
    """The images below the folder `spec.source`, unread; classes are sorted by name, images within a class too.

    Raises UsageError for a folder without class folders, an empty class folder, fewer than two classes, or splits whose
    classes differ.
    """
    root = Path(spec.source).expanduser()
    folders = _visible(root)
    if not folders and not any(root.iterdir()):
        raise UsageError(f"the folder {root} is empty: give one that holds a folder of images for each class")
    if not folders:
        raise UsageError(
            f"{root} holds no class folders: sort the images into one folder for each class, {root}/CLASS/*"
        )
    splits = [f for f in folders if f.name in SPLIT_FOLDERS and _visible(f)]
    if not splits:
        return _source(root, {"train": root}, [])
    by_role: dict[Role, Path] = {}
    for folder in splits:
        role = SPLIT_FOLDERS[folder.name]
        if role in by_role:
            raise UsageError(f"{root} holds both {by_role[role].name}/ and {folder.name}/: keep one for validation")
        by_role[role] = folder
    if "train" not in by_role:
        found = ", ".join(f"{f.name}/" for f in splits)
        raise UsageError(
            f"{root} holds {found} but no train/ with class folders: add it, or give a folder of class folders"
        )
    return _source(root, by_role, [f.name for f in folders if f not in splits])


def _source(root: Path, by_role: dict[Role, Path], unused: list[str]) -> Source:
    classes = [f.name for f in _visible(by_role["train"])]
    for folder in by_role.values():
        here = [f.name for f in _visible(folder)]
        if here != classes:
            missing, extra = sorted(set(classes) - set(here)), sorted(set(here) - set(classes))
            parts = [f"{folder} lacks {_some(missing)}"] * bool(missing) + [f"only {folder} has {_some(extra)}"] * bool(
                extra
            )
            raise UsageError(
                f"the classes of the splits differ: {'; '.join(parts)}; give every split the same class folders"
            )
    if len(classes) < 2:
        raise UsageError(
            f"{by_role['train']} holds one class folder, {classes[0]}/: a classifier needs at least two classes"
        )
    left_out = 0
    splits: dict[Role, Split] = {}
    for role, folder in by_role.items():
        paths: list[Path] = []
        labels: list[int] = []
        for label, name in enumerate(classes):
            entries = sorted(p for p in (folder / name).iterdir() if not p.name.startswith("."))
            images = [p for p in entries if p.suffix.lower() in SUFFIXES and not p.is_dir()]
            if not images:
                raise UsageError(
                    f"the class folder {folder / name} holds no images ({' '.join(SUFFIXES)}): add some or remove it"
                )
            left_out += len(entries) - len(images)
            paths += images
            labels += [label] * len(images)
        splits[role] = _split(folder, paths, labels)
    notes = [f"Folders beside the splits that were not used: {_some(unused)}."] * bool(unused)
    if left_out:
        notes.append(f"Left out of the class folders: {left_out} entries that are no image files by their ending.")
    return Source(f"{root.resolve().name} (folder)", tuple(classes), splits, tuple(notes))


def _split(folder: Path, paths: list[Path], labels: list[int]) -> Split:
    def items(index: NDArray[np.int64]) -> Iterator[Item]:
        return ((paths[i], str(paths[i])) for i in index)

    def identities(index: NDArray[np.int64]) -> Iterator[str]:
        return (f"{paths[i].relative_to(folder)} {paths[i].stat().st_size}" for i in index)

    return Split(np.array(labels, dtype=np.int64), items, identities)


def _visible(folder: Path) -> list[Path]:
    """The folders inside, sorted by name, without hidden ones (.cache, .ipynb_checkpoints)."""
    return sorted(f for f in folder.iterdir() if f.is_dir() and not f.name.startswith("."))


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
