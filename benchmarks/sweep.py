"""The seven students of table 1 that one teacher teaches: live and from a warm bank, against seven separate runs."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import Entrant, Running, Settings, Talk, measure
from benchmarks.ours import How, bf16_refused, ours
from benchmarks.pairs import TEMPERATURE, Pair
from benchmarks.peers import separate_runs, students_alone
from benchmarks.results import CaseResult
from benchmarks.throughput import PROOFS, READY
from vicinal.config import ARMS, Objective

# Table 1 for one teacher: KD with mixup at five temperatures and σ on one input stream, classic KD on another (it mixes nothing).
MIXED = tuple(ARMS["kd_mixup"].model_copy(update={"temperature": t}) for t in (2.0, 4.0, 6.0, 8.0, 10.0, "sigma"))
CLASSIC = (ARMS["kd"].model_copy(update={"temperature": TEMPERATURE}),)
STREAMS: tuple[tuple[Objective, ...], ...] = (MIXED, CLASSIC)


def sweep(pairs: Sequence[Pair], settings: Settings, talk: Talk) -> list[CaseResult]:
    """One case for each pair; a step is a step of all seven students."""
    with tempfile.TemporaryDirectory(prefix="vicinal-bench-") as folder:
        return [_case(pair, Path(folder) / pair.name, settings, talk) for pair in pairs]


def _case(pair: Pair, banks: Path, settings: Settings, talk: Talk) -> CaseResult:
    device = settings.device
    uncompiled, no_bf16 = settings.no_compiler, settings.apart(lambda: bf16_refused(pair, device))
    fastest = How("fp32" if no_bf16 else "bf16", compiled=True)
    answered = "fp32" if no_bf16 else "bf16"

    def grouped(how: How) -> Running:
        return together([ours(pair, device, stream, how) for stream in STREAMS])

    def alone() -> Running:
        return together([students_alone(pair, device, stream) for stream in STREAMS])

    entrants = (
        Entrant("separate", "seven separate runs", lambda: separate_runs(pair, device, MIXED + CLASSIC), READY),
        Entrant("live", "vicinal, eager fp32, one teacher pass a stream", lambda: grouped(How())),
        Entrant(
            "fastest",
            f"vicinal, compiled, {answered} teacher, one pass a stream",
            None if uncompiled else lambda: grouped(fastest),
            left_out=uncompiled,
        ),
        Entrant("banked", "vicinal, eager, warm bank", lambda: grouped(How(bank=banks))),
        Entrant("alone", "its students alone, eager", alone, "a ready batch with ready answers"),
    )
    results = measure(f"sweep {pair.name}", entrants, settings, talk)
    return CaseResult(
        name=pair.name,
        title=pair.title,
        unit="student images",
        reference="separate",
        entrants=results,
        proofs=PROOFS[:3],
    )


def together(groups: Sequence[Running]) -> Running:
    """Several groups stepped one after another, as one entrant."""

    def close() -> None:
        for group in groups:
            group.close()

    return Running(
        (sum(units) for units in zip(*(group.steps for group in groups), strict=True)),
        sum(group.units_per_step for group in groups),
        [module for group in groups for module in group.learning],
        [module for group in groups for module in group.frozen],
        [seen for group in groups for seen in group.sees],
        sum(group.compiled for group in groups),
        close=close,
        keeps_memory=all(group.keeps_memory for group in groups),
    )
