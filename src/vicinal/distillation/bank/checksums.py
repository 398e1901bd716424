"""A checksum for each record of a bank."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

CHECK_BYTES = 4
_PRIME = 4294967291  # the largest below 2^32
_BASE = 2654435761  # 2^32 over the golden ratio; any number whose powers do not repeat soon would do
_WORDS = 2**15  # of 16 bits, whose weighted sum fits 64 bits


@lru_cache(maxsize=8)
def _powers(count: int) -> NDArray[np.uint64]:
    powers, power = [], 1
    for _ in range(count):
        power = power * _BASE % _PRIME
        powers.append(power)
    return np.array(powers, dtype=np.uint64)


def checksums(records: NDArray[np.uint8], first: int) -> NDArray[np.uint32]:
    """A checksum for each of (B, bytes) records, whose places in the file begin at `first`: (B,) uint32, never 0.

    A polynomial over the record's 16-bit words and its place, modulo a prime (Rabin and Karp): a change
    in one word, so in one byte, always changes it, any other with a chance of 1 − 2⁻³². A record at another's place does not fit.
    """
    count, width = records.shape
    words = np.ascontiguousarray(records).view("<u2").reshape(count, width // 2)
    weights = _powers(width // 2 + 1)
    places = np.arange(first, first + count, dtype=np.uint64) % _PRIME
    total = places * weights[-1] % _PRIME
    for start in range(0, width // 2, _WORDS):
        part = slice(start, start + _WORDS)
        total += words[:, part].astype(np.uint64) @ weights[:-1][part] % _PRIME
    checks: NDArray[np.uint32] = (total % _PRIME + 1).astype("<u4")
    return checks


def fits(whole: NDArray[np.uint8], first: int) -> NDArray[np.bool_]:
    """(B,) whether records fit their checksums."""
    checks = np.ascontiguousarray(whole[:, -CHECK_BYTES:]).view("<u4")[:, 0]
    fit: NDArray[np.bool_] = checks == checksums(whole[:, :-CHECK_BYTES], first)
    return fit
