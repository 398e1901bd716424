"""The tables: what is shown (HTML and Markdown) and the full-precision CSV files."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from vicinal.claims import Number, infer
from vicinal.report.evidence import scalar
from vicinal.report.floors import FLOOR_NOTE, floor_words, has_floors
from vicinal.report.recalls import balanced_of, classes_are_unequal
from vicinal.report.rows import SCALED, Model, Results, Row, at_half, gain_at_half, mean_and_spread, versus_teacher
from vicinal.report.words import inert_cell

QUANTITIES = ("nonlinearity", "entropy", "dominance", "linearity_information")
ABSENT = "–"
# Numbers of a model's `answers`, in summary.csv.
_ANSWERS = ("balanced_accuracy", "predicted_classes", "commonest_answer", "commonest_answer_share", "information", "prior_accuracy",
            "prior_nll")  # fmt: skip
SCALE_FREE_NOTE = (
    "† Trained with T = σ: that loss does not change when the student’s logits are scaled, so the raw confidence, ECE, NLL, "
    "Brier score, NL, D, Δ_lin and KL of these students mean nothing by themselves. Read what they become after "
    "temperature scaling: “ECE scaled”, and the value after “→” where it was measured."
)


@dataclass(frozen=True)
class Column:
    """One column of the shown table."""

    heading: str
    meaning: str
    value: Callable[[Model, str | None], float | None]  # of a model, beside a teacher
    scaled: Callable[[Model], float | None] | None = None  # the same after temperature scaling
    percent: bool = False
    signed: bool = False
    needs_scale: bool = True  # meaningless for a scale-free student
    key: str | None = None  # of the model's scalar, where its interval is shown
    test_key: str | None = None  # of `calibration_tests`: how it stands above noise
    prior_key: str | None = None  # of `answers`: what the class shares alone reach
    digits: int = 3  # after the point, where it is no percentage
    cell: Callable[[Row], Cell] | None = None  # where the mean over seeds says nothing

    def text(self, value: float) -> str:
        """A value as shown."""
        if self.percent:
            return f"{100 * value:.1f}"
        return f"{value:{'+' if self.signed else ''}.{self.digits}f}".replace("-", "−")

    def spread_text(self, spread: float) -> str:
        """A standard deviation as shown."""
        return f"± {100 * spread:.1f}" if self.percent else f"± {spread:.{self.digits}f}"


@dataclass(frozen=True)
class Cell:
    """One shown value: the mean, below it the spread or interval, and a tooltip."""

    text: str
    small: str = ""
    tooltip: str = ""
    scale_free: bool = False  # the raw value of a scale-free student


@dataclass(frozen=True)
class Line:
    """One shown row."""

    row: Row | None  # None for the class shares alone
    label: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class TableSection:
    """The rows of one teacher, or the students without one."""

    heading: str
    lines: tuple[Line, ...]


def _scalar(key: str) -> Callable[[Model, str | None], float | None]:
    return lambda model, _teacher: model.get(key)


def _scaled_scalar(key: str) -> Callable[[Model], float | None]:
    return lambda model: model.get(key + SCALED)


COLUMNS = (
    Column("Accuracy %", "share of test images classified correctly", _scalar("accuracy"), percent=True, needs_scale=False,
           key="accuracy", prior_key="prior_accuracy"),
    Column("Confidence %", "mean probability of the predicted class", _scalar("confidence"), _scaled_scalar("confidence"),
           percent=True, key="confidence"),
    Column("ECE", "expected calibration error", _scalar("ece"), test_key="ece"),
    Column("ECE scaled", "expected calibration error after temperature scaling", _scalar("ece" + SCALED), needs_scale=False,
           test_key="ece" + SCALED),
    Column("NLL", "negative log-likelihood, nats", _scalar("nll"), _scaled_scalar("nll"),
           key="nll", prior_key="prior_nll"),
    Column("NLL scaled", "negative log-likelihood after temperature scaling, nats", _scalar("nll" + SCALED), needs_scale=False,
           key="nll" + SCALED),
    Column("Brier", "Brier score", _scalar("brier"), _scaled_scalar("brier"), key="brier"),
    Column("Brier scaled", "Brier score after temperature scaling", _scalar("brier" + SCALED), needs_scale=False,
           key="brier" + SCALED),
)  # fmt: skip


BALANCED = Column("Balanced %", "balanced accuracy: mean recall over the classes, each counted the same",
                  lambda model, _: balanced_of(model), percent=True, needs_scale=False)  # fmt: skip


def columns_of(results: Results) -> tuple[Column, ...]:
    """The columns of the summary: with the balanced accuracy, where the test images' classes are of unequal size."""
    return (COLUMNS[0], BALANCED, *COLUMNS[1:]) if classes_are_unequal(results) else COLUMNS


def shown_table(results: Results, columns: Sequence[Column] = COLUMNS) -> list[TableSection]:
    """A table of the report: one section for the students without a teacher, one for each teacher."""
    prior = _prior_line(results, columns)
    sections = [] if prior is None else [TableSection("Without looking at an image", (prior,))]
    return sections + sections_of(results, lambda row, teacher: _line(row, teacher, results, columns))


def sections_of(results: Results, line: Callable[[Row, str | None], Line]) -> list[TableSection]:
    """The sections of a table, from a function of a row and the teacher that it is held against (None for none)."""
    # With one teacher the students without one have one natural comparison; with several the figures show each.
    only = results.teachers[0].teacher if len(results.teachers) == 1 else None
    sections = []
    if results.undistilled:
        sections.append(TableSection("Without a teacher", tuple(line(row, only) for row in results.undistilled)))
    for name in dict.fromkeys(row.teacher for row in (*results.teachers, *results.distilled)):
        rows = [row for row in (*results.teachers, *results.distilled) if row.teacher == name]
        lines = tuple(line(row, None if row.is_teacher else name) for row in rows)
        sections.append(TableSection(f"Teacher {name}", lines))
    return sections


def _prior_line(results: Results, columns: Sequence[Column]) -> Line | None:
    """What the class shares alone reach, where a column has it; None where none has or an older version measured nothing."""
    found = next((known for row in results.rows for model in row.models if (known := model.get("answers"))), None)
    if found is None or not any(column.prior_key for column in columns):
        return None
    cells = [Cell(column.text(found[column.prior_key])) if column.prior_key else Cell(ABSENT) for column in columns]
    return Line(None, "Class shares", tuple(cells))


def _line(row: Row, teacher: str | None, results: Results, columns: Sequence[Column]) -> Line:
    label = "Teacher" if row.is_teacher else row.label
    if row.scale_free:
        label += " †"
    return Line(row, label, tuple(_cell(row, column, teacher, results) for column in columns))


def _cell(row: Row, column: Column, teacher: str | None, results: Results) -> Cell:
    if column.cell is not None:
        return column.cell(row)
    found = mean_and_spread([value for m in row.models if (value := column.value(m, teacher)) is not None])
    if found is None:
        return Cell(ABSENT)
    mean, spread = found
    small = tooltip = ""
    if spread is not None:
        small = column.spread_text(spread)
        tooltip = f"mean ± sample standard deviation over {len(row.models)} seeds"
    if column.key and (shown := _interval(results, row, column.key)) is not None:
        low, high = map(column.text, shown)
        small = f"{low} to {high}"
        over = (
            f"{len(row.models)} seeds and the images" if len(row.models) > 1 else "test images, of this network alone"
        )
        tooltip = f"{results.coverage} interval over {over}"
    if column.test_key and (words := floor_words(row, column.test_key, results.confidence_level)):
        small = f"{small}; {words}" if small else words
    scale_free = row.scale_free and column.needs_scale
    if scale_free:
        tooltip = "the scale of this student’s logits is arbitrary: see the note †"
        scaled = mean_and_spread([v for m in row.models if column.scaled and (v := column.scaled(m)) is not None])
        small = f"→ {column.text(scaled[0])}" if scaled else ""
    return Cell(column.text(mean), small, tooltip, scale_free)


def _interval(results: Results, row: Row, key: str) -> tuple[float, float] | None:
    """Of a scalar: the stored one of one seed, the comparator's of several."""
    if len(row.models) == 1:
        return row.interval(key)
    number = scalar(results, row, key)
    found = None if number is None else infer(number)
    return None if found is None else found.interval


def interval_cell(
    results: Results, number: Number | None, text: Callable[[float], str], scale_free: bool = False
) -> Cell:
    """A number with its interval, by the comparator: over seeds and images together, of one seed over the images alone."""
    if number is None:
        return Cell(ABSENT)
    if scale_free:
        return Cell(text(number.value), "", "the scale of this student’s logits is arbitrary: see the note †", True)
    found, seeds = infer(number), len(number.by_seed)
    if found is None:
        return Cell(text(number.value))
    low, high = map(text, found.interval)
    over = f"{seeds} seeds and the images" if seeds > 1 else "the images, of this network alone"
    return Cell(text(number.value), f"{low} to {high}", f"{results.coverage} interval over {over}")


def interval_notes(results: Results) -> list[str]:
    """What the ranges of `interval_cell` are."""
    seeds = results.seeds
    if len(seeds) > 1:
        over = f"over seeds {', '.join(map(str, seeds))} and the images together (Student’s t)"
    else:
        over = f"over the images: of the networks of this one seed ({seeds[0]}), not of the arms"
    return [f"Ranges are {results.coverage} intervals {over}."]


def table_notes(results: Results) -> list[str]:
    """What must stand under every table: the selection first."""
    notes = [results.selection_sentence]
    notes += interval_notes(results)
    if len(results.seeds) > 1:
        notes.append("After ±: the sample standard deviation over seeds.")
    elif any(row.interval("accuracy") for row in results.rows):
        notes.append("That of an accuracy is Wilson’s.")
    if _prior_line(results, COLUMNS) is not None:
        notes.append(
            "Class shares: accuracy of always answering the test images’ commonest class, NLL of answering the shares each time."
        )
    if classes_are_unequal(results):
        notes.append(
            "Classes are of unequal size, so balanced accuracy, the mean recall over them, stands beside the accuracy."
        )
    if has_floors(results):
        notes.append(FLOOR_NOTE)
    if not results.raw["measures"].get("calibrated_on") and all(not row.values("ece" + SCALED) for row in results.rows):
        notes.append("No validation split, so nothing is temperature-scaled.")
    unfitted = [row.name for row in results.rows if len(row.values("fitted_temperature")) < len(row.models)]
    if unfitted and results.raw["measures"].get("calibrated_on"):
        notes.append(
            f"No temperature could be fitted for {', '.join(unfitted)}, so “ECE scaled” is left out: see how it was selected."
        )
    if any(row.scale_free for row in results.rows):
        notes.append(SCALE_FREE_NOTE)
    return notes


def summary_markdown(results: Results) -> str:
    """The shown table in Markdown."""
    columns = columns_of(results)
    return shown_markdown(columns, shown_table(results, columns), table_notes(results))


class Headed(Protocol):
    """What a table needs of its columns."""

    @property
    def heading(self) -> str:
        """Above the column."""


def shown_markdown(
    columns: Sequence[Headed], sections: Sequence[TableSection], notes: Sequence[str], first: str = "Model"
) -> str:
    """A table as it is shown, in Markdown with its notes."""
    lines = [
        markdown_line([first, *(c.heading for c in columns)]),
        markdown_line(["---", *("---:" for _ in columns)]),
    ]
    for section in sections:
        lines.append(markdown_line([f"**{section.heading}**", *("" for _ in columns)]))
        lines += [markdown_line([line.label, *map(_markdown_cell, line.cells)]) for line in section.lines]
    return "\n".join(lines) + "\n\n" + "\n\n".join(notes) + "\n"


def _markdown_cell(cell: Cell) -> str:
    mark = " †" if cell.scale_free else ""
    if not cell.small:
        return cell.text + mark
    return f"{cell.text}{mark} {cell.small}" if cell.small.startswith("±") else f"{cell.text}{mark} ({cell.small})"


def markdown_line(cells: Iterable[str]) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


# --- CSV: full precision, one model and seed per line -----------------------------------------------------------------


def summary_csv(results: Results) -> str:
    """Every scalar of every model and seed, with the vicinal quantities at λ = 0.5 and the intervals."""
    models = [(row, model) for row in results.rows for model in row.models]
    # The last two are mappings wherever they are not null; they stand in optional.csv.
    skipped = {"name", "arm", "teacher", "temperature", "seed", "validation", "mcnemar_versus_baseline"}
    scalars = _in_order(
        key for _, m in models for key, value in m.items() if key not in skipped and not isinstance(value, dict | list)
    )
    # A key that is null in one model and a structure in another is no scalar.
    scalars = [key for key in scalars if not any(isinstance(m.get(key), dict | list) for _, m in models)]
    bounded = _in_order(key for _, m in models for key in m.get("intervals") or {})
    told = [key for key in _ANSWERS if any(m.get("answers") for _, m in models)]
    tested = _in_order(key for _, m in models for key, test in (m.get("calibration_tests") or {}).items() if test)
    header = ["role", "name", "arm", "teacher", "temperature", "seed", "selection", *scalars, *told]
    header += [f"{key}_{what}" for key in tested for what in ("floor", "p_value")]
    header += [f"{key}_{side}" for key in bounded for side in ("lower", "upper")]
    header += [f"{quantity}_0.5" for quantity in QUANTITIES]
    header += [f"{quantity}{SCALED}_0.5" for quantity in QUANTITIES]
    header += ["linearity_gain_0.5", "kl_real", "kl_mixed", "independent_response"]
    lines = []
    for row, model in models:
        line = [*identity(row, model), results.selection, *(model.get(key) for key in scalars)]
        line += [(model.get("answers") or {}).get(key) for key in told]
        tests = model.get("calibration_tests") or {}
        line += [(tests.get(key) or {}).get(what) for key in tested for what in ("floor", "p_value")]
        line += [bound for key in bounded for bound in (model.get("intervals") or {}).get(key) or (None, None)]
        line += [at_half(model, quantity) for quantity in QUANTITIES]
        line += [at_half(model, quantity, "vicinity" + SCALED) for quantity in QUANTITIES]
        line += _comparison(model, None if row.is_teacher else row.teacher)
        lines.append(line)
    return csv_text(header, lines)


def vicinity_csv(results: Results) -> str:
    """The vicinal curves in long form: one line for each model, seed and λ, as measured and after temperature scaling."""
    header = ["role", "name", "arm", "teacher", "temperature", "seed", "selection", "temperature_scaled", "lam"]
    header += [name for quantity in QUANTITIES for name in (quantity, f"{quantity}_lower", f"{quantity}_upper")]
    lines = []
    for row in results.rows:
        for model in row.models:
            variants: tuple[tuple[bool, Any], ...] = (
                (False, model["vicinity"]),
                (True, model.get("vicinity" + SCALED)),
            )
            for scaled, curves in variants:
                for position, lam in enumerate(curves["lam"] if curves else ()):
                    line = [*identity(row, model), results.selection, scaled, lam]
                    for quantity in QUANTITIES:
                        bounds = (curves.get("intervals") or {}).get(quantity) or {}
                        line.append(curves[quantity][position])
                        line += [bounds[side][position] if side in bounds else None for side in ("lower", "upper")]
                    lines.append(line)
    return csv_text(header, lines)


def versus_teacher_csv(results: Results) -> str:
    """Linearity gain at λ = 0.5 and alignment of every student beside every teacher it was compared with."""
    header = [
        "name",
        "arm",
        "teacher",
        "temperature",
        "seed",
        "selection",
        "versus_teacher",
        "linearity_gain_0.5",
    ]
    header += ["kl_real", "kl_mixed", "independent_response"]
    lines = []
    for row in results.students:
        for model in row.models:
            own = [row.teacher] if row.teacher is not None else []
            for teacher in _in_order([*own, *(model.get("versus_teacher") or {})]):
                who = identity(row, model)[1:]
                lines.append([*who, results.selection, teacher, *_comparison(model, teacher)])
    return csv_text(header, lines)


def identity(row: Row, model: Model) -> list[Any]:
    """The first cells of a model's line in a CSV file: role, name, arm, teacher, temperature, seed."""
    role = "teacher" if row.is_teacher else "student"
    return [role, row.label, row.arm, None if row.is_teacher else row.teacher, row.temperature, model["seed"]]


def _comparison(model: Model, teacher: str | None) -> list[Any]:
    """Δ_lin(0.5), KL real, KL mixed and their difference beside a teacher; empty for none."""
    if teacher is None:
        return [None] * 4
    alignment = versus_teacher(model, teacher).get("alignment") or {}
    return [
        gain_at_half(model, teacher),
        *(alignment.get(key) for key in ("kl_real", "kl_mixed", "independent_response")),
    ]


def _in_order(keys: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(keys))


def csv_text(header: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    """A CSV file; None becomes an empty cell."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(map(inert_cell, line) for line in lines)
    return out.getvalue()
