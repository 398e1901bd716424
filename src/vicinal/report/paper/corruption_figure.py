"""Figure 6: accuracy gain over the baseline under corruptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from vicinal.claims import corruption_heading, infer, mean
from vicinal.config import CORRUPTIONS, SEVERITIES, Corruption
from vicinal.paper import printed_numbers
from vicinal.report.evidence import corruption_gain_numbers
from vicinal.report.figures import (
    Curve,
    FigureSet,
    Key,
    Panel,
    draw_curve,
    new_axes,
    over_seeds,
    render,
    sentinel,
)
from vicinal.report.paper.cells import (
    keep,
    main_temperature_note,
    papers_name,
    setting_notes,
    teacher_label,
    value_of,
)
from vicinal.report.paper.paper_figure import PaperFigure, figure_notes, keys_of_teachers, main_students
from vicinal.report.paper.table import PaperTable, Quantity, TableRow, Value
from vicinal.report.rows import Model, Results, Row, corruption_values


def mean_gain(model: Model, corruption: str) -> float | None:
    """The gain over the baseline in points, averaged over the five severities; None unless all five were measured."""
    gains = corruption_values(model, corruption, "gain_pp")
    return sum(gains[s] for s in SEVERITIES) / len(SEVERITIES) if set(SEVERITIES) <= gains.keys() else None


def mean_gain_interval(results: Results, student: Row, corruption: str) -> tuple[float, float] | None:
    """The comparator's interval of the mean gain, over seeds and images; None where its error is not known."""
    gains = corruption_gain_numbers(student, results).get(corruption) or {}
    found = infer(mean([gains[s] for s in SEVERITIES])) if set(SEVERITIES) <= gains.keys() else None
    return None if found is None else found.interval


def corruption_gains(results: Results, data_set: str | None) -> PaperFigure:
    """Figure 6: mean accuracy gain over the baseline by corruption, bars for each teacher; and the gain by severity."""
    title = "Accuracy gain over the baseline under corruptions"
    pairs = [
        (t, s)
        for t, s in main_students(results)
        if any(mean_gain(m, c) is not None for m in s.models for c in CORRUPTIONS)
    ]
    if not pairs:
        arms = {row.arm for row in results.students}
        needs = [f"the arm {arm}" for arm in ("baseline", "kd_mixup") if arm not in arms]
        return PaperFigure(6, title, missing=(*needs, "measures.corruptions"))
    teacher_keys = keys_of_teachers(results)
    keys = [Key(teacher_keys[t].label, teacher_keys[t].colour, marker=teacher_keys[t].marker) for t, _ in pairs]
    gains = {(t, c): _gain_value(results, s, c, _paper_gain(t, c, data_set)) for t, s in pairs for c in CORRUPTIONS}
    panels = [_gain_bars([t for t, _ in pairs], keys, gains), *_gain_by_severity(results, pairs, keys)]
    over = "seeds and test images" if len(results.seeds) > 1 else "test images, of these networks alone"
    caption = (
        "Accuracy of each teacher’s KD + mixup student minus the baseline student’s of the same seed, in percentage points: the mean "
        "over the five severities (bars), then by severity. "
        f"Whiskers and bands: {results.coverage} intervals over {over}. {' '.join(main_temperature_note(results))}"
    )
    rows = []
    for corruption in CORRUPTIONS:
        name = corruption_heading(corruption)
        found = [(t, value) for t, _ in pairs if (value := gains[t, corruption]) is not None]
        rows += [TableRow((name, teacher_label(t)), keep(gain=v), starts=k == 0) for k, (t, v) in enumerate(found)]
        if len(found) > 1:
            teacher, extreme = max(found, key=lambda pair: abs(pair[1].mean))
            printed = (
                printed_numbers()["figure6_extreme_teacher_gain_pp"][corruption] if data_set == "cifar100" else None
            )
            value = Value(extreme.seeds, printed, known=extreme.known)
            rows.append(TableRow((name, f"Most extreme: {teacher_label(teacher)}"), {"gain": value}))
    extra = (
        "The paper’s figure 6 gives a number to the longest bar of a corruption only; its gains by teacher follow from its table 7.",
    )
    numbers = PaperTable(
        None,
        "figure6",
        f"Numbers of figure 6: gain over the baseline under corruptions, {results.data_name}",
        ("Corruption", "Teacher"),
        (Quantity("gain", "Gain", "Gain", 1, "pp", signed=True),),
        tuple(rows),
        notes=(
            *figure_notes(results, ""),
            f"Ranges are {results.coverage} intervals over {over}.",
            *(extra if data_set == "cifar100" else ()),
        ),
        setting=setting_notes(results, data_set == "cifar100"),
    )
    drawn = FigureSet("figure6", title, caption, tuple(keys), tuple(panels), 3)
    return PaperFigure(6, title, drawn, numbers)


def _gain_value(results: Results, student: Row, corruption: str, paper: float | None) -> Value | None:
    found = value_of(student.models, lambda m: mean_gain(m, corruption), paper)
    return None if found is None else replace(found, known=mean_gain_interval(results, student, corruption))


def _paper_gain(teacher: Row, corruption: str, data_set: str | None) -> float | None:
    """The paper's mean gain, from its table 7."""
    table = printed_numbers()["table7_corruption_cifar100_pct"]
    name = papers_name(teacher)
    if data_set != "cifar100" or name not in table:
        return None
    pairs = zip(table[name][corruption], table["baseline"][corruption], strict=True)
    return float(sum(ours - base for ours, base in pairs)) / len(SEVERITIES)


def _gain_bars(
    teachers: Sequence[Row], keys: Sequence[Key], gains: Mapping[tuple[Row, Corruption], Value | None]
) -> Panel:
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
            if value.interval is not None:
                low, high = value.interval
                axes.plot([low, high], [y, y], color=sentinel("ink"), linewidth=1.0, zorder=4, solid_capstyle="butt")
    axes.axvline(0, color=sentinel("ink"), linewidth=1.0, zorder=5)
    axes.set_ylim(group * len(CORRUPTIONS), 0)
    axes.set_yticks([(k + 0.5) * group for k in range(len(CORRUPTIONS))], [corruption_heading(c) for c in CORRUPTIONS])
    axes.tick_params(axis="y", labelcolor=sentinel("ink"), pad=5)
    axes.grid(False, axis="y")
    return render(figure, "paper6", "Mean accuracy gain over the baseline by corruption and teacher")


def _gain_by_severity(results: Results, pairs: Sequence[tuple[Row, Row]], keys: Sequence[Key]) -> list[Panel]:
    curves: dict[tuple[Row, str], Curve] = {}
    for teacher, student in pairs:
        for corruption in CORRUPTIONS:
            gains = corruption_gain_numbers(student, results).get(corruption) or {}
            if not set(SEVERITIES) <= gains.keys():
                continue
            values = [gains[s].value for s in SEVERITIES]
            inferred = [found for s in SEVERITIES if (found := infer(gains[s])) is not None]
            bounds = None
            if len(inferred) == len(values):
                bounds = {side: [found.interval[k] for found in inferred] for k, side in enumerate(("lower", "upper"))}
            curves[teacher, corruption] = over_seeds(SEVERITIES, [values], bounds)
    parts = [part for c in curves.values() for part in (c.y, c.lower, c.upper) if part is not None]
    low, high = min(0.0, *(float(p.min()) for p in parts)), max(0.0, *(float(p.max()) for p in parts))
    pad = 0.06 * (high - low or 1.0)
    panels = []
    for corruption in CORRUPTIONS:
        figure, axes = new_axes(f"{corruption_heading(corruption)}: gain, points", "severity", "")
        axes.set_xlim(1, 5)
        axes.set_xticks(list(SEVERITIES))
        axes.set_ylim(low - pad, high + pad)
        axes.axhline(0, color=sentinel("ink"), linewidth=1.0, zorder=2)
        for (teacher, _), key in zip(pairs, keys, strict=True):
            if (teacher, corruption) in curves:
                draw_curve(axes, curves[teacher, corruption], key, band=True)
        panels.append(
            render(
                figure, f"paper6-{corruption}", f"Gain over the baseline by severity: {corruption_heading(corruption)}"
            )
        )
    return panels
