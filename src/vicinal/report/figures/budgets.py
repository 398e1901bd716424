"""Accuracy, NLL and ECE over the images seen in training, for studies with several budgets."""

from __future__ import annotations

import numpy as np
from matplotlib.ticker import NullFormatter, NullLocator

from vicinal.report.budgets import BudgetLine, budget_lines, images_seen
from vicinal.report.figures.core import (
    MOST_BANDS,
    Curve,
    FigureSet,
    Styles,
    blocks,
    common_limits,
    draw_curve,
    new_axes,
    panel_title,
)
from vicinal.report.figures.svg import render
from vicinal.report.rows import SCALED, Results, Row, mean_and_spread

# heading, key of a student, factor to what is shown
_QUANTITIES = (("accuracy, %", "accuracy", 100.0), ("NLL, nats", "nll", 1.0), ("ECE", "ece", 1.0))


def over_images_seen(results: Results) -> FigureSet | None:
    """One panel for each teacher and quantity; None where the study has one budget."""
    lines, styles = budget_lines(results), Styles.of(results)
    if not lines:
        return None
    curves = {(line, key): _curve(line, key, factor) for line in lines for _, key, factor in _QUANTITIES}
    panels = []
    for number, (name, rows) in enumerate(blocks(results)):
        own = [line for line in lines if line.row in rows]
        for label, key, _ in _QUANTITIES:
            figure, axes = new_axes(panel_title(name, f": {label}"), "images seen in training", "", left=38.0)
            drawn = {line: curve for line in own if (curve := curves[line, key]) is not None}
            axes.set_xscale("log")
            axes.set_ylim(_limits([curve for (_, k), curve in curves.items() if k == key and curve is not None]))
            ticks = sorted({float(x) for curve in drawn.values() for x in curve.x})
            axes.set_xticks(ticks, [_images_text(x) for x in ticks])
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_minor_formatter(NullFormatter())
            for line, curve in drawn.items():
                draw_curve(axes, curve, styles.key(line.row), band=len(drawn) <= MOST_BANDS, points=True)
            panels.append(render(figure, f"bu{number}-{key}", f"{label} over images seen: students beside {name}"))
    several = len(results.seeds) > 1
    bands = (
        "Lines: mean over seeds; bands: one sample standard deviation either side, which is no interval of the mean."
        if several
        else f"One seed; bands: its {results.coverage} interval over test images."
    )
    scaled = (
        " † NLL and ECE after temperature scaling, since these logits have no scale of their own."
        if any(line.row.scale_free for line in lines)
        else ""
    )
    return FigureSet(
        "budgets",
        "Over images seen",
        "The same arms trained for multiples of the study’s epochs, each training with its own schedule stretched to its length: the "
        f"points of a line are separate trainings. {bands}{scaled}",
        styles.keys([line.row for line in lines]),
        tuple(panels),
        3,
    )


def _curve(line: BudgetLine, key: str, factor: float) -> Curve | None:
    """A figure over the budgets; None where a budget lacks it."""
    if line.row.scale_free and key != "accuracy":
        key += SCALED
    found = [(row, mean_and_spread(row.values(key))) for row in line.rows]
    known = [(row, *values) for row, values in found if values is not None]
    if len(known) < len(found):
        return None
    bounds = [_bounds(row, key, mean, spread) for row, mean, spread in known]
    x, y = ([float(images_seen(row)) for row, *_ in known], [factor * mean for _, mean, _ in known])
    whole = [pair for pair in bounds if pair is not None]
    if len(whole) < len(bounds):
        return Curve(np.array(x), np.array(y))
    return Curve(np.array(x), np.array(y), *(factor * np.array([pair[side] for pair in whole]) for side in (0, 1)))


def _bounds(row: Row, key: str, mean: float, spread: float | None) -> tuple[float, float] | None:
    return row.interval(key) if spread is None else (mean - spread, mean + spread)


def _limits(curves: list[Curve]) -> tuple[float, float]:
    """One y range for all panels of a quantity, from its least to its largest value: 0 need not be in it."""
    low = min(float(np.min(c.y if c.lower is None else c.lower)) for c in curves) if curves else 0.0
    _, high = common_limits(curves, zero=False)
    pad = 0.06 * (high - low or 1.0)
    return low - pad, high


def _images_text(images: float) -> str:
    """60 k, 1.2 M."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if images >= size:
            return f"{images / size:.3g} {unit}"
    return f"{images:.0f}"
