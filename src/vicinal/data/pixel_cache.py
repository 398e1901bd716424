"""Decoded images kept on this disk, so that the next command on the same ones starts at once; what comes out is the same, bit for bit.

Kept by content: the hashes of the encoded images (which are remembered while nothing about their files changes), the decoders, our own
code that decodes, and what is asked for. Of each of a source's splits the images that any part holds are one array, so that cutting
them in another way recalls the same; each view of a part is a file of its own. Shapes: n images asked for, m that can be read.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vicinal.data.decode import (
    BrokenImageError,
    Decoded,
    DecodedPart,
    Part,
    Storage,
    broken_sentence,
    check_memory,
    decode_splits,
    decode_views,
)
from vicinal.data.formats import decoders
from vicinal.data.types import Split
from vicinal.data.views import View
from vicinal.errors import UsageError
from vicinal.workspace import ArrayCache, SealedArrays, Streamed, shown_if_slow, told_if_slow

WORTH_SECONDS = 1.0  # of decoding; what takes less is not kept
_BLOCK_BYTES = 1 << 22  # of pixels that are sorted at a time
_CODE = ("decode.py", "formats.py", "views.py", "pixel_cache.py")  # whoever changes these decodes anew
_DTYPES = {"uint8": "U8", "bool": "BOOL", "float32": "F32", "uint64": "U64"}
_NAMES = {kept: name for name, kept in _DTYPES.items()}
_PLACE = "\0"  # of an image's name in a kept message


@dataclass(frozen=True, eq=False)
class _Group:
    """The images of one split of the source that are asked for: sorted positions (n,), their hashes, and the parts they belong to."""

    split: Split
    positions: NDArray[np.int64]
    contents: tuple[bytes, ...]
    members: tuple[int, ...]

    def rows(self, part: Part) -> NDArray[np.int64]:
        """Of the images of a part, their places among those of the group."""
        return np.searchsorted(self.positions, part[1])


def decode_kept(parts: Sequence[Part], storage: Storage, skip_broken: bool) -> Decoded:
    """What `decode_splits` gives for the same arguments, from this disk where it was kept there. Raises as `decode_splits`."""
    place = ArrayCache.here()
    count = sum(len(positions) for _, positions, _ in parts)
    groups = None
    if place is not None:
        with told_if_slow(f"looking whether {count:,} images have changed"):
            groups = _grouped(parts)
    if place is None or groups is None:
        with shown_if_slow(f"reading {count:,} images", count) as progress:
            return decode_splits(parts, storage, skip_broken, progress)
    kept = _Kept(place, parts, groups, storage)
    decoded = kept.recall() or kept.decode(count)
    if decoded.broken and not skip_broken:
        raise UsageError(broken_sentence(decoded.broken))
    return decoded


@cache
def code_of(*names: str) -> str:
    """What tells these modules of this room from other versions of them."""
    return _hash(*((Path(__file__).parent / name).read_bytes() for name in names))


def streamed(array: NDArray[Any]) -> Streamed:
    """A contiguous array, as it is kept."""
    return Streamed(_DTYPES[array.dtype.name], array.shape, lambda: [array])


def read_array(file: SealedArrays, name: str) -> NDArray[Any]:
    """The array that follows in a file."""
    array = np.empty(file.shapes[name], dtype=_NAMES[file.dtypes[name]])
    file.read_into(array)
    return array


def key_of(*values: object) -> str:
    """The key of what these values say."""
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def _hash(*values: bytes) -> str:
    return hashlib.sha256(b"".join(values)).hexdigest()


def _grouped(parts: Sequence[Part]) -> list[_Group] | None:
    """The images of all parts by split; None where nobody can tell whether they have changed."""
    groups = []
    for split in {id(part[0]): part[0] for part in parts}.values():
        if split.contents is None:
            return None
        members = tuple(i for i, part in enumerate(parts) if part[0] is split)
        every = np.concatenate([parts[i][1] for i in members])
        positions = np.unique(every)
        if len(positions) < len(every):
            return None
        try:
            contents = split.contents(positions).digests
        except OSError:  # which decoding tells better
            return None
        groups.append(_Group(split, positions, contents, members))
    return groups or None


@dataclass(eq=False)
class _Kept:
    """What is kept of one reading."""

    cache: ArrayCache
    parts: Sequence[Part]
    groups: Sequence[_Group]
    storage: Storage

    def __post_init__(self) -> None:
        contents = [_hash(*group.contents) for group in self.groups]
        code = code_of(*_CODE)
        self.key = key_of("images", code, decoders(), self.storage.side, self.storage.fit, contents)
        self.group_of = {i: group for group in self.groups for i in group.members}

    def decode(self, count: int) -> Decoded:
        """Read the images themselves, and keep them where that took long."""
        started = time.monotonic()
        with shown_if_slow(f"reading {count:,} images", count) as progress:
            decoded = decode_splits(self.parts, self.storage, True, progress)
        if self._is_worth(started):
            self._keep_stored(decoded)
            for i, part in enumerate(decoded.parts):
                self._keep_views(i, part.seen)
        return decoded

    def recall(self) -> Decoded | None:
        """What was kept, with views that were not kept made now; None where the images themselves have to be read."""
        with told_if_slow(f"reading decoded images from {self.cache.folder}"):
            decoded = self._recall_stored()
        if decoded is None:
            return None
        views = tuple(dict.fromkeys(self.storage.views(decoded.own_side)))
        return (
            decoded if all(self._fill_views(i, part, views, decoded) for i, part in enumerate(decoded.parts)) else None
        )

    def _is_worth(self, started: float) -> bool:
        """Whether it took long, and what was read since is what the key says."""
        if time.monotonic() - started < WORTH_SECONDS:
            return False
        again = _grouped(self.parts)
        return again is not None and [g.contents for g in again] == [g.contents for g in self.groups]

    # --- pixels as they are stored for training ---

    def _keep_stored(self, decoded: Decoded) -> None:
        arrays: dict[str, Streamed] = {}
        broken = iter(decoded.broken)
        words = dict[tuple[int, int], str]()
        for number, group in enumerate(self.groups):
            owner = self._owner(group, [part.readable for part in decoded.parts])
            readable = np.zeros(len(group.positions), dtype=np.bool_)
            for i in group.members:
                readable[group.rows(self.parts[i])] = decoded.parts[i].readable
            found = [decoded.parts[i] for i in group.members]
            arrays[f"{number}.readable"] = streamed(readable)
            for name in ("digests", "kept", "pixels"):
                arrays[f"{number}.{name}"] = _in_order([getattr(part, name) for part in found], owner)
        for i, part in enumerate(decoded.parts):
            group = self.group_of[i]
            for row, where in self._broken_of(i, part.readable):
                words[self.groups.index(group), row] = str(next(broken)).replace(where, _PLACE)
        told = {
            "own_side": decoded.own_side,
            "transparent": decoded.transparent,
            "broken": [[*at, text] for at, text in sorted(words.items())],
        }
        self.cache.write(self.key, arrays, {"told": json.dumps(told)})

    def _recall_stored(self) -> Decoded | None:
        with self.cache.read(self.key) as file:
            if file is None:
                return None
            told = json.loads(file.metadata["told"])
            words = {(number, row): text for number, row, text in told["broken"]}
            decoded = Decoded([], transparent=told["transparent"], own_side=told["own_side"])
            height, width, channels = file.shapes["0.pixels"][1:]
            views = tuple(dict.fromkeys(self.storage.views(decoded.own_side)))
            counts = [(len(positions), wanted) for _, positions, wanted in self.parts]
            seen = sum(count for count, wanted in counts if wanted)
            check_memory(sum(count for count, _ in counts), (height, width, channels), seen, views)
            found: dict[int, DecodedPart] = {}
            for number, group in enumerate(self.groups):
                readable = read_array(file, f"{number}.readable")
                at = {i: group.rows(self.parts[i]) for i in group.members}
                owner = self._owner(group, {i: readable[rows] for i, rows in at.items()})
                digests, kept, pixels = (
                    _out_of_order(file, f"{number}.{name}", owner, len(group.members))
                    for name in ("digests", "kept", "pixels")
                )
                for k, i in enumerate(group.members):
                    found[i] = DecodedPart(pixels[k], digests[k], readable[at[i]], {}, kept[k])
        for i in range(len(self.parts)):
            decoded.parts.append(found[i])
            number = self.groups.index(self.group_of[i])
            decoded.broken += [
                BrokenImageError(words[number, row].replace(_PLACE, where))
                for row, where in self._broken_of(i, found[i].readable)
            ]
        return decoded

    def _owner(self, group: _Group, readable: Any) -> NDArray[np.int64]:
        """(m,) which of a group's members has each of its images that can be read, in the order of both.

        Args:
            readable: of each part, by its number, bool (n,).
        """
        owner = np.full(len(group.positions), -1, dtype=np.int64)
        for k, i in enumerate(group.members):
            owner[group.rows(self.parts[i])[readable[i]]] = k
        return owner[owner >= 0]

    def _broken_of(self, i: int, readable: NDArray[np.bool_]) -> Iterator[tuple[int, str]]:
        """Of a part's images that cannot be read: the place of each in its group, and its name."""
        split, positions, _ = self.parts[i]
        missing = np.flatnonzero(~readable)
        if len(missing):
            names = (where for _, where in split.items(positions[missing]))
            yield from zip(self.group_of[i].rows(self.parts[i])[missing].tolist(), names, strict=True)

    # --- views ---

    def _view_key(self, i: int, view: View) -> str:
        group = self.group_of[i]
        return key_of(self.key, view.text, _hash(*(group.contents[row] for row in group.rows(self.parts[i]))))

    def _keep_views(self, i: int, seen: dict[View, NDArray[np.uint8]]) -> None:
        for view, pixels in seen.items():
            self.cache.write(self._view_key(i, view), {"pixels": streamed(pixels)}, {})

    def _fill_views(self, i: int, part: DecodedPart, views: Sequence[View], decoded: Decoded) -> bool:
        """Recall the views of a part, if they are wanted, and make those that were not kept; False where its images are others now."""
        if not self.parts[i][2]:
            return True
        for view in views:
            with self.cache.read(self._view_key(i, view)) as file:
                if file is not None:
                    part.seen[view] = read_array(file, "pixels")
        missing = [view for view in views if view not in part.seen]
        if missing:
            started, count = time.monotonic(), len(self.parts[i][1])
            with shown_if_slow(f"reading {count:,} images", count) as progress:
                made = decode_views(self.parts[i], missing, part, decoded.own_side, self.storage, progress)
            if made is None:
                return False
            if self._is_worth(started):
                self._keep_views(i, made)
            part.seen = {view: (part.seen | made)[view] for view in views}
        return True


def _in_order(arrays: Sequence[NDArray[Any]], owner: NDArray[np.int64]) -> Streamed:
    """One array of the rows of several: row j is the next row of array `owner[j]`; never copied as a whole."""
    form = arrays[0].shape[1:]
    if len(arrays) == 1:
        return streamed(arrays[0])

    def parts() -> Iterator[NDArray[Any]]:
        done = [0] * len(arrays)
        for start, stop in _blocks(len(owner), arrays[0]):
            block = np.empty((stop - start, *form), dtype=arrays[0].dtype)
            for k, array in enumerate(arrays):
                here = owner[start:stop] == k
                first, done[k] = done[k], done[k] + int(here.sum())
                block[here] = array[first : done[k]]
            yield block

    return Streamed(_DTYPES[arrays[0].dtype.name], (len(owner), *form), parts)


def _out_of_order(file: SealedArrays, name: str, owner: NDArray[np.int64], count: int) -> list[NDArray[Any]]:
    """The `count` arrays that `_in_order` made one of."""
    if count == 1:
        return [read_array(file, name)]
    form, dtype = file.shapes[name][1:], _NAMES[file.dtypes[name]]
    arrays: list[NDArray[Any]] = [np.empty((int((owner == k).sum()), *form), dtype=dtype) for k in range(count)]
    done = [0] * count
    for start, stop in _blocks(len(owner), arrays[0]):
        block = np.empty((stop - start, *form), dtype=dtype)
        file.read_into(block)
        for k, array in enumerate(arrays):
            here = owner[start:stop] == k
            first, done[k] = done[k], done[k] + int(here.sum())
            np.compress(here, block, axis=0, out=array[first : done[k]])
    return arrays


def _blocks(count: int, like: NDArray[Any]) -> Iterator[tuple[int, int]]:
    row = max(1, int(np.prod(like.shape[1:])) * like.dtype.itemsize)
    rows = max(1, _BLOCK_BYTES // row)
    return ((start, min(start + rows, count)) for start in range(0, count, rows))
