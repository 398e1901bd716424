"""`VicinalPlan`: which images, crops, flips, partners and λ make batch k of epoch e, as a pure function; and their making.

Shapes: N images of the training set, B samples of a batch, (C, H, W) an image. A plan holds no state: the numbers of an
epoch come from counter-based generators keyed by (seed, purpose, epoch), so that neither workers nor a resumed run nor the
order of asking can change them.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vicinal.functional import mix
from vicinal.specs import UNIFORM_MIXING, AugmentSpec, MixingSpec

# Purposes of random numbers. Each has a stream of its own: turning flips on must not change which images meet.
_ORDER, _PARTNER, _LAM, _UNMIXED, _CROP, _FLIP = range(6)
STREAMS = {"train": 0, "head_warmup": 1}
READ_AHEAD = 3  # batches of lazy images that are read while a step runs


@dataclass(frozen=True)
class PlannedBatch:
    """One batch of the plan, all on the CPU: (B,) each."""

    index: Tensor  # int64: position in the training set
    partner: Tensor  # int64: position in this batch of the image that is mixed in
    lam: Tensor  # float32: share of the sample's own image; 1 where it is left unmixed
    crop_y: Tensor  # float32 in [0, 1): how far down and right the crop lies among the possible places
    crop_x: Tensor
    flip: Tensor  # bool

    def __len__(self) -> int:
        return len(self.index)


@dataclass(frozen=True)
class VicinalPlan:
    """The input stream of a training run: `batch(epoch, position)` is the same whoever asks and whenever.

    Args:
        images: N. The last batch of an epoch is as small as it comes; no image is left out.
        batch_size: of all batches but the last.
        seed: of the stream; epochs of one seed are independent draws.
        mixing: how λ is drawn (`MixingSpec`).
        stream: "train" or "head_warmup", two independent streams of one seed.
    """

    images: int
    batch_size: int
    seed: int
    mixing: MixingSpec = UNIFORM_MIXING
    stream: str = "train"

    def __post_init__(self) -> None:
        if self.images < 1 or self.batch_size < 1:
            raise ValueError(
                f"a plan needs images and a batch size of at least 1, got {self.images} and {self.batch_size}"
            )

    @property
    def batches(self) -> int:
        """Batches in an epoch."""
        return math.ceil(self.images / self.batch_size)

    def batch(self, epoch: int, position: int) -> PlannedBatch:
        """Batch number `position` of `epoch`, both from 0. Raises IndexError beyond the epoch's end."""
        if not 0 <= position < self.batches or epoch < 0:
            raise IndexError(f"epoch {epoch}, batch {position}: an epoch has batches 0 to {self.batches - 1}")
        draws = _epoch_draws(self, epoch)
        start, stop = position * self.batch_size, min((position + 1) * self.batch_size, self.images)
        part = slice(start, stop)
        lam = draws.lam[part].copy()
        # The share is exact over the epoch, and in every batch to within one sample: the batch takes what falls due in it.
        due = math.floor(self.mixing.unmixed_share * stop + 0.5) - math.floor(self.mixing.unmixed_share * start + 0.5)
        lam[np.argsort(draws.unmixed[part], kind="stable")[:due]] = 1.0
        partner = np.argsort(draws.partner[part], kind="stable") if self.mixing.mixes else np.arange(stop - start)
        return PlannedBatch(
            index=torch.from_numpy(draws.order[part].copy()),
            partner=torch.from_numpy(partner),
            lam=torch.from_numpy(lam),
            crop_y=torch.from_numpy(draws.crop[part, 0].copy()),
            crop_x=torch.from_numpy(draws.crop[part, 1].copy()),
            flip=torch.from_numpy(draws.flip[part].copy()),
        )

    def epoch(self, epoch: int, start: int = 0) -> Iterator[PlannedBatch]:
        """The batches of an epoch, from batch `start` on."""
        for position in range(start, self.batches):
            yield self.batch(epoch, position)


@dataclass(frozen=True)
class _Draws:
    order: NDArray[np.int64]
    partner: NDArray[np.float64]
    lam: NDArray[np.float32]
    unmixed: NDArray[np.float64]
    crop: NDArray[np.float32]
    flip: NDArray[np.bool_]


@lru_cache(maxsize=4)
def _epoch_draws(plan: VicinalPlan, epoch: int) -> _Draws:
    n = plan.images

    def generator(purpose: int) -> np.random.Generator:
        return np.random.Generator(
            np.random.Philox(np.random.SeedSequence([plan.seed, STREAMS[plan.stream], epoch, purpose]))
        )

    lams = generator(_LAM)
    match plan.mixing.distribution:
        case "none":
            lam = np.ones(n)
        case "fixed":
            lam = np.full(n, plan.mixing.lam)
        case "uniform":
            lam = lams.random(n)
        case "beta":
            a = plan.mixing.a
            assert a is not None  # held by MixingSpec
            lam = lams.beta(a, a, n)
    return _Draws(
        order=generator(_ORDER).permutation(n),
        partner=generator(_PARTNER).random(n),
        lam=lam.astype(np.float32),
        unmixed=generator(_UNMIXED).random(n),
        crop=generator(_CROP).random((n, 2), dtype=np.float32),
        flip=generator(_FLIP).random(n) < 0.5,
    )


@dataclass(frozen=True)
class VicinalBatch:
    """What a training step sees. Clean images stay available beside the mixed ones."""

    clean: Tensor  # (B, C, H, W) float32 in [0, 1], cropped and flipped
    mixed: Tensor  # λ clean + (1 − λ) clean[partner]; the same tensor as clean where the plan mixes nothing
    labels: Tensor  # (B,) int64
    partner: Tensor  # (B,) int64
    lam: Tensor  # (B,) float32

    @property
    def partner_labels(self) -> Tensor:
        return self.labels[self.partner]


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
        self._images = self._padded(images) if isinstance(images, Tensor) else None
        self._lazy = None if isinstance(images, Tensor) else images
        self._labels = labels.to(device)

    def _padded(self, images: Tensor) -> Tensor:
        p = self.augment.pad if self.augment.crop == "pad" else 0
        return (F.pad(images, (0, 0, p, p, p, p)) if p else images).to(self._device, non_blocking=True)

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
        index, partner, lam = (
            t.to(self._device, non_blocking=True) for t in (planned.index, planned.partner, planned.lam)
        )
        if self._images is not None:
            stored, place = self._images, index
        else:
            assert read is not None
            stored, place = self._padded(read), torch.arange(len(planned), device=self._device)
        clean = self._augmented(planned, stored, place)
        mixed = clean if bool((planned.lam == 1).all()) else mix(clean, clean[partner], lam)
        return VicinalBatch(clean=clean, mixed=mixed, labels=self._labels[index], partner=partner, lam=lam)

    def _augmented(self, planned: PlannedBatch, stored: Tensor, index: Tensor) -> Tensor:
        """Crops and flips of the images at `index` among those stored."""
        crop = self.augment.crop
        if crop == "resize":
            assert self.augment.resize is not None  # held by AugmentSpec
            images = to_float(stored[index], self.augment.resize)
            height = width = self.image_size or min(self._height, self._width)
            source, room_y, room_x = (
                images.permute(0, 2, 3, 1),
                self.augment.resize - height,
                self.augment.resize - width,
            )
            index = torch.arange(len(planned), device=self._device)
        else:
            height, width = self._height, self._width
            source = stored
            room_y = room_x = 2 * self.augment.pad if crop == "pad" else 0
        rows = torch.arange(height).expand(len(planned), -1)
        columns = torch.arange(width).expand(len(planned), -1)
        if self.augment.flip:
            columns = torch.where(planned.flip[:, None], columns.flip(1), columns)
        if crop != "none":
            rows = rows + (planned.crop_y * (room_y + 1)).long()[:, None]
            columns = columns + (planned.crop_x * (room_x + 1)).long()[:, None]
        if crop == "none" and not self.augment.flip:
            picked = source[index]
        else:
            rows, columns = rows.to(self._device, non_blocking=True), columns.to(self._device, non_blocking=True)
            picked = source[index[:, None, None], rows[:, :, None], columns[:, None, :]]
        return to_float(picked, self.image_size)


def to_float(images: Tensor, size: int | None = None) -> Tensor:
    """(B, H, W, C) pixels, uint8 in 0 to 255 or float in [0, 1], as (B, C, size, size) float32 in [0, 1], channels last in memory."""
    pixels = images.permute(0, 3, 1, 2)
    pixels = pixels.float() / 255 if images.dtype == torch.uint8 else pixels
    return resize(pixels, size)


def resize(pixels: Tensor, size: int | None) -> Tensor:
    """(B, C, H, W) float pixels at (size, size): bilinear, with antialiasing where it shrinks. None keeps them."""
    if size is None or tuple(pixels.shape[-2:]) == (size, size):
        return pixels
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
