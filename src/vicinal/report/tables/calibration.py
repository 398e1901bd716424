"""The table "Calibration above its noise": errors with intervals and floors, the fitted temperature, and the parts of the scores."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from vicinal.report.floors import FLOOR_NOTE, floor_words, has_floors
from vicinal.report.rows import SCALED, Model, Results, Row, mean_and_spread, stored_interval
from vicinal.report.tables.core import (
    ABSENT,
    SCALE_FREE_NOTE,
    Cell,
    Column,
    csv_text,
    identity,
    shown_markdown,
    shown_table,
)

_PARTS = tuple((score, part) for score in ("brier", "nll") for part in ("calibration", "refinement"))
_TESTS = ("ece", "ece_equal_mass", "classwise_ece", "ece" + SCALED, "ece_equal_mass" + SCALED)
_BOUNDED = ("rms_calibration_error", "ece", "rms_calibration_error" + SCALED, "ece" + SCALED, "fitted_temperature")


def calibration_context(results: Results) -> dict[str, Any] | None:
    """The table as the page shows it; None where nothing was held against noise."""
    if not has_floors(results):
        return None
    columns = _columns(results)
    return {"columns": columns, "sections": shown_table(results, columns), "notes": _notes(results)}


def calibration_markdown(results: Results) -> str | None:
    """The table in Markdown; None as `calibration_context`."""
    if not has_floors(results):
        return None
    columns = _columns(results)
    return shown_markdown(columns, shown_table(results, columns), _notes(results))


def calibration_csv(results: Results) -> str | None:
    """Every figure with interval, floor and p, one line for each model and seed; None as `calibration_context`."""
    if not has_floors(results):
        return None
    header = ["role", "name", "arm", "teacher", "temperature", "seed", "selection"]
    header += [f"{key}{end}" for key in _BOUNDED for end in ("", "_lower", "_upper")]
    header += [f"{key}_{end}" for key in _TESTS for end in ("floor", "floor_upper", "p_value")]
    header += [f"{score}_{part}{end}" for score, part in _PARTS for end in ("", "_lower", "_upper")]
    lines = []
    for row in results.rows:
        for model in row.models:
            line = [*identity(row, model), results.selection]
            for key in _BOUNDED:
                line += [model.get(key), *(stored_interval(model, key) or (None, None))]
            for key in _TESTS:
                test = (model.get("calibration_tests") or {}).get(key) or {}
                line += [test.get(end) for end in ("floor", "floor_upper", "p_value")]
            for score, part in _PARTS:
                parts = model.get(f"{score}_parts") or {}
                line += [parts.get(part), *(parts.get(f"{part}_interval") or (None, None))]
            lines.append(line)
    return csv_text(header, lines)


def _columns(results: Results) -> tuple[Column, ...]:
    def column(
        heading: str, meaning: str, key: str, test: str | None = None, digits: int = 3, raw: bool = True
    ) -> Column:
        """`raw`: meaningless for a scale-free student."""
        cell = partial(_cell, results, lambda m: m.get(key), lambda m: stored_interval(m, key), test, digits, raw)
        return Column(heading, meaning, lambda model, _: model.get(key), cell=cell)

    def part(heading: str, meaning: str, score: str, name: str) -> Column:
        def value(model: Model) -> float | None:
            found: float | None = (model.get(f"{score}_parts") or {}).get(name)
            return found

        def bounds(model: Model) -> tuple[float, float] | None:
            found = (model.get(f"{score}_parts") or {}).get(f"{name}_interval")
            return (found[0], found[1]) if found and None not in found else None

        raw = name == "calibration"
        return Column(
            heading,
            meaning,
            lambda model, _: value(model),
            cell=partial(_cell, results, value, bounds, None, 4, raw),
        )

    return (
        column("ECE", "expected calibration error, bins of equal width", "ece", "ece"),
        column("ECE scaled", "the same after temperature scaling", "ece" + SCALED, "ece" + SCALED, raw=False),
        column("RMS error", "root of the squared calibration error, without the bias of noise", "rms_calibration_error"),
        column("RMS scaled", "the same after temperature scaling", "rms_calibration_error" + SCALED, raw=False),
        column("Class-wise ECE", "mean over classes of the ECE of “is it this class?”", "classwise_ece", "classwise_ece", 4),
        column("Fitted T", "temperature with the lowest NLL on the validation images", "fitted_temperature", digits=2, raw=False),
        part("Brier: calibration", "what temperature scaling takes off the Brier score", "brier", "calibration"),
        part("Brier: refinement", "the Brier score that it leaves", "brier", "refinement"),
        part("NLL: calibration", "what temperature scaling takes off NLL, nats", "nll", "calibration"),
    )  # fmt: skip


def _cell(
    results: Results,
    value: Callable[[Model], float | None],
    bounds: Callable[[Model], tuple[float, float] | None],
    test: str | None,
    digits: int,
    needs_scale: bool,
    row: Row,
) -> Cell:
    """One seed: the value and its interval. Several: the mean and the standard deviation. With the floor, where there is one."""
    found = mean_and_spread([known for model in row.models if (known := value(model)) is not None])
    if found is None:
        return Cell(ABSENT)

    def text(number: float) -> str:
        return f"{number:.{digits}f}".replace("-", "−")

    mean, spread = found
    if row.scale_free and needs_scale:
        return Cell(text(mean), "", "the scale of this student’s logits is arbitrary: see the note †", True)
    range_ = f"± {spread:.{digits}f}" if spread is not None else ""
    if spread is None and (ends := bounds(row.models[0])) is not None:
        range_ = f"{text(ends[0])} to {text(ends[1])}"
    words = floor_words(row, test, results.confidence_level) if test else ""
    return Cell(text(mean), "; ".join(part for part in (range_, words) if part))


def _notes(results: Results) -> list[str]:
    notes = [results.selection_sentence, FLOOR_NOTE]
    if len(results.seeds) > 1:
        notes.append(
            "After ±: the sample standard deviation over seeds; tables/calibration.csv has each network’s intervals."
        )
    else:
        notes.append(
            f"Ranges are {results.coverage} intervals over test images, of each network alone: of ECE and RMS error by inverting the "
            "distribution of the bins’ gaps, of the rest by resampling. What is scaled includes the fit of the temperature on "
            "resampled validation images."
        )
    notes.append(
        "Calibration and refinement: a score is what temperature scaling takes off it and what it leaves; the first is below 0 where "
        "scaling harms, and it tells only of what one temperature can mend."
    )
    if any(row.scale_free for row in results.rows):
        notes.append(SCALE_FREE_NOTE)
    return notes
