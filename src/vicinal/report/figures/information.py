"""TableSection 4.2.1 in a picture: both sides of eq. 11 and the bound of eq. 10 in both readings, over λ."""

from __future__ import annotations

from vicinal.report.figures.core import (
    Curve,
    FigureSet,
    Styles,
    common_limits,
    draw_curve,
    lam_axis,
    new_axes,
    over_seeds,
    panel_title,
)
from vicinal.report.figures.svg import Key, Panel, render
from vicinal.report.rows import Model, Results, Row, floats, versus_teacher

_SUM_DASH, _BOUND_DASH = "5 3", "2 2"


def information(results: Results) -> FigureSet | None:
    """For each teacher a panel of eq. 11 and one of eq. 10 for its students; None where it was not measured."""
    styles = Styles.of(results)
    sides = {row: found for row in results.teachers if (found := _sides(row)) is not None}
    bounds = {
        (teacher, row): found
        for teacher in results.teachers
        for row in results.distilled
        if row.teacher == teacher.label and not row.scale_free and (found := _bounds(row, teacher.label)) is not None
    }
    if not sides and not bounds:
        return None
    panels: list[Panel] = []
    keys: list[Key] = []
    side_limits = common_limits([curve for pair in sides.values() for curve in pair], zero=True)
    bound_limits = common_limits([curve for pair in bounds.values() for curve in pair], zero=True)
    for number, (teacher, curves) in enumerate(sides.items()):
        figure, axes = new_axes(panel_title(teacher.label, ": eq. 11, nats"), "λ", "")
        axes.set_ylim(side_limits)
        lam_axis(axes)
        both = Key("H[p(x̃)]", "ink", width=1.9), Key("H[p(x)] + NL", "ink", dash=_SUM_DASH, width=1.6)
        for curve, key in zip(curves, both, strict=True):
            draw_curve(axes, curve, key, band=True)
        keys += both
        panels.append(render(figure, f"in{number}-11", f"Both sides of equation 11 over λ: {teacher.label}"))
    for number, teacher in enumerate(results.teachers):
        students = [(row, found) for (own, row), found in bounds.items() if own is teacher]
        if not students:
            continue
        figure, axes = new_axes(panel_title(teacher.label, ": eq. 10, nats"), "λ", "")
        axes.set_ylim(bound_limits)
        lam_axis(axes)
        for row, (per_sample, of_mean) in students:
            plain = styles.key(row)
            draw_curve(axes, of_mean, plain, band=False)
            draw_curve(axes, per_sample, Key("", plain.colour, _BOUND_DASH, width=1.2), band=False)
            keys.append(plain)
        panels.append(render(figure, f"in{number}-10", f"The bound of equation 10 over λ: students of {teacher.label}"))
    if bounds:
        keys.append(Key("eq. 10 with the mean entropy: −KL", "muted", dash=_BOUND_DASH, width=1.2))
    return FigureSet(
        "information",
        "Information in the teacher’s answers",
        "Eq. 11 says that the entropy of a teacher’s answer to a mixed image is that of its clean answers plus NL; where the lines "
        "part, it does not hold. Eq. 10 is a bound on what a student’s answer tells of its teacher’s. With H "
        "as the entropy of the mean answer (lines in the arms’ colours) it is the usual variational bound; with H as the mean entropy "
        "(dotted) it is −KL, never above 0.",
        tuple(dict.fromkeys(keys)),
        tuple(panels),
        min(3, len(panels)),
    )


def _sides(row: Row) -> tuple[Curve, Curve] | None:
    """H[p(x̃)], and H[p(x)] + NL."""
    found = [entry for model in row.models if (entry := model.get("information"))]
    if len(found) != len(row.models):
        return None
    lam = found[0]["lam"]
    right = [list(floats(entry["entropy_clean"]) + floats(entry["nonlinearity"])) for entry in found]
    return over_seeds(lam, [entry["entropy_mixed"] for entry in found], None), over_seeds(lam, right, None)


def _bounds(row: Row, teacher: str) -> tuple[Curve, Curve] | None:
    """Eq. 10 with the mean entropy, and with the entropy of the mean."""
    found = [entry for model in row.models if (entry := _bound_of(model, teacher))]
    if len(found) != len(row.models):
        return None
    first, second = ([entry[key] for entry in found] for key in ("bound_per_sample", "bound_of_mean"))
    return over_seeds(found[0]["lam"], first, None), over_seeds(found[0]["lam"], second, None)


def _bound_of(model: Model, teacher: str) -> dict[str, list[float]] | None:
    entry: dict[str, list[float]] | None = versus_teacher(model, teacher).get("information")
    return entry
