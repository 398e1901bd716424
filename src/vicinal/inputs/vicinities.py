"""The vicinities that studies know by name: what an image and its partner become.

Shapes: N samples of an epoch, B rows of a batch, M ≥ B clean images that these need (their own first), (C, H, W) an image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vicinal.config import MixingSpec
from vicinal.errors import UsageError
from vicinal.inputs.vicinity import BatchDraws, EpochDraws, Generators, Numbers, Places, Vicinity

_CACHED_BYTES = 1 << 21  # of images that are mixed at a time on a CPU, so that its cache holds them meanwhile


class _OfPairs:
    """What is drawn for every vicinity that mixes an image with a partner from its batch, as `MixingSpec` says."""

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


class Mixup(_OfPairs):
    """λ x_i + (1 − λ) x_j (Zhang et al. 2018)."""

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


class CutMix(_OfPairs):
    """A rectangle of the partner, of its image's shape and the share 1 − λ of its area, pasted at its own place (Yun et al. 2019).

    Its centre is uniform over the pixels and what lies outside the image is cut off, as in the authors' code, so that the own share
    is the area that is left, not the λ that was drawn: at least λ up to whole pixels.
    """

    def draw(self, places: Places, generators: Generators) -> EpochDraws:
        centre = generators(Numbers.EXTRA).random((places.count, 2), dtype=np.float32)
        return replace(super().draw(places, generators), extra={"centre": centre})

    def apply(self, clean: Tensor, draws: BatchDraws) -> tuple[Tensor, Tensor]:
        """Channels last in memory as `clean` is; where λ = 1, the very clean image."""
        sides, rows = torch.tensor(clean.shape[-2:], device=clean.device), len(draws.lam)
        half = ((1 - draws.lam).sqrt()[:, None] * sides).long() // 2
        centre = (draws.extra["centre"] * sides).long().minimum(sides - 1)
        low, high = (centre - half).clamp_min(0), (centre + half).minimum(sides)  # (B, 2): rows and columns of pixels
        down, across = (
            (low[:, k, None] <= place) & (place < high[:, k, None])
            for k, place in enumerate(torch.arange(side, device=clean.device) for side in clean.shape[-2:])
        )
        pasted = down[:, :, None, None] & across[:, None, :, None]
        stored = clean.permute(0, 2, 3, 1)
        mixed = stored.new_empty(rows, *stored.shape[1:])
        at_once = max(1, _CACHED_BYTES // max(1, stored[0].nbytes)) if clean.device.type == "cpu" else max(1, rows)
        for start in range(0, rows, at_once):
            part = slice(start, start + at_once)
            of_partner = stored.index_select(0, draws.partner[part])
            torch.where(pasted[part], of_partner, stored[:rows][part], out=mixed[part])
        return mixed.permute(0, 3, 1, 2), 1 - (high - low).prod(1) / sides.prod()


VICINITIES: dict[str, Callable[[MixingSpec], Vicinity]] = {"mixup": Mixup, "cutmix": CutMix}


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
