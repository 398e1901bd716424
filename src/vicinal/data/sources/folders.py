"""A folder of class folders, ROOT/<class>/**/*.jpg, or one for each split, ROOT/{train,val,test}/<class>/**/*.jpg."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vicinal.config import DataSpec
from vicinal.data.decode import BrokenImageError, broken_sentence
from vicinal.data.formats import MISSING_SUFFIXES, SUFFIXES
from vicinal.data.types import Item, Role, Source, Split, Unreadable
from vicinal.errors import UsageError
from vicinal.workspace import ContentHashes, content_hashes_of

SPLIT_FOLDERS: dict[str, Role] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "validation": "validation",
    "valid": "validation",
    "test": "test",
    "testing": "test",
}

_PACKED = (".parquet", ".tar", ".gz", ".tgz", ".zip", ".7z", ".rar")


@dataclass
class _Found:
    """What a walk through class folders found, beside the images taken."""

    other_endings: Counter[str] = field(default_factory=Counter)
    hidden: int = 0  # images by their ending
    hidden_folders: int = 0  # that hold images
    nested: int = 0  # images in folders of a class folder
    broken: list[BrokenImageError] = field(default_factory=list)


def find_folders(spec: DataSpec) -> Source:
    """The images below the folder `spec.source`, unread; classes are sorted by name, images within a class too.

    Folders in a class folder are part of it. Split folders are known in any case of letters (train or training, val, valid or
    validation, test or testing); a class of training images may lack images in another split.

    Raises UsageError for a folder without class folders, a link to nowhere, a class without training images, fewer than two
    classes, splits whose classes do not fit, or entries with an image's name that are none.
    """
    root = Path(spec.source).expanduser()
    folders = _visible(root)
    if not folders and not any(root.iterdir()):
        raise UsageError(f"the folder {root} is empty: give one that holds a folder of images for each class")
    if not folders:
        raise UsageError(
            f"{root} holds no class folders: sort the images into one folder for each class, {root}/CLASS/*"
        )
    splits = [f for f in folders if f.name.lower() in SPLIT_FOLDERS and _visible(f) and not _holds_images(f)]
    if not splits:
        return _source(spec, root, {"train": root}, [])
    by_role: dict[Role, Path] = {}
    for folder in splits:
        role = SPLIT_FOLDERS[folder.name.lower()]
        if role in by_role:
            raise UsageError(f"{root} holds both {by_role[role].name}/ and {folder.name}/: keep one for {role}")
        by_role[role] = folder
    return _source(spec, root, by_role, [f.name for f in folders if f not in splits])


def _source(spec: DataSpec, root: Path, by_role: Mapping[Role, Path], unused: list[str]) -> Source:
    notes = [f"Folders beside the splits that were not used: {_some(unused)}."] * bool(unused)
    folders = {role: _class_folders(folder) for role, folder in by_role.items()}
    classes = sorted({name for by_class in folders.values() for name in by_class})
    unfit = _unfit(root, by_role, folders)
    found, splits = _Found(), {}
    for role, by_class in folders.items():
        paths: list[Path] = []
        labels: list[int] = []
        for label, name in enumerate(classes):
            images = _images_below(by_class[name], found) if name in by_class else []
            if not images and role == "train" and unfit is None:
                unfit = f"the class folder {by_class[name]} holds no images ({' '.join(SUFFIXES)}): " + (
                    _tables_below(by_class[name]) or "add some or remove it"
                )
            if not images:
                notes.append(f"No {role} image is of the class {name!r}.")
            paths += images
            labels += [label] * len(images)
        splits[role] = _split(root, paths, labels)
    if found.broken and spec.on_error == "raise":
        raise UsageError(broken_sentence(found.broken))
    for role, folder in by_role.items():
        _check_not_one_level_up(folder, folders[role])
    beside = sum(_is_image(p.name) for folder in by_role.values() for p in folder.iterdir() if not p.is_dir())
    for folder in by_role.values():
        hidden = (path for path in folder.iterdir() if path.name.startswith(".") and path.is_dir())
        found.hidden_folders += sum(map(_shows_images, hidden))
        packed = sorted(p.name for p in folder.iterdir() if p.name.lower().endswith(_PACKED) and not p.is_dir())
        notes += [f"Files beside the class folders that may hold images and were not used: {_some(packed)}."] * bool(
            packed
        )
    source_notes = [*notes, *_unicode_notes(folders), *_notes(found, beside)]
    return Source(
        f"{root.resolve().name} (folder)",
        tuple(classes),
        splits,
        tuple(source_notes),
        "text",
        tuple(_unreadable(error, root) for error in found.broken),
        unfit,
    )


def _unreadable(error: BrokenImageError, root: Path) -> Unreadable:
    path, _, reason = str(error).rpartition(" (")
    place = (
        path.removesuffix(" cannot be read as an image")
        .removesuffix(" cannot be opened")
        .removeprefix(f"{root}{os.sep}")
    )
    return Unreadable(place, reason.removesuffix(")"))


def _class_folders(folder: Path) -> dict[str, Path]:
    """The class folders by the names of their classes: in Unicode's composed form, and bytes that are no UTF-8 as \\xe9."""
    found: dict[str, Path] = {}
    for path in _visible(folder):
        name = _class_name(path.name)
        if name in found:
            raise UsageError(
                f"{folder} holds two folders that are both shown as {name!r} and whose names differ by their Unicode form or by bytes "
                "that are not UTF-8 only: put their images into one, or rename one"
            )
        found[name] = path
    return found


def shown_path(path: Path) -> str:
    """A path as text, bytes that are no UTF-8 as \\xe9."""
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")


def _class_name(name: str) -> str:
    return unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "backslashreplace"))


def _unfit(root: Path, by_role: Mapping[Role, Path], folders: Mapping[Role, Mapping[str, Path]]) -> str | None:
    """Why no classifier can be trained on these class folders, as far as their names tell."""
    if "train" not in by_role:
        found = ", ".join(f"{folder.name}/" for folder in by_role.values())
        return f"{root} holds {found} but no train/ with class folders: add it, or give a folder of class folders"
    classes = folders["train"]
    for role, by_class in folders.items():
        extra = sorted(set(by_class) - set(classes))
        if extra:
            by_case = {name.casefold(): name for name in classes}
            near = by_case.get(extra[0].casefold())
            other = f" ({extra[0]} and {near} differ by case only)" if near else ""
            missing = sorted(set(classes) - set(by_class))
            lacking = f"{by_role[role]} lacks {_some(missing)}; " if missing else ""
            return (
                f"the classes of the splits differ: {lacking}only {by_role[role]} has {_some(extra)}{other}; a class needs "
                f"training images: add {by_role['train'] / extra[0]}/, or rename or remove the folder"
            )
    if len(classes) < 2:
        return f"{by_role['train']} holds one class folder, {next(iter(classes))}/: " + (
            _tables_below(classes[next(iter(classes))]) or "a classifier needs at least two classes"
        )
    return None


def _tables_below(folder: Path) -> str:
    """What to do where class folders are meant to be Parquet or shards; empty where they are not."""
    found = next((p for p in sorted(folder.rglob("*")) if p.suffix.lower() in (".parquet", ".tar")), None)
    if found is None:
        return ""
    return (
        f"but it holds {found}; give the one folder whose files are called train*{found.suffix.lower()} (and test*, val*), or for "
        "Parquet lie in train/, test/ and val/"
    )


def _check_not_one_level_up(root: Path, folders: Mapping[str, Path]) -> None:
    """Folders that all hold the same folders and no images of their own are no classes: the classes lie below."""
    below = {name: [f.name for f in _visible(path)] for name, path in folders.items()}
    first = next(iter(below.values()))
    alike = len(first) > 1 and all(names == first for names in below.values())
    if alike and not any(_holds_images(path) for path in folders.values()):
        raise UsageError(
            f"the folders {_some(list(folders))} of {root} hold the same folders ({_some(first)}) and no images of their own: "
            f"if those are the classes, give {root / next(iter(folders))} or merge them; call splits train/, val/ and test/"
        )


def _images_below(folder: Path, found: _Found) -> list[Path]:
    """The images in a class folder and the folders in it, sorted; links are followed, none twice."""
    images: list[Path] = []
    seen = {os.path.realpath(folder)}

    def walk(here: Path, depth: int) -> None:
        try:
            entries = sorted(here.iterdir())
        except OSError as error:
            found.broken.append(BrokenImageError(f"{here} cannot be opened ({error.strerror})"))
            return
        for path in entries:
            if path.is_dir():
                real = os.path.realpath(path)
                if path.name.startswith("."):
                    found.hidden_folders += _shows_images(path)
                elif real not in seen:
                    seen.add(real)
                    walk(path, depth + 1)
            elif path.name.startswith("."):
                found.hidden += _is_image(path.name)
            elif not _is_image(path.name):
                found.other_endings[path.suffix.lower() or "no ending"] += 1
            elif not path.is_file():
                reason = "a link to nowhere" if path.is_symlink() else "no regular file"
                found.broken.append(BrokenImageError(f"{path} cannot be read as an image ({reason})"))
            else:
                images.append(path)
                found.nested += depth > 0

    walk(folder, 0)
    return images


def _notes(found: _Found, beside: int) -> Iterator[str]:
    """What was taken though it lies deeper, and what was left out."""
    if found.nested:
        yield f"Images in folders of a class folder, taken as images of the class: {found.nested:,}."
    if found.other_endings:
        endings = ", ".join(f"{n:,} {ending}" for ending, n in found.other_endings.most_common(6))
        known = [e for e in found.other_endings if e in MISSING_SUFFIXES]
        plugin = " (to read .heic: pip install pillow-heif)" if set(known) & {".heic", ".heif", ".hif"} else ""
        yield (
            f"Left out of the class folders: {found.other_endings.total():,} entries that are no image files by their ending "
            f"({endings}){plugin}."
        )
    if found.hidden:
        yield f"Left out of the class folders: {found.hidden:,} hidden image files (their names begin with a dot)."
    if found.hidden_folders:
        yield f"Left out: {found.hidden_folders:,} hidden folders that hold images (their names begin with a dot)."
    if beside:
        yield f"Left out: {beside:,} image files that lie beside the class folders and so belong to no class."
    if found.broken:
        names = "; ".join(map(str, found.broken[:3]))
        yield f"Left out by data.on_error=skip: {len(found.broken):,} entries, for example {names}."


def _unicode_notes(folders: Mapping[Role, Mapping[str, Path]]) -> Iterator[str]:
    classes = {name: None for by_class in folders.values() for name in by_class}
    raw = {name: {by_class[name].name for by_class in folders.values() if name in by_class} for name in classes}
    forms = [name for name, names in raw.items() if len(names) > 1]
    if forms:
        yield f"Class folders whose names differ between splits by their Unicode form only were taken as one: {_some(forms)}."
    bytes_ = [name for name, names in raw.items() if any(_has_raw_bytes(each) for each in names)]
    if bytes_:
        yield f"Class folders whose names are not UTF-8 are shown with their bytes: {_some(bytes_)}."


def _has_raw_bytes(name: str) -> bool:
    return any(0xDC80 <= ord(character) <= 0xDCFF for character in name)


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _holds_images(folder: Path) -> bool:
    return any(_is_image(path.name) and path.is_file() for path in folder.iterdir())


def _shows_images(folder: Path) -> bool:
    try:
        return _holds_images(folder)
    except OSError:
        return False


def _split(root: Path, paths: Sequence[Path], labels: Sequence[int]) -> Split:
    def items(index: NDArray[np.int64]) -> Iterator[Item]:
        return ((paths[i], str(paths[i])) for i in index)

    def contents(index: NDArray[np.int64]) -> ContentHashes:
        return content_hashes_of([paths[i] for i in index])

    return Split(np.array(labels, dtype=np.int64), items, contents, lambda i: shown_path(paths[i].relative_to(root)))


def _visible(folder: Path) -> list[Path]:
    """The folders inside, sorted by name, without hidden ones (.cache, .ipynb_checkpoints).

    Raises UsageError for a link to nowhere: a class on a disk that is not mounted would be missing without a word.
    """
    found = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_symlink() and not path.exists() and not _is_image(path.name):
            raise UsageError(f"{path} is a link to nowhere ({path.readlink()}): mount what it points to, or remove it")
        if path.is_dir():
            found.append(path)
    return found


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
