"""`VicinalPlan`: which images, crops, flips, partners and λ make batch k of epoch e, as a pure function.

Shapes: N images of the training set, B samples (rows) of a batch or of a process's slice of it, M ≥ B images that these need. Where a
vicinity takes several crops of an image, each is a sample and one of the M.
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

from vicinal.config import ARMS, MOST_SHUFFLED, UNIFORM_MIXING, BlockOrder, MixingSpec, Order
from vicinal.inputs.order import KeyedPermutation, in_blocks
from vicinal.inputs.partners import ClassLabels
from vicinal.inputs.vicinities import vicinity_of
from vicinal.inputs.vicinity import BatchDraws, EpochDraws, Numbers, Places, Vicinity, crops_of, views_of

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
        """B: the samples that inputs are made of, one each or as many as the vicinity has views."""
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
        """Whether inputs may differ from their own images."""
        return self.vicinity.mixes

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
        mixed_batches: of the training, after which images are left as they are, one row each; None: all.
        labels: where partners are to be of the same class or of another.
    """

    images: int
    batch_size: int
    seed: int
    mixing: MixingSpec = UNIFORM_MIXING
    purpose: str = "train"
    repeat_inputs_after_epochs: int | None = None
    order: Order | None = None
    mixed_batches: int | None = None
    labels: ClassLabels | None = None

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
    def mixes(self) -> bool:
        """Whether any input differs from its own image."""
        return vicinity_of(self.mixing).mixes

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

    @property
    def rows_per_image(self) -> int:
        """Rows that a step has of each image of its batch while images are mixed."""
        vicinity = vicinity_of(self.mixing)
        return crops_of(vicinity) * views_of(vicinity)

    def is_mixed(self, epoch: int, position: int) -> bool:
        """Whether a batch is still one of those that the vicinity is for."""
        return self.mixed_batches is None or epoch * self.batches + position < self.mixed_batches

    def rows_of(self, epoch: int, position: int) -> int:
        """Rows that a step has of each image of this batch."""
        return self.rows_per_image if self.is_mixed(epoch, position) else 1

    @property
    def _mixed_part(self) -> tuple[int, int]:
        """Whole epochs that are mixed, and whether another one is in part, which is then like no other."""
        whole, rest = divmod(self.mixed_batches or 0, self.batches)
        return whole, int(rest > 0)

    def drawn_epoch(self, epoch: int) -> int:
        """The epoch whose draws `epoch` uses: itself, unless the stream repeats. A bank stores answers under this number.

        What is mixed and what comes after mixing has ended repeats by itself.
        """
        repeat = self.repeat_inputs_after_epochs
        if repeat is None or self.mixed_batches is None:
            return epoch if repeat is None else epoch % repeat
        whole, partly = self._mixed_part
        mixed = min(whole, repeat)
        if epoch < whole:
            return epoch % repeat
        return mixed if epoch < whole + partly else mixed + partly + (epoch - whole - partly) % repeat

    def epoch_drawn_as(self, drawn: int) -> int:
        """The first epoch with `drawn_epoch` of this number."""
        if self.repeat_inputs_after_epochs is None or self.mixed_batches is None:
            return drawn
        whole, _ = self._mixed_part
        mixed = min(whole, self.repeat_inputs_after_epochs)
        return drawn if drawn < mixed else whole + drawn - mixed

    def drawn_epochs(self, epochs: int) -> int:
        """How many numbers `drawn_epoch` has in a training of so many epochs."""
        repeat = self.repeat_inputs_after_epochs
        if repeat is None or self.mixed_batches is None:
            return min(epochs, repeat or epochs)
        whole, partly = self._mixed_part
        return min(whole, repeat) + partly + min(epochs - whole - partly, repeat)

    @property
    def drawn_mixed_images(self) -> int | None:
        """Images of the drawn epochs, from the first on, that are mixed; None: all. Those after mixing has ended come behind."""
        if self.mixed_batches is None:
            return None
        whole, partly = self._mixed_part
        drawn = min(whole, self.repeat_inputs_after_epochs or whole)
        return drawn * self.images + partly * self.mixed_batches % self.batches * self.batch_size

    @property
    def share_without_partner(self) -> float | None:
        """Of the samples that are drawn together first: those with none of the class asked for in their batch; None: anyone will do."""
        if self.mixing.partners == "any":
            return None
        without = _draws(self, 0, 0).vicinity.without_partner
        return None if without is None else float(without.mean())

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
        crops, is_mixed = draws.crops, self.is_mixed(epoch, position)
        # Samples of the section from here on; the first crop of each image alone where nothing is mixed any more.
        start, stop = (min(k * self.batch_size * crops, len(draws.order)) for k in (within, within + 1))
        images = slice_rows((stop - start) // crops, rank, world_size)
        own = slice(images.start * crops, images.stop * crops, 1 if is_mixed else crops)
        chosen = (
            _chosen(draws.vicinity, start, stop, own) if is_mixed else _as_they_are(images.stop - images.start, own)
        )
        samples = np.arange(start, stop)[chosen.among]
        return PlannedBatch(
            index=torch.from_numpy(draws.order[samples].copy()),
            draws=chosen.draws,
            vicinity=vicinity_of(self.mixing if is_mixed else ARMS["baseline"].mixing),
            crop_y=torch.from_numpy(draws.crop[samples, 0].copy()),
            crop_x=torch.from_numpy(draws.crop[samples, 1].copy()),
            flip=torch.from_numpy(draws.flip[samples].copy()),
            image_seeds=ImageSeeds(
                (self.seed, PURPOSES[self.purpose], drawn_epoch), position, stop - start, chosen.among
            ),
        )

    def epoch(self, epoch: int, start: int = 0, rank: int = 0, world_size: int = 1) -> Iterator[PlannedBatch]:
        """The batches of an epoch, from batch `start` on; the arguments are those of `batch`."""
        for position in range(start, self.batches):
            yield self.batch(epoch, position, rank, world_size)


@dataclass(frozen=True)
class _Chosen:
    """What a process makes of a batch: the samples that it needs, as positions in the batch, and the draws of its rows."""

    among: slice | NDArray[np.int64]
    draws: BatchDraws


def _chosen(drawn: EpochDraws, start: int, stop: int, own: slice) -> _Chosen:
    """The rows `own` of the batch of samples `start` to `stop` − 1, and then the partners that are not among them."""
    rows = slice(start + own.start, start + own.stop)
    partner = drawn.partner[rows].copy()
    if own == slice(0, stop - start, 1):
        return _Chosen(own, drawn.of_rows(rows, partner))
    outside = partner[(partner < own.start) | (partner >= own.stop)]
    among = np.concatenate([np.arange(own.start, own.stop), np.unique(outside)])
    place = np.zeros(stop - start, np.int64)
    place[among] = np.arange(len(among))
    return _Chosen(among, drawn.of_rows(rows, place[partner]))


def _as_they_are(rows: int, own: slice) -> _Chosen:
    return _Chosen(own, BatchDraws(torch.arange(rows), torch.ones(rows), {}))


@dataclass(frozen=True)
class _Draws:
    """The numbers of an epoch or of a section of it, (N · crops, ...) in the order of its samples."""

    crops: int  # samples of each image, one behind the other
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
    vicinity = vicinity_of(plan.mixing)
    crops = crops_of(vicinity)
    order = np.repeat(order, crops)
    labels = None if plan.labels is None else plan.labels.of_images[order]
    return _Draws(
        crops=crops,
        order=order,
        vicinity=vicinity.draw(Places(len(order), plan.batch_size * crops, labels), generators),
        crop=generators(Numbers.CROP).random((len(order), 2), dtype=np.float32),
        flip=generators(Numbers.FLIP).random(len(order)) < 0.5,
    )


def _order(plan: VicinalPlan, key: tuple[int, ...], first: int, last: int) -> NDArray[np.int64]:
    """The images at positions `first` to `last` − 1 of an epoch that is not drawn whole."""
    if isinstance(plan.order, BlockOrder):
        return in_blocks(plan.images, plan.order, key, first, last)
    return KeyedPermutation(plan.images, key)(np.arange(first, last))
