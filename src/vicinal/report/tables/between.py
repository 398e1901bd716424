"""The tables between images: NL, D, I_lin, Δ_lin and KL on training and held-out pairs, as measured and after temperature scaling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from vicinal.claims import Number, infer
from vicinal.report.between import HELD_OUT, KINDS, by_class, curve_at_half, divergence, gain
from vicinal.report.rows import SCALED, Results, Row
from vicinal.report.tables.core import (
    ABSENT,
    SCALE_FREE_NOTE,
    Line,
    TableSection,
    csv_text,
    identity,
    interval_cell,
    interval_notes,
    sections_of,
    shown_markdown,
)

INFORMATION_NOTE = (
    "I_lin is the entropy of the two answers, mixed, less NL. Below 0, the answer on a mixed image is further from the mix of the two "
    "answers than that mix is uncertain: nothing is left of what a linear network would tell. Δ_lin > 0 alone does not make it larger."
)
SCALED_NOTE = (
    "“scaled”: the logits of each network divided by its fitted temperature. Where a difference is there as measured and gone after "
    "that, it is an effect of confidence scale."
)
CLASS_NOTE = (
    "Pairs of one class were drawn apart, since few random pairs are of one; those of two are among the random ones."
)
PLACES = {"": "training", HELD_OUT: "held-out"}
PAIRS = {
    "": "pairs of the students’ own training images",
    HELD_OUT: "pairs of test images, which no network was trained on",
}
BESIDE = ("gain", "kl_real", "kl_mixed")  # figures of a student beside a teacher


@dataclass(frozen=True)
class BetweenColumn:
    """One column: a figure of a row beside a teacher (or None), with its error."""

    key: str  # in the CSV file
    heading: str
    meaning: str
    number: Callable[[Results, Row, str | None], Number | None]
    signed: bool = False
    needs_scale: bool = True  # meaningless for a scale-free student

    def text(self, value: float) -> str:
        """A value as shown."""
        return f"{value:{'+' if self.signed else ''}.3f}".replace("-", "−")


SCALES = (("", "", ""), (SCALED, " scaled", ", after temperature scaling"))
QUANTITIES = (
    ("nonlinearity", "NL(½)", "non-linearity residual at λ = 0.5, nats", False),
    ("dominance", "D(½)", "dominance ratio at λ = 0.5", False),
    ("linearity_information", "I_lin(½)", "linearity information at λ = 0.5, nats", True),
    ("gain", "Δ_lin(½)", "linearity gain over the teacher at λ = 0.5, nats", True),
)


def main_columns(place: str) -> tuple[BetweenColumn, ...]:
    """NL, D, I_lin, Δ_lin, each as measured and after temperature scaling, and KL. Args: place: "" or `HELD_OUT`."""
    found = []
    for quantity, heading, meaning, signed in QUANTITIES:
        for scaled, word, after in SCALES:
            number = partial(_figure, quantity=quantity, scaled=scaled, place=place)
            key = f"{quantity}{scaled}_0.5"
            found.append(BetweenColumn(key, heading + word, meaning + after, number, signed, not scaled))
    for key, heading, images in (("kl_real", "KL real", "clean"), ("kl_mixed", "KL mixed", "mixed")):
        meaning = f"KL(teacher ‖ student) on {images} images, nats"
        found.append(BetweenColumn(key, heading, meaning, partial(_divergence, key=key, place=place)))
    return tuple(found)


def class_columns(place: str) -> tuple[BetweenColumn, ...]:
    """NL and D over the pairs of one class and of two. Args: place: "" or `HELD_OUT`."""
    found = []
    for quantity, heading, meaning, signed in QUANTITIES[:2]:
        for scaled, word, after in SCALES:
            for kind, pairs in zip(KINDS, ("one class", "two classes"), strict=True):
                number = partial(_by_class, kind=kind, quantity=quantity, scaled=scaled, place=place)
                words = f"{meaning}, pairs of {pairs}{after}"
                key = f"{quantity}_{kind}{scaled}_0.5"
                found.append(BetweenColumn(key, f"{heading}{word}, {pairs}", words, number, signed, not scaled))
    return tuple(found)


def _figure(results: Results, row: Row, teacher: str | None, quantity: str, scaled: str, place: str) -> Number | None:
    if quantity != "gain":
        return curve_at_half(results, row, quantity, scaled, place)
    return None if teacher is None else gain(results, row, teacher, scaled, place)


def _divergence(results: Results, row: Row, teacher: str | None, key: str, place: str) -> Number | None:
    return None if teacher is None else divergence(results, row, teacher, key, place=place)


def _by_class(
    results: Results, row: Row, _: str | None, kind: str, quantity: str, scaled: str, place: str
) -> Number | None:
    return by_class(results, row, kind, quantity, scaled, place)


@dataclass(frozen=True)
class BetweenTable:
    """One of the tables, as the page and the Markdown file show it."""

    name: str
    heading: str
    columns: tuple[BetweenColumn, ...]
    sections: tuple[TableSection, ...]
    notes: tuple[str, ...]
    folded: bool  # on the page

    def markdown(self) -> str:
        """The table with its heading and notes."""
        return f"**{self.heading}**\n\n{shown_markdown(self.columns, self.sections, self.notes)}"


def between_tables(results: Results) -> list[BetweenTable]:
    """The tables that the study has numbers for; columns without any are left out."""
    tables = []
    for place, word in PLACES.items():
        notes = [f"On {PAIRS[place]}, in both orders."]
        name = f"between_{place or 'training'}"
        tables.append(_table(results, name, f"Between {word} images", main_columns(place), notes, place != ""))
        notes.append(CLASS_NOTE)
        heading = f"Between {word} images of one class and of two"
        tables.append(_table(results, f"{name}_by_class", heading, class_columns(place), notes, True))
    return [table for table in tables if table.columns]


def _table(
    results: Results, name: str, heading: str, offered: tuple[BetweenColumn, ...], notes: list[str], folded: bool
) -> BetweenTable:
    sections = sections_of(results, lambda row, teacher: _line(results, row, teacher, offered))
    lines = [line for section in sections for line in section.lines]
    shown = [k for k in range(len(offered)) if any(line.cells[k].text != ABSENT for line in lines)]
    kept = tuple(
        TableSection(s.heading, tuple(Line(x.row, x.label, tuple(x.cells[k] for k in shown)) for x in s.lines))
        for s in sections
    )
    chosen = tuple(offered[k] for k in shown)
    said = [results.selection_sentence, *notes, *interval_notes(results)]
    said += [SCALED_NOTE] if any(not column.needs_scale for column in chosen) else []
    said += [INFORMATION_NOTE] if any(column.key.startswith("linearity_information") for column in chosen) else []
    if results.undistilled and len(results.teachers) > 1 and any(c.key.startswith(BESIDE) for c in chosen):
        said.append(
            "Δ_lin and KL of students without a teacher depend on the teacher: see the figures and tables/between.csv."
        )
    said += [SCALE_FREE_NOTE] if any(row.scale_free for row in results.rows) else []
    return BetweenTable(name, heading, chosen, kept, tuple(said), folded)


def _line(results: Results, row: Row, teacher: str | None, offered: tuple[BetweenColumn, ...]) -> Line:
    label = ("Teacher" if row.is_teacher else row.label) + (" †" if row.scale_free else "")
    cells = (
        interval_cell(results, column.number(results, row, teacher), column.text, row.scale_free and column.needs_scale)
        for column in offered
    )
    return Line(row, label, tuple(cells))


def between_markdown(results: Results) -> str:
    """All tables."""
    return "\n".join(table.markdown() for table in between_tables(results))


def between_csv(results: Results) -> str:
    """Long form with full precision: a line for each network, teacher that it is held against, place and quantity, over all seeds."""
    header = ["role", "name", "arm", "teacher", "temperature", "selection", "versus_teacher", "pairs", "quantity"]
    header += ["seeds", "value", "lower", "upper", "standard_error"]
    lines: list[list[Any]] = []
    for row in results.rows:
        who = identity(row, row.models[0])[:-1]
        for teacher in (None, *(() if row.is_teacher else (other.label for other in results.teachers))):
            for place in PLACES:
                # Figures of a network alone once, those beside a teacher for each.
                for column in (*main_columns(place), *class_columns(place)):
                    if column.key.startswith(BESIDE) == (teacher is None):
                        continue
                    number = column.number(results, row, teacher)
                    if number is not None:
                        start = [*who, results.selection, teacher, place or "training", column.key]
                        lines.append([*start, *_csv_cells(number)])
    return csv_text(header, lines)


def _csv_cells(number: Number) -> list[Any]:
    """Seeds, value, interval and standard error."""
    found = infer(number)
    bounds = (None, None) if found is None else found.interval
    return [len(number.by_seed), number.value, *bounds, None if found is None else found.error]
