"""A table by the paper's number: columns, rows, values over seeds, as CSV and Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vicinal.report.rows import mean_and_spread
from vicinal.report.tables import ABSENT, csv_text, markdown_line

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
        """A value as shown."""
        return self.difference_text(value) if self.signed else f"{value:.{self.digits}f}".replace("-", "−")

    def difference_text(self, value: float) -> str:
        """A signed value as shown."""
        rounded = round(value, self.digits)
        # What rounds to nothing has no sign.
        return (f"{rounded:+.{self.digits}f}" if rounded else f"{0:.{self.digits}f}").replace("-", "−")


@dataclass(frozen=True)
class SeedValue:
    """A value of one seed with its interval over test images or pairs, where one was stored."""

    seed: int
    value: float
    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True)
class Value:
    """One cell: the values of all seeds, the paper's value, and whether it may be read at all."""

    seeds: tuple[SeedValue, ...]
    paper: float | None = None
    scale_free: bool = False  # depends on the scale of logits that have none of their own
    best: bool = False  # of its column's comparison, where the paper marks it
    known: Bounds | None = None  # its interval over seeds and images, by the comparator

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
        """The comparator's, where it was asked; else the stored one of one seed."""
        if self.known is not None:
            return self.known
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
    """One table of the paper from this study. Without rows the study has no data for it, and `missing` says what it needs;
    with rows `missing` says which of the paper's are not here."""

    number: (
        int | None
    )  # None for the layout of tables 2 to 4 on data that the paper does not have, and for a figure's numbers
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
        """The number and the title."""
        return f"Table {self.number}: {self.title}" if self.number else self.title

    @property
    def shown(self) -> tuple[Quantity, ...]:
        """The columns that stand on the page; the others are in the CSV file only."""
        return tuple(column for column in self.columns if not column.csv_only)

    @property
    def has_paper(self) -> bool:
        """Whether any value of the paper stands beside this study's."""
        return any(value.paper is not None for row in self.rows for value in row.cells.values())

    def csv(self, selection: str) -> str:
        """Long form with full digits: one line for each cell over all seeds, then, of several seeds, one for each."""
        header = [plain_heading(label) for label in self.labels]
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
        head = [*self.labels, *(with_unit(column) for column in self.shown)]
        lines = [f"**{self.heading}**", "", markdown_line(head)]
        lines.append(markdown_line([*("---" for _ in self.labels), *("---:" for _ in self.shown)]))
        lines += [
            markdown_line([*row.labels, *(self._markdown_cell(row, column) for column in self.shown)])
            for row in self.rows
        ]
        lines += ["", *(f"{note}\n" for note in (*self.notes, *self.setting, *self.missing_note()))]
        return "\n".join(lines).rstrip("\n") + "\n"

    def _markdown_cell(self, row: TableRow, column: Quantity) -> str:
        value = row.cells.get(column.key)
        if value is None:
            return ABSENT
        text = column.text(value.mean) + (" †" if value.scale_free else "")
        text = f"**{text}**" if value.best else text
        parts = [part for part in (spread_text(value, column), paper_text(value, column)) if part]
        return f"{text} ({'; '.join(parts)})" if parts else text

    def missing_note(self) -> list[str]:
        """The note on what the study does not have, if there is anything."""
        return [f"Not in this study: {'; '.join(self.missing)}."] if self.missing else []


def spread_text(value: Value, column: Quantity) -> str:
    """The interval, or ± the spread over seeds, or nothing."""
    if value.interval is None:
        return "" if value.spread is None else f"± {value.spread:.{column.digits}f}"
    low, high = map(column.text, value.interval)
    return f"{low} to {high}" if column.signed else f"{low}–{high}"


def paper_text(value: Value, column: Quantity) -> str:
    """The paper's value and the difference to it, or nothing."""
    if value.paper is None or value.difference is None:
        return ""
    return f"paper {column.text(value.paper)}, {column.difference_text(value.difference)}"


def with_unit(column: Quantity) -> str:
    """The heading of a column with its unit."""
    return f"{column.heading}{f', {column.unit}' if column.unit else ''}"


def plain_heading(text: str) -> str:
    """A heading as the head of a CSV column."""
    return text.lower().replace(" ", "_")
