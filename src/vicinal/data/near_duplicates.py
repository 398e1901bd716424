"""Images that are nearly the same as one of another set, or of another class: saved again, resized, cropped a little, made brighter.

Two perceptual hashes of 256 bits, by the library imagehash, have to agree. What the rule finds and how often it is wrong is in
docs/data.md. Shapes: N images, P pairs.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vicinal.data.pixel_cache import WORTH_SECONDS, code_of, key_of, read_array, streamed
from vicinal.data.types import ROLES, ImageSet, NearDuplicate, Role
from vicinal.workspace import ArrayCache, SlowWork, shown_if_slow

MOST_DISTANCE = 56  # bits of 256 that may differ, in each of the two hashes
SMALLEST_SIDE = 33  # px; smaller images have too little that tells them apart: silhouettes of clothes, X-rays
MOST_IMAGES = 20_000  # that `load_data` compares
_HASH_SIDE, _SIDE, _THUMB = (
    16,
    64,
    32,
)  # bits of a hash's side; px that it is made from; px of the picture that plain ones compare
_PLAIN_SHARE, _LEVELS = (
    0.5,
    8,
)  # of an image within so many grey levels around one: a graphic on a ground, whose hashes say little
_PLAIN_CORRELATION = 0.98  # that two images must have where one is plain
_FLAT = 2.0  # grey levels; an image that deviates less is of one colour, and like every other such
_ROWS = 512  # that are compared with all others at a time


@dataclass(frozen=True)
class _Hashes:
    """Of N images: both hashes, uint64 (N, 4); small pictures (N, 1024), each of length 1; which are plain and which flat, (N,)."""

    perceptual: NDArray[np.uint64]
    difference: NDArray[np.uint64]
    thumbs: NDArray[np.float32]
    plain: NDArray[np.bool_]
    flat: NDArray[np.bool_]


def near_duplicates(sets: Mapping[Role, ImageSet]) -> list[NearDuplicate] | None:
    """All pairs of near-duplicates in different sets, or in one set under different classes.

    Returns None where nothing can be said: images that are smaller than `SMALLEST_SIDE` or lazy. Every pair is compared: 10,000
    images take seconds.
    """
    if not all(isinstance(images.images, Tensor) and _is_large(images) for images in sets.values()):
        return None
    digests = np.concatenate([sets[r].digests for r in ROLES])
    found = _hashes_kept(sets, digests)
    role = np.concatenate([np.full(len(sets[r]), ROLES.index(r)) for r in ROLES])
    labels = np.concatenate([sets[r].labels.cpu().numpy() for r in ROLES])
    starts = np.cumsum([0, *(len(sets[r]) for r in ROLES)])

    def place(i: int) -> tuple[Role, int]:
        return ROLES[role[i]], i - int(starts[role[i]])

    pairs = []
    for i, j, one, other in _close(found):
        if role[i] != role[j] or labels[i] != labels[j]:
            same = bool((digests[i] == digests[j]).all())
            first, second = (
                (j, i) if role[i] < role[j] else (i, j)
            )  # test images before the training images that they are like
            pairs.append(NearDuplicate(place(first), place(second), one, other, same))
    return pairs


def _is_large(images: ImageSet) -> bool:
    return not len(images) or min(images.images.shape[1:3]) >= SMALLEST_SIDE


def _hashes_kept(sets: Mapping[Role, ImageSet], digests: NDArray[np.uint8]) -> _Hashes:
    """The hashes of all images, `digests` (N, 32) theirs: from this disk where they were kept there, in the order of the digests."""
    order = np.lexsort(digests.T)
    sides = [int(side) for side in sets["train"].images.shape[1:]]
    code, sorted_digests = code_of("near_duplicates.py"), hashlib.sha256(digests[order].tobytes()).hexdigest()
    libraries = [version(name) for name in ("imagehash", "pillow", "scipy", "numpy")]
    key = key_of("perceptual hashes", code, libraries, sides, sorted_digests)
    cache = ArrayCache.here()
    if cache is not None:
        with cache.read(key) as file:
            if file is not None:
                found = {part.name: read_array(file, part.name) for part in fields(_Hashes)}
                place = np.argsort(order)
                return _Hashes(**{name: array[place] for name, array in found.items()})
    started = time.monotonic()
    with shown_if_slow(f"comparing {len(digests):,} images", len(digests)) as progress:
        hashes = _hashes(sets, progress)
    if cache is not None and time.monotonic() - started > WORTH_SECONDS:
        arrays = {
            part.name: streamed(np.ascontiguousarray(getattr(hashes, part.name)[order])) for part in fields(hashes)
        }
        cache.write(key, arrays, {})
    return hashes


def _hashes(sets: Mapping[Role, ImageSet], progress: SlowWork) -> _Hashes:
    import imagehash  # here: it takes a while, and small images need none

    perceptual, difference, thumbs, plain, deviations = [], [], [], [], []
    for role in ROLES:
        images = sets[role].images
        assert isinstance(images, Tensor)  # as the caller has seen
        for pixels in images.cpu().numpy():
            progress.advance(1)
            grey = _grey(pixels)
            perceptual.append(np.packbits(imagehash.phash(grey, _HASH_SIDE).hash))
            difference.append(np.packbits(imagehash.dhash(grey, _HASH_SIDE).hash))
            small = np.asarray(grey.resize((_THUMB, _THUMB), Image.Resampling.BILINEAR))
            plain.append(_is_plain(small))
            picture = small.reshape(-1).astype(np.float32) - small.mean(dtype=np.float32)
            deviations.append(float(picture.std()))
            thumbs.append(picture / max(float(np.linalg.norm(picture)), 1e-6))
    return _Hashes(
        _words(perceptual), _words(difference), np.array(thumbs), np.array(plain, bool), np.array(deviations) < _FLAT
    )


def _grey(pixels: NDArray[np.uint8]) -> Image.Image:
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).convert("L")
    return image.resize(
        (_SIDE, _SIDE), Image.Resampling.BOX if min(image.size) > 4 * _SIDE else Image.Resampling.BILINEAR
    )


def _is_plain(small: NDArray[np.uint8]) -> bool:
    """Whether one grey level, and those near it, fill most of a picture."""
    counts = np.bincount(small.reshape(-1), minlength=256)
    around = np.convolve(counts, np.ones(2 * _LEVELS + 1, dtype=np.int64), "same")
    return bool(around.max() >= _PLAIN_SHARE * small.size)


def _words(hashes: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint64]:
    return np.stack(hashes).view(np.uint64) if hashes else np.empty((0, 4), np.uint64)


def _close(found: _Hashes) -> Iterator[tuple[int, int, int, int]]:
    """Pairs i < j whose hashes agree, with both distances: by words of 64 bits, so that most pairs are done with after two."""
    count = len(found.perceptual)
    for start in range(0, count, _ROWS):
        rows = np.arange(start, min(start + _ROWS, count))
        distance = np.zeros((len(rows), count - start), np.uint8)
        for word in range(2):
            distance += np.bitwise_count(found.perceptual[rows, None, word] ^ found.perceptual[None, start:, word])
        i, j = np.nonzero(distance <= MOST_DISTANCE)
        i, j = i + start, j + start
        keep = (i < j) & ~found.flat[i] & ~found.flat[j]
        i, j = i[keep], j[keep]
        one = _bits(found.perceptual, i, j)
        i, j, one = (part[one <= MOST_DISTANCE] for part in (i, j, one))
        other = _bits(found.difference, i, j)
        keep = other <= MOST_DISTANCE
        plain = np.flatnonzero(keep & (found.plain[i] | found.plain[j]))
        alike = (found.thumbs[i[plain]] * found.thumbs[j[plain]]).sum(1)
        keep[plain[alike < _PLAIN_CORRELATION]] = False
        yield from zip(*(part[keep].tolist() for part in (i, j, one, other)), strict=True)


def _bits(hashes: NDArray[np.uint64], i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.int64]:
    """(P,) in how many bits the hashes of each pair differ."""
    return np.asarray(np.bitwise_count(hashes[i] ^ hashes[j]).sum(1), dtype=np.int64)
