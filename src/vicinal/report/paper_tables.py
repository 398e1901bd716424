"""The paper's tables 1 to 7 from a study's results, each value beside the paper's where the study has its data set.

A table holds values in the units it is shown in: percent, fractions or nats. What a study does not hold stays a sentence
in `PaperTable.missing`; nothing is filled in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vicinal.paper.tables import DATA_SETS
from vicinal.report.paper_values import (
    PERFORMANCE_TABLES,
    paper_data_set,
    paper_numbers,
    paper_teacher,
)
from vicinal.report.results import TEMPERATURE_SYMBOLS, Model, Results, Row, against, mean_and_spread
from vicinal.report.tables import ABSENT, csv_text, markdown_line

CORRUPTIONS = {
    "gaussian_noise": "Gaussian noise",
    "motion_blur": "Motion blur",
    "fog": "Fog",
    "jpeg_compression": "JPEG",
    "contrast": "Contrast",
    "pixelate": "Pixelate",
}
SEVERITIES = (1, 2, 3, 4, 5)
MAIN_TEMPERATURE = 2.0  # the paper fixes it after table 1
WIDE = 4  # a LaTeX table with more columns of values has the paper's in lines of their own

Bounds = tuple[float, float]


@dataclass(frozen=True)
class Quantity:
    """One column of values."""

    key: str
    heading: str
    latex: str
    digits: int
    unit: str = ""  # "%", "pp", "nats" or "" for a fraction
    signed: bool = False
    csv_only: bool = False

    def text(self, value: float) -> str:
        return self.difference_text(value) if self.signed else f"{value:.{self.digits}f}".replace("-", "−")

    def difference_text(self, value: float) -> str:
        rounded = round(value, self.digits)
        # What rounds to nothing has no sign.
        return (f"{rounded:+.{self.digits}f}" if rounded else f"{0:.{self.digits}f}").replace("-", "−")


@dataclass(frozen=True)
class SeedValue:
    """A value of one seed with its bootstrap interval over test images or pairs, where one was stored."""

    seed: int
    value: float
    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True)
class Value:
    """One cell: the values of all seeds, the paper's value, and whether it may be read at all."""

    seeds: tuple[SeedValue, ...]
    paper: float | None = None
    doubtful: bool = False  # depends on the scale of logits that have none
    best: bool = False  # of its column's comparison, where the paper marks it

    @property
    def mean(self) -> float:
        """Over seeds."""
        return sum(seed.value for seed in self.seeds) / len(self.seeds)

    @property
    def spread(self) -> float | None:
        """Sample standard deviation over seeds; None for one."""
        found = mean_and_spread([seed.value for seed in self.seeds])
        return found[1] if found else None

    @property
    def interval(self) -> Bounds | None:
        """The bootstrap interval; of one seed only, since it says nothing of other trainings."""
        only = self.seeds[0] if len(self.seeds) == 1 else None
        return (only.lower, only.upper) if only and only.lower is not None and only.upper is not None else None

    @property
    def difference(self) -> float | None:
        """This study's value minus the paper's."""
        return None if self.paper is None else self.mean - self.paper


@dataclass(frozen=True)
class TableRow:
    """One line: its labels and the values by the key of their quantity."""

    labels: tuple[str, ...]
    cells: Mapping[str, Value]
    starts: bool = False  # a rule stands above it


@dataclass(frozen=True)
class PaperTable:
    """One table of the paper from this study. Without rows it is not held, and `missing` says what it needs;
    with rows `missing` says which of the paper's are not here."""

    number: (
        int | None
    )  # None for the layout of tables 2 to 4 on data that the paper has not, and for a figure's numbers
    name: str  # of its files
    title: str
    labels: tuple[str, ...] = ()  # headings of the label columns
    columns: tuple[Quantity, ...] = ()
    rows: tuple[TableRow, ...] = ()
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    setting: tuple[str, ...] = ()  # what differs from the paper's setting, where its values stand beside

    @property
    def heading(self) -> str:
        return f"Table {self.number}: {self.title}" if self.number else self.title

    @property
    def shown(self) -> tuple[Quantity, ...]:
        return tuple(column for column in self.columns if not column.csv_only)

    @property
    def has_paper(self) -> bool:
        """Whether any value of the paper stands beside this study's."""
        return any(value.paper is not None for row in self.rows for value in row.cells.values())

    def csv(self, selection: str) -> str:
        """Long form with full digits: one line for each cell over all seeds, then, of several seeds, one for each."""
        header = [_plain_heading(label) for label in self.labels]
        header += [
            "quantity",
            "unit",
            "seed",
            "mean",
            "spread",
            "lower",
            "upper",
            "paper",
            "difference",
            "selection",
        ]
        lines: list[list[Any]] = []
        for row in self.rows:
            for column in self.columns:
                value = row.cells.get(column.key)
                if value is None:
                    continue
                start = [*row.labels, column.key, column.unit]
                bounds = value.interval or (None, None)
                ours = [value.mean, value.spread, *bounds, value.paper, value.difference]
                lines.append([*start, "all" if len(value.seeds) > 1 else value.seeds[0].seed, *ours, selection])
                if len(value.seeds) > 1:
                    lines += [
                        [*start, s.seed, s.value, None, s.lower, s.upper, None, None, selection] for s in value.seeds
                    ]
        return csv_text(header, lines)

    def markdown(self) -> str:
        """The shown cells, each with its spread or interval and the paper's value and the difference."""
        head = [*self.labels, *(_with_unit(column) for column in self.shown)]
        lines = [f"**{self.heading}**", "", markdown_line(head)]
        lines.append(markdown_line([*("---" for _ in self.labels), *("---:" for _ in self.shown)]))
        lines += [
            markdown_line([*row.labels, *(self._markdown_cell(row, column) for column in self.shown)])
            for row in self.rows
        ]
        lines += ["", *(f"{note}\n" for note in (*self.notes, *self.setting, *self._lacking()))]
        return "\n".join(lines).rstrip("\n") + "\n"

    def _markdown_cell(self, row: TableRow, column: Quantity) -> str:
        value = row.cells.get(column.key)
        if value is None:
            return ABSENT
        text = column.text(value.mean) + (" †" if value.doubtful else "")
        text = f"**{text}**" if value.best else text
        parts = [part for part in (spread_text(value, column), paper_text(value, column)) if part]
        return f"{text} ({'; '.join(parts)})" if parts else text

    def _lacking(self) -> list[str]:
        return [f"Not held by this study: {'; '.join(self.missing)}."] if self.missing else []

    def latex(self) -> str:
        """A `table` of booktabs; the paper's values and the differences in columns or, of a wide table, lines of their own."""
        wide = len(self.shown) > WIDE
        beside = self.has_paper and not wide
        columns = [(column, beside and self._has_paper(column)) for column in self.shown]
        spec = "l" * len(self.labels) + "".join("rrr" if paper else "r" for column, paper in columns)
        head = [latex_escape(label) for label in self.labels]
        for column, paper in columns:
            unit = f" ({latex_escape(column.unit)})" if column.unit else ""
            head += [column.latex + unit, *(("paper", r"$\Delta$") if paper else ())]
        lines = [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{latex_escape(self.title)}.}}",
            rf"\label{{tab:{self.name}}}",
            rf"\begin{{tabular}}{{{spec}}}",
            r"\toprule",
            _latex_line(head),
            r"\midrule",
        ]
        for position, row in enumerate(self.rows):
            if row.starts and position:
                lines.append(r"\midrule")
            cells = [latex_escape(label) for label in row.labels]
            for column, paper in columns:
                value = row.cells.get(column.key)
                cells.append(_latex_cell(value, column))
                if paper:
                    cells += _latex_paper(value, column)
            lines.append(_latex_line(cells))
            if self.has_paper and wide and any(value.paper is not None for value in row.cells.values()):
                pairs = [_latex_paper(row.cells.get(column.key), column) for column in self.shown]
                start = [""] * (len(self.labels) - 1)
                lines.append(_latex_line([*start, r"\quad paper", *(paper for paper, _ in pairs)]))
                lines.append(_latex_line([*start, r"\quad $\Delta$", *(difference for _, difference in pairs)]))
        lines += [r"\bottomrule", r"\end{tabular}"]
        notes = [*self.notes, *self.setting, *self._lacking()]
        if notes:
            lines.append(rf"\par\smallskip\footnotesize {latex_escape(' '.join(notes))}")
        return "\n".join([*lines, r"\end{table}"]) + "\n"

    def _has_paper(self, column: Quantity) -> bool:
        return any((value := row.cells.get(column.key)) and value.paper is not None for row in self.rows)


# --- text of cells ----------------------------------------------------------------------------------------------------


def spread_text(value: Value, column: Quantity) -> str:
    """± the spread over seeds, or the interval of one seed, or nothing."""
    if value.spread is not None:
        return f"± {value.spread:.{column.digits}f}"
    if value.interval is None:
        return ""
    low, high = map(column.text, value.interval)
    return f"{low} to {high}" if column.signed else f"{low}–{high}"


def paper_text(value: Value, column: Quantity) -> str:
    """The paper's value and the difference to it, or nothing."""
    if value.paper is None or value.difference is None:
        return ""
    return f"paper {column.text(value.paper)}, {column.difference_text(value.difference)}"


def _with_unit(column: Quantity) -> str:
    return f"{column.heading}{f', {column.unit}' if column.unit else ''}"


def _plain_heading(text: str) -> str:
    return text.lower().replace(" ", "_")


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "σ": r"$\sigma$", "λ": r"$\lambda$", "Δ": r"$\Delta$", "†": r"$^\dagger$",
    "−": "$-$", "±": r"$\pm$", "×": r"$\times$", "·": r"$\cdot$", "½": r"$\tfrac12$", "‖": r"$\Vert$", "–": "--", "’": "'",
    "“": "``", "”": "''", "→": r"$\to$", "…": r"\dots{}", "\u00a0": "~",
}  # fmt: skip


def latex_escape(text: str) -> str:
    """Text for LaTeX: special characters escaped, the symbols of this report as mathematics, indices as subscripts."""
    parts = re.split(r"\b(Δ|I|σ)_(lin|t)\b", text)
    escaped = "".join(_LATEX.get(character, character) for character in parts[0])
    for symbol, index, rest in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        symbol = {"Δ": r"\Delta", "σ": r"\sigma"}.get(symbol, symbol)
        escaped += rf"${symbol}_{{\mathrm{{{index}}}}}$"
        escaped += "".join(_LATEX.get(character, character) for character in rest)
    return escaped


def _latex_line(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _latex_number(text: str) -> str:
    return f"${text.replace('−', '-')}$" if text[0] in "+−" else text


def _latex_cell(value: Value | None, column: Quantity) -> str:
    if value is None:
        return "--"
    text = _latex_number(column.text(value.mean))
    if value.best:
        text = rf"\textbf{{{text}}}"
    if value.doubtful:
        text += r"$^\dagger$"
    spread = f" {{\\scriptsize $\\pm$ {value.spread:.{column.digits}f}}}" if value.spread is not None else ""
    return text + spread


def _latex_paper(value: Value | None, column: Quantity) -> list[str]:
    if value is None or value.paper is None or value.difference is None:
        return ["", ""]
    return [_latex_number(column.text(value.paper)), _latex_number(column.difference_text(value.difference))]


# --- from models to values --------------------------------------------------------------------------------------------


def value_of(
    models: Iterable[Model],
    get: Callable[[Model], float | None],
    paper: float | None = None,
    interval: Callable[[Model], Sequence[float | None] | None] = lambda _: None,
    scale: float = 1.0,
    doubtful: bool = False,
) -> Value | None:
    """The value of every seed that has it, times `scale`; None where no seed has."""
    seeds = []
    for model in models:
        found = get(model)
        if found is None:
            continue
        bounds = interval(model)
        low, high = bounds if bounds is not None else (None, None)
        if low is None or high is None:
            seeds.append(SeedValue(model["seed"], scale * float(found)))
        else:
            seeds.append(SeedValue(model["seed"], scale * float(found), scale * float(low), scale * float(high)))
    return Value(tuple(seeds), paper, doubtful) if seeds else None


def scalar_value(
    row: Row, key: str, paper: float | None = None, scale: float = 1.0, needs_scale: bool = True
) -> Value | None:
    """A scalar of results.json with its stored interval."""
    return value_of(
        row.models,
        lambda model: model.get(key),
        paper,
        lambda model: (model.get("intervals") or {}).get(key),
        scale,
        doubtful=needs_scale and row.scale_free,
    )


def keep(**cells: Value | None) -> dict[str, Value]:
    """The cells that there are."""
    return {key: value for key, value in cells.items() if value is not None}


def trained_with_mixup(row: Row) -> bool:
    """Whether a network's own objective mixed images; False where an older file does not say."""
    mixing = (row.models[0].get("objective") or {}).get("mixing") or {}
    return bool(mixing.get("distribution", "none") != "none")


def teacher_label(row: Row) -> str:
    """A teacher's name; one trained with mixup says so."""
    return row.label + (", trained with mixup" if trained_with_mixup(row) else "")


def papers_name(row: Row) -> str | None:
    """The paper's name of a teacher, which trained its own without mixup."""
    return None if trained_with_mixup(row) else paper_teacher(row.models[0].get("model"))


def students_of(results: Results, teacher: Row, arm: str) -> list[Row]:
    """The students of an arm that ask a teacher: by temperature, numbers first."""
    rows = [row for row in results.guided if row.arm == arm and row.teacher == teacher.label]
    return sorted(rows, key=lambda row: _temperature_order(row.temperature))


def _temperature_order(temperature: float | str | None) -> tuple[int, float]:
    symbols = list(TEMPERATURE_SYMBOLS)
    if isinstance(temperature, str):
        return 1 + (symbols.index(temperature) if temperature in symbols else len(symbols)), 0.0
    return 0, temperature or 0.0


def temperature_text(temperature: float | str | None) -> str:
    if isinstance(temperature, str):
        return f"T = {TEMPERATURE_SYMBOLS.get(temperature, temperature)}"
    return "" if temperature is None else f"T = {temperature:g}"


def main_student(results: Results, teacher: Row) -> Row | None:
    """A teacher's KD + mixup student at T = 2, as the paper fixes it; without one, at the lowest temperature there is."""
    rows = students_of(results, teacher, "kd_mixup")
    return next((row for row in rows if row.temperature == MAIN_TEMPERATURE), rows[0] if rows else None)


def unguided(results: Results, arm: str) -> Row | None:
    return next((row for row in results.unguided if row.arm == arm), None)


def data_name(results: Results) -> str:
    data = results.raw["data"]
    return str(data.get("name") or data.get("source") or "these data")


def corruption_models(row: Row | None) -> bool:
    """Whether a row holds corruption results."""
    return row is not None and any(model.get("corruptions") for model in row.models)


def severity_values(model: Model, corruption: str, key: str) -> dict[int, float]:
    """A quantity of a model under a corruption, by severity; empty where it was not measured."""
    found = (model.get("corruptions") or {}).get(corruption) or {}
    pairs = zip(found.get("severity") or [], found.get(key) or [], strict=False)
    return {int(severity): float(value) for severity, value in pairs if value is not None}


def gain_bounds(model: Model, corruption: str) -> dict[int, Bounds]:
    """The paired interval of the gain over the baseline, by severity."""
    found = (model.get("corruptions") or {}).get(corruption) or {}
    bounds = found.get("gain_pp_interval") or {}
    triples = zip(found.get("severity") or [], bounds.get("lower") or [], bounds.get("upper") or [], strict=False)
    return {int(s): (float(low), float(high)) for s, low, high in triples if low is not None and high is not None}


# --- notes ------------------------------------------------------------------------------------------------------------


def value_notes(results: Results, of: str) -> list[str]:
    """How the values of a table came about: the selection first, then what stands after ±."""
    notes = [results.selection_sentence]
    if len(results.seeds) > 1:
        single = any(len(row.models) == 1 for row in results.rows)
        notes.append(
            f"Mean ± sample standard deviation over seeds {', '.join(map(str, results.seeds))}"
            + (
                f"; of a network of one seed its {results.coverage} bootstrap interval over {of}."
                if single and of
                else "."
            )
        )
    elif of:
        notes.append(f"One seed ({results.seeds[0]}); ranges are {results.coverage} bootstrap intervals over {of}.")
    return notes


def setting_notes(results: Results, paper: Any) -> tuple[str, ...]:
    """What differs from the paper's setting; nothing where none of its values (`paper`) stand beside."""
    if not paper:
        return ()
    numbers, data = paper_numbers()["setup"], results.raw["data"]
    recipe = numbers["recipe_in_the_authors_repository"]
    model = results.students[0].models[0] if results.students else results.teachers[0].models[0]
    ours = [str(model.get("model") or "a network of unknown name")]
    size = data.get("image_size") or (data.get("image_shape") or [None])[0]
    ours += [f"{size} px"] if size else []
    images = model.get("train_images") or data.get("train")
    ours += [f"{images:,} training images"] if images else []
    ours += [f"{model['epochs']} epochs"] if model.get("epochs") is not None else []
    notes = [
        f"The paper’s values: student MobileNetV2, {recipe['image_size']} px, {numbers['epochs']} epochs, no spread given. "
        f"Here: {', '.join(ours)}. A difference is this study minus the paper, so between these settings too."
    ]
    if any(papers_name(row) == "resnet152v2" for row in results.teachers):
        notes.append("ResNet152 stands where the paper has ResNet152V2, of which timm has no weights.")
    return tuple(notes)


def main_temperature_note(results: Results) -> list[str]:
    students = [main_student(results, teacher) for teacher in results.teachers]
    found = dict.fromkeys(temperature_text(row.temperature) for row in students if row is not None)
    return [f"KD + mixup at {' and '.join(found)}."] if found else []


# --- the tables -------------------------------------------------------------------------------------------------------


def paper_tables(results: Results) -> list[PaperTable]:
    """Every table of the paper by its number, held or not; the performance on data that the paper has not stands first
    among tables 2 to 4."""
    data_set = paper_data_set(results.raw["data"])
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
    """Table 1: KD + mixup of every teacher at every temperature, KD classic, and the students that ask none."""
    numbers = paper_numbers()
    table = PaperTable(
        1, "table1", f"Accuracy and calibration by temperature, {data_name(results)}", ("Teacher", "Training")
    )
    paper = numbers["table1_temperature_cifar100"] if data_set == "cifar100" else {}

    def cells(row: Row, printed: Mapping[str, float | None]) -> dict[str, Value]:
        return keep(
            accuracy=scalar_value(row, "accuracy", printed.get("accuracy_pct"), 100, needs_scale=False),
            confidence=scalar_value(row, "confidence", printed.get("confidence_pct"), 100),
            ece=scalar_value(row, "ece", printed.get("ece")),
        )

    rows: list[TableRow] = []
    for arm, label, key in (
        ("baseline", "Classic training", "classic_training"),
        ("mixup", "Mixup classic", "mixup_classic"),
    ):
        row = unguided(results, arm)
        if row is not None:
            rows.append(TableRow(("None", label), cells(row, paper.get(key) or {}), starts=not rows))
    temperatures: list[float | str | None] = []
    for teacher in results.teachers:
        printed = paper.get(papers_name(teacher) or "") or {}
        first = True
        for row in students_of(results, teacher, "kd_mixup"):
            temperatures.append(row.temperature)
            key = f"{row.temperature:g}" if isinstance(row.temperature, float | int) else str(row.temperature)
            found = cells(row, printed.get(key) or {})
            label = f"KD + mixup, {temperature_text(row.temperature)}"
            rows.append(TableRow((teacher_label(teacher), label), found, starts=first))
            first = False
        classics = students_of(results, teacher, "kd")
        for row in classics:
            matches = row.temperature == MAIN_TEMPERATURE
            label = (
                "KD classic" if len(classics) == 1 and matches else f"KD classic, {temperature_text(row.temperature)}"
            )
            found = cells(row, (printed.get("kd_classic") or {}) if matches else {})
            rows.append(TableRow((teacher_label(teacher), label), found, starts=first))
            first = False
    if not temperatures:
        return replace(table, missing=("KD + mixup: the arm kd_mixup at one temperature or more",))
    lacking = []
    tried = [t for t in numbers["setup"]["temperatures_tried"] if t not in temperatures]
    if tried:
        lacking.append(f"KD + mixup at {', '.join(temperature_text(t) for t in tried)}")
    arms = {row.arm for row in results.students}
    lacking += [f"the arm {arm}" for arm in ("baseline", "mixup", "kd") if arm not in arms]
    notes = [
        *value_notes(results, "test images"),
    ]
    if any(row.scale_free for row in results.students):
        notes.append(
            "† T = σ leaves the scale of the student’s logits free, so its raw confidence and ECE mean nothing by themselves."
        )
    return replace(
        table,
        columns=_TEMPERATURE_COLUMNS,
        rows=tuple(rows),
        missing=tuple(lacking),
        notes=tuple(notes),
        setting=setting_notes(results, paper),
    )


_PERFORMANCE_COLUMNS = (
    Quantity("accuracy", "Accuracy", "Accuracy", 4),
    Quantity("confidence", "Confidence", "Confidence", 4),
    Quantity("ece", "ECE", "ECE", 4),
)


def performance_tables(results: Results, data_set: str | None) -> list[PaperTable]:
    """Tables 2, 3 and 4: teachers, their KD + mixup students and the baseline.

    A study holds the one of its data set; on any other data the same layout is called `performance`.
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
        else f"Performance, {data_name(results)} (the layout of tables 2 to 4)"
    )
    own = _performance_table(
        results,
        data_set,
        PaperTable(number, f"table{number}" if number else "performance", title, ("Network", "Training")),
    )
    return sorted([own, *tables], key=lambda table: table.number or 0)


def _performance_table(results: Results, data_set: str | None, table: PaperTable) -> PaperTable:
    paper = paper_numbers()[f"{table.name}_{data_set}"] if data_set else {}

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
    baseline = unguided(results, "baseline")
    if baseline is not None:
        taught.append(TableRow((student, "Baseline"), cells(baseline, paper.get("baseline")), starts=not taught))
    lacking = [] if results.teachers else ["teachers"]
    lacking += [] if any(main_student(results, t) for t in results.teachers) else ["the arm kd_mixup"]
    lacking += [] if baseline is not None else ["the arm baseline"]
    notes = [
        *value_notes(results, "test images"),
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
        missing=tuple(lacking),
        notes=tuple(notes),
        setting=setting_notes(results, paper),
    )


def nonlinearity_table(results: Results, data_set: str | None) -> PaperTable:
    """Table 5: NL of the teachers, mean over λ and peak, beside their ECE."""
    table = PaperTable(5, "table5", f"Non-linearity residual of the teachers, {data_name(results)}", ("Teacher",))
    paper = paper_numbers()["table5_nonlinearity_cifar100"] if data_set == "cifar100" else {}
    if not results.teachers:
        return replace(table, missing=("teachers",))
    rows: list[TableRow] = []
    for teacher in results.teachers:
        mean, peak, ece = paper.get(papers_name(teacher) or "") or (None, None, None)
        rows.append(
            TableRow(
                (teacher_label(teacher),),
                keep(
                    global_nl=value_of(teacher.models, global_nonlinearity, mean),
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


def _finite(values: Sequence[float | None]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def global_nonlinearity(model: Model) -> float | None:
    """The mean of NL over λ ~ Uniform(0, 1), nats; None where a point of the curve is missing."""
    vicinity = model["vicinity"]
    mean = float(np.trapezoid(_finite(vicinity["nonlinearity"]), _finite(vicinity["lam"])))
    return mean if np.isfinite(mean) else None


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
        return against(model, teacher.label) or {}

    return value_of(
        row.models,
        lambda m: peak_of(measured(m).get("linearity_gain")),
        paper,
        lambda m: _at_peak(measured(m).get("linearity_gain"), measured(m).get("linearity_gain_interval")),
        doubtful=row.scale_free,
    )


def alignment_table(results: Results, data_set: str | None) -> PaperTable:
    """Table 6: peak linearity gain and alignment of each teacher's KD + mixup student."""
    table = PaperTable(
        6, "table6", f"Peak linearity gain and alignment with the teacher, {data_name(results)}", ("Teacher",)
    )
    paper = paper_numbers()["table6_alignment_cifar100"] if data_set == "cifar100" else {}
    rows: list[TableRow] = []
    for teacher in results.teachers:
        row = main_student(results, teacher)
        if row is None:
            continue
        printed = paper.get(papers_name(teacher) or "") or (None,) * 4

        def kl(key: str, value: float | None, row: Row = row, teacher: Row = teacher) -> Value | None:
            def get(model: Model) -> float | None:
                found: float | None = ((against(model, teacher.label) or {}).get("alignment") or {}).get(key)
                return found

            return value_of(row.models, get, value, doubtful=row.scale_free)

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
        *value_notes(results, "pairs of images (the gain, paired, at its peak’s λ)"),
        *main_temperature_note(results),
    ]
    if any(value.doubtful for row in rows for value in row.cells.values()):
        notes.append("† The scale of these students’ logits is free, so these values mean nothing by themselves.")
    return replace(table, columns=columns, rows=tuple(rows), notes=tuple(notes), setting=setting_notes(results, paper))


def corruption_table(results: Results, data_set: str | None) -> PaperTable:
    """Table 7: accuracy under corruptions by severity, of the baseline and of each teacher's KD + mixup student.

    The CSV also holds the gain over the baseline of the same seed, in points, with its paired interval.
    """
    table = PaperTable(
        7, "table7", f"Accuracy under corruptions by severity, {data_name(results)}", ("Teacher asked", "Corruption")
    )
    paper = paper_numbers()["table7_corruption_cifar100_pct"] if data_set == "cifar100" else {}
    baseline = unguided(results, "baseline")
    students: list[tuple[str, Row | None, str | None]] = [("None (baseline)", baseline, "baseline")]
    students += [(teacher_label(t), main_student(results, t), papers_name(t)) for t in results.teachers]
    rows: list[TableRow] = []
    for label, row, name in students:
        if row is None or not corruption_models(row):
            continue
        for position, corruption in enumerate(CORRUPTIONS):
            printed = (paper.get(name or "") or {}).get(corruption) or (None,) * len(SEVERITIES)
            cells = keep(
                **{f"severity_{s}": _accuracy_under(row, corruption, s, printed[s - 1]) for s in SEVERITIES},
                **{f"gain_{s}": _gain_under(row, corruption, s) for s in SEVERITIES},
            )
            if cells:
                rows.append(TableRow((label, CORRUPTIONS[corruption]), cells, starts=position == 0))
    if not rows:
        return replace(table, missing=("measures.corruptions",))
    lacking = [] if corruption_models(baseline) else ["the arm baseline"]
    lacking += [] if any(corruption_models(row) for _, row, _ in students[1:]) else ["the arm kd_mixup"]
    columns = tuple(Quantity(f"severity_{s}", f"S{s}", f"S{s}", 2, "%") for s in SEVERITIES)
    columns += tuple(
        Quantity(f"gain_{s}", f"Gain S{s}", f"Gain S{s}", 2, "pp", True, csv_only=True) for s in SEVERITIES
    )
    notes = [
        *value_notes(results, ""),
        *main_temperature_note(results),
        "Bold: the best student of a corruption and severity."
        + (
            " Its gain over the baseline, with paired intervals over test images, is in table7.csv."
            if baseline is not None
            else ""
        ),
    ]
    return replace(
        table,
        columns=columns,
        rows=_with_best(rows),
        missing=tuple(lacking),
        notes=tuple(notes),
        setting=setting_notes(results, paper),
    )


def _accuracy_under(row: Row, corruption: str, severity: int, paper: float | None) -> Value | None:
    return value_of(row.models, lambda m: severity_values(m, corruption, "accuracy").get(severity), paper, scale=100)


def _gain_under(row: Row, corruption: str, severity: int) -> Value | None:
    return value_of(
        row.models,
        lambda m: severity_values(m, corruption, "gain_pp").get(severity),
        None,
        lambda m: gain_bounds(m, corruption).get(severity),
    )


def _with_best(rows: Sequence[TableRow]) -> tuple[TableRow, ...]:
    """The rows of table 7 with the best student of every corruption and severity marked."""
    highest: dict[tuple[str, str], float] = {}
    for row in rows:
        for key, value in row.cells.items():
            place = row.labels[1], key
            highest[place] = max(highest.get(place, value.mean), value.mean)
    return tuple(
        replace(
            row,
            cells={
                key: replace(value, best=key.startswith("severity") and value.mean == highest[row.labels[1], key])
                for key, value in row.cells.items()
            },
        )
        for row in rows
    )
