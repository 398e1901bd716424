"""ConvNeXt-L teaching at 224 px, live and banked, against the floor and the authors' only log. `--device cpu` tries a tiny pair."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import Entrant, Settings, Talk, measure
from benchmarks.ours import KD_MIXUP, How, bf16_refused, ours
from benchmarks.pairs import Pair
from benchmarks.peers import FloorHow, floor, timm_task
from benchmarks.results import CaseResult
from benchmarks.throughput import PROOFS, READY, prove_frozen
from vicinal.distillation import Precision

AUTHORS_IMAGES_PER_S = 342.0  # ConvNeXt-L to ResNet-50, 224 px, batch 200, one H200: their log


def gpu(pairs: Sequence[Pair], settings: Settings, talk: Talk) -> list[CaseResult]:
    """One case for each pair."""
    with tempfile.TemporaryDirectory(prefix="vicinal-bench-") as folder:
        return [_case(pair, Path(folder) / pair.name, settings, talk) for pair in pairs]


def _case(pair: Pair, bank: Path, settings: Settings, talk: Talk) -> CaseResult:
    device = settings.device
    uncompiled, no_bf16 = settings.no_compiler, settings.apart(lambda: bf16_refused(pair, device))
    settings.apart(lambda: prove_frozen(pair, settings, no_bf16))
    answered: Precision = "fp32" if no_bf16 else "bf16"

    def entrant(name: str, title: str, how: How) -> Entrant:
        why = uncompiled if how.compiled else None
        return Entrant(name, title, None if why else lambda: ours(pair, device, [KD_MIXUP], how), left_out=why)

    compiled = uncompiled is None
    entrants = (
        Entrant(
            "floor",
            "floor: compiled, bf16, channels_last" if compiled else "floor: bf16, channels_last",
            lambda: floor(pair, device, FloorHow(fast=True, compiled=compiled)),
            "a ready batch: no data, no mixing",
        ),
        Entrant("plain_floor", "floor: eager fp32", lambda: floor(pair, device), "a ready batch: no data, no mixing"),
        Entrant("timm", "timm.task + Mixup, fp32", lambda: timm_task(pair, device), READY),
        entrant("eager", f"vicinal, eager, {answered} teacher", How(answered)),
        entrant("compiled", f"vicinal, compiled, {answered} teacher", How(answered, compiled=True)),
        entrant("banked", "vicinal, warm bank", How(answered, compiled=compiled, bank=bank)),
    )
    results = measure(f"gpu {pair.name}", entrants, settings, talk)
    return CaseResult(
        name=pair.name,
        title=pair.title,
        unit="images",
        reference="floor",
        entrants=results,
        figures={"authors_images_per_s": AUTHORS_IMAGES_PER_S},
        proofs=PROOFS,
    )
