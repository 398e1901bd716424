"""Random changes of training images beyond crops of one size and flips: torchvision's own, their numbers drawn from the plan.

Every image has a seed for each kind of change, a function of the run's seed, the epoch, the batch and its place there; torchvision
draws from the generator so seeded, which is put back afterwards. So an image is changed in the same way alone, in a process's
slice, in a resumed run and for every student that shares the batch.

What each costs on one CPU core, beside the plain pipeline, is in docs/augmentation.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vicinal.config import AugmentSpec
from vicinal.errors import UsageError
from vicinal.inputs.plan import PlannedBatch
from vicinal.inputs.vicinity import Numbers

Change = Callable[[Tensor], Tensor]  # (C, H, W) float in [0, 1] to the same; torch's CPU generator decides


def random_boxes(augment: AugmentSpec, seeds: Sequence[int], height: int, width: int) -> Tensor:
    """(M, 4) int64: top, left, height and width in px of torchvision's RandomResizedCrop of M images of (height, width)."""
    from torchvision.transforms import v2  # takes a while to import, and most studies do without

    assert augment.scale is not None  # filled in by AugmentSpec
    assert augment.ratio is not None
    draw = v2.RandomResizedCrop(1, scale=augment.scale, ratio=augment.ratio)
    image = torch.empty(1, 1, 1).expand(1, height, width)  # its shape alone is looked at
    boxes = torch.empty(len(seeds), 4, dtype=torch.int64)
    with torch.random.fork_rng(devices=[]):
        for place, seed in enumerate(seeds):
            torch.default_generator.manual_seed(seed)
            drawn = draw.make_params([image])
            boxes[place] = torch.tensor([drawn[key] for key in ("top", "left", "height", "width")])
    return boxes


def resized_crops(stored: Tensor, index: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Crops of several sizes at one: (M, C, *size) float32 in [0, 1], channels last in memory.

    Bilinear, with antialiasing where a crop shrinks, as `torchvision.transforms.v2.functional.resized_crop` of float images.

    Args:
        stored: (N, H, W, C) uint8; index: (M,) int64 on its device, which image each crop is of.
        boxes: (M, 4) int64 on the CPU: top, left, height, width in px.
    """
    if stored.device.type != "cpu":
        return crops_by_matrices(stored, index, boxes, size)
    out = stored.new_empty((len(index), *size, stored.shape[-1]), dtype=torch.float32).permute(0, 3, 1, 2)
    for place, (image, (top, left, height, width)) in enumerate(zip(index.tolist(), boxes.tolist(), strict=True)):
        crop = stored[image, top : top + height, left : left + width].permute(2, 0, 1).float().div_(255)[None]
        if (height, width) != size:
            shrinks = height > size[0] or width > size[1]
            crop = F.interpolate(crop, size=size, mode="bilinear", align_corners=False, antialias=shrinks)
        out[place] = crop[0]
    return out.clamp_(0, 1)


def crops_by_matrices(stored: Tensor, index: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """`resized_crops` of a whole batch in two matrix products, for devices that take long to start each of many small kernels."""
    boxes = boxes.to(stored.device, non_blocking=True)
    pixels = stored.index_select(0, index).permute(0, 3, 1, 2).float().div_(255)
    down = _triangles(boxes[:, 0], boxes[:, 2], pixels.shape[2], size[0])
    across = _triangles(boxes[:, 1], boxes[:, 3], pixels.shape[3], size[1])
    out = down[:, None] @ pixels @ across[:, None].transpose(-1, -2)
    return out.clamp_(0, 1).contiguous(memory_format=torch.channels_last)


def _triangles(start: Tensor, length: Tensor, stored: int, size: int) -> Tensor:
    """(M, size, stored) weights of stored pixels in those of crops that begin at `start` and are `length` long, (M,) each."""
    step = (length / size)[:, None, None]
    centre = (torch.arange(size, device=start.device) + 0.5)[:, None] * step
    place = (torch.arange(stored, device=start.device) - start[:, None] + 0.5)[:, None, :]
    inside = (place > 0) & (place < length[:, None, None])
    weight = (1 - (place - centre).abs() / step.clamp_min(1)).clamp_min(0) * inside
    return weight / weight.sum(-1, keepdim=True)


class Changes:
    """RandAugment, colour jitter and random erasing of finished crops, in this order, as an `AugmentSpec` has them.

    Args:
        augment: what of them, and how much.
        channels: of the images. Raises UsageError where colours of so many have no meaning.
    """

    def __init__(self, augment: AugmentSpec, channels: int) -> None:
        coloured = [key for key in ("rand_augment", "color_jitter") if getattr(augment, key) is not None]
        if coloured and channels not in (1, 3):
            raise UsageError(f"augment.{coloured[0]} needs grey or RGB images, and these have {channels} channels")
        self._changes = dict(_changes(augment))

    def __call__(self, clean: Tensor, planned: PlannedBatch) -> Tensor:
        """(M, C, H, W) clean images, changed in place where anything is to be changed."""
        if not self._changes:
            return clean
        with torch.random.fork_rng(devices=[]):
            for numbers, change in self._changes.items():
                for image, seed in zip(clean, planned.image_seeds(numbers), strict=True):
                    torch.default_generator.manual_seed(seed)
                    changed = change(image)
                    if changed is not image:
                        image.copy_(changed)
        return clean


def _changes(augment: AugmentSpec) -> list[tuple[Numbers, Change]]:
    if not (augment.rand_augment or augment.color_jitter or augment.erasing):
        return []
    from torchvision.transforms import InterpolationMode, v2

    found: list[tuple[Numbers, Change]] = []
    if (rand := augment.rand_augment) is not None:
        turned = InterpolationMode.BILINEAR
        found.append((Numbers.RAND_AUGMENT, v2.RandAugment(rand.ops, rand.magnitude, interpolation=turned)))
    if (jitter := augment.color_jitter) is not None:
        found.append((Numbers.COLOR_JITTER, v2.ColorJitter(**dict(jitter))))
    if (erasing := augment.erasing) is not None:
        erase = v2.RandomErasing(erasing.probability, erasing.scale, erasing.ratio, erasing.value)
        found.append((Numbers.ERASING, erase))
    return found
