"""Figures of one study less those of another, network by network, by the comparator of `vicinal.claims`.

A seed is paired with the same seed and an image with the same image, so what both studies share counts for neither. What a setting does
to a seed is taken as one part for all arms and a rest (`SeedPool`, here of the differences), so arms tell of each other's error.

Shapes: S seeds, R resamples.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from vicinal.claims import Load, Number, SeedPool, compare, mean
from vicinal.measuring.compare import ACCURACIES, FIGURES, difference_entry
from vicinal.measuring.joined.match import Line
from vicinal.measuring.joined.studies import OpenStudy, SameImages
from vicinal.measuring.tables import AT_HALF
from vicinal.report import HELD_OUT, Row, number_at_half, scalar, vicinal_curve_numbers

HALF = "_at_half"
SeedPairs = Sequence[tuple[int, int]]
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
    both = {
        n: (a, b) for n, line in enumerate(lines) if (a := line.rows[0]) is not None and (b := line.rows[k]) is not None
    }
    numbers = {n: [figures_of(first, a, same.pairs), figures_of(other, b, same.pairs)] for n, (a, b) in both.items()}
    seeds = {n: seed_pairs(b, a) for n, (a, b) in both.items()}
    arms = {n for n, (a, _) in both.items() if not a.is_teacher}
    gaps: dict[int, dict[str, Number]] = {n: {} for n in both}
    for key in keys:
        measured = {n: (own[1][key], own[0][key]) for n, own in numbers.items() if key in own[0] and key in own[1]}
        for n, gap in _gaps(measured, seeds, arms, key, same).items():
            gaps[n][key] = gap
    notes += _seed_notes(first, other, both.values(), numbers.values())
    meant = [n for n in both if n in arms] or list(both)
    return Compared(
        [{"network": n, "differences": _entries(gaps[n], keys)} for n in both],
        _entries(_means([gaps[n] for n in meant], keys), keys),
        None if not meant else "student" if arms else "teacher",
        _clear_after_holm({n: gaps[n]["accuracy"] for n in both if "accuracy" in gaps[n]}),
        notes,
    )


def _gaps(
    measured: Mapping[int, tuple[Number, Number]],
    seeds: Mapping[int, SeedPairs],
    arms: set[int],
    key: str,
    same: SameImages,
) -> dict[int, Number]:
    """The differences of one figure by network: the first of each two less the second; without those that no two seeds have."""
    by_image = same.resampled_alike and (same.in_order or key.endswith(HALF))
    paired: dict[int, tuple[Number, ...]] = {}
    for n, (a, b) in measured.items():
        kept = {k: own for k, own in enumerate(seeds[n]) if own[0] in a.by_seed and own[1] in b.by_seed}
        if kept:
            paired[n] = tuple(
                _over(number, {k: own[side] for k, own in kept.items()}, by_image) for side, number in enumerate((a, b))
            )
    # What follows the teacher of the seed is not pooled, as inside a study.
    pool = None if key.endswith(HALF) else _pool({n: own for n, own in paired.items() if n in arms})
    found = {}
    for n, (a, b) in paired.items():
        gap = compare(a, b).difference
        if pool is not None and str(n) in pool.arms:
            gap = replace(gap, loads=(Load(pool, str(n), 1.0),))
        found[n] = gap
    return found


def seed_pairs(a: Row, b: Row) -> SeedPairs:
    """Which seed of one row stands against which of another: the same ones; where they share none, in their order."""
    own, others = ([model["seed"] for model in row.models] for row in (a, b))
    shared = [seed for seed in own if seed in others]
    return [(seed, seed) for seed in shared] or list(zip(own, others, strict=False))


def _over(number: Number, seeds: Mapping[int, int], by_image: bool) -> Number:
    """The number over some of its seeds, each by the place of its pair.

    The arms' pools are of one study each and do not tell how two studies move together, so they are left out.
    """
    at = [list(number.by_seed).index(seed) for seed in seeds.values()]
    values = {k: number.by_seed[seed] for k, seed in seeds.items()}
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


def _pool(paired: Mapping[int, tuple[Number, ...]]) -> SeedPool | None:
    """What the differences of all arms show of their spread between seeds."""
    most = max((tuple(a.by_seed) for a, _ in paired.values()), key=len, default=())
    by_arm = {
        str(n): [a.by_seed[seed] - b.by_seed[seed] for seed in most]
        for n, (a, b) in paired.items()
        if tuple(a.by_seed) == most
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
    first: OpenStudy,
    other: OpenStudy,
    rows: Iterable[tuple[Row, Row]],
    numbers: Iterable[Sequence[Mapping[str, Number]]],
) -> list[str]:
    """Which seeds are set against which, where these are not the same."""
    found: dict[str, None] = {}
    for a, b in rows:
        own, others = ([model["seed"] for model in row.models] for row in (a, b))
        if own == others or a.is_teacher:
            continue
        told = f"{first.name} has the seeds {_words(own)} and {other.name} {_words(others)}"
        shared = [seed for seed in own if seed in others]
        over = f": differences are over {_words(shared)}, which both have."
        found[f"{told}{over if shared else ', none in common: they are set against each other in their order.'}"] = None
    if any(
        len(figures[key].by_seed) < len(figures["accuracy"].by_seed)
        for own in numbers
        for figures in own
        for key in figures
    ):
        found[
            "Some figures are not there in every seed, as where no temperature is best: such a difference is over the seeds that both "
            "studies have it in, and is not that of the means shown."
        ] = None
    return list(found)


def _words(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))
