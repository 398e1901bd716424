"""What an input is made from: the protocol `Vicinity`, and the numbers that one draws and applies.

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
    labels: NDArray[np.int64] | None = None  # (N,), where the plan was given any

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
    without_partner: NDArray[np.bool_] | None = None  # (N,): left unmixed since none in the batch may be mixed in

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
    """Mixed inputs: what is drawn for them and how they are made.

    One that shows an image more than once in a step has further attributes, all optional: `crops`, how many randomly changed
    copies of it are samples of their own; `views`, how many inputs `apply` makes of each sample, next to one another;
    `view_weights`, the weight of each view in the loss, 1 on average.
    """

    @property
    def mixes(self) -> bool:
        """Whether any input differs from its own clean image."""

    def draw(self, places: Places, generators: Generators) -> EpochDraws:
        """The numbers of an epoch: a function of the places and the generators alone."""

    def apply(self, clean: Tensor, draws: BatchDraws) -> tuple[Tensor, Tensor]:
        """(M, C, H, W) clean images to (views · B, C, H, W) inputs and the (views · B,) share that each has of its own image."""


def crops_of(vicinity: Vicinity) -> int:
    """How many samples of a batch are one image, changed anew for each."""
    return int(getattr(vicinity, "crops", 1))


def views_of(vicinity: Vicinity) -> int:
    """How many inputs are made of one sample."""
    return int(getattr(vicinity, "views", 1))


def view_weights_of(vicinity: Vicinity) -> tuple[float, ...] | None:
    """The weight of each view in the loss, where they differ."""
    weights: tuple[float, ...] | None = getattr(vicinity, "view_weights", None)
    return weights
