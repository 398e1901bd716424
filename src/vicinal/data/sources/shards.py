"""A folder of WebDataset shards: train*.tar, val*.tar and test*.tar with KEY.jpg beside KEY.cls (a class number).

The shards are indexed once by their headers; an image is then one read at a known place, so that a plan can ask for any.
"""

from __future__ import annotations

import io
import itertools
import json
import re
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from vicinal.config import DataSpec
from vicinal.data.formats import SUFFIXES
from vicinal.data.sources.parquet import check_shards, numbered_classes
from vicinal.data.types import Item, Role, Source, Split, contents_in_files
from vicinal.errors import UsageError
from vicinal.workspace import ContentHashes, findings_in

CLASS_NAMES_FILE = "classnames.txt"  # one name on each line, as published ImageNet shards have it
_TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_INDEX = "shard index 1"  # raised when the same shard is understood in another way
_NAMED = 10  # kinds of files that a note names
_LONGEST_LABEL = 1_000_000  # bytes of a .cls or .json
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
    for shards in by_role.values():
        check_shards(shards)
    beside = _tars_beside(root, by_role)
    left_out: Counter[str] = Counter()
    members = {role: _indexed(shards, left_out) for role, shards in by_role.items()}
    largest = max(m.label for found in members.values() for m in found)
    names, unfit = _class_names(root, largest, len(members.get("train", ())))
    if "train" not in by_role:
        unfit = f"{root} holds shards but none named train*.tar: add them or rename"
    return Source(
        f"{root.resolve().name} (WebDataset)",
        names,
        {role: _split(found) for role, found in members.items()},
        (*beside, *_left_out_notes(left_out)),
        unfit_for_training=unfit,
    )


def _tars_beside(root: Path, by_role: Mapping[Role, list[Path]]) -> tuple[str, ...]:
    """A sentence on tar files that are no shards by their names. Raises UsageError for a link to nowhere."""
    others = []
    for path in sorted(root.iterdir()):
        if not path.name.lower().endswith(_TARS) or any(path in shards for shards in by_role.values()):
            continue
        if not path.exists():
            raise UsageError(f"{path} is a link to nowhere ({path.readlink()}): mount what it points to, or remove it")
        others.append(path.name)
    more = f" and {len(others) - 5:,} more" if len(others) > 5 else ""
    said = f"Tar files that were not used (shards are called train*.tar, val*.tar, test*.tar): {', '.join(others[:5])}{more}."
    return (said,) if others else ()


def _left_out_notes(left_out: Counter[str]) -> tuple[str, ...]:
    if not left_out:
        return ()
    named = ", ".join(f"{n:,} {what}" for what, n in left_out.most_common(_NAMED))
    rest = sorted(left_out.values(), reverse=True)[_NAMED:]
    return (f"Left out of the shards: {named}{f' and {sum(rest):,} files of other endings' if rest else ''}.",)


@dataclass
class _Keys:
    """What a shard holds by key: WebDataset's key ends at the first dot of a name, a file's name at its last."""

    images: dict[str, list[tarfile.TarInfo]] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)


def _indexed(shards: list[Path], left_out: Counter[str]) -> list[_Member]:
    """Every image of the shards; the index of a shard is remembered while nothing about its file changes."""
    members: list[_Member] = []
    for shard, found in zip(
        shards, findings_in(shards, f"{_INDEX} {' '.join(SUFFIXES)}", _index_as_bytes), strict=True
    ):
        index = json.loads(zlib.decompress(found))
        left_out.update(index["left_out"])
        members += [_Member(shard, *fields) for fields in index["members"]]
    return members


def _index_as_bytes(shard: Path) -> bytes:
    left_out: Counter[str] = Counter()
    members = [(m.offset, m.size, m.key, m.label) for m in _index(shard, left_out)]
    return zlib.compress(json.dumps({"members": members, "left_out": left_out}).encode(), 1)


def _index(shard: Path, left_out: Counter[str]) -> list[_Member]:
    """Every image of a shard with its class: its place in the file, from the tar headers alone."""
    found = _Keys()
    try:
        with shard.open("rb") as file, tarfile.open(fileobj=_Bounded(file), mode="r:") as tar:
            size = shard.stat().st_size
            for info in tar:
                if info.isfile():
                    _take(shard, tar, info, found, left_out)
                    if info.offset_data + info.size > size:
                        raise tarfile.ReadError(f"{info.name[:100]} ends behind the end of the file")
    except (tarfile.TarError, OSError, ValueError, MemoryError, OverflowError) as error:
        raise UsageError(
            f"{shard} cannot be read as an uncompressed tar shard ({' '.join(str(error).split())}): repair or replace it"
        ) from None
    if not found.images:
        raise UsageError(f"{shard} holds no images ({' '.join(SUFFIXES)}): replace or remove it")
    return _matched(shard, found, left_out)


def _take(shard: Path, tar: tarfile.TarFile, info: tarfile.TarInfo, found: _Keys, left_out: Counter[str]) -> None:
    folder, _, name = info.name.rpartition("/")
    stem, dot, ending = name.rpartition(".")
    if not dot or name.startswith("."):
        left_out["files without an ending or hidden"] += 1
    elif f".{ending.lower()}" in SUFFIXES:
        found.images.setdefault(f"{folder}/{stem}", []).append(info)
    elif (ending := ending.lower()) in ("cls", "json"):
        file = tar.extractfile(info)
        assert file is not None  # a regular file
        label = _label(file.read(_LONGEST_LABEL + 1), ending)
        key = f"{folder}/{stem}"
        if label is not None and found.labels.setdefault(key, label) != label:
            raise UsageError(
                f"{shard}: {key.lstrip('/')} has two classes, {found.labels[key]} and {label} (in .cls or .json): keep one"
            )
    else:
        left_out[f".{ending[:20]}"] += 1


def _matched(shard: Path, found: _Keys, left_out: Counter[str]) -> list[_Member]:
    """The images with their classes. Raises UsageError for a key that has two images, or none of its own class."""
    members = []
    for stem, infos in found.images.items():
        folder, _, name = stem.rpartition("/")
        key = f"{folder}/{name.partition('.')[0]}"  # WebDataset's
        if stem not in found.labels and key != stem and key in found.images:
            left_out["further images of a key (001.seg.png beside 001.jpg)"] += len(infos)
            continue
        label = found.labels.get(stem, found.labels.get(key))
        if label is None:
            raise UsageError(f"{shard}: {infos[0].name} has no class: add {stem.lstrip('/')}.cls with its number")
        if len(infos) > 1:
            names = " and ".join(dict.fromkeys(info.name for info in infos))
            raise UsageError(
                f"{shard} holds {len(infos)} images with the key {stem.lstrip('/')} ({names}): rename or remove all but one"
            )
        members.append(_Member(shard, infos[0].offset_data, infos[0].size, infos[0].name, label))
    keys = {
        *found.images,
        *(f"{f}/{name.partition('.')[0]}" for f, _, name in (s.rpartition("/") for s in found.images)),
    }
    if lonely := len(found.labels.keys() - keys):
        left_out["classes without an image of their key"] += lonely
    return members


class _Bounded(io.RawIOBase):
    """A file of which nobody reads more than there is: a header that promises an exabyte asks for no memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = file.seek(0, io.SEEK_END)
        file.seek(0)

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._size - self._file.tell())
        return self._file.read(left if size < 0 else min(size, left))

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _label(data: bytes, ending: str) -> int | None:
    """The class number of a .cls file, or of the key label in a .json file; None where there is none."""
    if len(data) > _LONGEST_LABEL:
        return None
    try:
        value = int(data) if ending == "cls" else json.loads(data)["label"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return value if type(value) is int and 0 <= value < 2**63 else None


def _class_names(root: Path, largest: int, train_images: int) -> tuple[tuple[str, ...], str | None]:
    path = root / CLASS_NAMES_FILE
    if not path.is_file():
        return numbered_classes(largest, train_images, str(root))
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not text in UTF-8: save it as that") from None
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    if len(names) <= largest:
        raise UsageError(f"{path} has {len(names)} names, but labels go up to {largest}: complete it")
    twice = [name for name, n in Counter(names).items() if n > 1]
    if twice:
        raise UsageError(f"{path} names {twice[0]!r} twice: give every class a name of its own")
    return names, None


def _split(members: list[_Member]) -> Split:
    def items(index: NDArray[np.int64]) -> Iterator[Item]:
        for shard, of_shard in itertools.groupby(index.tolist(), lambda i: members[i].shard):
            with shard.open("rb") as file:
                for i in of_shard:
                    file.seek(members[i].offset)
                    yield file.read(members[i].size), f"{shard}, {members[i].key}"

    shards = sorted({member.shard for member in members})
    number = {shard: i for i, shard in enumerate(shards)}
    shard_of = np.array([number[member.shard] for member in members], dtype=np.int64)

    def contents(index: NDArray[np.int64]) -> ContentHashes:
        return contents_in_files(shards, shard_of[index], (members[i].offset for i in index), lambda: items(index))

    labels = np.array([m.label for m in members], dtype=np.int64)
    return Split(labels, items, contents, lambda i: f"{members[i].shard.name}/{members[i].key}")
