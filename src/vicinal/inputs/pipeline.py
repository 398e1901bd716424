"""The making of planned batches, on tensors on the device: gather, crop, flip, resize, change, mix.

Shapes: N images of the training set, B rows of a batch, M images that these need, (C, H, W) an image. A row is an input: a
sample of the plan, or one of several views of it, which stand next to one another.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from vicinal.data import CroppedImages, Images
from vicinal.inputs.augment import Changes, random_boxes, resized_crops
from vicinal.inputs.pixels import Preparation, to_float
from vicinal.inputs.plan import PlannedBatch
from vicinal.inputs.vicinity import BatchDraws, Numbers, view_weights_of, views_of

Wait = Callable[[], Tensor]  # gives pixels once they are read
READ_AHEAD = 3  # batches of lazy images that are read while a step runs


@dataclass(frozen=True)
class VicinalBatch:
    """What a training step sees: B mixed images, and the M clean ones that they are made of (see `PlannedBatch`)."""

    clean: Tensor  # (M, C, H, W) float32 in [0, 1], cropped, flipped and whatever else is asked for; the samples' own images come first
    mixed: Tensor  # (B, C, H, W): by mixup λ clean + (1 − λ) clean[partner]; the same memory as clean where nothing is mixed
    labels: Tensor  # (B,) int64
    partner_labels: Tensor  # (B,) int64
    partner: Tensor  # (B,) int64: position in clean
    lam: Tensor  # (B,) float32: the share that each mixed image has of its own image
    views: int = 1  # rows of each sample
    weight: Tensor | None = None  # (B,) float32: of each row's loss, 1 on average; None: all are 1

    @property
    def samples(self) -> int:
        """How many of the clean images are the rows' own."""
        return len(self.labels) // self.views

    def of_rows(self, of_samples: Tensor) -> Tensor:
        """(samples, ...) values of samples as (B, ...) of rows."""
        return of_samples if self.views == 1 else of_samples.repeat_interleave(self.views, 0)

    def part(self, rows: slice) -> VicinalBatch:
        """Some of its rows, beside the same clean images."""
        return replace(
            self,
            mixed=self.mixed[rows],
            labels=self.labels[rows],
            partner_labels=self.partner_labels[rows],
            partner=self.partner[rows],
            lam=self.lam[rows],
            weight=None if self.weight is None else self.weight[rows],
        )


class ImagePipeline:
    """Makes planned batches of a training set, batched on tensors on `device`: gather, crop, flip, resize, mix.

    A tensor of images lies on the device as a whole; lazy ones are read in threads ahead of the step that needs them, and crops of a
    random size are cut from their originals where these are at hand (`CroppedImages`).

    Args:
        images: (N, H, W, C) uint8; labels: (N,) int64.
        preparation: crops, flips, other random changes, and the size that comes out.
    """

    def __init__(
        self,
        images: Tensor | Images,
        labels: Tensor,
        preparation: Preparation,
        device: torch.device | str = "cpu",
    ) -> None:
        if isinstance(images, Tensor) and (images.dtype != torch.uint8 or images.dim() != 4):
            raise ValueError(f"expected (N, H, W, C) uint8 images, got {tuple(images.shape)} {images.dtype}")
        self.augment, self.image_size = preparation.augment, preparation.image_size
        self._height, self._width = images.shape[1:3]
        self._changes = Changes(self.augment, images.shape[3])
        self._device = torch.device(device)
        # Padded once, so that a crop is one gather of an epoch's own place.
        self._images = self._padded(images.to(self._device)) if isinstance(images, Tensor) else None
        self._lazy = None if isinstance(images, Tensor) else images
        self._originals: CroppedImages | None = None
        if self.augment.crop == "random_resized" and isinstance(images, CroppedImages) and images.crops_originals:
            self._originals = images
        self._labels = labels.to(device)

    def _padded(self, images: Tensor) -> Tensor:
        p = self.augment.pad if self.augment.crop == "pad" else 0
        return F.pad(images, (0, 0, p, p, p, p)) if p else images.contiguous()

    def __len__(self) -> int:
        return len(self._labels)

    @property
    def labels(self) -> Tensor:
        """(N,) int64, on the pipeline's device."""
        return self._labels

    def batches(self, plan: Iterable[PlannedBatch]) -> Iterator[tuple[PlannedBatch, VicinalBatch]]:
        """Every planned batch and what it became; lazy images are read `READ_AHEAD` batches ahead."""
        if self._lazy is None:
            for planned in plan:
                yield planned, self.make(planned)
            return
        reader = ThreadPoolExecutor(
            READ_AHEAD, thread_name_prefix="vicinal-read"
        )  # who waits for a disk keeps no one waiting
        ahead: deque[tuple[PlannedBatch, Future[Wait]]] = deque()
        try:
            for planned in plan:
                ahead.append((planned, reader.submit(self._reading(planned))))
                if len(ahead) > READ_AHEAD:
                    ready, started = ahead.popleft()
                    yield ready, self._make(ready, started.result()())
            while ahead:
                ready, started = ahead.popleft()
                yield ready, self._make(ready, started.result()())
        finally:
            reader.shutdown(wait=False, cancel_futures=True)

    def make(self, planned: PlannedBatch) -> VicinalBatch:
        """The batch of a plan, on the pipeline's device."""
        return self._make(planned, None if self._lazy is None else self._reading(planned)()())

    def _reading(self, planned: PlannedBatch) -> Callable[[], Wait]:
        """What begins to read the images of a batch and gives what waits for them; numbers are drawn here, in the caller's thread."""
        if self._originals is not None:
            return partial(self._originals.start_crops, planned.index, self._boxes(planned), self._side[0])
        assert self._lazy is not None
        return partial(_whole, self._lazy, planned.index)

    def _make(self, planned: PlannedBatch, read: Tensor | None) -> VicinalBatch:
        top, left = (
            (drawn * (room + 1)).long()
            for drawn, room in zip((planned.crop_y, planned.crop_x), self._room, strict=True)
        )
        drawn, read_now = planned.draws, [] if read is None else [read]
        known = [planned.index, top, left, planned.flip, drawn.partner, drawn.lam, *drawn.extra.values(), *read_now]
        index, top, left, flip, partner, lam, *rest = _on_device(known, self._device)
        draws = BatchDraws(partner, lam, dict(zip(drawn.extra, rest, strict=False)))
        if self._originals is not None:
            clean = to_float(_mirrored(rest[-1], flip) if self.augment.flip else rest[-1])
        else:
            if self._images is not None:
                stored, place = self._images, index
            else:
                stored, place = self._padded(rest[-1]), torch.arange(len(index), device=self._device)
            if self.augment.crop == "random_resized":
                clean = self._resized(stored, place, planned, flip)
            else:
                clean = self._cropped(stored, place, top, left, flip)
        clean = self._changes(clean, planned)
        mixed, own_share = planned.vicinity.apply(clean, draws) if planned.mixes else (clean[: planned.rows], lam)
        labels = self._labels.index_select(0, index)
        own_labels, partner_labels = labels[: planned.rows], labels.index_select(0, partner)
        views, weights = views_of(planned.vicinity), view_weights_of(planned.vicinity)
        if views == 1:
            return VicinalBatch(clean, mixed, own_labels, partner_labels, partner, own_share)
        own_labels, partner_labels, partner = (
            values.repeat_interleave(views) for values in (own_labels, partner_labels, partner)
        )
        weight = None if weights is None else own_share.new_tensor(weights).repeat(planned.rows)
        return VicinalBatch(clean, mixed, own_labels, partner_labels, partner, own_share, views, weight)

    def _cropped(self, stored: Tensor, place: Tensor, top: Tensor, left: Tensor, flip: Tensor) -> Tensor:
        """Crops of one size, at the side that networks see."""
        if self.augment.crop == "resize":
            whole = to_float(stored.index_select(0, place), self.augment.resize)
            stored, place = whole.permute(0, 2, 3, 1).contiguous(), torch.arange(len(place), device=self._device)
        picked = _windows_at(stored, *self._crop_shape, place, top, left)
        if self.augment.flip:
            picked = _mirrored(picked, flip)
        return to_float(picked, self.image_size)

    def _resized(self, stored: Tensor, place: Tensor, planned: PlannedBatch, flip: Tensor) -> Tensor:
        """Crops of a random size each, at the side that networks see, or that of the images."""
        clean = resized_crops(stored, place, self._boxes(planned), self._side)
        return _mirrored(clean.permute(0, 2, 3, 1), flip).permute(0, 3, 1, 2) if self.augment.flip else clean

    def _boxes(self, planned: PlannedBatch) -> Tensor:
        return random_boxes(self.augment, planned.image_seeds(Numbers.BOX), self._height, self._width)

    @property
    def _side(self) -> tuple[int, int]:
        """Height and width of what comes out of a crop of a random size."""
        return (self.image_size, self.image_size) if self.image_size else (self._height, self._width)

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


def _whole(images: Images, index: Tensor) -> Wait:
    pixels = images[index]
    return lambda: pixels


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
