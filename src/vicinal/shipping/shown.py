"""How a study showed test images to a network, from their originals on: what an exported folder has to say and to do."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vicinal.config import PreparationSpec, RunSpec
from vicinal.data import View
from vicinal.errors import UsageError
from vicinal.inputs import resize
from vicinal.networks import Classifier
from vicinal.results import StudyResults


@dataclass(frozen=True)
class Shown:
    """Pillow makes bytes of an original, then the device resizes and crops floats; `view` is all of it in one step.

    Attributes:
        view: one step of Pillow's, as timm's configuration says it: the same, or as near as one step comes.
        stored: what Pillow makes of an original. resized, crop: sides in px after it, None where nothing is done.
        inner: side in px that the network then resizes to by itself, None where it takes what it is given.
        inexact: why `view` is not the same, a clause; None where it is.
    """

    view: View
    stored: View
    resized: int | None = None
    crop: int | None = None
    inner: int | None = None
    inexact: str | None = None

    def pixels(self, stored: Tensor) -> Tensor:
        """(N, C, S, S) floats in [0, 1] of what Pillow made, as the network takes them: what the study's own preparation does."""
        pixels = resize(stored, self.resized)
        if self.crop is None:
            return pixels
        start = (pixels.shape[-1] - self.crop) // 2
        return pixels[:, :, start : start + self.crop, start : start + self.crop]

    def of(self, image: Tensor) -> Tensor:
        """(1, C, S, S) floats of one image that Pillow made, (S', S', C) uint8."""
        return self.pixels(image.permute(2, 0, 1)[None].float() / 255)


class ShownPixels(nn.Module):
    """The same in operations that every runtime has, with the network's own resizing: (N, C, S', S') floats to (N, C, S, S)."""

    first: Tensor | None
    second: Tensor | None

    def __init__(self, shown: Shown) -> None:
        super().__init__()
        resized = shown.resized or shown.stored.side
        self.crop, given = shown.crop, shown.crop or resized
        self.register_buffer("first", _weights(shown.stored.side, resized), persistent=False)
        self.register_buffer("second", _weights(given, shown.inner or given), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Floats in [0, 1]."""
        pixels = _apply(self.first, pixels)
        if self.crop is not None:
            start = (pixels.shape[-1] - self.crop) // 2
            pixels = pixels[:, :, start : start + self.crop, start : start + self.crop]
        return _apply(self.second, pixels)


def _weights(old: int, new: int) -> Tensor | None:
    """(new, old): what the study's resizing makes of each px along one axis; None where it does nothing."""
    if old == new:
        return None
    lines = torch.eye(old)[:, None, :, None].expand(old, 1, old, old)  # each alike along the other axis
    return resize(lines, new)[:, 0, :, 0].T.contiguous()


def _apply(weights: Tensor | None, pixels: Tensor) -> Tensor:
    return pixels if weights is None else torch.matmul(torch.matmul(weights, pixels), weights.T).clamp(0, 1)


def how_shown(spec: RunSpec, network: Classifier, results: StudyResults | None) -> Shown:
    """By the run's own record, in which the study's choice between a network's view and the stored images is resolved.

    Raises UsageError for images that have no one side.
    """
    mean = getattr(network, "mean", None)
    means = tuple(mean.flatten().tolist()) if isinstance(mean, torch.Tensor) else None
    inner = getattr(network, "image_size", None)
    if isinstance(spec.network.preparation, PreparationSpec):
        view = View.of(spec.network.preparation, spec.network.mean or means)
        shown = Shown(view, view, inexact=_border(view, means))
    else:
        shown = _from_stored(spec, results, means)
    side = shown.view.side
    if inner is None or inner == side:
        return shown
    whole = shown.view
    view = View(inner, round(whole.resize * inner / side), whole.mode, whole.interpolation, whole.fill)
    reason = "the network resizes by itself what was resized before"
    return Shown(view, shown.stored, shown.resized, shown.crop, inner, reason)


def _from_stored(spec: RunSpec, results: StudyResults | None, means: tuple[float, ...] | None) -> Shown:
    """The square that the study stores, resized on the device where networks see another side."""
    side, fit, before = spec.data.get("image_size"), spec.data.get("fit", "crop"), spec.network.augment.resize
    kept = spec.data.get("stored_side", side)
    shape = results.data.image_shape if results is not None else None
    if shape is not None and shape[0] == shape[1] and (kept is None or shape[0] < kept):
        kept = shape[0]  # small squares, stored as they are
    if kept is None:
        raise UsageError("the network's images have no one side: give the study a data.image_size")
    mode = {"crop": "center", "squash": "squash", "pad": "border"}[fit]
    fill = (128,) if fit == "pad" else ()
    stored = View(kept, kept, mode, fill=fill)  # type: ignore[arg-type]
    side = side or kept
    crops = spec.network.augment.crop == "resize" and before is not None
    resized = before if crops and before is not None else side
    view = View(side, resized, mode, fill=fill)  # type: ignore[arg-type]
    reason = _border(view, means)
    if resized != kept:
        how = "enlarged" if resized > kept else "resized"
        reason = f"images were stored at {kept} px and {how} from there without rounding to bytes"
    elif (resized - side) % {"crop": 4, "squash": 2, "pad": side + resized}[fit]:  # else both crops round alike
        reason = "images were cropped twice, which rounds otherwise"
    steps = resized if resized != kept else None, side if side != resized else None
    return Shown(view, stored, *steps, inexact=reason)


def _border(view: View, means: tuple[float, ...] | None) -> str | None:
    """timm fills borders with the network's mean and says no other colour."""
    if view.mode != "border" or means is None:
        return None
    fill = view.fill if len(view.fill) == len(means) else view.fill[:1] * len(means)
    return None if fill == tuple(round(255 * one) for one in means) else "its borders have another colour than its mean"
