"""`VicinalPlan`: which images, crops, flips, partners and λ make batch k of epoch e, as a pure function; and their making.

Shapes: N images of the training set, B samples (rows) of a batch or of a process's slice of it, M ≥ B images that these need,
(C, H, W) an image. A plan holds no state: the numbers of an epoch come from counter-based generators keyed by (seed, purpose,
epoch), so that neither workers nor a resumed run nor the number of processes nor the order of asking can change them.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vicinal.specs import UNIFORM_MIXING, AugmentSpec, MixingSpec

# Purposes of random numbers. Each has a stream of its own: turning flips on must not change which images meet.
_ORDER, _PARTNER, _LAM, _UNMIXED, _CROP, _FLIP = range(6)
STREAMS = {"train": 0, "head_warmup": 1}
READ_AHEAD = 3  # batches of lazy images that are read while a step runs


@dataclass(frozen=True)
class PlannedBatch:
    """One batch of the plan, or a process's slice of one, all on the CPU.

    The M images are those of the B rows themselves and then the partners that are not among them: none in a whole batch.
    """

    index: Tensor  # (M,) int64: position in the training set
    partner: Tensor  # (B,) int64: position among the M of the image that is mixed in
    lam: Tensor  # (B,) float32: share of the sample's own image; 1 where it is left unmixed
    crop_y: Tensor  # (M,) float32 in [0, 1): how far down and right the crop lies among the possible places
    crop_x: Tensor
    flip: Tensor  # (M,) bool

    @property
    def rows(self) -> int:
        """B: the mixed images that this makes."""
        return len(self.partner)

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
        mixing: how λ is drawn (`MixingSpec`).
        stream: "train" or "head_warmup", two independent streams of one seed.
        stream_epochs: the stream repeats after this many epochs; None draws every epoch anew.
    """

    images: int
    batch_size: int
    seed: int
    mixing: MixingSpec = UNIFORM_MIXING
    stream: str = "train"
    stream_epochs: int | None = None

    def __post_init__(self) -> None:
        if self.images < 1 or self.batch_size < 1:
            raise ValueError(
                f"a plan needs images and a batch size of at least 1, got {self.images} and {self.batch_size}"
            )
        if self.stream_epochs is not None and self.stream_epochs < 1:
            raise ValueError(f"stream_epochs must be at least 1 or None, got {self.stream_epochs}")

    @property
    def batches(self) -> int:
        """Batches in an epoch."""
        return math.ceil(self.images / self.batch_size)

    def drawn_epoch(self, epoch: int) -> int:
        """The epoch whose draws `epoch` uses: itself, unless the stream repeats. A bank stores answers under this number."""
        return epoch if self.stream_epochs is None else epoch % self.stream_epochs

    def batch(self, epoch: int, position: int, rank: int = 0, world_size: int = 1) -> PlannedBatch:
        """Batch number `position` of `epoch`, both from 0, or the rows of it that process `rank` of `world_size` makes.

        Batches and partners are formed over all processes first, so that any number of processes sees the same mixed inputs.
        Raises IndexError beyond the epoch's end, ValueError for a rank that is not among the processes.
        """
        if not 0 <= position < self.batches or epoch < 0:
            raise IndexError(f"epoch {epoch}, batch {position}: an epoch has batches 0 to {self.batches - 1}")
        draws = _epoch_draws(self, self.drawn_epoch(epoch))
        start, stop = position * self.batch_size, min((position + 1) * self.batch_size, self.images)
        own = slice_rows(stop - start, rank, world_size)
        rows = slice(start + own.start, start + own.stop)
        partner = draws.partner[rows].copy()
        images: slice | NDArray[np.int64] = rows
        if world_size > 1:
            outside = partner[(partner < own.start) | (partner >= own.stop)]
            among = np.concatenate([np.arange(own.start, own.stop), np.unique(outside)])
            place = np.zeros(stop - start, np.int64)
            place[among] = np.arange(len(among))
            partner, images = place[partner], start + among
        return PlannedBatch(
            index=torch.from_numpy(draws.order[images].copy()),
            partner=torch.from_numpy(partner),
            lam=torch.from_numpy(draws.lam[rows].copy()),
            crop_y=torch.from_numpy(draws.crop[images, 0].copy()),
            crop_x=torch.from_numpy(draws.crop[images, 1].copy()),
            flip=torch.from_numpy(draws.flip[images].copy()),
        )

    def epoch(self, epoch: int, start: int = 0, rank: int = 0, world_size: int = 1) -> Iterator[PlannedBatch]:
        """The batches of an epoch, from batch `start` on; the arguments are those of `batch`."""
        for position in range(start, self.batches):
            yield self.batch(epoch, position, rank, world_size)


@dataclass(frozen=True)
class _Draws:
    """The numbers of an epoch, (N,) in the order of its samples."""

    order: NDArray[np.int64]
    partner: NDArray[np.int64]  # position in the sample's batch
    lam: NDArray[np.float32]
    crop: NDArray[np.float32]  # (N, 2)
    flip: NDArray[np.bool_]


@lru_cache(maxsize=4)
def _epoch_draws(plan: VicinalPlan, epoch: int) -> _Draws:
    n, mixing = plan.images, plan.mixing

    def generator(purpose: int) -> np.random.Generator:
        return np.random.Generator(
            np.random.Philox(np.random.SeedSequence([plan.seed, STREAMS[plan.stream], epoch, purpose]))
        )

    lams = generator(_LAM)
    match mixing.distribution:
        case "none":
            lam = np.ones(n)
        case "fixed":
            lam = np.full(n, mixing.lam)
        case "uniform":
            lam = lams.random(n)
        case "beta":
            a = mixing.a
            assert a is not None  # held by MixingSpec
            lam = lams.beta(a, a, n)
    if mixing.unmixed_share:
        # The share is exact over the epoch, and in every batch to within one sample: the batch takes what falls due in it.
        position = np.arange(n) // plan.batch_size
        ends = np.stack([position * plan.batch_size, np.minimum((position + 1) * plan.batch_size, n)])
        before, after = np.floor(mixing.unmixed_share * ends + 0.5)
        first = _order_in_batches(generator(_UNMIXED).random(n), plan.batch_size)
        lam[ends[0] + first] = np.where(np.arange(n) - ends[0] < after - before, 1.0, lam[ends[0] + first])
    drawn = generator(_PARTNER).random(n) if mixing.mixes else np.zeros(n)  # a stable order of equals is their own
    return _Draws(
        order=generator(_ORDER).permutation(n),
        partner=_order_in_batches(drawn, plan.batch_size),
        lam=lam.astype(np.float32),
        crop=generator(_CROP).random((n, 2), dtype=np.float32),
        flip=generator(_FLIP).random(n) < 0.5,
    )


def _order_in_batches(values: NDArray[np.float64], batch_size: int) -> NDArray[np.int64]:
    """(N,) positions within each batch that sort it: a permutation of every batch."""
    whole = len(values) - len(values) % batch_size
    parts = values[:whole].reshape(-1, batch_size), values[None, whole:]
    return np.concatenate([np.argsort(part, axis=1, kind="stable").ravel() for part in parts])


@dataclass(frozen=True)
class VicinalBatch:
    """What a training step sees: B mixed images, and the M clean ones that they are made of (see `PlannedBatch`)."""

    clean: Tensor  # (M, C, H, W) float32 in [0, 1], cropped and flipped; the rows' own images come first
    mixed: Tensor  # (B, C, H, W): λ clean + (1 − λ) clean[partner]; the same memory as clean where nothing is mixed
    labels: Tensor  # (B,) int64
    partner_labels: Tensor  # (B,) int64
    partner: Tensor  # (B,) int64: position in clean
    lam: Tensor  # (B,) float32


class LazyImages(Protocol):
    """Images that are read when they are indexed by int64 positions; they come as (B, H, W, C) uint8."""

    @property
    def shape(self) -> tuple[int, int, int, int]: ...

    def __getitem__(self, key: Tensor) -> Tensor: ...


class ImagePipeline:
    """Makes planned batches of a training set, batched on tensors on `device`: gather, crop, flip, resize, mix.

    A tensor of images lies on the device as a whole; lazy ones are read in threads ahead of the step that needs them.

    Args:
        images: (N, H, W, C) uint8; labels: (N,) int64.
        augment: crops and flips.
        image_size: side that comes out; None keeps the images' own.
    """

    def __init__(
        self,
        images: Tensor | LazyImages,
        labels: Tensor,
        augment: AugmentSpec,
        image_size: int | None,
        device: torch.device | str = "cpu",
    ) -> None:
        if isinstance(images, Tensor) and (images.dtype != torch.uint8 or images.dim() != 4):
            raise ValueError(f"expected (N, H, W, C) uint8 images, got {tuple(images.shape)} {images.dtype}")
        self.augment, self.image_size = augment, image_size
        self._height, self._width = images.shape[1:3]
        self._device = torch.device(device)
        # Padded once, so that a crop is one gather of an epoch's own place.
        self._images = self._padded(images.to(self._device)) if isinstance(images, Tensor) else None
        self._lazy = None if isinstance(images, Tensor) else images
        self._labels = labels.to(device)

    def _padded(self, images: Tensor) -> Tensor:
        p = self.augment.pad if self.augment.crop == "pad" else 0
        return F.pad(images, (0, 0, p, p, p, p)) if p else images.contiguous()

    def __len__(self) -> int:
        return len(self._labels)

    def batches(self, plan: Iterable[PlannedBatch]) -> Iterator[tuple[PlannedBatch, VicinalBatch]]:
        """Every planned batch and what it became; lazy images are read `READ_AHEAD` batches ahead."""
        if self._lazy is None:
            for planned in plan:
                yield planned, self.make(planned)
            return
        reader = ThreadPoolExecutor(1, thread_name_prefix="vicinal-read")
        ahead: deque[tuple[PlannedBatch, Future[Tensor]]] = deque()
        try:
            for planned in plan:
                ahead.append((planned, reader.submit(self._lazy.__getitem__, planned.index)))
                if len(ahead) > READ_AHEAD:
                    ready, pixels = ahead.popleft()
                    yield ready, self._make(ready, pixels.result())
            while ahead:
                ready, pixels = ahead.popleft()
                yield ready, self._make(ready, pixels.result())
        finally:
            reader.shutdown(wait=False, cancel_futures=True)

    def make(self, planned: PlannedBatch) -> VicinalBatch:
        """The batch of a plan, on the pipeline's device."""
        return self._make(planned, None if self._lazy is None else self._lazy[planned.index])

    def _make(self, planned: PlannedBatch, read: Tensor | None) -> VicinalBatch:
        top, left = (
            (drawn * (room + 1)).long()
            for drawn, room in zip((planned.crop_y, planned.crop_x), self._room, strict=True)
        )
        known = [planned.index, planned.partner, planned.lam, top, left, planned.flip]
        index, partner, lam, top, left, flip, *pixels = _on_device(
            known if read is None else [*known, read], self._device
        )
        if self._images is not None:
            stored, place = self._images, index
        else:
            stored, place = self._padded(pixels[0]), torch.arange(len(index), device=self._device)
        if self.augment.crop == "resize":
            whole = to_float(stored.index_select(0, place), self.augment.resize)
            stored, place = whole.permute(0, 2, 3, 1).contiguous(), torch.arange(len(index), device=self._device)
        picked = _windows_at(stored, *self._crop_shape, place, top, left)
        if self.augment.flip:
            picked = _mirrored(picked, flip)
        clean = to_float(picked, self.image_size)
        own, labels = clean[: planned.rows], self._labels.index_select(0, index)
        mixed = _mixed(own, clean, partner, lam) if planned.mixes else own
        return VicinalBatch(clean, mixed, labels[: planned.rows], labels.index_select(0, partner), partner, lam)

    @property
    def _crop_shape(self) -> tuple[int, int]:
        """Height and width of a crop, before the last resizing."""
        if self.augment.crop != "resize":
            return self._height, self._width
        side = self.image_size or min(self._height, self._width)
        return side, side

    @property
    def _room(self) -> tuple[int, int]:
        """How many places a crop may move down and right."""
        if self.augment.crop == "resize":
            assert self.augment.resize is not None  # held by AugmentSpec
            return self.augment.resize - self._crop_shape[0], self.augment.resize - self._crop_shape[1]
        room = 2 * self.augment.pad if self.augment.crop == "pad" else 0
        return room, room


def _on_device(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """CPU tensors on `device` in one transfer, from pinned memory for CUDA; themselves where that is the CPU."""
    if device.type == "cpu":
        return list(tensors)
    ends = list(itertools.accumulate(-(-t.nbytes // 16) * 16 for t in tensors))  # 16: every part starts aligned
    packed = torch.empty(ends[-1], dtype=torch.uint8, pin_memory=device.type == "cuda")
    starts = [0, *ends[:-1]]
    for tensor, start in zip(tensors, starts, strict=True):
        packed[start : start + tensor.nbytes].copy_(tensor.contiguous().view(-1).view(torch.uint8))
    arrived = packed.to(device, non_blocking=True)
    return [
        arrived[start : start + t.nbytes].view(t.dtype).view(t.shape) for t, start in zip(tensors, starts, strict=True)
    ]


def _windows_at(stored: Tensor, height: int, width: int, index: Tensor, top: Tensor, left: Tensor) -> Tensor:
    """(M, height, width, C) cut out of contiguous (N, H, W, C): from image index[m] at (top[m], left[m]), (M,) int64 each."""
    n, h, w, channels = stored.shape
    if (h, w) == (height, width):
        return stored.index_select(0, index)
    row = w * channels
    places = (n, h - height + 1, w - width + 1, height, width * channels)
    every = stored.as_strided(places, (h * row, row, channels, row, 1))
    if stored.device.type == "cpu":  # NumPy copies whole rows where PyTorch's indexing goes by elements
        picked = torch.from_numpy(every.numpy()[index.numpy(), top.numpy(), left.numpy()])
    else:
        picked = every[index, top, left]
    return picked.view(len(index), height, width, channels)


def _mirrored(images: Tensor, flip: Tensor) -> Tensor:
    """(M, H, W, C) with those at which (M,) bool `flip` holds turned left to right; on a CPU in place."""
    if images.device.type != "cpu":
        return torch.where(flip[:, None, None, None], images.flip(2), images)
    turned = flip.numpy().nonzero()[0]
    pixels = images.numpy()
    pixels[turned] = torch.from_numpy(pixels[turned]).flip(2).numpy()
    return images


def _mixed(own: Tensor, clean: Tensor, partner: Tensor, lam: Tensor) -> Tensor:
    """`mix(own, clean[partner], lam)`, bit for bit, without its copies; channels last in memory as `clean` is."""
    weight = lam.view(-1, 1, 1, 1)
    of_partner = clean.permute(0, 2, 3, 1).index_select(0, partner).permute(0, 3, 1, 2)
    return of_partner.mul_(1 - weight).add_(weight * own)


def to_float(images: Tensor, size: int | None = None) -> Tensor:
    """(B, H, W, C) pixels, uint8 in 0 to 255 or float in [0, 1], as (B, C, size, size) float32 in [0, 1], channels last in memory."""
    pixels = images.permute(0, 3, 1, 2)
    pixels = pixels.float().div_(255) if images.dtype == torch.uint8 else pixels
    return resize(pixels, size)


def resize(pixels: Tensor, size: int | None) -> Tensor:
    """(B, C, H, W) float pixels at (size, size): bilinear, with antialiasing where it shrinks. None keeps them."""
    if size is None or tuple(pixels.shape[-2:]) == (size, size):
        return pixels
    if not len(pixels):  # an empty slice of a batch
        return pixels.new_empty(0, pixels.shape[1], size, size)
    shrinks = size < max(pixels.shape[-2:])
    return F.interpolate(pixels, size=(size, size), mode="bilinear", align_corners=False, antialias=shrinks).clamp(0, 1)


def evaluation_pixels(images: Tensor, augment: AugmentSpec, image_size: int | None) -> Tensor:
    """(B, H, W, C) uint8 as networks see them at test time: resized, and centre-cropped where training cropped after resizing."""
    if augment.crop != "resize":
        return to_float(images, image_size)
    assert augment.resize is not None  # held by AugmentSpec
    side = image_size or min(images.shape[1:3])
    pixels = to_float(images, augment.resize)
    start = (augment.resize - side) // 2
    return pixels[:, :, start : start + side, start : start + side]
