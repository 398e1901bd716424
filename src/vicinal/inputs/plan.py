"""`VicinalPlan`: which images, crops, flips, partners and λ make batch k of epoch e, as a pure function.

Shapes: N images of the training set, B samples (rows) of a batch or of a process's slice of it, M ≥ B images that these need.
A plan holds no state: the numbers of an epoch come from counter-based generators keyed by (seed, purpose, epoch), so that
neither workers nor a resumed run nor the number of processes nor the order of calls can change them. Where the order is not drawn
whole, those of a section of the epoch do, so that neither time nor memory depends on N.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vicinal.config import MOST_SHUFFLED, UNIFORM_MIXING, BlockOrder, MixingSpec, Order
from vicinal.inputs.order import KeyedPermutation, in_blocks
from vicinal.inputs.vicinities import vicinity_of
from vicinal.inputs.vicinity import BatchDraws, EpochDraws, Numbers, Places, Vicinity

PURPOSES = {"train": 0, "head_warmup": 1}
SECTION_IMAGES = 2**15  # whose numbers are drawn together where the order is not drawn whole


@dataclass(frozen=True)
class ImageSeeds:
    """A seed for each image of a batch and each purpose, drawn when asked for: most trainings ask for none."""

    key: tuple[int, int, int]  # the run's seed, the stream's purpose, the epoch
    position: int  # of the batch in the epoch
    size: int  # of the whole batch
    images: slice | NDArray[np.int64]  # of it: those asked about

    def __call__(self, numbers: Numbers) -> list[int]:
        """M numbers of 63 bits."""
        entropy = [*self.key, int(numbers), self.position]
        generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy)))
        drawn: list[int] = generator.integers(0, 2**63 - 1, size=self.size)[self.images].tolist()
        return drawn


@dataclass(frozen=True)
class PlannedBatch:
    """One batch of the plan, or a process's slice of one, all on the CPU.

    The M images are those of the B rows themselves and then the partners that are not among them: none in a whole batch.
    """

    index: Tensor  # (M,) int64: position in the training set
    draws: BatchDraws  # (B, ...): partners as positions among the M, λ and what else the vicinity drew
    vicinity: Vicinity
    crop_y: Tensor  # (M,) float32 in [0, 1): how far down and right the crop lies among the possible places
    crop_x: Tensor
    flip: Tensor  # (M,) bool
    image_seeds: ImageSeeds  # of what else is drawn for each of the M images

    @property
    def rows(self) -> int:
        """B: the mixed images that this makes."""
        return len(self.partner)

    @property
    def partner(self) -> Tensor:
        """(B,) int64: position among the M of the image that is mixed in."""
        return self.draws.partner

    @property
    def lam(self) -> Tensor:
        """(B,) float32: share of the sample's own image as drawn; 1 where it is left unmixed."""
        return self.draws.lam

    @property
    def mixes(self) -> bool:
        """Whether any row differs from its own image."""
        return bool((self.lam != 1).any())

    def __len__(self) -> int:
        return self.rows


def slice_rows(size: int, rank: int, world_size: int) -> slice:
    """The contiguous rows of `size` that process `rank` of `world_size` takes: all are taken once, shares differ by one at most.

    Raises ValueError for a rank outside 0 to world_size − 1.
    """
    if not 0 <= rank < world_size:
        raise ValueError(f"rank {rank} of {world_size} processes: ranks go from 0 to {world_size - 1}")
    return slice(size * rank // world_size, size * (rank + 1) // world_size)


@dataclass(frozen=True)
class VicinalPlan:
    """The input stream of a training run: `batch(epoch, position)` is the same whoever asks and whenever.

    Args:
        images: N. The last batch of an epoch is as small as it comes; no image is left out.
        batch_size: of all batches but the last.
        seed: of the stream; epochs of one seed are independent draws.
        mixing: which vicinity, and how λ is drawn (`MixingSpec`).
        purpose: "train" or "head_warmup", two independent streams of one seed.
        repeat_inputs_after_epochs: the stream repeats after this many epochs; None draws every epoch anew.
        order: in which the images come; None: shuffled, beyond `MOST_SHUFFLED` images keyed. Each is another stream.
    """

    images: int
    batch_size: int
    seed: int
    mixing: MixingSpec = UNIFORM_MIXING
    purpose: str = "train"
    repeat_inputs_after_epochs: int | None = None
    order: Order | None = None

    def __post_init__(self) -> None:
        if self.images < 1 or self.batch_size < 1:
            raise ValueError(
                f"a plan needs images and a batch size of at least 1, got {self.images} and {self.batch_size}"
            )
        if self.repeat_inputs_after_epochs is not None and self.repeat_inputs_after_epochs < 1:
            raise ValueError(
                f"repeat_inputs_after_epochs must be at least 1 or None, got {self.repeat_inputs_after_epochs}"
            )

    @property
    def batches(self) -> int:
        """Batches in an epoch."""
        return math.ceil(self.images / self.batch_size)

    @property
    def is_drawn_whole(self) -> bool:
        """Whether the numbers of an epoch are drawn together, in memory that grows with N."""
        return self.order == "shuffled" or (self.order is None and self.images <= MOST_SHUFFLED)

    @property
    def _section_batches(self) -> int:
        """Batches whose numbers are drawn together."""
        return self.batches if self.is_drawn_whole else max(SECTION_IMAGES // self.batch_size, 1)

    def section_size(self, section: int) -> int:
        """Images of a section of the epoch: as many batches as are drawn together."""
        size = self._section_batches * self.batch_size
        return min(size, self.images - section * size)

    def drawn_epoch(self, epoch: int) -> int:
        """The epoch whose draws `epoch` uses: itself, unless the stream repeats. A bank stores answers under this number."""
        return epoch if self.repeat_inputs_after_epochs is None else epoch % self.repeat_inputs_after_epochs

    def batch(self, epoch: int, position: int, rank: int = 0, world_size: int = 1) -> PlannedBatch:
        """Batch number `position` of `epoch`, both from 0, or the rows of it that process `rank` of `world_size` makes.

        Batches and partners are formed over all processes first, so that any number of processes sees the same mixed inputs.
        Raises IndexError beyond the epoch's end, ValueError for a rank that is not among the processes.
        """
        if not 0 <= position < self.batches or epoch < 0:
            raise IndexError(f"epoch {epoch}, batch {position}: an epoch has batches 0 to {self.batches - 1}")
        drawn_epoch = self.drawn_epoch(epoch)
        section, within = divmod(position, self._section_batches)
        draws = _draws(self, drawn_epoch, section)
        start, stop = within * self.batch_size, min((within + 1) * self.batch_size, len(draws.order))
        own = slice_rows(stop - start, rank, world_size)
        rows = slice(start + own.start, start + own.stop)
        partner = draws.vicinity.partner[rows].copy()
        images: slice | NDArray[np.int64] = rows
        among: slice | NDArray[np.int64] = own
        if world_size > 1:
            outside = partner[(partner < own.start) | (partner >= own.stop)]
            among = np.concatenate([np.arange(own.start, own.stop), np.unique(outside)])
            place = np.zeros(stop - start, np.int64)
            place[among] = np.arange(len(among))
            partner, images = place[partner], start + among
        return PlannedBatch(
            index=torch.from_numpy(draws.order[images].copy()),
            draws=draws.vicinity.of_rows(rows, partner),
            vicinity=vicinity_of(self.mixing),
            crop_y=torch.from_numpy(draws.crop[images, 0].copy()),
            crop_x=torch.from_numpy(draws.crop[images, 1].copy()),
            flip=torch.from_numpy(draws.flip[images].copy()),
            image_seeds=ImageSeeds((self.seed, PURPOSES[self.purpose], drawn_epoch), position, stop - start, among),
        )

    def epoch(self, epoch: int, start: int = 0, rank: int = 0, world_size: int = 1) -> Iterator[PlannedBatch]:
        """The batches of an epoch, from batch `start` on; the arguments are those of `batch`."""
        for position in range(start, self.batches):
            yield self.batch(epoch, position, rank, world_size)


@dataclass(frozen=True)
class _Draws:
    """The numbers of an epoch or of a section of it, (N, ...) in the order of its samples."""

    order: NDArray[np.int64]
    vicinity: EpochDraws
    crop: NDArray[np.float32]  # (N, 2)
    flip: NDArray[np.bool_]


@lru_cache(maxsize=4)
def _draws(plan: VicinalPlan, epoch: int, section: int) -> _Draws:
    key = (plan.seed, PURPOSES[plan.purpose], epoch)
    size = plan.section_size(section)
    own = () if plan.is_drawn_whole else (section,)

    def generators(numbers: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(np.random.SeedSequence([*key, int(numbers), *own])))

    if plan.is_drawn_whole:
        order = generators(Numbers.ORDER).permutation(size)
    else:
        first = section * plan.section_size(0)
        order = _order(plan, (*key, int(Numbers.ORDER)), first, first + size)
    return _Draws(
        order=order,
        vicinity=vicinity_of(plan.mixing).draw(Places(size, plan.batch_size), generators),
        crop=generators(Numbers.CROP).random((size, 2), dtype=np.float32),
        flip=generators(Numbers.FLIP).random(size) < 0.5,
    )


def _order(plan: VicinalPlan, key: tuple[int, ...], first: int, last: int) -> NDArray[np.int64]:
    """The images at positions `first` to `last` − 1 of an epoch that is not drawn whole."""
    if isinstance(plan.order, BlockOrder):
        return in_blocks(plan.images, plan.order, key, first, last)
    return KeyedPermutation(plan.images, key)(np.arange(first, last))
