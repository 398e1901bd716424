"""Figures beyond the paper's: accuracy against ECE with the Pareto front, and risk over coverage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator

from vicinal.claims import temperature_text
from vicinal.report.figures.core import (
    FEWEST_IMAGES,
    HEIGHT,
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
from vicinal.report.figures.svg import Key, render, sentinel
from vicinal.report.findings import pareto_front
from vicinal.report.rows import ARM_LABELS, SCALED, Results, Row, floats, mean_and_spread

LOG_FROM = 8.0  # ECEs this many times apart go on a logarithmic axis
PARETO_HEIGHT = HEIGHT + 35
SMALL = 7.0  # px, of the temperatures beside points


@dataclass(frozen=True)
class Point:
    """One row: accuracy in percent and ECE, each with the ends of its bar."""

    row: Row
    accuracy: float
    ece: float
    accuracy_bar: tuple[float, float] | None
    ece_bar: tuple[float, float] | None


def point(row: Row) -> Point | None:
    """A row's means over seeds; None for a scale-free student without ECE after temperature scaling."""
    key = "ece" + SCALED if row.scale_free else "ece"
    accuracy, ece = mean_and_spread(row.values("accuracy")), mean_and_spread(row.values(key))
    if accuracy is None or ece is None:
        return None
    bar = _bar(row, "accuracy", accuracy)
    return Point(row, 100 * accuracy[0], ece[0], bar and (100 * bar[0], 100 * bar[1]), _bar(row, key, ece))


def _bar(row: Row, key: str, found: tuple[float, float | None]) -> tuple[float, float] | None:
    """One sample standard deviation over seeds either side, or the one seed's interval."""
    mean, spread = found
    return row.interval(key) if spread is None else (mean - spread, mean + spread)


def front(points: Sequence[Point]) -> list[Point]:
    """The students that no other student beats in both, by rising ECE; scale-free ones take no part."""
    students = [p for p in points if not p.row.is_teacher and not p.row.scale_free]
    found = pareto_front([p.accuracy for p in students], [p.ece for p in students])
    return sorted((students[k] for k in found), key=lambda p: (p.ece, p.accuracy))


def pareto(results: Results) -> FigureSet | None:
    """Accuracy against ECE, one panel for each teacher with the front of all students in each; None without students."""
    styles = Styles.of(results)
    points = {row: found for row in results.rows if (found := point(row)) is not None}
    best = front(list(points.values()))
    if not best:
        return None
    eces = [p.ece for p in points.values()]
    log = min(eces) > 0 and max(eces) / min(eces) >= LOG_FROM
    x_limits, y_limits = _limits(list(points.values()), log)
    panels = []
    for number, (name, rows) in enumerate(blocks(results)):
        shown = [points[row] for row in rows if row in points]
        figure, axes = new_axes(
            panel_title(name, ""), f"ECE{' (logarithmic)' if log else ''}", "accuracy, %", height=PARETO_HEIGHT
        )
        _ece_axis(axes, x_limits, log)
        axes.set_ylim(y_limits)
        axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        _draw_front(axes, best, x_limits, y_limits)
        for p in shown:
            _draw_point(axes, p, styles)
        _name_temperatures(axes, shown, best, results, styles)
        panels.append(render(figure, f"pf{number}", f"Accuracy against ECE: {name} and its students"))
    left_out = [row.name for row in results.rows if row not in points]
    return FigureSet(
        "pareto",
        "Accuracy against ECE",
        "The higher and the further left, the better. The step line is the Pareto front of all students: each student on it is "
        "beaten by no other in both. " + _bar_words(results) + _temperature_words(results)
        + (
            " † after temperature scaling, so no part of the front, which compares what was measured without it."
            if any(p.row.scale_free for p in points.values())
            else ""
        )
        + (f" Not shown, since these logits have no scale of their own: {', '.join(left_out)}." if left_out else ""),
        (*_keys(results, styles), Key("Pareto front of the students", "muted", width=1.2)),
        tuple(panels),
        min(3, len(panels)),
    )  # fmt: skip


def _limits(points: Sequence[Point], log: bool) -> tuple[tuple[float, float], tuple[float, float]]:
    """One range of ECE and one of accuracy for all panels, bars included as far as a logarithmic axis can."""
    eces = [value for p in points for value in (p.ece, *(p.ece_bar or ()))]
    accuracies = [value for p in points for value in (p.accuracy, *(p.accuracy_bar or ()))]
    low, high = min(accuracies), max(accuracies)
    pad = 0.07 * (high - low or 1.0)
    y = low - pad, high + pad
    if log:
        least = min(p.ece for p in points)
        low, high = max(min(value for value in eces if value > 0), least / 2), max(eces)
        return (low / 1.25, high * 1.25), y
    return (min(0.0, min(eces)), 1.07 * max(eces) or 0.01), y


def _ece_axis(axes: Axes, limits: tuple[float, float], log: bool) -> None:
    if not log:
        axes.set_xlim(limits)
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        return
    axes.set_xscale("log")
    axes.set_xlim(limits)
    decades = range(math.floor(math.log10(limits[0])), math.ceil(math.log10(limits[1])) + 1)
    ticks: list[float] = []
    for digits in ((1, 2, 5), (1, 3), (1,)):
        ticks = [t for d in decades for k in digits if limits[0] <= (t := k * 10.0**d) <= limits[1]]
        if len(ticks) <= 6:
            break
    axes.set_xticks(ticks, [f"{tick:.6g}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())


def _draw_front(axes: Axes, best: Sequence[Point], x: tuple[float, float], y: tuple[float, float]) -> None:
    """From the bottom up to the best calibrated, by steps to the most accurate, then on to the right."""
    eces = [best[0].ece, *(p.ece for p in best), x[1]]
    accuracies = [y[0], *(p.accuracy for p in best), best[-1].accuracy]
    axes.step(eces, accuracies, where="post", color=sentinel("muted"), linewidth=1.2, zorder=2)


def _draw_point(axes: Axes, p: Point, styles: Styles) -> None:
    key = styles.key(p.row)
    colour = sentinel(key.colour)
    if p.accuracy_bar:
        axes.plot([p.ece, p.ece], p.accuracy_bar, color=colour, linewidth=0.9, alpha=0.4, zorder=2.5)
    if p.ece_bar:
        axes.plot(p.ece_bar, [p.accuracy, p.accuracy], color=colour, linewidth=0.9, alpha=0.4, zorder=2.5)
    face = sentinel("surface") if p.row.is_teacher else colour
    axes.plot(
        [p.ece], [p.accuracy], key.marker, color=colour, markerfacecolor=face, markersize=5.2,
        markeredgewidth=1.2 if p.row.is_teacher else 0.8, zorder=4 if p.row.is_teacher else 3,
    )  # fmt: skip


def _several_temperatures(results: Results) -> set[str]:
    """The arms whose points need their temperature to be told apart."""
    used: dict[str, set[float | str | None]] = {}
    for row in results.students:
        used.setdefault(row.arm or "", set()).add(row.temperature)
    return {arm for arm, temperatures in used.items() if len(temperatures) > 1}


def _name_temperatures(
    axes: Axes, shown: Sequence[Point], best: Sequence[Point], results: Results, styles: Styles
) -> None:
    """Write temperatures beside points where there is room, those on the front and those with a dagger first."""
    several = _several_temperatures(results)
    # px of the panel; the display counts in dots of the figure's resolution.
    scale = 72 / axes.figure.dpi
    places = [scale * np.asarray(axes.transData.transform((p.ece, p.accuracy))) for p in shown]
    left, bottom, right, top = (scale * edge for edge in axes.get_window_extent().extents)
    taken = [(x - 2.9, y - 2.9, x + 2.9, y + 2.9) for x, y in places]
    order = sorted(range(len(shown)), key=lambda k: (shown[k] not in best, not shown[k].row.scale_free))
    for k in order:
        row = shown[k].row
        t = row.temperature
        words = "" if row.arm not in several or t is None else temperature_text(t)
        words += " †" if row.scale_free else ""
        if not words:
            continue
        width, height = 0.58 * SMALL * len(words.replace("_", "")) + 1, SMALL
        x, y = places[k]
        # Corners first, since bars run along the sides.
        for dx, dy in ((3, 2.5), (3, -2.5 - height), (-3 - width, 2.5), (-3 - width, -2.5 - height), (5, -3), (-5 - width, -3),
                       (-width / 2, 5), (-width / 2, -5 - height)):  # fmt: skip
            box = (x + dx, y + dy, x + dx + width, y + dy + height)
            inside = left <= box[0] and box[2] <= right and bottom <= box[1] and box[3] <= top
            if inside and not any(_overlap(box, other) for other in taken):
                axes.annotate(
                    words.strip(), (shown[k].ece, shown[k].accuracy), (dx, dy + 1), textcoords="offset points",
                    fontsize=SMALL, color=sentinel(styles.key(row).colour), zorder=5,
                )  # fmt: skip
                taken.append(box)
                break


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _keys(results: Results, styles: Styles) -> tuple[Key, ...]:
    """Teachers by marker, arms by colour and marker."""
    teachers = [Key(f"Teacher {t.label}", "ink", marker=styles.markers[t.label], line=False, hollow=True)
                for t in results.teachers]  # fmt: skip
    arms = dict.fromkeys(row.arm or "" for row in results.students)
    students = [
        Key(ARM_LABELS.get(arm, arm), styles.arms[arm], marker=styles.arm_marker(arm), line=False) for arm in arms
    ]
    return (*teachers, *students)


_METHODS = "accuracy: Wilson’s; ECE: the distribution of the bins’ gaps inverted"


def _bar_words(results: Results) -> str:
    if len(results.seeds) > 1:
        single = any(len(row.models) == 1 for row in results.rows)
        rest = (
            f", for a network of one seed its {results.coverage} interval over test images ({_METHODS})"
            if single
            else ""
        )
        return f"Points: mean over seeds; bars: one sample standard deviation either side{rest}."
    if any(row.interval("accuracy") for row in results.rows):
        return f"Bars: {results.coverage} intervals over test images ({_METHODS})."
    return "One seed, without a spread."


def _temperature_words(results: Results) -> str:
    return " Numbers beside points: the temperature, where there is room." if _several_temperatures(results) else ""


# --- risk over coverage -----------------------------------------------------------------------------------------------


def risk_curve(row: Row, test_images: int) -> Curve | None:
    """Risk over coverage, mean and sample standard deviation over seeds, from the first share of enough images; None if unmeasured."""
    found = [entry for model in row.models if (entry := model.get("selective"))]
    if not found or any(entry["coverage"] != found[0]["coverage"] for entry in found):
        return None
    coverage, risks = floats(found[0]["coverage"]), np.stack([floats(entry["risk"]) for entry in found])
    enough = coverage * test_images >= FEWEST_IMAGES if test_images else np.ones_like(coverage, dtype=bool)
    x, mean = coverage[enough], risks.mean(axis=0)[enough]
    if len(found) == 1:
        return Curve(x, mean)
    spread = risks.std(axis=0, ddof=1)[enough]
    return Curve(x, mean, mean - spread, mean + spread)


def risk_coverage(results: Results) -> FigureSet | None:
    """Errors among the surest answers, one panel for each teacher; None where it was not measured."""
    styles = Styles.of(results)
    images = results.images("test")
    curves = {row: curve for row in results.rows if (curve := risk_curve(row, images)) is not None and len(curve.x)}
    if not curves:
        return None
    limits = common_limits(list(curves.values()), zero=True)
    panels = []
    for number, (name, rows) in enumerate(blocks(results)):
        figure, axes = new_axes(panel_title(name, ""), "coverage: share of images answered", "risk: share of errors")
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
        axes.set_ylim(max(limits[0], 0.0), limits[1])
        for row in rows:
            if row in curves:
                every = max(1, len(curves[row].x) // 8)
                draw_curve(axes, curves[row], _as_measured(styles, row), band=len(rows) <= MOST_BANDS, every=every)
        panels.append(render(figure, f"rc{number}", f"Risk over coverage: {name} and its students"))
    drawn = [row for row in results.rows if row in curves]
    few = [len(rows) <= MOST_BANDS for _, rows in blocks(results)]
    where = "" if all(few) else " in the panels of few curves"
    several = any(len(row.models) > 1 for row in drawn)
    words = " Lines: mean over seeds" + (
        f"; bands{where}: one sample standard deviation either side." if any(few) else "."
    )
    dagger = (
        " † the order of these is that of logits without a scale of their own."
        if any(r.scale_free for r in drawn)
        else ""
    )
    return FigureSet(
        "risk_coverage",
        "Errors among the surest answers",
        "If a network answers only the test images it is surest of (coverage), how often is it wrong (risk)? At coverage 1 this is "
        f"its error rate; the lower to the left, the more its confidence knows.{words if several else ''}{dagger}",
        tuple(dict.fromkeys(_as_measured(styles, row) for row in drawn)),
        tuple(panels),
        min(3, len(panels)),
    )  # fmt: skip


def _as_measured(styles: Styles, row: Row) -> Key:
    """The key of a row, without the word that its curve is temperature-scaled."""
    key = styles.key(row)
    return replace(key, label=key.label.removesuffix(" (scaled)"))
