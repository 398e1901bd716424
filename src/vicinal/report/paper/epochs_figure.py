"""Figure 9: selection accuracy over the epochs, by temperature."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from vicinal.paper import printed_numbers
from vicinal.report.figures import (
    ARM_SLOTS,
    DASHES,
    Curve,
    FigureSet,
    Key,
    draw_curve,
    new_axes,
    panel_title,
    render,
    sentinel,
)
from vicinal.report.paper.cells import (
    MAIN_TEMPERATURE,
    students_of,
    teacher_label,
)
from vicinal.report.paper.paper_figure import PaperFigure
from vicinal.report.rows import Results, Row, temperature_label

STRETCH = 5.0  # of the upper part, as the paper draws it


def selection_curve(row: Row) -> Curve | None:
    """Selection accuracy over epochs, the mean over the seeds, at the epochs at which all were measured; None for fewer than 2."""
    found: list[dict[int, float]] = []
    for model in row.models:
        history = model.get("history") or {}
        pairs = zip(history.get("epoch") or [], history.get("selection_accuracy") or [], strict=False)
        # A logarithmic axis has no place for epoch 0.
        found.append({int(epoch): float(value) for epoch, value in pairs if value is not None and epoch > 0})
    common = sorted(set.intersection(*map(set, found))) if found else []
    if len(common) < 2:
        return None
    return Curve(np.array(common, dtype=np.float64), np.array([np.mean([f[e] for f in found]) for e in common]))


def temperatures_over_epochs(results: Results) -> PaperFigure:
    """Figure 9: selection accuracy over the epochs by temperature, a panel for each teacher, on a logarithmic time axis."""
    title = "Accuracy over training by temperature"
    curves: dict[Row, dict[Row, Curve]] = {}
    for teacher in results.teachers:
        classics = students_of(results, teacher, "kd")
        classic = [row for row in classics if row.temperature == MAIN_TEMPERATURE] or classics[:1]
        rows = [*classic, *students_of(results, teacher, "kd_mixup")]
        found = {row: curve for row in rows if (curve := selection_curve(row)) is not None}
        if any(row.arm == "kd_mixup" for row in found):
            curves[teacher] = found
    measured_on = results.raw.get("selection_images")
    if not curves:
        needs = [] if any(row.arm == "kd_mixup" for row in results.students) else ["the arm kd_mixup"]
        if not measured_on:
            needs.append("accuracy measured while training: selection best_validation or paper_best_test")
        return PaperFigure(9, title, missing=tuple(needs or ["accuracy measured at two epochs or more"]))
    temperatures = list(
        dict.fromkeys(row.temperature for found in curves.values() for row in found if row.arm == "kd_mixup")
    )
    pivot = _pivot([curve for found in curves.values() for curve in found.values()])
    top = max(float(curve.y.max()) for found in curves.values() for curve in found.values())
    low = min(float(curve.y.min()) for found in curves.values() for curve in found.values())
    panels, keys = [], []
    for number, (teacher, found) in enumerate(curves.items()):
        figure, axes = new_axes(panel_title(teacher_label(teacher), ""), "epoch", "", height=200.0)
        axes.set_xscale("log")
        last = max(float(curve.x[-1]) for curve in found.values())
        first = min(float(curve.x[0]) for curve in found.values())
        axes.set_xlim(first, last)
        axes.set_xticks(*_log_ticks(first, last))
        axes.minorticks_off()
        axes.set_yscale("function", functions=(_stretch(pivot), _shrink(pivot)))
        bottom = min(low, pivot)
        axes.set_ylim(bottom, min(1.0, top + 0.01))
        axes.set_yticks(*_stretched_ticks(bottom, pivot, min(1.0, top + 0.01)))
        if low < pivot:
            axes.axhline(pivot, color=sentinel("muted"), linewidth=0.9, linestyle=(0, (2, 2)), zorder=2)
        for row, curve in found.items():
            key = _temperature_key(row, temperatures)
            keys.append(key)
            draw_curve(axes, curve, key, band=False)
        panels.append(
            render(figure, f"paper9-{number}", f"Selection accuracy over epochs of the students of {teacher.label}")
        )
    split = {"validation": "Validation accuracy", "test": "Test accuracy"}.get(str(measured_on), "Selection accuracy")
    stretched = (
        f" The axis is stretched {STRETCH:g} times above the dotted line at {100 * pivot:g} %, as in the paper."
        if low < pivot
        else ""
    )
    caption = (
        f"{split} of the students after each epoch at which it was measured, in percent"
        f"{', mean over seeds' if len(results.seeds) > 1 else ''}; epochs on a logarithmic axis.{stretched}"
    )
    ordered = sorted(dict.fromkeys(keys), key=keys.index)
    drawn = FigureSet("figure9", title, caption, tuple(ordered), tuple(panels), min(3, len(panels)))
    tried = [t for t in printed_numbers()["setup"]["temperatures_tried"] if t not in temperatures]
    missing = [f"KD + mixup at {', '.join(temperature_label(t) for t in tried)}"] if tried else []
    return PaperFigure(9, title, drawn, missing=tuple(missing))


def _temperature_key(row: Row, temperatures: Sequence[float | str | None]) -> Key:
    """One colour for each temperature, since here the temperature is what differs."""
    if row.arm == "kd":
        return Key(f"KD classic, {temperature_label(row.temperature)}", "ink", dash="5 2", width=1.4)
    place = temperatures.index(row.temperature)
    label = f"KD + mixup, {temperature_label(row.temperature)}"
    return Key(label, f"arm-{1 + place % ARM_SLOTS}", dash=DASHES[place // ARM_SLOTS % len(DASHES)], width=1.6)


def _pivot(curves: Sequence[Curve]) -> float:
    """Where the stretched part begins: a round value below the best accuracy of every curve."""
    lowest_best = min(float(curve.y.max()) for curve in curves)
    return max(0.0, math.floor((lowest_best - 0.04) * 20) / 20)


def _stretch(pivot: float) -> Any:
    return lambda y: np.where(y > pivot, pivot + (np.asarray(y) - pivot) * STRETCH, y)


def _shrink(pivot: float) -> Any:
    return lambda y: np.where(y > pivot, pivot + (np.asarray(y) - pivot) / STRETCH, y)


def _stretched_ticks(bottom: float, pivot: float, top: float) -> tuple[list[float], list[str]]:
    """Ticks in percent: coarse below the pivot, fine above it."""
    fine = next((step for step in (0.01, 0.02, 0.05, 0.1) if (top - pivot) / step <= 6), 0.2)
    above = np.arange(pivot, top + 1e-9, fine)
    below = np.arange(math.ceil(bottom * 5) / 5, pivot - 0.1 + 1e-9, 0.2)
    ticks = [float(tick) for tick in (*below, *above)]
    return ticks, [f"{100 * tick:.0f}" for tick in ticks]


def _log_ticks(first: float, last: float) -> tuple[list[float], list[str]]:
    """1, 10, 100, ... and 2, 5 between them where few decades are shown; the last epoch is always a tick."""
    steps = (1, 2, 5) if last / first <= 100 else (1,)
    ticks = [s * 10.0**d for d in range(7) for s in steps if first <= s * 10.0**d <= last]
    ticks = [tick for tick in ticks if tick < 0.75 * last] + [last]
    return ticks, [f"{tick:g}" for tick in ticks]
