"""What an input is mixed from: the protocol `Vicinity`, its one implementation `Mixup`, and the names by which studies know them.

A vicinity draws the numbers of an epoch (or a section of it) at once, from generators of its own, and applies them a batch at a time.
Shapes: N samples of an epoch, B rows of a batch, M ≥ B clean images that these need (their own first), (C, H, W) an image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vicinal.config import MixingSpec
from vicinal.errors import UsageError


class Numbers(IntEnum):
    """What random numbers are for. Each has a stream of its own: turning flips on must not change which images meet."""

    ORDER = 0
    PARTNER = 1
    LAM = 2
    CLEAN = 3
    CROP = 4
    FLIP = 5
    EXTRA = 6  # whatever else a vicinity draws; further ones count on from here
    # Of single images, far from where vicinities count.
    BOX = 1_000_000
    RAND_AUGMENT = 1_000_001
    COLOR_JITTER = 1_000_002
    ERASING = 1_000_003


Generators = Callable[[int], np.random.Generator]


@dataclass(frozen=True)
class Places:
    """The samples of an epoch, in order, and how they fall into batches."""

    count: int  # N
    batch_size: int

    @property
    def ends(self) -> NDArray[np.int64]:
        """(2, N): where the batch of each sample begins and ends."""
        start = np.arange(self.count) // self.batch_size * self.batch_size
        return np.stack([start, np.minimum(start + self.batch_size, self.count)])

    def order_in_batches(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """(N,) positions within each batch that sort (N,) values: a permutation of every batch."""
        whole = self.count - self.count % self.batch_size
        parts = values[:whole].reshape(-1, self.batch_size), values[None, whole:]
        return np.concatenate([np.argsort(part, axis=1, kind="stable").ravel() for part in parts])


@dataclass(frozen=True)
class EpochDraws:
    """The numbers of an epoch, (N, ...) in the order of its samples."""

    partner: NDArray[np.int64]  # position in the sample's batch
    lam: NDArray[np.float32]  # share of the sample's own image; 1 where it is left unmixed
    extra: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)  # whatever else `apply` needs of a row

    def of_rows(self, rows: slice, partner: NDArray[np.int64]) -> BatchDraws:
        """The draws of some rows, as tensors, with partners as they stand among these rows' images."""
        return BatchDraws(
            partner=torch.from_numpy(partner),
            lam=torch.from_numpy(self.lam[rows].copy()),
            extra={name: torch.from_numpy(values[rows].copy()) for name, values in self.extra.items()},
        )


@dataclass(frozen=True)
class BatchDraws:
    """The numbers of a batch on its device, (B, ...)."""

    partner: Tensor  # int64: position among the M clean images
    lam: Tensor  # float32
    extra: Mapping[str, Tensor]


class Vicinity(Protocol):
    """Mixed inputs: what is drawn for them and how they are made."""

    @property
    def mixes(self) -> bool:
        """Whether any input differs from its own clean image."""

    def draw(self, places: Places, generators: Generators) -> EpochDraws:
        """The numbers of an epoch: a function of the places and the generators alone."""

    def apply(self, clean: Tensor, draws: BatchDraws) -> tuple[Tensor, Tensor]:
        """(M, C, H, W) clean images to (B, C, H, W) inputs and the (B,) share that each has of its own image."""


_CACHED_BYTES = 1 << 21  # of images that are mixed at a time on a CPU, so that its cache holds them meanwhile


class Mixup:
    """λ x_i + (1 − λ) x_j with a partner from the same batch (Zhang et al. 2018), as `MixingSpec` draws λ."""

    def __init__(self, spec: MixingSpec) -> None:
        self.spec = spec

    @property
    def mixes(self) -> bool:
        return self.spec.mixes

    def draw(self, places: Places, generators: Generators) -> EpochDraws:
        lam = self._lam(places.count, generators)
        if self.spec.clean_fraction:
            # The share is exact over the epoch, and in every batch to within one sample: the batch takes what falls due in it.
            start, end = places.ends
            before, after = np.floor(self.spec.clean_fraction * np.stack([start, end]) + 0.5)
            first = start + places.order_in_batches(generators(Numbers.CLEAN).random(places.count))
            lam[first] = np.where(np.arange(places.count) - start < after - before, 1.0, lam[first])
        # Without mixing everyone is their own partner: a stable order of equals is the one they stand in.
        drawn = generators(Numbers.PARTNER).random(places.count) if self.mixes else np.zeros(places.count)
        return EpochDraws(places.order_in_batches(drawn), lam.astype(np.float32))

    def _lam(self, count: int, generators: Generators) -> NDArray[np.float64]:
        match self.spec.distribution:
            case "none":
                return np.ones(count)
            case "fixed":
                return np.full(count, self.spec.lam, dtype=np.float64)
            case "uniform":
                return generators(Numbers.LAM).random(count)
            case "beta":
                a = self.spec.beta_concentration
                assert a is not None  # held by MixingSpec
                return generators(Numbers.LAM).beta(a, a, count)

    def apply(self, clean: Tensor, draws: BatchDraws) -> tuple[Tensor, Tensor]:
        """`mix(own, clean[partner], lam)`, bit for bit, without its copies; channels last in memory as `clean` is."""
        weight, rows = draws.lam.view(-1, 1, 1, 1), len(draws.lam)
        if clean.device.type != "cpu" or not rows:
            of_partner = clean.permute(0, 2, 3, 1).index_select(0, draws.partner).permute(0, 3, 1, 2)
            return of_partner.mul_(1 - weight).add_(weight * clean[:rows]), draws.lam
        stored = clean.permute(0, 2, 3, 1)
        mixed = stored.new_empty(rows, *stored.shape[1:])
        at_once = max(1, _CACHED_BYTES // max(1, stored[0].nbytes))
        for start in range(0, rows, at_once):
            part = slice(start, start + at_once)
            torch.index_select(stored, 0, draws.partner[part], out=mixed[part])
            mixed[part].permute(0, 3, 1, 2).mul_(1 - weight[part]).add_(weight[part] * clean[:rows][part])
        return mixed.permute(0, 3, 1, 2), draws.lam


VICINITIES: dict[str, Callable[[MixingSpec], Vicinity]] = {"mixup": Mixup}


def register_vicinity(name: str, make: Callable[[MixingSpec], Vicinity]) -> None:
    """Make a vicinity known to studies as `mixing: {vicinity: NAME}`. Raises ValueError for a name that is taken."""
    if VICINITIES.get(name, make) is not make:
        raise ValueError(f"there is another vicinity named {name!r}; give yours another name, or start a new process")
    VICINITIES[name] = make


def vicinity_of(spec: MixingSpec) -> Vicinity:
    """The vicinity that a study names. Raises UsageError for a name that is not registered."""
    if spec.vicinity not in VICINITIES:
        raise UsageError(
            f"mixing.vicinity: {spec.vicinity!r} is not known; known ones: {', '.join(VICINITIES)} "
            "(vicinal.inputs.register_vicinity adds yours)"
        )
    return VICINITIES[spec.vicinity](spec)
