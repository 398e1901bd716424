"""The curves between images after temperature scaling: what is left of NL, D and Δ_lin where every network has the scale it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from vicinal.report.figures.core import (
    MOST_BANDS,
    Curve,
    FigureSet,
    Styles,
    band_words,
    common_limits,
    draw_curve,
    lam_axis,
    new_axes,
    over_seeds,
    panel_title,
)
from vicinal.report.figures.svg import Key, Panel, render, sentinel
from vicinal.report.rows import SCALED, Results, Row, versus_teacher

_SHOWN = (
    ("nonlinearity", "NL(λ)", ", nats", 0.0),
    ("dominance", "D(λ) = NL / H", "", 1.0),
    ("gain", "Δ_lin(λ)", ", nats", 0.0),
)
_Curves = Mapping[tuple[str, Row, str], Curve]  # by teacher, row and quantity


def scaled_curves(results: Results) -> FigureSet | None:
    """NL and D of all networks and Δ_lin of the students, every network divided by its fitted temperature; a row of panels for
    each teacher. None where no network has a fitted temperature."""
    styles = Styles.of(results)
    curves = _all_curves(results)
    if not curves:
        return None
    panels: list[Panel] = []
    for number, teacher in enumerate(results.teachers):
        for quantity, label, unit, level in _SHOWN:
            found = [(row, curve) for (name, row, q), curve in curves.items() if (name, q) == (teacher.label, quantity)]
            if not found:
                continue
            figure, axes = new_axes(panel_title(teacher.label, f": {label}{unit}"), "λ", "")
            axes.set_ylim(common_limits([c for (_, _, q), c in curves.items() if q == quantity], zero=True))
            lam_axis(axes)
            axes.axhline(level, color=sentinel("muted"), linewidth=0.9, linestyle=(0, (2, 2)), zorder=2)
            for row, curve in found:
                band = row.is_teacher or len(found) <= MOST_BANDS
                draw_curve(axes, curve, _key(styles, row), band, every=max(1, len(curve.x) // 10))
            title = f"{label} over λ after temperature scaling: {teacher.label} and its students"
            panels.append(render(figure, f"sc{number}-{quantity}", title))
    keys = tuple(dict.fromkeys(_key(styles, row) for _, row, _ in curves))
    return FigureSet(
        "scaled_curves",
        "Between training images, after temperature scaling",
        "NL, D and Δ_lin again, the logits of every network divided by the one temperature that suits its validation images. What "
        "differs from the curves as measured is an effect of confidence scale: a network that is surer of everything has the larger "
        f"NL without being less linear in any other way. {band_words(results, 'the images of the pairs')}",
        keys,
        tuple(panels),
        3,
    )


def _key(styles: Styles, row: Row) -> Key:
    """The legend entry of a row, without the dagger: here nothing has an arbitrary scale."""
    key = styles.key(row)
    return replace(key, label=row.label) if row.scale_free else key


def _all_curves(results: Results) -> _Curves:
    curves: dict[tuple[str, Row, str], Curve] = {}
    for teacher in results.teachers:
        for row in (teacher, *results.compared_with(teacher.label)):
            for quantity in ("nonlinearity", "dominance"):
                curve = _vicinal(row, quantity)
                if curve is not None:
                    curves[teacher.label, row, quantity] = curve
            gain = None if row is teacher else _gain(row, teacher)
            if gain is not None:
                curves[teacher.label, row, "gain"] = gain
    return curves


def _vicinal(row: Row, quantity: str) -> Curve | None:
    found = [curves for model in row.models if (curves := model.get("vicinity" + SCALED))]
    if len(found) < len(row.models):
        return None
    return over_seeds(found[0]["lam"], _listed(found, quantity), (found[0].get("intervals") or {}).get(quantity))


def _listed(found: Sequence[Mapping[str, Sequence[float | None]]], key: str) -> list[Sequence[float | None]]:
    return [curves[key] for curves in found]


def _gain(row: Row, teacher: Row) -> Curve | None:
    key = "linearity_gain" + SCALED
    found = [beside for model in row.models if (beside := versus_teacher(model, teacher.label)).get(key)]
    if len(found) < len(row.models):
        return None
    return over_seeds(row.models[0]["vicinity"]["lam"], _listed(found, key), found[0].get(f"{key}_interval"))
