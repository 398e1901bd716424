"""The paper's figures 2 to 9 from a study's results: drawn where the study holds what they need, listed where it does not."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from vicinal.config import SEVERITIES
from vicinal.report.figures import (
    ARM_SLOTS,
    DASHES,
    MARKERS,
    TEXT,
    Array,
    Curve,
    FigureSet,
    Key,
    Panel,
    Styles,
    band_words,
    common_limits,
    css,
    dagger_words,
    draw_curve,
    gain_curve,
    lam_axis,
    new_axes,
    over_seeds,
    panel_title,
    reliability_curve,
    render,
    sentinel,
    vicinal_curve,
)
from vicinal.report.paper.cells import (
    MAIN_TEMPERATURE,
    data_name,
    gain_bounds,
    keep,
    main_student,
    main_temperature_note,
    papers_name,
    scalar_value,
    setting_notes,
    severity_values,
    students_of,
    teacher_label,
    temperature_text,
    trained_with_mixup,
    unguided,
    value_notes,
    value_of,
)
from vicinal.report.paper.printed import paper_data_set, paper_numbers, paper_teacher
from vicinal.report.paper.table import PaperTable, Quantity, TableRow, Value
from vicinal.report.paper.tables import CORRUPTIONS, peak_gain
from vicinal.report.rows import Model, Results, Row

FIGURE_7_CLASSES = {"baby", "boy", "girl", "man", "woman"}
MOST_POINTS = 600  # in one scatter: more hide each other and weigh down the page
STRETCH = 5.0  # of figure 9's upper part, as the paper draws it


@dataclass(frozen=True)
class PaperFigure:
    """One figure of the paper from this study: without a drawing it is not held, and `missing` says what it needs."""

    number: int
    title: str
    figure: FigureSet | None = None
    numbers: PaperTable | None = None  # what the paper gives as numbers in this figure, beside this study's
    missing: tuple[str, ...] = ()
    repeats: bool = False  # curves that the report shows further up as well
    foreign: str = ""  # the SVG of another command's figure, as found in the study folder

    @property
    def name(self) -> str:
        return f"figure{self.number}"

    @property
    def held(self) -> bool:
        return self.figure is not None or bool(self.foreign)


def paper_figures(results: Results, folder: Path) -> list[PaperFigure]:
    """Every figure from 2 to 9, held or not. Figure 2 is another command's file in the study folder."""
    data_set = paper_data_set(results.raw["data"])
    styles = Styles.of(results)
    return [
        boundaries(folder / "paper" / "figure2.svg"),
        confidence_accuracy(results, styles),
        teachers_between_images(results),
        linearity_gains(results, data_set),
        corruption_gains(results, data_set),
        networks_features(results, data_set),
        students_features(results, data_set),
        temperatures_over_epochs(results),
    ]


def boundaries(path: Path) -> PaperFigure:
    """Figure 2, decision boundaries on a toy: only where `vicinal toy` has drawn it."""
    title = "Decision boundaries on two-dimensional toy data"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return PaperFigure(
            2,
            title,
            missing=("paper/figure2.svg, which vicinal toy --out DIR/paper draws, DIR being the folder of the study",),
        )
    svg = _safe_svg(text)
    if svg is None:
        return PaperFigure(2, title, missing=("a paper/figure2.svg that is a plain drawing",))
    return PaperFigure(2, title, foreign=svg)


_ACTIVE = re.compile(
    r"<\s*(script|foreignObject|iframe|object|embed|link)\b|\son\w+\s*=|javascript:|@import|<!ENTITY", re.I
)


def _safe_svg(text: str) -> str | None:
    """The SVG element of a file fit to stand in the page: a drawing that runs nothing, loads nothing and has ids of its own."""
    if _ACTIVE.search(text) or re.search(r"(?:href|src)\s*=\s*[\"'](?!#|data:image/)", text):
        return None
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - entities are refused above
    except ElementTree.ParseError:
        return None
    if not root.tag.endswith("svg"):
        return None
    svg = text[text.index("<svg") : text.rindex("</svg>") + len("</svg>")]
    svg = re.sub(r'\bid="([^"]+)"', r'id="toy-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", r"url(#toy-\1)", svg)
    return re.sub(r'href="#([^"]+)"', r'href="#toy-\1"', svg)


# --- figures 3, 4 and 5: curves ---------------------------------------------------------------------------------------


def _teacher_keys(results: Results) -> dict[Row, Key]:
    """A colour and a marker for each teacher; a dashed line for one trained with mixup."""
    return {
        teacher: Key(
            teacher_label(teacher),
            f"arm-{1 + k % ARM_SLOTS}",
            dash="5 2" if trained_with_mixup(teacher) else "",
            marker=MARKERS[k % len(MARKERS)],
            width=1.6,
        )
        for k, teacher in enumerate(results.teachers)
    }


def _main_students(results: Results) -> list[tuple[Row, Row]]:
    """Every teacher that has a KD + mixup student, and that student."""
    pairs = [(teacher, main_student(results, teacher)) for teacher in results.teachers]
    return [(teacher, student) for teacher, student in pairs if student is not None]


def confidence_accuracy(results: Results, styles: Styles) -> PaperFigure:
    """Figure 3: accuracy against confidence, a panel for each teacher with its KD + mixup student."""
    title = "Confidence and accuracy of teacher and student"
    pairs = _main_students(results)
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
            draw_curve(axes, reliability_curve(row), keys[-1], band=False, points=True)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        panels.append(render(figure, f"paper3-{number}", f"{teacher.label} and its KD + mixup student"))
    diagonal = Key("Perfect calibration", "muted", dash="2 2", width=1.0)
    caption = (
        "Below the diagonal a network is surer than it is right, above it less sure. "
        f"{' '.join(main_temperature_note(results))}{dagger_words([student for _, student in pairs])}"
    )
    drawn = FigureSet("figure3", title, caption, (*dict.fromkeys(keys), diagonal), tuple(panels), min(3, len(panels)))
    return PaperFigure(3, title, drawn, repeats=True)


def teachers_between_images(results: Results) -> PaperFigure:
    """Figure 4: NL, H and D of all teachers over λ, one panel for each quantity."""
    title = "Teachers between training images"
    if not results.teachers:
        return PaperFigure(4, title, missing=("teachers",))
    keys = _teacher_keys(results)
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
        return f"Bands: {results.coverage} bootstrap interval over pairs of images."
    return band_words(results, "pairs of images")


def linearity_gains(results: Results, data_set: str | None) -> PaperFigure:
    """Figure 5: Δ_lin over λ of each teacher's KD + mixup student, all in one panel."""
    title = "Linearity gain of the students"
    pairs = _main_students(results)
    if not pairs:
        return PaperFigure(5, title, missing=("the arm kd_mixup",))
    teacher_keys = _teacher_keys(results)
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
    paper = paper_numbers()["figure5_peak_linearity_gain"] if data_set == "cifar100" else {}
    rows = [
        TableRow(
            (teacher_label(t),), keep(peak_gain=peak_gain(student, t, paper.get(papers_name(t) or ""))), starts=k == 0
        )
        for k, (t, (student, _)) in enumerate(curves.items())
    ]
    numbers = PaperTable(
        None,
        "figure5",
        f"Numbers of figure 5: peak linearity gain, {data_name(results)}",
        ("Teacher",),
        (Quantity("peak_gain", "Peak Δ_lin", r"Peak $\Delta_{\mathrm{lin}}$", 3, "nats", signed=True),),
        tuple(row for row in rows if row.cells),
        notes=_figure_notes(results, "pairs of images"),
        setting=setting_notes(results, paper),
    )
    drawn = FigureSet("figure5", title, caption, tuple(keys), panels, 1)
    return PaperFigure(5, title, drawn, numbers, repeats=True)


def _figure_notes(results: Results, of: str) -> tuple[str, ...]:
    return (*value_notes(results, of), *main_temperature_note(results))


# --- figure 6: corruptions --------------------------------------------------------------------------------------------


def mean_gain(model: Model, corruption: str) -> float | None:
    """The gain over the baseline in points, averaged over the five severities; None unless all five were measured."""
    gains = severity_values(model, corruption, "gain_pp")
    return sum(gains[s] for s in SEVERITIES) / len(SEVERITIES) if set(SEVERITIES) <= gains.keys() else None


def mean_gain_bounds(model: Model, corruption: str) -> tuple[float, float] | None:
    """The ends of the paired intervals, averaged over severities: never narrower than the interval of the mean."""
    bounds = gain_bounds(model, corruption)
    if not set(SEVERITIES) <= bounds.keys():
        return None
    low, high = (sum(bounds[s][side] for s in SEVERITIES) / len(SEVERITIES) for side in (0, 1))
    return low, high


def corruption_gains(results: Results, data_set: str | None) -> PaperFigure:
    """Figure 6: mean accuracy gain over the baseline by corruption, bars for each teacher; and the gain by severity."""
    title = "Accuracy gain over the baseline under corruptions"
    pairs = [
        (t, s)
        for t, s in _main_students(results)
        if any(mean_gain(m, c) is not None for m in s.models for c in CORRUPTIONS)
    ]
    if not pairs:
        arms = {row.arm for row in results.students}
        needs = [f"the arm {arm}" for arm in ("baseline", "kd_mixup") if arm not in arms]
        return PaperFigure(6, title, missing=(*needs, "measures.corruptions"))
    teacher_keys = _teacher_keys(results)
    keys = [Key(teacher_keys[t].label, teacher_keys[t].colour, marker=teacher_keys[t].marker) for t, _ in pairs]
    gains = {(t, c): _gain_value(s, c, _paper_gain(t, c, data_set)) for t, s in pairs for c in CORRUPTIONS}
    panels = [_gain_bars([t for t, _ in pairs], keys, gains), *_gain_by_severity(pairs, keys)]
    whiskers = (
        "one sample standard deviation over seeds"
        if len(results.seeds) > 1
        else (
            f"the ends of the {results.coverage} paired bootstrap intervals over test images, averaged over severities, which is "
            "rather too wide than too narrow"
        )
    )
    caption = (
        "Accuracy of each teacher’s KD + mixup student minus the baseline student’s of the same seed, in percentage points: the mean "
        "over the five severities (bars), then by severity with its paired interval or, over seeds, its spread. "
        f"Whiskers: {whiskers}. {' '.join(main_temperature_note(results))}"
    )
    rows = []
    for corruption in CORRUPTIONS:
        name = CORRUPTIONS[corruption]
        found = [(t, value) for t, _ in pairs if (value := gains[t, corruption]) is not None]
        rows += [TableRow((name, teacher_label(t)), keep(gain=v), starts=k == 0) for k, (t, v) in enumerate(found)]
        if len(found) > 1:
            teacher, extreme = max(found, key=lambda pair: abs(pair[1].mean))
            printed = paper_numbers()["figure6_extreme_teacher_gain_pp"][corruption] if data_set == "cifar100" else None
            value = Value(extreme.seeds, printed)
            rows.append(TableRow((name, f"Most extreme: {teacher_label(teacher)}"), {"gain": value}))
    extra = (
        "The paper prints in its figure 6 the gain of the most extreme teacher; its gains by teacher follow from its table 7.",
    )
    numbers = PaperTable(
        None,
        "figure6",
        f"Numbers of figure 6: gain over the baseline under corruptions, {data_name(results)}",
        ("Corruption", "Teacher asked"),
        (Quantity("gain", "Gain", "Gain", 1, "pp", signed=True),),
        tuple(rows),
        notes=(
            *_figure_notes(results, "test images, paired"),
            *(extra if data_set == "cifar100" else ()),
        ),
        setting=setting_notes(results, data_set == "cifar100"),
    )
    drawn = FigureSet("figure6", title, caption, tuple(keys), tuple(panels), 3)
    return PaperFigure(6, title, drawn, numbers)


def _gain_value(student: Row, corruption: str, paper: float | None) -> Value | None:
    return value_of(
        student.models, lambda m: mean_gain(m, corruption), paper, lambda m: mean_gain_bounds(m, corruption)
    )


def _paper_gain(teacher: Row, corruption: str, data_set: str | None) -> float | None:
    """The paper's mean gain, from its table 7."""
    table = paper_numbers()["table7_corruption_cifar100_pct"]
    name = papers_name(teacher)
    if data_set != "cifar100" or name not in table:
        return None
    pairs = zip(table[name][corruption], table["baseline"][corruption], strict=True)
    return float(sum(ours - base for ours, base in pairs)) / len(SEVERITIES)


def _gain_bars(teachers: Sequence[Row], keys: Sequence[Key], gains: Mapping[tuple[Row, str], Value | None]) -> Panel:
    bar, gap = 8.0, 9.0
    group = bar * len(teachers) + gap
    figure, axes = new_axes(
        "Mean gain, points", "points over the baseline", "", left=74.0, height=58.0 + group * len(CORRUPTIONS)
    )
    for place, corruption in enumerate(CORRUPTIONS):
        for k, (teacher, key) in enumerate(zip(teachers, keys, strict=True)):
            value = gains[teacher, corruption]
            if value is None:
                continue
            y = place * group + gap / 2 + (k + 0.5) * bar
            axes.barh(y, value.mean, height=bar - 1.6, color=sentinel(key.colour), linewidth=0, zorder=3)
            low, high = value.interval or (None, None)
            if value.spread is not None:
                low, high = value.mean - value.spread, value.mean + value.spread
            if low is not None and high is not None:
                axes.plot([low, high], [y, y], color=sentinel("ink"), linewidth=1.0, zorder=4, solid_capstyle="butt")
    axes.axvline(0, color=sentinel("ink"), linewidth=1.0, zorder=5)
    axes.set_ylim(group * len(CORRUPTIONS), 0)
    axes.set_yticks([(k + 0.5) * group for k in range(len(CORRUPTIONS))], [CORRUPTIONS[c] for c in CORRUPTIONS])
    axes.tick_params(axis="y", labelcolor=sentinel("ink"), pad=5)
    axes.grid(False, axis="y")
    return render(figure, "paper6", "Mean accuracy gain over the baseline by corruption and teacher")


def _gain_by_severity(pairs: Sequence[tuple[Row, Row]], keys: Sequence[Key]) -> list[Panel]:
    curves: dict[tuple[Row, str], Curve] = {}
    for teacher, student in pairs:
        for corruption in CORRUPTIONS:
            models = [model for model in student.models if mean_gain(model, corruption) is not None]
            if not models:
                continue
            stack = [[severity_values(m, corruption, "gain_pp")[s] for s in SEVERITIES] for m in models]
            found = gain_bounds(models[0], corruption)
            bounds = None
            if set(SEVERITIES) <= found.keys():
                bounds = {side: [found[s][k] for s in SEVERITIES] for k, side in enumerate(("lower", "upper"))}
            curves[teacher, corruption] = over_seeds(SEVERITIES, stack, bounds)
    parts = [part for c in curves.values() for part in (c.y, c.lower, c.upper) if part is not None]
    low, high = min(0.0, *(float(p.min()) for p in parts)), max(0.0, *(float(p.max()) for p in parts))
    pad = 0.06 * (high - low or 1.0)
    panels = []
    for corruption in CORRUPTIONS:
        figure, axes = new_axes(f"{CORRUPTIONS[corruption]}: gain, points", "severity", "")
        axes.set_xlim(1, 5)
        axes.set_xticks(list(SEVERITIES))
        axes.set_ylim(low - pad, high + pad)
        axes.axhline(0, color=sentinel("ink"), linewidth=1.0, zorder=2)
        for (teacher, _), key in zip(pairs, keys, strict=True):
            if (teacher, corruption) in curves:
                draw_curve(axes, curves[teacher, corruption], key, band=True)
        panels.append(
            render(figure, f"paper6-{corruption}", f"Gain over the baseline by severity: {CORRUPTIONS[corruption]}")
        )
    return panels


# --- figures 7 and 8: features ----------------------------------------------------------------------------------------


def _represented(row: Row | None) -> Model | None:
    """The first seed of a row with a picture of its features."""
    models = row.models if row is not None else ()
    return next((model for model in models if (model.get("representation") or {}).get("points")), None)


def _feature_value(row: Row, key: str, paper: float | None) -> Value | None:
    return value_of(row.models, lambda m: (m.get("representation") or {}).get(key), paper)


def _same_classes(row: Row) -> bool:
    """Whether the classes are the paper's five; a V-score of other classes is another quantity."""
    model = _represented(row)
    names = (model or {}).get("representation", {}).get("classes") or []
    return {str(name).lower() for name in names} == FIGURE_7_CLASSES


_FEATURE_COLUMNS = (
    Quantity("v_score", "V-score", "V-score", 3),
    Quantity("silhouette", "Silhouette", "Silhouette", 3, signed=True),
    Quantity("accuracy", "Accuracy", "Accuracy", 2, "%"),
)


def _feature_cells(row: Row, printed: Sequence[float | None] | None) -> dict[str, Value]:
    v_score, accuracy = printed or (None, None)
    return keep(
        v_score=_feature_value(row, "v_score", v_score if _same_classes(row) else None),
        silhouette=_feature_value(row, "silhouette", None),
        accuracy=scalar_value(row, "accuracy", accuracy, 100, needs_scale=False),
    )


def networks_features(results: Results, data_set: str | None) -> PaperFigure:
    """Figure 7: t-SNE of the penultimate features of teachers and student, trained without and with mixup."""
    title = "Features of networks trained without and with mixup"
    paper = paper_numbers()["figure7_clusters_cifar100"] if data_set == "cifar100" else {}
    shown: dict[str, list[tuple[Row, str, str | None]]] = {"erm": [], "mixup": []}
    for teacher in results.teachers:
        kind = "mixup" if trained_with_mixup(teacher) else "erm"
        shown[kind].append((teacher, teacher_label(teacher), paper_teacher(teacher.models[0].get("model"))))
    for arm, kind in (("baseline", "erm"), ("mixup", "mixup")):
        row = unguided(results, arm)
        if row is not None:
            shown[kind].append((row, f"Student, {row.label.lower()}", "mobilenetv2"))
    shown = {kind: [entry for entry in rows if _represented(entry[0])] for kind, rows in shown.items()}
    everything = [(kind, *entry) for kind, rows in shown.items() for entry in rows]
    if not everything:
        return PaperFigure(7, title, missing=("measures.representation",))
    rows = []
    for kind, row, label, name in everything:
        words = "without mixup" if kind == "erm" else "with mixup"
        printed = (paper.get(kind) or {}).get(name or "")
        rows.append(TableRow((label, words), _feature_cells(row, printed), starts=row is shown[kind][0][0]))
    lacking = [] if shown["erm"] else ["networks trained without mixup"]
    lacking += [] if shown["mixup"] else ["networks trained with mixup: the arm mixup or a teacher with a mixing"]
    notes = value_notes(results, "test images (accuracy)")
    if paper:
        notes.append(
            "The paper’s figure 7 leaves open which of its two middle columns is which network, so those are not compared; "
            "a V-score is compared only where the classes are the paper’s five."
        )
    panels = [_scatter(row, label, f"paper7-{k}") for k, (_, row, label, _) in enumerate(everything)]
    drawn = FigureSet(
        "figure7", title, _feature_caption(results, everything[0][1]), _class_keys(everything[0][1]), tuple(panels),
        min(4, max(len(found) for found in shown.values())),
    )  # fmt: skip
    numbers = PaperTable(
        None, "figure7", f"Numbers of figure 7: clusters and accuracy, {data_name(results)}", ("Network", "Trained"),
        _FEATURE_COLUMNS, tuple(rows), notes=tuple(notes), setting=setting_notes(results, paper),
    )  # fmt: skip
    return PaperFigure(7, title, drawn, numbers, tuple(lacking))


def students_features(results: Results, data_set: str | None) -> PaperFigure:
    """Figure 8: features of the KD + mixup students of teachers trained without mixup and of their siblings trained with it."""
    title = "Students of teachers trained without and with mixup"
    students = {t: s for t, s in _main_students(results) if _represented(s)}
    pairs = []
    for mixed in (t for t in students if trained_with_mixup(t)):
        model = mixed.models[0].get("model")
        plain = next((t for t in students if not trained_with_mixup(t) and t.models[0].get("model") == model), None)
        if plain is not None:
            pairs.append((plain, mixed))
    if not pairs:
        needs = []
        if not any(trained_with_mixup(t) for t in results.teachers):
            needs.append("a teacher trained with mixup beside one of the same model trained without")
        if not any(s for _, s in _main_students(results)):
            needs.append("the arm kd_mixup")
        if not students:
            needs.append("measures.representation")
        return PaperFigure(8, title, missing=tuple(needs or ["KD + mixup students of both teachers of one model"]))
    paper = paper_numbers()["figure8_students_cifar100"] if data_set == "cifar100" else {}
    shown = [(plain, plain, "teacher_without_mixup") for plain, _ in pairs]
    shown += [(mixed, plain, "teacher_with_mixup") for plain, mixed in pairs]
    rows, panels = [], []
    for k, (teacher, plain, key) in enumerate(shown):
        words = "with mixup" if trained_with_mixup(teacher) else "without mixup"
        printed = (paper.get(key) or {}).get(papers_name(plain) or "")
        rows.append(
            TableRow((teacher.label, words), _feature_cells(students[teacher], printed), starts=k in (0, len(pairs)))
        )
        panels.append(_scatter(students[teacher], f"Student of {teacher_label(teacher)}", f"paper8-{k}"))
    first = students[pairs[0][0]]
    caption = f"{_feature_caption(results, first)} {' '.join(main_temperature_note(results))}".strip()
    drawn = FigureSet("figure8", title, caption, _class_keys(first), tuple(panels), min(4, len(pairs)))
    numbers = PaperTable(
        None, "figure8", f"Numbers of figure 8: students of both kinds of teacher, {data_name(results)}",
        ("Teacher asked", "It was trained"),
        _FEATURE_COLUMNS, tuple(rows), notes=_figure_notes(results, "test images (accuracy)"), setting=setting_notes(results, paper),
    )  # fmt: skip
    return PaperFigure(8, title, drawn, numbers)


def _feature_caption(results: Results, row: Row) -> str:
    found = (_represented(row) or {}).get("representation") or {}
    images = f"{found['images']:,} test images" if found.get("images") else "test images"
    several = f" Seed {(_represented(row) or {}).get('seed')} is drawn." if len(results.seeds) > 1 else ""
    return (
        f"Penultimate features of {images} of {len(found.get('classes') or [])} classes, laid out by t-SNE: distances between "
        "groups mean nothing, and each panel has axes of its own. V-score: how well k-means on the features themselves finds the "
        f"classes, 1 at best.{several}"
    )


def _class_keys(row: Row) -> tuple[Key, ...]:
    classes = ((_represented(row) or {}).get("representation") or {}).get("classes") or []
    return tuple(_class_key(k, str(name)) for k, name in enumerate(classes))


def _class_key(position: int, label: str) -> Key:
    # After six colours come six rings.
    return Key(label, f"arm-{1 + position % ARM_SLOTS}", marker="o", line=False, hollow=position // ARM_SLOTS % 2 == 1)


def _scatter(row: Row, label: str, name: str) -> Panel:
    """The features of one network as dots; drawn by hand, since a path for each class is a tenth of matplotlib's bytes."""
    model = _represented(row) or {}
    found = model["representation"]
    width, height, top = 212.0, 212.0, 34.0
    points = np.array(found["points"], dtype=np.float64).reshape(-1, 2)
    labels = np.array(found["labels"], dtype=np.int64)
    if len(points) > MOST_POINTS:
        chosen = np.linspace(0, len(points) - 1, MOST_POINTS).round().astype(int)
        points, labels = points[chosen], labels[chosen]
    xy = _fitted(points, (8.0, top + 6, width - 8.0, height - 8.0))
    parts = []
    for position in sorted(set(labels.tolist())):
        key = _class_key(position, "")
        path = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in xy[labels == position])
        parts.append(
            f'<path d="{path}" style="fill:none;stroke:{css(key.colour)};stroke-width:3.6;stroke-linecap:round;stroke-opacity:.85"/>'
        )
        if key.hollow:
            parts.append(
                f'<path d="{path}" style="fill:none;stroke:{css("surface")};stroke-width:1.8;stroke-linecap:round"/>'
            )
    facts = [
        f"V-score {found['v_score']:.3f}" if found.get("v_score") is not None else "",
        f"accuracy {100 * model['accuracy']:.1f} %",
    ]
    words = " · ".join(fact for fact in facts if fact)
    title = escape(panel_title(label, ""))
    text = (
        f'<text x="2" y="12" style="font-size:{TEXT + 1.5:g}px;font-weight:700;fill:{css("ink")}">{title}</text>'
        f'<text x="2" y="25" style="font-size:{TEXT + 0.5:g}px;fill:{css("muted")}">{escape(words)}</text>'
        f'<rect x=".5" y="{top:g}" width="{width - 1:g}" height="{height - top - 1:g}" rx="3" style="fill:none;stroke:{css("grid")}"/>'
    )
    group = f'<g id="{name}">{text}{"".join(parts)}</g>'
    return Panel(group, width, height, f"{label}: t-SNE of its features; {words}")


def _fitted(points: Array, box: tuple[float, float, float, float]) -> Array:
    """Points moved and scaled, alike in both directions, into a box of px."""
    x0, y0, x1, y1 = box
    low, high = points.min(axis=0), points.max(axis=0)
    scale = min((x1 - x0) / max(high[0] - low[0], 1e-9), (y1 - y0) / max(high[1] - low[1], 1e-9))
    centre = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
    return np.asarray(centre + (points - (low + high) / 2) * scale)


# --- figure 9: training over time -------------------------------------------------------------------------------------


def selection_curve(row: Row) -> Curve | None:
    """Selection accuracy over epochs, the mean over the seeds, at the epochs at which all were watched; None for fewer than 2."""
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
    watched = results.raw.get("selection_images")
    if not curves:
        needs = [] if any(row.arm == "kd_mixup" for row in results.students) else ["the arm kd_mixup"]
        if not watched:
            needs.append("accuracy watched while training: selection best_validation or paper_best_test")
        return PaperFigure(9, title, missing=tuple(needs or ["accuracy watched at two epochs or more"]))
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
    split = {"validation": "Validation accuracy", "test": "Test accuracy"}.get(str(watched), "Selection accuracy")
    stretched = (
        f" The axis is stretched {STRETCH:g} times above the dotted line at {100 * pivot:g} %, as in the paper."
        if low < pivot
        else ""
    )
    caption = (
        f"{split} of the students after each watched epoch, in percent{', mean over seeds' if len(results.seeds) > 1 else ''}; "
        f"epochs on a logarithmic axis.{stretched}"
    )
    ordered = sorted(dict.fromkeys(keys), key=keys.index)
    drawn = FigureSet("figure9", title, caption, tuple(ordered), tuple(panels), min(3, len(panels)))
    tried = [t for t in paper_numbers()["setup"]["temperatures_tried"] if t not in temperatures]
    lacking = [f"KD + mixup at {', '.join(temperature_text(t) for t in tried)}"] if tried else []
    return PaperFigure(9, title, drawn, missing=tuple(lacking))


def _temperature_key(row: Row, temperatures: Sequence[float | str | None]) -> Key:
    """One colour for each temperature, since here the temperature is what differs."""
    if row.arm == "kd":
        return Key(f"KD classic, {temperature_text(row.temperature)}", "ink", dash="5 2", width=1.4)
    place = temperatures.index(row.temperature)
    label = f"KD + mixup, {temperature_text(row.temperature)}"
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
