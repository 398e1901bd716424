"""Figures 3, 4 and 5: confidence and accuracy, teachers between training images, linearity gain."""

from __future__ import annotations

from collections.abc import Sequence

from vicinal.paper import printed_numbers
from vicinal.report.figures import (
    CONSISTENCY_WORDS,
    FigureSet,
    Key,
    Styles,
    band_words,
    common_limits,
    dagger_words,
    draw_curve,
    draw_reliability,
    gain_curve,
    lam_axis,
    new_axes,
    panel_title,
    reliability_curve,
    render,
    sentinel,
    vicinal_curve,
)
from vicinal.report.paper.cells import (
    keep,
    main_temperature_note,
    papers_name,
    setting_notes,
    teacher_label,
)
from vicinal.report.paper.paper_figure import PaperFigure, figure_notes, keys_of_teachers, main_students
from vicinal.report.paper.table import PaperTable, Quantity, TableRow
from vicinal.report.paper.tables import peak_gain
from vicinal.report.rows import Results, Row


def confidence_accuracy(results: Results, styles: Styles) -> PaperFigure:
    """Figure 3: accuracy against confidence, a panel for each teacher with its KD + mixup student."""
    title = "Confidence and accuracy of teacher and student"
    pairs = main_students(results)
    if not pairs:
        return PaperFigure(3, title, missing=("the arm kd_mixup",))
    ticks = [0, 0.25, 0.5, 0.75, 1]
    panels, keys = [], []
    for number, (teacher, student) in enumerate(pairs):
        figure, axes = new_axes(
            panel_title(teacher_label(teacher), ""), "mean confidence of the bin", "accuracy of the bin"
        )
        axes.plot([0, 1], [0, 1], color=sentinel("muted"), linewidth=0.9, linestyle=(0, (2, 2)), zorder=2)
        for row in (teacher, student):
            keys.append(styles.key(row))
            draw_reliability(axes, reliability_curve(row), keys[-1])
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        panels.append(render(figure, f"paper3-{number}", f"{teacher.label} and its KD + mixup student"))
    diagonal = Key("Perfect calibration", "muted", dash="2 2", width=1.0)
    caption = (
        f"Below the diagonal a network is surer than it is right, above it less sure. {CONSISTENCY_WORDS}"
        f"{' '.join(main_temperature_note(results))}{dagger_words([student for _, student in pairs])}"
    )
    drawn = FigureSet("figure3", title, caption, (*dict.fromkeys(keys), diagonal), tuple(panels), min(3, len(panels)))
    return PaperFigure(3, title, drawn, repeats=True)


def teachers_between_images(results: Results) -> PaperFigure:
    """Figure 4: NL, H and D of all teachers over λ, one panel for each quantity."""
    title = "Teachers between training images"
    if not results.teachers:
        return PaperFigure(4, title, missing=("teachers",))
    keys = keys_of_teachers(results)
    panels = []
    for quantity, label, unit in (
        ("nonlinearity", "NL(λ)", ", nats"),
        ("entropy", "H(λ)", ", nats"),
        ("dominance", "D(λ) = NL / H", ""),
    ):
        curves = {teacher: vicinal_curve(teacher, quantity) for teacher in results.teachers}
        figure, axes = new_axes(label + unit, "λ", "")
        axes.set_ylim(common_limits(list(curves.values()), zero=True))
        lam_axis(axes)
        if quantity == "dominance":
            axes.axhline(1, color=sentinel("muted"), linewidth=0.9, linestyle=(0, (2, 2)), zorder=2)
        for teacher, curve in curves.items():
            draw_curve(axes, curve, keys[teacher], band=True, every=max(1, len(curve.x) // 10))
        panels.append(render(figure, f"paper4-{quantity}", f"{label} of the teachers over λ"))
    caption = (
        "How far each teacher’s answer on a mixed image is from the mix of its two answers (NL), how uncertain that answer is (H), "
        f"and their ratio: above the dotted line the mismatch outweighs the entropy. {_bands(results.teachers, results)}"
    )
    drawn = FigureSet("figure4", title, caption, tuple(keys.values()), tuple(panels), 3)
    return PaperFigure(4, title, drawn, repeats=True)


def _bands(rows: Sequence[Row], results: Results) -> str:
    """What the bands are of rows that need not have the seeds of the students."""
    if all(len(row.models) == 1 for row in rows):
        return f"Bands: {results.coverage} interval by resampling the images of the pairs."
    return band_words(results, "pairs of images")


def linearity_gains(results: Results, data_set: str | None) -> PaperFigure:
    """Figure 5: Δ_lin over λ of each teacher's KD + mixup student, all in one panel."""
    title = "Linearity gain of the students"
    pairs = main_students(results)
    if not pairs:
        return PaperFigure(5, title, missing=("the arm kd_mixup",))
    teacher_keys = keys_of_teachers(results)
    curves = {t: (student, curve) for t, student in pairs if (curve := gain_curve(student, t)) is not None}
    if not curves:
        return PaperFigure(5, title, missing=("the linearity gain of the KD + mixup students",))
    figure, axes = new_axes("Δ_lin(λ), nats", "λ", "")
    axes.set_ylim(common_limits([curve for _, curve in curves.values()], zero=True))
    lam_axis(axes)
    axes.axhline(0, color=sentinel("ink"), linewidth=1.0, zorder=2)
    keys = [teacher_keys[teacher] for teacher in curves]
    for (_, curve), key in zip(curves.values(), keys, strict=True):
        draw_curve(axes, curve, key, band=True, every=max(1, len(curve.x) // 10))
    panels = (render(figure, "paper5", "Linearity gain over λ of the KD + mixup students, by teacher"),)
    students = [student for student, _ in curves.values()]
    caption = (
        "NL of the teacher minus NL of its KD + mixup student on the same pairs: above 0 the student is the more linear of the two. "
        f"{' '.join(main_temperature_note(results))} {_bands(students, results)}{dagger_words(students)}"
    )
    paper = printed_numbers()["figure5_peak_linearity_gain"] if data_set == "cifar100" else {}
    rows = [
        TableRow(
            (teacher_label(t),), keep(peak_gain=peak_gain(student, t, paper.get(papers_name(t) or ""))), starts=k == 0
        )
        for k, (t, (student, _)) in enumerate(curves.items())
    ]
    numbers = PaperTable(
        None,
        "figure5",
        f"Numbers of figure 5: peak linearity gain, {results.data_name}",
        ("Teacher",),
        (Quantity("peak_gain", "Peak Δ_lin", r"Peak $\Delta_{\mathrm{lin}}$", 3, "nats", signed=True),),
        tuple(row for row in rows if row.cells),
        notes=figure_notes(results, "pairs of images"),
        setting=setting_notes(results, paper),
    )
    drawn = FigureSet("figure5", title, caption, tuple(keys), panels, 1)
    return PaperFigure(5, title, drawn, numbers, repeats=True)
