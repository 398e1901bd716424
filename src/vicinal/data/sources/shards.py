"""A folder of WebDataset shards: train*.tar, val*.tar and test*.tar with KEY.jpg beside KEY.cls (a class number).

The shards are indexed once by their headers; an image is then one read at a known place, so that a plan can ask for any.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vicinal.config import DataSpec
from vicinal.data.decode import SUFFIXES
from vicinal.data.types import Item, Role, Source, Split, contents_in_files
from vicinal.errors import UsageError
from vicinal.workspace import ContentHashes

CLASS_NAMES_FILE = "classnames.txt"  # one name on each line, as published ImageNet shards have it
_ROLES: dict[str, Role] = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}
_SHARD = re.compile(r"(train|validation|val|test).*\.tar")


@dataclass(frozen=True)
class _Member:
    shard: Path
    offset: int
    size: int
    key: str
    label: int


def shard_files(root: Path) -> list[Path]:
    """The shards in a folder, by name."""
    return sorted(p for p in root.iterdir() if _SHARD.fullmatch(p.name.lower()) and p.is_file())


def is_shards(source: str) -> bool:
    """Whether `data.source` is a folder of shards."""
    root = Path(source).expanduser()
    return root.is_dir() and bool(shard_files(root))


def find_shards(spec: DataSpec) -> Source:
    """The images in the shards of a folder, unread. Raises UsageError for a damaged shard or an image without a class."""
    root = Path(spec.source).expanduser()
    by_role: dict[Role, list[Path]] = {}
    for shard in shard_files(root):
        match = _SHARD.fullmatch(shard.name.lower())
        assert match is not None  # by shard_files
        by_role.setdefault(_ROLES[match[1]], []).append(shard)
    if "train" not in by_role:
        raise UsageError(f"{root} holds shards but none named train*.tar: add them or rename")
    members = {role: [m for shard in shards for m in _index(shard)] for role, shards in by_role.items()}
    classes = 1 + max(m.label for found in members.values() for m in found)
    return Source(
        f"{root.resolve().name} (WebDataset)",
        _class_names(root, classes),
        {role: _split(found) for role, found in members.items()},
    )


def _index(shard: Path) -> list[_Member]:
    """Every image of a shard with its class: its place in the file, from the tar headers alone."""
    images: dict[str, tarfile.TarInfo] = {}
    labels: dict[str, int] = {}
    try:
        with tarfile.open(shard, "r:") as tar:
            for info in tar:
                key, dot, ending = info.name.rpartition("/")[2].partition(".")
                key = f"{info.name.rpartition('/')[0]}/{key}"
                if not info.isfile() or not dot:
                    continue
                if f".{ending.lower()}" in SUFFIXES:
                    images[key] = info
                elif ending in ("cls", "json"):
                    file = tar.extractfile(info)
                    assert file is not None  # a regular file
                    label = _label(file.read(), ending)
                    if label is not None:
                        labels[key] = label
    except (tarfile.TarError, OSError) as error:
        raise UsageError(
            f"{shard} cannot be read as an uncompressed tar shard ({error}): repair or replace it"
        ) from None
    if not images:
        raise UsageError(f"{shard} holds no images ({' '.join(SUFFIXES)}): replace or remove it")
    missing = next((key for key in images if key not in labels), None)
    if missing is not None:
        raise UsageError(f"{shard}: {images[missing].name} has no class: add {missing.lstrip('/')}.cls with its number")
    return [_Member(shard, i.offset_data, i.size, i.name, labels[key]) for key, i in images.items()]


def _label(data: bytes, ending: str) -> int | None:
    """The class number of a .cls file, or of the key label in a .json file; None where there is none."""
    try:
        value = int(data) if ending == "cls" else json.loads(data)["label"]
    except (ValueError, KeyError, TypeError):
        return None
    return value if isinstance(value, int) and value >= 0 else None


def _class_names(root: Path, classes: int) -> tuple[str, ...]:
    path = root / CLASS_NAMES_FILE
    if not path.is_file():
        return tuple(map(str, range(classes)))
    names = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    if len(names) < classes:
        raise UsageError(f"{path} has {len(names)} names, but labels go up to {classes - 1}: complete it")
    return names


def _split(members: list[_Member]) -> Split:
    def items(index: NDArray[np.int64]) -> Iterator[Item]:
        for i in index:
            member = members[i]
            with member.shard.open("rb") as file:
                file.seek(member.offset)
                yield file.read(member.size), f"{member.shard}, {member.key}"

    shards = sorted({member.shard for member in members})
    shard_of = np.array([shards.index(member.shard) for member in members], dtype=np.int64)

    def contents(index: NDArray[np.int64]) -> ContentHashes:
        return contents_in_files(shards, shard_of[index], (members[i].offset for i in index))

    return Split(np.array([m.label for m in members], dtype=np.int64), items, contents)
