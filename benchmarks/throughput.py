"""Training throughput of KD + mixup, images a second, data preparation included."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch

from benchmarks.harness import Entrant, Settings, Talk, measure, median_seconds
from benchmarks.ours import KD_MIXUP, How, bf16_refused, freeze, ours, pipeline, plan
from benchmarks.pairs import Pair
from benchmarks.peers import floor, plain_loop, timm_task
from benchmarks.proofs import frozen_is_frozen
from benchmarks.results import CaseResult

READY = "given batches cropped and flipped at once, where its users' loaders do it image by image"
PROOFS = (
    "The teacher of every entrant was the same bit for bit after the turns, and every student had changed.",
    "Nothing was compiled inside a timed turn.",
    "Every step was B images; the networks that are not compiled were seen to get them.",
    "The frozen teacher kept its answers when a weight of the original was changed, and two of them beside each other each "
    "answered by their own weights.",
)


def throughput(pairs: Sequence[Pair], settings: Settings, talk: Talk) -> list[CaseResult]:
    """One case for each pair."""
    return [_case(pair, settings, talk) for pair in pairs]


def _case(pair: Pair, settings: Settings, talk: Talk) -> CaseResult:
    device = settings.device
    uncompiled, no_bf16 = settings.no_compiler, settings.apart(lambda: bf16_refused(pair, device))
    settings.apart(lambda: prove_frozen(pair, settings, no_bf16))

    def entrant(name: str, title: str, how: How) -> Entrant:
        why = (uncompiled if how.compiled else None) or (no_bf16 if how.precision == "bf16" else None)
        return Entrant(name, title, None if why else lambda: ours(pair, device, [KD_MIXUP], how), left_out=why)

    entrants = (
        Entrant("floor", "floor: eager fp32", lambda: floor(pair, device), "a ready batch: no data, no mixing"),
        Entrant("timm", "timm.task + Mixup", lambda: timm_task(pair, device), READY),
        Entrant("plain", "plain PyTorch loop", lambda: plain_loop(pair, device), READY),
        entrant("eager", "vicinal, eager fp32", How()),
        entrant("compiled", "vicinal, compiled fp32", How(compiled=True)),
        entrant("bf16", "vicinal, eager, bf16 teacher", How("bf16")),
        entrant("compiled_bf16", "vicinal, compiled, bf16 teacher", How("bf16", compiled=True)),
    )
    results = measure(pair.name, entrants, settings, talk)
    case = CaseResult(
        name=pair.name, title=pair.title, unit="images", reference="timm", entrants=results, proofs=PROOFS
    )
    return case.model_copy(update={"figures": settings.apart(lambda: _preparation(pair, case, settings))})


def prove_frozen(pair: Pair, settings: Settings, no_bf16: str | None) -> None:
    """Raises ProofError unless the product's frozen teacher is frozen, in every way that is timed."""
    teacher = pair.teacher_network().to(settings.device)
    pixels = torch.rand(4, pair.channels, pair.side_px, pair.side_px, device=settings.device)
    for compiled in (False, True) if settings.no_compiler is None else (False,):
        frozen_is_frozen(
            f"{pair.name}, compiled: {compiled}",
            teacher,
            partial(freeze, pixels=pixels, precision="fp32", compiled=compiled),
            pixels,
        )
    if no_bf16 is None:
        frozen_is_frozen(
            f"{pair.name}, bf16",
            teacher,
            partial(freeze, pixels=pixels, precision="bf16", compiled=False),
            pixels,
            bf16=True,
        )


def _preparation(pair: Pair, case: CaseResult, settings: Settings) -> dict[str, float]:
    """What making a batch takes of a step: gather, augment, mix, and normalise once for each network."""
    stream, made, teacher = (
        plan(pair, KD_MIXUP),
        pipeline(pair, settings.device),
        pair.teacher_network().to(settings.device),
    )
    position = iter(range(10**9))

    def prepare() -> None:
        epoch, where = divmod(next(position), stream.batches)
        mixed = made.make(stream.batch(epoch, where)).mixed
        for _ in range(2):
            _ = (mixed - teacher.mean) / teacher.std

    seconds = median_seconds(prepare, settings)
    figures = {"preparation_ms": 1e3 * seconds}
    for name in ("eager", "compiled", "bf16", "compiled_bf16"):
        timed = case.timed(name)
        if timed is not None:
            figures[f"preparation_share_{name}"] = seconds * timed.units_per_s.median / pair.batch
    return figures
