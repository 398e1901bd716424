"""In which order an epoch passes through the images: one permutation drawn whole, a keyed one that is computed where it is asked for,
or one that reads stored images block by block.

Shapes: N images, P positions in an epoch.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vicinal.config import BlockOrder

Positions = NDArray[np.int64]
Key = tuple[int, ...]

_ROUNDS = 12


class KeyedPermutation:
    """A pseudo-random permutation of 0 to N − 1 that holds nothing of size N: any value costs the same, at any N.

    An alternating Feistel network over a·b ≥ N with cycle walking (Black and Rogaway 2002, method of FFX: Bellare, Rogaway and
    Spies 2010); its round function is the finaliser of SplitMix64 (Steele et al. 2014). Not meant for secrets.

    Args:
        size: N, at least 1.
        key: numbers ≥ 0; each key has a permutation of its own.
    """

    def __init__(self, size: int, key: Key) -> None:
        self.size = size
        self._a = int(np.ceil(np.sqrt(size)))
        self._b = -(-size // self._a)
        self._keys = np.random.SeedSequence(key).generate_state(_ROUNDS, np.uint64)

    def __call__(self, positions: Positions) -> Positions:
        """(P,) values at (P,) positions."""
        return self._walked(positions, self._forwards)

    def inverse(self, values: Positions) -> Positions:
        """(P,) positions of (P,) values."""
        return self._walked(values, self._backwards)

    def _walked(self, given: Positions, step: Callable[[Positions], Positions]) -> Positions:
        found = step(given)
        while len(outside := np.flatnonzero(found >= self.size)):  # of a·b < N + √N + 1 values few are outside
            found[outside] = step(found[outside])
        return found

    def _forwards(self, values: Positions) -> Positions:
        left, right = np.divmod(values, self._b)
        for number, key in enumerate(self._keys):
            if number % 2:
                right = (right + _hashed(left, key, self._b)) % self._b
            else:
                left = (left + _hashed(right, key, self._a)) % self._a
        return left * self._b + right

    def _backwards(self, values: Positions) -> Positions:
        left, right = np.divmod(values, self._b)
        for number, key in reversed(list(enumerate(self._keys))):
            if number % 2:
                right = (right - _hashed(left, key, self._b)) % self._b
            else:
                left = (left - _hashed(right, key, self._a)) % self._a
        return left * self._b + right


def _hashed(values: Positions, key: np.uint64, below: int) -> Positions:
    """(P,) numbers from 0 to `below` − 1."""
    mixed = values.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + key
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((mixed ^ (mixed >> np.uint64(31))) % np.uint64(below)).astype(np.int64)


def in_blocks(size: int, order: BlockOrder, key: Key, first: int, last: int) -> Positions:
    """(last − first,) images at positions `first` to `last` − 1 of an epoch that reads blocks of neighbouring images.

    Blocks come in keyed order; the images of `order.blocks_at_once` blocks that follow one another are shuffled together, so that no
    more blocks than these are read at a time.
    """
    blocks = -(-size // order.block_images)
    of_blocks = KeyedPermutation(blocks, (*key, 0))
    whole = order.blocks_at_once * order.block_images
    missing = blocks * order.block_images - size  # of the last block, which lies somewhere among the others
    short_window = int(of_blocks.inverse(np.array([blocks - 1]))[0]) // order.blocks_at_once
    short_end = (short_window + 1) * whole - missing
    parts, position = [], first
    while position < last:
        window = (position if position < short_end else position + missing) // whole
        begin = window * whole - missing * (window > short_window)
        numbers = np.arange(window * order.blocks_at_once, min((window + 1) * order.blocks_at_once, blocks))
        own = np.sort(of_blocks(numbers))  # the short one last
        count = len(own) * order.block_images - missing * (window == short_window)
        end = min(last, begin + count)
        place = KeyedPermutation(count, (*key, 1, window))(np.arange(position - begin, end - begin))
        parts.append(own[place // order.block_images] * order.block_images + place % order.block_images)
        position = end
    return np.concatenate(parts)
