"""Figures of one study less those of another, network by network, by the comparator of `vicinal.claims`.

A seed is paired with the same seed and an image with the same image, so what both studies share counts for neither. What a setting does
to a seed is taken as one part for all arms and a rest (`SeedPool`, here of the differences), so arms tell of each other's error.

Shapes: S seeds, R resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from statistics import fmean
from typing import Any

from vicinal.claims import Load, Number, SeedPool, compare, mean
from vicinal.measuring.compare import ACCURACIES, FIGURES, difference_entry
from vicinal.measuring.joined.match import Line
from vicinal.measuring.joined.studies import OpenStudy, SameImages
from vicinal.measuring.tables import AT_HALF
from vicinal.report import HELD_OUT, Row, number_at_half, scalar, vicinal_curve_numbers

HALF = "_at_half"
NEED_SCALE = ("nll", "brier", "ece", "confidence", *(f"{figure.key}{HALF}" for figure in AT_HALF))
FROM_BINS = ("ece", "ece_after_temperature_scaling")


def factor_of(key: str) -> float:
    """What a figure is multiplied by where it is compared: accuracies in percentage points."""
    return 100.0 if key in ACCURACIES else 1.0


def figures_of(study: OpenStudy, row: Row, pairs: str | None = "training") -> dict[str, Number]:
    """A network's figures by key; without those that mean nothing where its logits have no scale.

    Args:
        pairs: whose images figures at λ = 1/2 are of, training or test; None leaves them out.
    """
    found: dict[str, Number | None] = {
        key: scalar(study.results, row, key, factor_of(key)) for key in FIGURES if _is_told(row, key)
    }
    if pairs is not None:
        for figure in AT_HALF:
            if _is_told(row, f"{figure.key}{HALF}"):
                held_out = HELD_OUT if pairs == "test" else ""
                curve = vicinal_curve_numbers(study.results, row, figure.key, held_out=held_out)
                found[f"{figure.key}{HALF}"] = number_at_half(curve)
    images = study.results.images("test")
    known = {}
    for key, number in found.items():
        if number is not None:
            # As one image more that is answered otherwise (Agresti and Min 2005): answers that are all right show no error.
            least = 100.0 / (images + 2) if key in ACCURACIES and number.deviations is not None else 0.0
            known[key] = replace(number, least_error=least)
    return known


def _is_told(row: Row, key: str) -> bool:
    return not (row.scale_free and key in NEED_SCALE)


@dataclass(frozen=True)
class Compared:
    """All differences of two studies, of which `results.StudyComparison` is made."""

    networks: list[dict[str, Any]]
    mean: dict[str, dict[str, Any]]
    mean_of: str | None
    clear: list[int]
    notes: list[str]


def compare_studies(first: OpenStudy, other: OpenStudy, lines: Sequence[Line], k: int, same: SameImages) -> Compared:
    """The `k`-th study less the first, for every network that both have."""
    notes, keys = list(same.notes), [*FIGURES, *(f"{figure.key}{HALF}" for figure in AT_HALF)]
    bins = [study.results.raw["measures"].get("ece_bins", 15) for study in (first, other)]
    if bins[0] != bins[1]:
        keys = [key for key in keys if key not in FROM_BINS]
        notes.append(f"ECE has {bins[0]} bins in {first.name} and {bins[1]} in {other.name}, so it is not compared.")
    both = {n: line for n, line in enumerate(lines) if line.rows[0] is not None and line.rows[k] is not None}
    numbers = {
        n: [figures_of(study, row, same.pairs) for study, row in ((first, line.rows[0]), (other, line.rows[k])) if row]
        for n, line in both.items()
    }
    gaps: dict[int, dict[str, Number]] = {n: {} for n in both}
    for key in keys:
        measured = {n: (own[1][key], own[0][key]) for n, own in numbers.items() if key in own[0] and key in own[1]}
        is_arm = {n for n in measured if not both[n].first.is_teacher}
        for n, gap in _gaps(measured, is_arm, key, same).items():
            gaps[n][key] = gap
    notes += _seed_notes(first, other, [(own[0], own[1]) for own in numbers.values()])
    students = [n for n, line in both.items() if not line.first.is_teacher]
    meant = students or list(both)
    return Compared(
        [{"network": n, "differences": _entries(gaps[n], keys)} for n in both],
        _entries(_means([gaps[n] for n in meant], keys), keys),
        None if not meant else "student" if students else "teacher",
        _clear_after_holm({n: gaps[n]["accuracy"] for n in both if "accuracy" in gaps[n]}),
        notes,
    )


def _gaps(
    measured: Mapping[int, tuple[Number, Number]], arms: set[int], key: str, same: SameImages
) -> dict[int, Number]:
    """The differences of one figure by network: the first of each two less the second."""
    by_image = same.resampled_alike and (same.in_order or key.endswith(HALF))
    paired = {n: _paired(a, b, by_image) for n, (a, b) in measured.items()}
    # What follows the teacher of the seed is not pooled, as inside a study.
    pool = None if key.endswith(HALF) else _pool({n: own for n, own in paired.items() if n in arms})
    found = {}
    for n, (a, b) in paired.items():
        gap = compare(a, b).difference
        if pool is not None and str(n) in pool.arms and pool.seeds == len(gap.by_seed):
            gap = replace(gap, loads=(Load(pool, str(n), 1.0),))
        found[n] = gap
    return found


def _paired(a: Number, b: Number, by_image: bool) -> tuple[Number, Number]:
    """Two numbers over the seeds that both have; where they share none, in the order of their seeds.

    The arms' pools are of one study each and do not tell how two studies move together, so they are left out.
    """
    shared = [seed for seed in a.by_seed if seed in b.by_seed]
    own = (shared, shared) if shared else tuple(list(n.by_seed)[: min(len(a.by_seed), len(b.by_seed))] for n in (a, b))
    first, second = (_over(number, seeds, by_image) for number, seeds in zip((a, b), own, strict=True))
    return first, second


def _over(number: Number, seeds: Sequence[int], by_image: bool) -> Number:
    """The number over some of its seeds, which are counted from 0."""
    at = [list(number.by_seed).index(seed) for seed in seeds]
    values = {k: number.by_seed[seed] for k, seed in enumerate(seeds)}
    moved = number.deviations
    if moved is not None and len(moved) > 1:
        moved = moved[at]
    return replace(
        number,
        value=fmean(values.values()),
        by_seed=values,
        deviations=moved if by_image else None,
        least_error=number.least_error if by_image else 0.0,
        loads=None if len(values) > 1 else (),
        log=False,
    )


def _pool(paired: Mapping[int, tuple[Number, Number]]) -> SeedPool | None:
    """What the differences of all arms show of their spread between seeds."""
    most = max((len(a.by_seed) for a, _ in paired.values()), default=0)
    by_arm = {
        str(n): [a.by_seed[seed] - b.by_seed[seed] for seed in a.by_seed]
        for n, (a, b) in paired.items()
        if len(a.by_seed) == most
    }
    return SeedPool.of("student", by_arm)


def _means(gaps: Sequence[Mapping[str, Number]], keys: Sequence[str]) -> dict[str, Number]:
    """The mean difference over networks, of each figure that all of them have."""
    return {key: mean([own[key] for own in gaps]) for key in keys if gaps and all(key in own for own in gaps)}


def _entries(gaps: Mapping[str, Number], keys: Sequence[str]) -> dict[str, dict[str, Any]]:
    found = {}
    for key in keys:
        entry = difference_entry(gaps[key]) if key in gaps else None
        if entry is not None:
            seeds = len(gaps[key].by_seed)
            found[key] = {**entry, "seeds": seeds, "of_networks": gaps[key].of_arm and seeds < 2}
    return found


def _clear_after_holm(gaps: Mapping[int, Number]) -> list[int]:
    """The networks whose difference is none by chance, by Holm's correction (1979) for their number."""
    entries = {n: entry for n, gap in gaps.items() if (entry := difference_entry(gap)) and entry["p_value"] is not None}
    level = 1 - min((gap.level for gap in gaps.values()), default=0.95)
    found = []
    for rank, n in enumerate(sorted(entries, key=lambda n: float(entries[n]["p_value"]))):
        if entries[n]["p_value"] * (len(entries) - rank) >= level:
            break
        found.append(n)
    return sorted(found)


def _seed_notes(
    first: OpenStudy, other: OpenStudy, numbers: Sequence[tuple[Mapping[str, Number], Mapping[str, Number]]]
) -> list[str]:
    """Which seeds are set against which, where these are not the same."""
    found: dict[str, None] = {}

    @cache
    def words(seeds: tuple[int, ...]) -> str:
        return ", ".join(map(str, seeds))

    for a, b in numbers:
        if "accuracy" not in a or "accuracy" not in b or not (a["accuracy"].of_arm and b["accuracy"].of_arm):
            continue
        seeds = [tuple(own["accuracy"].by_seed) for own in (a, b)]
        shared = tuple(seed for seed in seeds[0] if seed in seeds[1])
        if seeds[0] == seeds[1]:
            continue
        told = f"{first.name} has the seeds {words(seeds[0])} and {other.name} {words(seeds[1])}"
        if shared:
            found[f"{told}: differences are over {words(shared)}, which both have."] = None
        else:
            found[f"{told}, none in common: they are set against each other in their order."] = None
    return list(found)
