"""The table "Optional measures": what a study measures beyond the paper, and the terms of its eq. 11. Every part is optional."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any

from vicinal.claims import listed, p_value_text
from vicinal.report.comparisons import compared
from vicinal.report.rows import Model, Results, Row, at_half
from vicinal.report.tables.core import (
    ABSENT,
    Cell,
    Column,
    TableSection,
    csv_text,
    identity,
    interval_notes,
    shown_markdown,
    shown_table,
)

OOD = "ood_auroc"
DAGGER = "† Trained with T = σ: the scale of these logits is arbitrary, and these measures depend on it."


@dataclass(frozen=True)
class Measure:
    """One quantity: how it is read from a model, how it is shown and what it means."""

    key: str  # in optional.csv
    value: Callable[[Model], float | None]
    column: Column
    term: str
    definition: str


def corrupted_accuracy(model: Model) -> float | None:
    """Mean accuracy over all corruptions and severities, each counting the same; None where any value is missing."""
    values = [value for found in (model.get("corruptions") or {}).values() for value in found["accuracy"]]
    return None if not values or None in values else fmean(values)


def _inside(entry: str, key: str) -> Callable[[Model], float | None]:
    def value(model: Model) -> float | None:
        found: float | None = (model.get(entry) or {}).get(key)
        return found

    return value


def _plain(key: str) -> Callable[[Model], float | None]:
    return lambda model: model.get(key)


def _half(quantity: str) -> Callable[[Model], float | None]:
    return lambda model: at_half(model, quantity, "information")


def difference_cell(results: Results, baseline: Row | None, key: str, digits: int, row: Row) -> Cell:
    """A scalar less the baseline's, with the comparator's interval and p; accuracy in points."""
    found = None if baseline is None or row is baseline or row.is_teacher else compared(results, row, baseline, key)
    if found is None:
        return Cell(ABSENT)

    def signed(value: float) -> str:
        return f"{value:+.{digits}f}".replace("-", "−")

    scale_free = row.scale_free and key != "accuracy"
    if found.inference is None or scale_free:
        return Cell(signed(found.effect.value), scale_free=scale_free)
    low, high = map(signed, found.inference.interval)
    return Cell(signed(found.effect.value), f"{low} to {high}, {p_value_text(found.inference.p_value())}")


def ece_cell(row: Row) -> Cell:
    """ECE less the baseline's of the same seed, the mean over seeds; without an interval, which would miss."""
    found = [
        entry["ece"] for model in row.models if (entry := model.get("minus_baseline")) and entry.get("ece") is not None
    ]
    return Cell(f"{fmean(found):+.3f}".replace("-", "−"), scale_free=row.scale_free) if found else Cell(ABSENT)


def _measure(
    key: str, heading: str, meaning: str, value: Callable[[Model], float | None], term: str, definition: str, **how: Any
) -> Measure:
    """`how`: the other fields of its column."""
    return Measure(key, value, Column(heading, meaning, lambda model, _: value(model), **how), term, definition)


def measures(results: Results) -> list[Measure]:
    """The quantities that any model of the study has, in the order of the table."""
    models = [model for row in results.rows for model in row.models]
    others = list(dict.fromkeys(name for model in models for name in model.get(OOD) or {}))
    known = [*_of_one_network(others), *_beside_the_baseline(results), *_of_eq11()]
    return [found for found in known if any(found.value(model) is not None for model in models)]


def _of_one_network(others: Sequence[str]) -> list[Measure]:
    """`others`: the other data sets that the networks were tried on."""
    return [
        _measure(
            "aurc", "AURC", "area under the risk-coverage curve", _inside("selective", "aurc"), "AURC",
            "area under the risk-coverage curve: the share of errors among the images answered, surest first, averaged over "
            "how many are answered. Lower is better.",
        ),
        _measure(
            "classwise_ece", "Class-wise ECE", "ECE of every class’s own probability, averaged", _plain("classwise_ece"),
            "Class-wise ECE", "the ECE of “is it class k?”, averaged over the classes; it shrinks with their number.", digits=4,
        ),
        *(
            _measure(
                f"{OOD}:{name}", "OOD AUROC" if len(others) == 1 else f"OOD AUROC, {name}",
                f"chance that a test image gets more confidence than one of {name}", _inside(OOD, name), "OOD AUROC",
                "chance that a test image gets more confidence than an image of another data set; 0.5 is a coin’s.",
            )
            for name in others
        ),
        _measure(
            "corrupted_accuracy", "Corrupted accuracy %", "mean accuracy over all corruptions and severities",
            corrupted_accuracy, "Corrupted accuracy", "mean accuracy over all corruptions and severities.",
            percent=True, needs_scale=False,
        ),
        _measure(
            "v_score", "V-score", "agreement of k-means on the features with the classes", _inside("representation", "v_score"),
            "V-score", "how well k-means on the last features finds chosen classes; 1 is best.", needs_scale=False,
        ),
    ]  # fmt: skip


def _beside_the_baseline(results: Results) -> list[Measure]:
    baseline = next((row for row in results.undistilled if row.arm == "baseline"), None)

    def cell(key: str, digits: int) -> Callable[[Row], Cell]:
        return partial(difference_cell, results, baseline, key, digits)

    return [
        _measure(
            "accuracy_minus_baseline_pp", "Δ accuracy", "accuracy less the baseline's of the same seed, percentage points",
            _inside("minus_baseline", "accuracy_pp"), "Δ accuracy, Δ NLL, Δ Brier, Δ ECE",
            "percentage points of accuracy, NLL in nats, Brier score and ECE less those of the baseline of the same seed on the "
            "same test images, with interval and p as in tables/comparisons.csv. A difference of two ECEs has none, since noise biases "
            "it: compare calibration by NLL and Brier score.",
            needs_scale=False, signed=True, cell=cell("accuracy", 2),
        ),
        _measure(
            "nll_minus_baseline", "Δ NLL", "NLL less the baseline's of the same seed, nats", _inside("minus_baseline", "nll"), "",
            "", signed=True, cell=cell("nll", 3),
        ),
        _measure(
            "brier_minus_baseline", "Δ Brier", "Brier score less the baseline's of the same seed",
            _inside("minus_baseline", "brier"), "", "", signed=True, cell=cell("brier", 4),
        ),
        _measure(
            "ece_minus_baseline", "Δ ECE", "ECE less the baseline's of the same seed", _inside("minus_baseline", "ece"), "", "",
            signed=True, cell=ece_cell,
        ),
    ]  # fmt: skip


def _of_eq11() -> list[Measure]:
    return [
        _measure(
            "entropy_mixed_0.5", "H mixed(½)", "entropy of the answer on the mixed image at λ = 0.5, nats",
            _half("entropy_mixed"), "H mixed, H clean",
            "mean entropy of the answers on mixed images, and on their two ends weighted by λ, in nats.",
        ),
        _measure(
            "entropy_clean_0.5", "H clean(½)", "entropy of the answers on the two ends, weighted by λ = 0.5, nats",
            _half("entropy_clean"), "", "",
        ),
        _measure("nonlinearity_0.5", "NL(½)", "non-linearity residual at λ = 0.5, nats", _half("nonlinearity"), "", ""),
        _measure(
            "residual_eq11_0.5", "Residual (eq. 11)", "H mixed − H clean − NL at λ = 0.5, nats", _half("residual_eq11"),
            "Residual of eq. 11", "H mixed − H clean − NL, at λ = 0.5; 0 where the equation holds.", signed=True,
        ),
    ]  # fmt: skip


def optional_sections(results: Results, shown: Sequence[Measure]) -> list[TableSection]:
    """The rows of the table, in the sections of the report's own."""
    return shown_table(results, [measure.column for measure in shown])


def optional_notes(results: Results, shown: Sequence[Measure]) -> list[str]:
    """What stands under the table: selection and seeds first."""
    keys = {measure.key for measure in shown}
    notes = [results.selection_sentence]
    several = len(results.seeds) > 1
    if several:
        notes.append(f"Mean ± sample standard deviation over seeds {', '.join(map(str, results.seeds))}.")
    if keys & {"accuracy_minus_baseline_pp", "nll_minus_baseline", "brier_minus_baseline"}:
        notes += interval_notes(results)
    others = [key.split(":", 1)[1] for key in keys if key.startswith(f"{OOD}:")]
    if len(others) == 1:
        notes.append(f"OOD AUROC: test images against those of {others[0]}.")
    if any(row.scale_free for row in results.rows):
        notes.append(DAGGER)
    return notes


def optional_markdown(results: Results, shown: Sequence[Measure]) -> str:
    """The shown table in Markdown."""
    return shown_markdown([m.column for m in shown], optional_sections(results, shown), optional_notes(results, shown))


def optional_csv(results: Results, shown: Sequence[Measure]) -> str:
    """Full precision, one model and seed per line, with the validation metrics that the recommendation rests on."""
    validation = ("accuracy", "confidence", "ece", "nll", "brier")
    header = ["role", "name", "arm", "teacher", "temperature", "seed", "selection", *(measure.key for measure in shown)]
    header += ["only_first", "only_second", *(f"validation_{key}" for key in validation)]
    lines = []
    for row in results.rows:
        for model in row.models:
            test, chosen_by = model.get("mcnemar_versus_baseline") or {}, model.get("validation") or {}
            line = [*identity(row, model), results.selection, *(measure.value(model) for measure in shown)]
            line += [test.get("only_first"), test.get("only_second"), *(chosen_by.get(key) for key in validation)]
            lines.append(line)
    return csv_text(header, lines)


def optional_definitions(shown: Sequence[Measure]) -> list[tuple[str, str]]:
    """What the terms mean, each once."""
    return list(dict.fromkeys((measure.term, measure.definition) for measure in shown if measure.term))


def optional_context(results: Results) -> dict[str, Any] | None:
    """What the template needs; None where the study measures none of it."""
    shown = measures(results)
    if not shown:
        return None
    return {
        "columns": [measure.column for measure in shown],
        "sections": optional_sections(results, shown),
        "notes": optional_notes(results, shown),
        "terms": listed(list(dict.fromkeys(measure.column.heading.removesuffix(" %") for measure in shown))),
    }
