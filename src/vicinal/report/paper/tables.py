"""The paper's tables 1 to 7 from a study's results, each value beside the paper's where the study has its data set.

Values are in the units they are shown in: percent, fractions or nats. What a study does not have stays a sentence
in `PaperTable.missing`; nothing is filled in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from vicinal.claims import compare, corruption_heading, infer
from vicinal.config import CORRUPTIONS, SEVERITIES
from vicinal.paper import DATA_SETS, PERFORMANCE_TABLES, printed_numbers
from vicinal.report.evidence import corrupted_accuracy_number, corruption_gain_numbers, mean_nonlinearity
from vicinal.report.paper.cells import (
    MAIN_TEMPERATURE,
    has_corruptions,
    keep,
    main_student,
    main_temperature_note,
    papers_name,
    prior_note,
    scalar_value,
    setting_notes,
    students_of,
    teacher_label,
    undistilled,
    value_notes,
    value_of,
)
from vicinal.report.paper.match import paper_data_set
from vicinal.report.paper.table import PaperTable, Quantity, TableRow, Value
from vicinal.report.rows import (
    Model,
    Results,
    Row,
    corruption_values,
    temperature_label,
    versus_teacher,
)


def paper_tables(results: Results) -> list[PaperTable]:
    """Every table of the paper by its number, with rows or without; the performance on data that the paper does not have stands
    first among tables 2 to 4."""
    data_set = paper_data_set(results.data)
    return [
        temperature_table(results, data_set),
        *performance_tables(results, data_set),
        nonlinearity_table(results, data_set),
        alignment_table(results, data_set),
        corruption_table(results, data_set),
    ]


_TEMPERATURE_COLUMNS = (
    Quantity("accuracy", "Accuracy", "Accuracy", 2, "%"),
    Quantity("confidence", "Confidence", "Confidence", 2, "%"),
    Quantity("ece", "ECE", "ECE", 4),
)


def temperature_table(results: Results, data_set: str | None) -> PaperTable:
    """Table 1: KD + mixup of every teacher at every temperature, KD classic, and the students without a teacher."""
    numbers = printed_numbers()
    table = PaperTable(
        1, "table1", f"Accuracy and calibration by temperature, {results.data_name}", ("Teacher", "Training")
    )
    paper = numbers["table1_temperature_cifar100"] if data_set == "cifar100" else {}

    rows: list[TableRow] = []
    for arm, label, key in (
        ("baseline", "Classic training", "classic_training"),
        ("mixup", "Mixup classic", "mixup_classic"),
    ):
        row = undistilled(results, arm)
        if row is not None:
            rows.append(TableRow(("None", label), _temperature_cells(row, paper.get(key) or {}), starts=not rows))
    for teacher in results.teachers:
        rows += _temperature_rows(results, teacher, paper.get(papers_name(teacher) or "") or {})
    temperatures = [r.temperature for teacher in results.teachers for r in students_of(results, teacher, "kd_mixup")]
    if not temperatures:
        return replace(table, missing=("KD + mixup: the arm kd_mixup at one temperature or more",))
    missing = []
    tried = [t for t in numbers["setup"]["temperatures_tried"] if t not in temperatures]
    if tried:
        missing.append(f"KD + mixup at {', '.join(temperature_label(t) for t in tried)}")
    arms = {row.arm for row in results.students}
    missing += [f"the arm {arm}" for arm in ("baseline", "mixup", "kd") if arm not in arms]
    notes = [*value_notes(results, "test images"), *prior_note(results)]
    if any(row.scale_free for row in results.students):
        notes.append(
            "† T = σ leaves the scale of the student’s logits free, so its raw confidence and ECE mean nothing by themselves."
        )
    return replace(
        table,
        columns=_TEMPERATURE_COLUMNS,
        rows=tuple(rows),
        missing=tuple(missing),
        notes=tuple(notes),
        setting=setting_notes(results, paper),
    )


def _temperature_cells(row: Row, printed: Mapping[str, float | None]) -> dict[str, Value]:
    return keep(
        accuracy=scalar_value(row, "accuracy", printed.get("accuracy_pct"), 100, needs_scale=False),
        confidence=scalar_value(row, "confidence", printed.get("confidence_pct"), 100),
        ece=scalar_value(row, "ece", printed.get("ece")),
    )


def _temperature_rows(
    results: Results, teacher: Row, printed: Mapping[str, Mapping[str, float | None]]
) -> list[TableRow]:
    """The KD + mixup students of a teacher by temperature, then its KD students."""
    found: list[tuple[str, dict[str, Value]]] = []
    for row in students_of(results, teacher, "kd_mixup"):
        key = f"{row.temperature:g}" if isinstance(row.temperature, float | int) else str(row.temperature)
        label = f"KD + mixup, {temperature_label(row.temperature)}"
        found.append((label, _temperature_cells(row, printed.get(key) or {})))
    classics = students_of(results, teacher, "kd")
    for row in classics:
        matches = row.temperature == MAIN_TEMPERATURE
        label = "KD classic" if len(classics) == 1 and matches else f"KD classic, {temperature_label(row.temperature)}"
        found.append((label, _temperature_cells(row, (printed.get("kd_classic") or {}) if matches else {})))
    return [
        TableRow((teacher_label(teacher), label), cells, starts=position == 0)
        for position, (label, cells) in enumerate(found)
    ]


_PERFORMANCE_COLUMNS = (
    Quantity("accuracy", "Accuracy", "Accuracy", 4),
    Quantity("confidence", "Confidence", "Confidence", 4),
    Quantity("ece", "ECE", "ECE", 4),
)


def performance_tables(results: Results, data_set: str | None) -> list[PaperTable]:
    """Tables 2, 3 and 4: teachers, their KD + mixup students and the baseline.

    A study has the one of its data set; on any other data the same layout is called `performance`.
    """
    tables = [
        PaperTable(
            number, f"table{number}", f"Performance, {DATA_SETS[name]}", missing=(f"a study on {DATA_SETS[name]}",)
        )
        for name, number in PERFORMANCE_TABLES.items()
        if name != data_set
    ]
    number = PERFORMANCE_TABLES.get(data_set or "")
    title = (
        f"Performance, {DATA_SETS[data_set]}"
        if data_set
        else f"Performance, {results.data_name} (the layout of tables 2 to 4)"
    )
    own = _performance_table(
        results,
        data_set,
        PaperTable(number, f"table{number}" if number else "performance", title, ("Network", "Training")),
    )
    return sorted([own, *tables], key=lambda table: table.number or 0)


def _performance_table(results: Results, data_set: str | None, table: PaperTable) -> PaperTable:
    paper = printed_numbers()[f"{table.name}_{data_set}"] if data_set else {}

    def cells(row: Row, printed: Sequence[float] | None) -> dict[str, Value]:
        accuracy, confidence, ece = printed or (None, None, None)
        return keep(
            accuracy=scalar_value(row, "accuracy", accuracy, needs_scale=False),
            confidence=scalar_value(row, "confidence", confidence),
            ece=scalar_value(row, "ece", ece),
        )

    student = str(results.students[0].models[0].get("model") or "Student") if results.students else "Student"
    rows: list[TableRow] = []
    for teacher in results.teachers:
        printed = (paper.get("teachers") or {}).get(papers_name(teacher) or "")
        rows.append(TableRow((teacher_label(teacher), "Teacher"), cells(teacher, printed), starts=not rows))
    taught: list[TableRow] = []
    for teacher in results.teachers:
        row = main_student(results, teacher)
        if row is not None:
            printed = (paper.get("kd_mixup") or {}).get(papers_name(teacher) or "")
            label = f"KD + mixup, {teacher_label(teacher)}"
            taught.append(TableRow((student, label), cells(row, printed), starts=not taught))
    baseline = undistilled(results, "baseline")
    if baseline is not None:
        taught.append(TableRow((student, "Baseline"), cells(baseline, paper.get("baseline")), starts=not taught))
    missing = [] if results.teachers else ["teachers"]
    missing += [] if any(main_student(results, t) for t in results.teachers) else ["the arm kd_mixup"]
    missing += [] if baseline is not None else ["the arm baseline"]
    notes = [
        *value_notes(results, "test images"),
        *prior_note(results),
        *main_temperature_note(results),
    ]
    if any(row.scale_free for t in results.teachers if (row := main_student(results, t))):
        notes.append(
            "† The scale of these students’ logits is free, so raw confidence and ECE mean nothing by themselves."
        )
    return replace(
        table,
        columns=_PERFORMANCE_COLUMNS,
        rows=(*rows, *taught),
        missing=tuple(missing),
        notes=tuple(notes),
        setting=setting_notes(results, paper),
    )


def nonlinearity_table(results: Results, data_set: str | None) -> PaperTable:
    """Table 5: NL of the teachers, mean over λ and peak, beside their ECE."""
    table = PaperTable(5, "table5", f"Non-linearity residual of the teachers, {results.data_name}", ("Teacher",))
    paper = printed_numbers()["table5_nonlinearity_cifar100"] if data_set == "cifar100" else {}
    if not results.teachers:
        return replace(table, missing=("teachers",))
    rows: list[TableRow] = []
    for teacher in results.teachers:
        mean, peak, ece = paper.get(papers_name(teacher) or "") or (None, None, None)
        rows.append(
            TableRow(
                (teacher_label(teacher),),
                keep(
                    global_nl=value_of(teacher.models, mean_nonlinearity, mean),
                    peak_nl=value_of(
                        teacher.models, lambda m: peak_of(m["vicinity"]["nonlinearity"]), peak, _peak_bounds
                    ),
                    ece=scalar_value(teacher, "ece", ece),
                ),
                starts=not rows,
            )
        )
    columns = (
        Quantity("global_nl", "Global NL", r"Global $\mathcal{L}_{\mathrm{NL}}$", 3, "nats"),
        Quantity("peak_nl", "Peak NL", r"Peak $\mathcal{L}_{\mathrm{NL}}$", 3, "nats"),
        Quantity("ece", "ECE", "ECE", 4),
    )
    notes = (
        *value_notes(results, "pairs of images (peak, at its λ) and test images (ECE)"),
        "Global: the mean over λ from 0 to 1, by the trapezoidal rule.",
    )
    return replace(table, columns=columns, rows=tuple(rows), notes=notes, setting=setting_notes(results, paper))


def peak_of(values: Sequence[float | None] | None) -> float | None:
    """The largest value of a curve."""
    finite = [value for value in values or [] if value is not None]
    return max(finite) if finite else None


def _at_peak(values: Sequence[float | None] | None, bounds: Mapping[str, Sequence[float | None]] | None) -> Any:
    peak = peak_of(values)
    if values is None or peak is None or not bounds:
        return None
    position = list(values).index(peak)
    return bounds["lower"][position], bounds["upper"][position]


def _peak_bounds(model: Model) -> Any:
    vicinity = model["vicinity"]
    return _at_peak(vicinity["nonlinearity"], (vicinity.get("intervals") or {}).get("nonlinearity"))


def peak_gain(row: Row, teacher: Row, paper: float | None = None) -> Value | None:
    """The peak of Δ_lin over λ of a student over its teacher, with its paired interval at that λ, nats."""

    def measured(model: Model) -> Mapping[str, Any]:
        return versus_teacher(model, teacher.label)

    return value_of(
        row.models,
        lambda m: peak_of(measured(m).get("linearity_gain")),
        paper,
        lambda m: _at_peak(measured(m).get("linearity_gain"), measured(m).get("linearity_gain_interval")),
        scale_free=row.scale_free,
    )


def alignment_table(results: Results, data_set: str | None) -> PaperTable:
    """Table 6: peak linearity gain and alignment of each teacher's KD + mixup student."""
    table = PaperTable(
        6, "table6", f"Peak linearity gain and alignment with the teacher, {results.data_name}", ("Teacher",)
    )
    paper = printed_numbers()["table6_alignment_cifar100"] if data_set == "cifar100" else {}
    rows: list[TableRow] = []
    for teacher in results.teachers:
        row = main_student(results, teacher)
        if row is None:
            continue
        printed = paper.get(papers_name(teacher) or "") or (None,) * 4

        def kl(key: str, value: float | None, row: Row = row, teacher: Row = teacher) -> Value | None:
            def get(model: Model) -> float | None:
                found: float | None = (versus_teacher(model, teacher.label).get("alignment") or {}).get(key)
                return found

            def bounds(model: Model) -> Any:
                part = versus_teacher(model, teacher.label).get("alignment") or {}
                return (part.get("intervals") or {}).get(key)

            return value_of(row.models, get, value, bounds, scale_free=row.scale_free)

        cells = keep(
            peak_gain=peak_gain(row, teacher, printed[0]),
            kl_real=kl("kl_real", printed[1]),
            kl_mixed=kl("kl_mixed", printed[2]),
            independent_response=kl("independent_response", printed[3]),
        )
        if cells:
            rows.append(TableRow((teacher_label(teacher),), cells, starts=not rows))
    if not rows:
        return replace(table, missing=("the arm kd_mixup",))
    columns = (
        Quantity("peak_gain", "Peak Δ_lin", r"Peak $\Delta_{\mathrm{lin}}$", 3, "nats", signed=True),
        Quantity("kl_real", "KL real", r"$\mathrm{KL}_{\mathrm{real}}$", 3, "nats"),
        Quantity("kl_mixed", "KL mixed", r"$\mathrm{KL}_{\mathrm{mixed}}$", 3, "nats"),
        Quantity("independent_response", "Independent response", "Independent response", 3, "nats"),
    )
    notes = [
        *value_notes(results, "the images of the pairs (the gain, paired, at its peak’s λ)"),
        *main_temperature_note(results),
    ]
    if any(value.scale_free for row in rows for value in row.cells.values()):
        notes.append("† The scale of these students’ logits is free, so these values mean nothing by themselves.")
    return replace(table, columns=columns, rows=tuple(rows), notes=tuple(notes), setting=setting_notes(results, paper))


def corruption_table(results: Results, data_set: str | None) -> PaperTable:
    """Table 7: accuracy under corruptions by severity, of the baseline and of each teacher's KD + mixup student.

    The CSV also gives the gain over the baseline of the same seed, in points, with its paired interval.
    """
    table = PaperTable(
        7, "table7", f"Accuracy under corruptions by severity, {results.data_name}", ("Teacher", "Corruption")
    )
    paper = printed_numbers()["table7_corruption_cifar100_pct"] if data_set == "cifar100" else {}
    baseline = undistilled(results, "baseline")
    students: list[tuple[str, Row | None, str | None]] = [("None (baseline)", baseline, "baseline")]
    students += [(teacher_label(t), main_student(results, t), papers_name(t)) for t in results.teachers]
    shown: list[tuple[TableRow, Row, str]] = []
    for label, row, name in students:
        if row is None or not has_corruptions(row):
            continue
        for position, corruption in enumerate(CORRUPTIONS):
            printed = (paper.get(name or "") or {}).get(corruption) or (None,) * len(SEVERITIES)
            cells = keep(
                **{f"severity_{s}": _accuracy_under(row, corruption, s, printed[s - 1]) for s in SEVERITIES},
                **{f"gain_{s}": _gain_under(results, row, corruption, s) for s in SEVERITIES},
            )
            if cells:
                line = TableRow((label, corruption_heading(corruption)), cells, starts=position == 0)
                shown.append((line, row, corruption))
    if not shown:
        return replace(table, missing=("measures.corruptions",))
    missing = [] if has_corruptions(baseline) else ["the arm baseline"]
    missing += [] if any(has_corruptions(row) for _, row, _ in students[1:]) else ["the arm kd_mixup"]
    columns = tuple(Quantity(f"severity_{s}", f"S{s}", f"S{s}", 2, "%") for s in SEVERITIES)
    columns += tuple(
        Quantity(f"gain_{s}", f"Gain S{s}", f"Gain S{s}", 2, "pp", True, csv_only=True) for s in SEVERITIES
    )
    notes = [
        *value_notes(results, ""),
        *prior_note(results),
        *main_temperature_note(results),
        "Bold: the best student of a corruption and severity, and those not told apart from it."
        + (
            " The gains over the baseline, with intervals over seeds and images, are in table7.csv."
            if baseline is not None
            else ""
        ),
    ]
    return replace(
        table,
        columns=columns,
        rows=_with_best(results, shown),
        missing=tuple(missing),
        notes=tuple(notes),
        setting=setting_notes(results, paper),
    )


def _accuracy_under(row: Row, corruption: str, severity: int, paper: float | None) -> Value | None:
    return value_of(row.models, lambda m: corruption_values(m, corruption, "accuracy").get(severity), paper, scale=100)


def _gain_under(results: Results, row: Row, corruption: str, severity: int) -> Value | None:
    found = value_of(row.models, lambda m: corruption_values(m, corruption, "gain_pp").get(severity))
    number = (corruption_gain_numbers(row, results).get(corruption) or {}).get(severity)
    inferred = None if number is None else infer(number)
    return found if found is None or inferred is None else replace(found, known=inferred.interval)


def _with_best(results: Results, shown: Sequence[tuple[TableRow, Row, str]]) -> tuple[TableRow, ...]:
    """The rows of table 7 with the best student of every corruption and severity marked, and those not told apart from it.

    Args:
        shown: a line with its row and its corruption.
    """
    marked = {(k, key) for corruption in CORRUPTIONS for s in SEVERITIES
              for k, key in _best_of(results, [(k, *entry) for k, entry in enumerate(shown) if entry[2] == corruption], s)}  # fmt: skip
    return tuple(
        replace(line, cells={key: replace(value, best=(k, key) in marked) for key, value in line.cells.items()})
        for k, (line, _, _) in enumerate(shown)
    )


def _best_of(
    results: Results, entries: Sequence[tuple[int, TableRow, Row, str]], severity: int
) -> set[tuple[int, str]]:
    key = f"severity_{severity}"
    found = [(k, line.cells[key].mean, row, corruption) for k, line, row, corruption in entries if key in line.cells]
    if not found:
        return set()
    best, highest, best_row, corruption = max(found, key=lambda entry: entry[1])
    first = corrupted_accuracy_number(results, best_row, corruption, severity)
    marked = {(k, key) for k, value, _, _ in found if value == highest}
    for k, _, row, _ in found:
        other = corrupted_accuracy_number(results, row, corruption, severity)
        if k == best or first is None or other is None:
            continue
        gap = compare(first, other)
        if gap.sign == 0 and gap.inference is not None:
            marked.add((k, key))
    return marked
