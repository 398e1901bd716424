"""Answers to pairs of images along λ, of any predict function.

Shapes: P pairs, L values of λ, K classes, (C, H, W) an image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vicinal import metrics  # its classes are imported when they are named
from vicinal.config import VicinitySpec
from vicinal.data import ImageSet
from vicinal.errors import UsageError
from vicinal.evaluation.predict import EVALUATION_BATCH
from vicinal.functional import mix
from vicinal.inputs import Preparation, to_float
from vicinal.metrics import lam_grid, sample_size
from vicinal.networks import Classifier, evaluating

SAME_CLASS_PAIRS = 200  # least number of pairs of one class that are drawn apart
PILOT_PAIRS = 200  # that the spread of NL between pairs is judged by
CPU_VALUES = 1_000_000  # numbers in a batch of images; larger ones fall out of a CPU's caches between layers


def draw_pairs(images: int, spec: VicinitySpec) -> tuple[Tensor, Tensor]:
    """(P,) positions i and j ≠ i of distinct pairs, a function of the spec and the number of images M.

    As the rounds of a tournament over the images in random order: no image comes twice before all have come once, so that up to
    M / 2 pairs share no image, and of more every image is in equally many pairs, but for one or two. P is `spec.pairs`, or all
    M (M − 1) / 2 pairs where that is more.

    Raises UsageError for fewer than two images.
    """
    pairs = pair_count(images, spec)
    if not pairs:
        raise UsageError(
            f"a pair needs two images, and there are {images} to draw pairs from; give more training images"
        )
    order = _generator(images, spec).permutation(images)
    rounds, in_round = images - 1 if images % 2 == 0 else images, images // 2
    at, place = np.divmod(np.arange(pairs), in_round)
    if images % 2:
        i, j = (at + place + 1) % rounds, (at - place - 1) % rounds
    else:  # the circle method: one image keeps its place and the others turn
        i = np.where(place == 0, images - 1, (at + place) % rounds)
        j = np.where(place == 0, at % rounds, (at - place) % rounds)
    return torch.from_numpy(order[i]), torch.from_numpy(order[j])


def pair_count(images: int, spec: VicinitySpec) -> int:
    """How many pairs `draw_pairs` gives."""
    return min(spec.pairs, images * (images - 1) // 2)


def draw_same_class_pairs(labels: Tensor, spec: VicinitySpec) -> Tensor:
    """(P, 2) positions of two images of one class: no image twice, classes in the shares that random pairs have.

    P is a fifth of `spec.pairs` and at least `SAME_CLASS_PAIRS`, or fewer where a class has too few images for its share.
    """
    order = _generator(len(labels), spec, stream=1).permutation(len(labels))
    order = order[np.argsort(labels.numpy()[order], kind="stable")]
    members = np.split(order, np.cumsum(labels.unique(return_counts=True)[1].numpy())[:-1])
    sizes = np.array([len(own) for own in members], dtype=np.float64)
    shares = sizes * (sizes - 1) / max(1.0, (sizes * (sizes - 1)).sum())
    wanted = shares * max(SAME_CLASS_PAIRS, spec.pairs // 5)
    counts = np.minimum(np.ceil(wanted - 1e-9), sizes // 2).astype(int)
    found = [own[: 2 * count].reshape(count, 2) for own, count in zip(members, counts, strict=True)]
    return torch.from_numpy(np.concatenate(found)) if found else torch.zeros(0, 2, dtype=torch.int64)


def _generator(images: int, spec: VicinitySpec, stream: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([spec.seed, images, stream])))


def pairs_needed(
    network: Classifier,
    pair_images: ImageSet,
    preparation: Preparation,
    vicinity: VicinitySpec,
    confidence_level: float,
    device: torch.device,
) -> int:
    """How many pairs bring a network's NL(λ) to ± `vicinity.precision_nats` at every λ, from a pilot of `PILOT_PAIRS`."""
    assert vicinity.precision_nats is not None
    pilot = vicinity.model_copy(update={"pairs": min(vicinity.pairs, PILOT_PAIRS)})
    if pair_count(len(pair_images), pilot) < 2:
        return 1
    curves = metrics.VicinalCurves(lam_grid(pilot.lam_points))
    index = torch.stack(draw_pairs(len(pair_images), pilot), 1)
    pixels = pairs_of(pair_images, index, preparation, len(curves.lam), device)
    for answer in predict_pairs(network, pixels, curves.lam, path_centres(len(index), pilot)):
        curves.update(*answer)
    return sample_size(curves.per_pair("nonlinearity"), vicinity.precision_nats, confidence_level)


class PairLogits(NamedTuple):
    """A network's float32 logits on P pairs; what `VicinalCurves.update` takes."""

    logits_i: Tensor  # (P, K) on x_i
    logits_j: Tensor  # (P, K) on x_j
    logits_mixed: Tensor  # (P, L, K) on λ x_i + (1 − λ) x_j, or another path between the two


def path_centres(pairs: int, spec: VicinitySpec) -> Tensor | None:
    """(P, 2) where CutMix's rectangles grow from, down and across in [0, 1), a function of the spec and P; None for mixup's line."""
    if spec.path == "mixup":
        return None
    return torch.from_numpy(_generator(pairs, spec, stream=2).random((pairs, 2), dtype=np.float32))


def predict_pairs(
    predict: Callable[[Tensor], Tensor],
    pairs: Iterable[tuple[Tensor, Tensor]],
    lam: Tensor,
    centres: Tensor | None = None,
) -> Iterator[PairLogits]:
    """A predict function's answers to pairs of images along λ, part by part; L images for each pair are predicted in all.

    λ = 0 and 1 are the two clean images, so these are predicted once; and since NL(λ; i, j) = NL(1 − λ; j, i) the answers serve
    both orders of a pair.

    Args:
        predict: (B, C, H, W) float32 pixels in [0, 1], channels last in memory, to (B, K) logits. A module in train mode, also
            one behind a method, a partial or a lambda that closes over it, is put into eval mode and back.
        pairs: parts of P pairs each, as (P, C, H, W) pixels x_i and x_j. One part is one call of `predict`.
        lam: (L,) rising grid from 0 to 1, both included.
        centres: (all P, 2) as `path_centres` gives them; None: along λ x_i + (1 − λ) x_j.

    Raises ValueError for a grid without its ends or images that do not go together.
    """
    if len(lam) < 2 or float(lam[0]) != 0 or float(lam[-1]) != 1:
        raise ValueError("the grid of λ must begin with 0 and end with 1: these are the clean images")
    done = 0
    for x_i, x_j in pairs:
        if x_i.shape != x_j.shape or x_i.dim() != 4 or not x_i.is_floating_point():
            raise ValueError(
                f"expected two of (P, C, H, W) float pixels, got {tuple(x_i.shape)} {x_i.dtype} and {tuple(x_j.shape)}"
            )
        if not len(x_i):  # an empty slice
            continue
        # TF32 keeps ten bits, too few for a measure, and PyTorch's convolutions use it unasked.
        with evaluating(predict), torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            own = None if centres is None else centres[done : done + len(x_i)]
            mixed = _mixed_along(x_i, x_j, lam) if own is None else _cut_along(x_i, x_j, lam, own)
            logits = predict(mixed).float().view(len(lam), len(x_i), -1)
        done += len(x_i)
        yield PairLogits(logits[-1], logits[0], logits.transpose(0, 1))


def vicinal_curves(
    predict: Callable[[Tensor], Tensor],
    images_i: Tensor,
    images_j: Tensor,
    lam_points: int = 21,
    *,
    resamples: int = 1000,
    seed: int = 0,
    first_pair: int = 0,
    pairs_at_once: int | None = None,
) -> metrics.VicinalCurves:
    """The vicinal curves of any classifier over P pairs of images, from sums alone: no answers are kept.

    Intervals hold where no image is in two pairs, as in `draw_pairs` of at least 2 P images; pairs that share images make them too
    narrow.

    Args:
        predict: as `predict_pairs` takes it.
        images_i, images_j: (P, C, H, W) float pixels in [0, 1], or (P, H, W, C) uint8, on the device that `predict` wants.
        lam_points: L, an odd number.
        resamples, seed: behind `VicinalCurves.intervals`.
        first_pair: number of the first pair, where another process predicts other pairs: the two metrics can be merged.
        pairs_at_once: P of one call of `predict`; default: what runs fast on the device.

    Raises ValueError for images of another form, or of pixels from 0 to 255 that are not uint8.
    """
    for images in (images_i, images_j):
        _check_pixels(images)
    curves = metrics.VicinalCurves(lam_grid(lam_points), keep_pairs=False, resamples=resamples, seed=seed)
    at_once = pairs_at_once or _pairs_at_once(lam_points, images_i.shape[1:].numel(), images_i.device)
    parts = zip(images_i.split(at_once), images_j.split(at_once), strict=True)
    pixels = ((x if x.is_floating_point() else to_float(x) for x in part) for part in parts)
    for answer in predict_pairs(predict, ((x_i, x_j) for x_i, x_j in pixels), curves.lam):
        curves.update(*answer, first_pair=first_pair)
        first_pair += len(answer.logits_i)
    return curves


def _check_pixels(images: Tensor) -> None:
    """Raises ValueError where pixels are in another unit than [0, 1]. Normalised ones, a few deviations wide, are the caller's."""
    is_uint8 = images.dtype == torch.uint8 and images.shape[-1] in (1, 3)
    if not (images.is_floating_point() or is_uint8):
        raise ValueError(
            f"images are float (P, C, H, W) in [0, 1], or uint8 (P, H, W, 1 or 3), not {images.dtype} {tuple(images.shape)}"
        )
    if images.is_floating_point() and images.numel() and float(images.max()) > 25:
        raise ValueError(
            f"float pixels lie in [0, 1], and these reach {float(images.max()):g}: divide by 255, or give uint8"
        )


def pairs_of(
    images: ImageSet, index: Tensor, preparation: Preparation, points: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """The pairs at (P, 2) positions as pixels, in parts as `predict_pairs` takes them for a grid of `points` λ."""
    values = preparation.pixels(images.images[index[:1, 0]]).numel()
    for part in index.split(_pairs_at_once(points, values, device)):
        x_i, x_j = (preparation.pixels(images.images[part[:, side]].to(device)) for side in (0, 1))
        yield x_i, x_j


def _pairs_at_once(points: int, values: int, device: torch.device) -> int:
    """Pairs in one call of a network: on a CPU as many as keep its layers' outputs in the caches, `values` numbers an image."""
    images = EVALUATION_BATCH if device.type != "cpu" else min(EVALUATION_BATCH, CPU_VALUES // values)
    return max(1, images // points)


def _mixed_along(x_i: Tensor, x_j: Tensor, lam: Tensor) -> Tensor:
    """(P, C, H, W) twice to (L P, C, H, W), channels last in memory: all pairs at the first λ, then at the next."""
    i, j = (x.permute(0, 2, 3, 1).contiguous() for x in (x_i, x_j))
    # One λ at a time: what is in between stays in the caches.
    return torch.cat([mix(i, j, value) for value in lam.to(x_i)]).permute(0, 3, 1, 2)


def _cut_along(x_i: Tensor, x_j: Tensor, lam: Tensor, centres: Tensor) -> Tensor:
    """As `_mixed_along`, along CutMix's path: a rectangle of x_j, of the image's shape about the pair's centre, over x_i.

    It grows by whole pixels, the outermost ring in part, and is cut off at the border, so that its share of the area is 1 − λ to half
    a pixel: nothing at λ = 1 and the whole image at λ = 0. That of Yun et al. 2019 is smaller where it is cut off.
    """
    height, width = x_i.shape[-2:]
    i, j = (x.permute(0, 2, 3, 1).contiguous() for x in (x_i, x_j))
    down, across = (
        ((torch.arange(side) + 0.5) / side - centres[:, k, None]).abs() for k, side in enumerate((height, width))
    )
    distance = torch.maximum(down[:, :, None], across[:, None, :]).flatten(
        1
    )  # (P, HW), of which a rectangle has all up to one
    rank = distance.argsort(dim=1, stable=True).argsort(dim=1).view(-1, height, width, 1).to(x_i.device)
    pasted = ((1 - lam.double()) * height * width).round().long().tolist()
    return torch.cat([torch.where(rank < count, j, i) for count in pasted]).permute(0, 3, 1, 2)
