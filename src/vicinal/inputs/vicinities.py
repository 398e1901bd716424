"""The vicinities that studies know by name: what an image and its partner become.

Shapes: N samples of an epoch, B rows of a batch, M ≥ B clean images that these need (their own first), (C, H, W) an image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vicinal.config import MixingSpec
from vicinal.errors import UsageError
from vicinal.inputs.partners import partners_by_class
from vicinal.inputs.vicinity import BatchDraws, EpochDraws, Generators, Numbers, Places, Vicinity

_CACHED_BYTES = 1 << 21  # of images that are mixed at a time on a CPU, so that its cache holds them meanwhile


def _left_clean(share: float, places: Places, generators: Generators) -> NDArray[np.bool_]:
    """(N,) which samples stay as they are: the share is exact over the epoch, and in every batch to within one sample."""
    left = np.zeros(places.count, bool)
    if share:
        start, end = places.ends
        before, after = np.floor(share * np.stack([start, end]) + 0.5)  # the batch takes what falls due in it
        first = start + places.order_in_batches(generators(Numbers.CLEAN).random(places.count))
        left[first] = np.arange(places.count) - start < after - before
    return left


def _parts(stored: Tensor, rows: int) -> Iterator[slice]:
    """Rows of a batch that are made at a time of (M, H, W, C) stored images."""
    at_once = max(1, rows)
    if stored.device.type == "cpu" and rows:
        at_once = max(1, _CACHED_BYTES // max(1, stored[0].nbytes))
    return (slice(start, start + at_once) for start in range(0, rows, at_once))


class _OfPairs:
    """What is drawn for every vicinity that mixes an image with a partner from its batch, as `MixingSpec` says."""

    def __init__(self, spec: MixingSpec) -> None:
        self.spec = spec

    @property
    def mixes(self) -> bool:
        return self.spec.mixes

    def draw(self, places: Places, generators: Generators) -> EpochDraws:
        lam = self._lam(places.count, generators)
        lam[_left_clean(self.spec.clean_fraction, places, generators)] = 1
        # Without mixing everyone is their own partner: a stable order of equals is the one they stand in.
        drawn = generators(Numbers.PARTNER).random(places.count) if self.mixes else np.zeros(places.count)
        if self.spec.partners == "any":
            return EpochDraws(places.order_in_batches(drawn), lam.astype(np.float32))
        partner, found = partners_by_class(places, drawn, self.spec.partners)
        lam[~found] = 1
        return EpochDraws(partner, lam.astype(np.float32), without_partner=~found)

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
        for part in _parts(stored, rows):
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
        for part in _parts(stored, rows):
            of_partner = stored.index_select(0, draws.partner[part])
            torch.where(pasted[part], of_partner, stored[:rows][part], out=mixed[part])
        return mixed.permute(0, 3, 1, 2), 1 - (high - low).prod(1) / sides.prod()


class RegMixup(Mixup):
    """The clean image and its mixup in one step, the loss on both (Pinto et al. 2022): two views of each sample, clean then mixed.

    The paper's loss is the clean one plus η times the mixed one. Here it is their mean so weighted, the paper's over 1 + η: learning
    rate, α and β mean what they mean for one view, and with η = 1 this is one batch of twice as many rows.
    """

    views = 2

    @property
    def view_weights(self) -> tuple[float, ...] | None:
        """Of clean and mixed views, 1 on average; None where all are 1."""
        eta = self.spec.eta
        return None if eta == 1 else (2 / (1 + eta), 2 * eta / (1 + eta))

    def apply(self, clean: Tensor, draws: BatchDraws) -> tuple[Tensor, Tensor]:
        """Clean and mixed by turns, channels last in memory as `clean` is."""
        mixed, lam = super().apply(clean, draws)
        own = clean[: len(lam)].permute(0, 2, 3, 1)
        both = torch.stack([own, mixed.permute(0, 2, 3, 1)], 1).flatten(0, 1)
        return both.permute(0, 3, 1, 2), torch.stack([torch.ones_like(lam), lam], 1).flatten()


class GaussianNoise:
    """x + σ ε with the image's own label: the Gaussian vicinity of vicinal risk minimisation (Chapelle et al. 2000).

    Pixels are not clipped to [0, 1]: a clipped vicinity has its mean beside x wherever x is black or white.
    """

    mixes = True

    def __init__(self, spec: MixingSpec) -> None:
        self.spec = spec

    def draw(self, places: Places, generators: Generators) -> EpochDraws:
        left = _left_clean(self.spec.clean_fraction, places, generators)
        seeds = generators(Numbers.EXTRA).integers(0, 2**63 - 1, places.count)
        std = np.where(left, 0, self.spec.noise_std or 0).astype(np.float32)
        alone = places.order_in_batches(np.zeros(places.count))
        return EpochDraws(alone, np.ones(places.count, np.float32), {"seed": seeds, "std": std})

    def apply(self, clean: Tensor, draws: BatchDraws) -> tuple[Tensor, Tensor]:
        """Channels last in memory as `clean` is; where σ is 0, the very clean image."""
        stored, rows = clean.permute(0, 2, 3, 1), len(draws.lam)
        noisy = stored.new_empty(rows, *stored.shape[1:])
        for part in _parts(stored, rows):
            noise = standard_normal(draws.extra["seed"][part], stored.shape[1:].numel()).view_as(noisy[part])
            torch.addcmul(stored[:rows][part], noise, draws.extra["std"][part, None, None, None], out=noisy[part])
        return noisy.permute(0, 3, 1, 2), draws.lam


def standard_normal(seeds: Tensor, count: int) -> Tensor:
    """(B, count) float32 standard normal numbers, each a function of its row's (B,) int64 seed and its place: no state, any device.

    SplitMix64 (Steele et al. 2014) started at the seed; two uniform numbers of 24 bits from each output become two normal ones (Box
    and Muller 1958).
    """
    half = -(-count // 2)
    bits = seeds[:, None] + torch.arange(1, half + 1, device=seeds.device) * _signed(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        bits = (bits ^ ((bits >> shift) & ((1 << (64 - shift)) - 1))) * _signed(factor)
    radius = (((bits >> 40) & 0xFFFFFF) + 1).float().mul_(2.0**-24).log_().mul_(-2).sqrt_()
    angle = (bits & 0xFFFFFF).float().mul_(2 * math.pi * 2.0**-24)
    return torch.cat([radius * angle.cos(), radius * angle.sin()], 1)[:, :count]


def _signed(bits: int) -> int:
    """64 bits as the int64 that has them."""
    return bits - (1 << 64) if bits >> 63 else bits


class TwoCrops:
    """Two views of every image in a step, each cropped, flipped and changed by itself, and nothing mixed.

    The control that shows what mixing adds to being taught consistently: the teacher answers each view (Beyer et al. 2022); several
    copies of an image in one batch are batch augmentation (Hoffer et al. 2020).
    """

    mixes, crops = False, 2

    def __init__(self, spec: MixingSpec) -> None:
        self.spec = spec

    def draw(self, places: Places, generators: Generators) -> EpochDraws:  # noqa: ARG002
        alone = places.order_in_batches(np.zeros(places.count))
        return EpochDraws(alone, np.ones(places.count, np.float32))

    def apply(self, clean: Tensor, draws: BatchDraws) -> tuple[Tensor, Tensor]:
        return clean[: len(draws.lam)], draws.lam


VICINITIES: dict[str, Callable[[MixingSpec], Vicinity]] = {
    "mixup": Mixup,
    "cutmix": CutMix,
    "regmixup": RegMixup,
    "gaussian_noise": GaussianNoise,
    "two_crops": TwoCrops,
}


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
