"""The vicinal curve: NL at 21 λ of one network, against three forward passes for each ordered pair and λ."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import Entrant, Running, Settings, Talk, measure
from benchmarks.pairs import Pair
from benchmarks.proofs import ProofError
from benchmarks.results import CaseResult
from vicinal.config import VicinitySpec
from vicinal.data import ImageSet
from vicinal.evaluation import draw_pairs, vicinal_curves
from vicinal.functional import nonlinearity_residual
from vicinal.inputs import Preparation, to_float
from vicinal.metrics import lam_grid
from vicinal.networks import FUSING_IMAGES, Classifier, fused

NL_BOUND_NATS = 1e-5
AT_ONCE = 100  # images of a forward pass of the naive ways


@dataclass(frozen=True)
class Task:
    """One network, the pairs that it is asked on, and the grid."""

    network: Classifier
    preparation: Preparation
    images: ImageSet
    vicinity: VicinitySpec
    device: torch.device

    @classmethod
    def of(cls, pair: Pair, vicinity: VicinitySpec, device: torch.device) -> Task:
        network = pair.teacher_network().to(device).eval().requires_grad_(False)
        return cls(network, Preparation(pair.spec(pair.teacher).augment, pair.side_px), pair.data(), vicinity, device)

    @property
    def ordered_pairs(self) -> int:
        return 2 * self.vicinity.pairs

    def pixels(self) -> tuple[Tensor, Tensor]:
        """Both images of each pair, contiguous (P, C, H, W)."""
        i, j = draw_pairs(len(self.images), self.vicinity)
        stored = self.images.images
        assert isinstance(stored, Tensor)
        x_i, x_j = (self.preparation.pixels(stored[k].to(self.device)) for k in (i, j))
        return x_i.contiguous(), x_j.contiguous()


Curve = Callable[[Task], Tensor]  # (L,) float64 NL, mean over the ordered pairs


def three_forwards(task: Task) -> Tensor:
    """As public code would: for each λ and both orders of each pair, the network on x_i, on x_j and on the mixture."""
    x_i, x_j = task.pixels()
    grid = lam_grid(task.vicinity.lam_points)
    total = torch.zeros(len(grid), dtype=torch.float64)
    for first, second in ((x_i, x_j), (x_j, x_i)):
        for k, lam in enumerate(grid.tolist()):
            for a, b in zip(first.split(AT_ONCE), second.split(AT_ONCE), strict=True):
                z = [task.network(x).cpu().double() for x in (a, b, lam * a + (1 - lam) * b)]
                total[k] += nonlinearity_residual(z[0], z[1], z[2], lam).sum()
    return total / task.ordered_pairs


def clean_once(task: Task) -> Tensor:
    """The same with the clean answers asked once for all λ."""
    x_i, x_j = task.pixels()
    grid = lam_grid(task.vicinity.lam_points)
    total = torch.zeros(len(grid), dtype=torch.float64)
    for first, second in ((x_i, x_j), (x_j, x_i)):
        for a, b in zip(first.split(AT_ONCE), second.split(AT_ONCE), strict=True):
            z_a, z_b = task.network(a).cpu().double(), task.network(b).cpu().double()
            for k, lam in enumerate(grid.tolist()):
                z = z_a if lam == 1 else z_b if lam == 0 else task.network(lam * a + (1 - lam) * b).cpu().double()
                total[k] += nonlinearity_residual(z_a, z_b, z, lam).sum()
    return total / task.ordered_pairs


def symmetric(task: Task) -> Tensor:
    """The same with one order of each pair: NL(λ; i, j) = NL(1 − λ; j, i)."""
    x_i, x_j = task.pixels()
    grid = lam_grid(task.vicinity.lam_points)
    total = torch.zeros(len(grid), dtype=torch.float64)
    for a, b in zip(x_i.split(AT_ONCE), x_j.split(AT_ONCE), strict=True):
        z_a, z_b = task.network(a).cpu().double(), task.network(b).cpu().double()
        for k, lam in enumerate(grid.tolist()):
            z = z_a if lam == 1 else z_b if lam == 0 else task.network(lam * a + (1 - lam) * b).cpu().double()
            total[k] += nonlinearity_residual(z_a, z_b, z, lam).sum()
    return (total + total.flip(0)) / task.ordered_pairs


def ours(task: Task) -> Tensor:
    """`vicinal.evaluation.vicinal_curves` of the folded network, folding and intervals included."""
    x_i, x_j = (task.images.images[index] for index in draw_pairs(len(task.images), task.vicinity))
    network = fused(task.network, to_float(x_i[:FUSING_IMAGES], task.preparation.image_size).to(task.device))
    curves = vicinal_curves(network, x_i.to(task.device), x_j.to(task.device), task.vicinity.lam_points)
    curves.intervals()
    found: Tensor = curves.compute()["nonlinearity"]
    return found


def curve(pair: Pair, settings: Settings, talk: Talk) -> list[CaseResult]:
    """One case; a step is the whole curve, a unit an ordered pair."""
    vicinity = VicinitySpec(pairs=2 if settings.quick else 100, lam_points=5 if settings.quick else 21)
    ordered_pairs = 2 * vicinity.pairs
    with tempfile.TemporaryDirectory(prefix="vicinal-bench-") as folder:
        results = measure("curve", _entrants(pair, vicinity, settings, Path(folder)), settings, talk)
        last = {file.stem: torch.from_numpy(np.load(file)) for file in Path(folder).iterdir()}
    worst = same_curve(last)
    return [
        CaseResult(
            name=pair.name,
            title=f"NL of {pair.teacher} at {vicinity.lam_points} λ, {pair.side_px} px, {ordered_pairs} ordered pairs",
            unit="ordered pairs",
            reference="naive",
            entrants=results,
            figures={"nl_difference_nats": worst, "nl_peak_nats": float(last["naive"].max())},
            proofs=(
                f"The curves of all entrants are equal to {NL_BOUND_NATS:g} nats at every λ (largest difference {worst:.1e}).",
                "The network was the same bit for bit after the turns.",
            ),
        )
    ]


def _entrants(pair: Pair, vicinity: VicinitySpec, settings: Settings, folder: Path) -> tuple[Entrant, ...]:
    """Each leaves its last curve in the folder."""

    def entrant(name: str, title: str, way: Curve) -> Entrant:
        def make() -> Running:
            task = Task.of(pair, vicinity, settings.device)
            keeps = way is ours and settings.device.type == "cpu"
            steps = _steps(folder / f"{name}.npy", way, task)
            return Running(steps, task.ordered_pairs, frozen=[task.network], keeps_memory=keeps)

        return Entrant(name, title, make, learns=False)

    return (
        entrant("naive", "three forwards a pair and λ", three_forwards),
        entrant("clean_once", "clean answers once", clean_once),
        entrant("symmetric", "clean once, one order of each pair", symmetric),
        entrant("vicinal", "vicinal", ours),
    )


def _steps(file: Path, way: Curve, task: Task) -> Iterator[int]:
    while True:
        with torch.inference_mode():
            curve = way(task)
        np.save(file, curve.numpy())
        yield task.ordered_pairs


def same_curve(curves: dict[str, Tensor], reference: str = "naive") -> float:
    """The largest difference from the reference's NL, in nats. Raises ProofError above the bound, or where there is no curve to see."""
    if not float(curves[reference].max()) > 100 * NL_BOUND_NATS:
        raise ProofError("curve: NL is 0 everywhere, so that two equal curves prove nothing")
    worst = {name: float((c - curves[reference]).abs().max()) for name, c in curves.items()}
    name = max(worst, key=lambda n: worst[n])
    if not worst[name] <= NL_BOUND_NATS:
        raise ProofError(f"curve: NL of {name} is off by {worst[name]:.1e} nats, more than {NL_BOUND_NATS:g}")
    return worst[name]
