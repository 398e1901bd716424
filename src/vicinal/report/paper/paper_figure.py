"""A figure by the paper's number, and what several of them share."""

from __future__ import annotations

from dataclasses import dataclass

from vicinal.report.figures import (
    ARM_SLOTS,
    MARKERS,
    FigureSet,
    Key,
)
from vicinal.report.paper.cells import (
    main_student,
    main_temperature_note,
    teacher_label,
    value_notes,
)
from vicinal.report.paper.table import PaperTable
from vicinal.report.rows import Results, Row


@dataclass(frozen=True)
class PaperFigure:
    """One figure of the paper from this study: without a drawing `missing` says what it needs."""

    number: int
    title: str
    figure: FigureSet | None = None
    numbers: PaperTable | None = None  # what the paper gives as numbers in this figure, beside this study's
    missing: tuple[str, ...] = ()
    repeats: bool = False  # curves that the report shows further up as well
    foreign: str = ""  # the SVG of another command's figure, as found in the study folder

    @property
    def name(self) -> str:
        """Of its files."""
        return f"figure{self.number}"

    @property
    def is_drawn(self) -> bool:
        """Whether there is a drawing of it."""
        return self.figure is not None or bool(self.foreign)


def keys_of_teachers(results: Results) -> dict[Row, Key]:
    """A colour and a marker for each teacher; a dashed line for one trained with mixup."""
    return {
        teacher: Key(
            teacher_label(teacher),
            f"arm-{1 + k % ARM_SLOTS}",
            dash="5 2" if teacher.trained_with_mixup else "",
            marker=MARKERS[k % len(MARKERS)],
            width=1.6,
        )
        for k, teacher in enumerate(results.teachers)
    }


def main_students(results: Results) -> list[tuple[Row, Row]]:
    """Every teacher that has a KD + mixup student, and that student."""
    pairs = [(teacher, main_student(results, teacher)) for teacher in results.teachers]
    return [(teacher, student) for teacher, student in pairs if student is not None]


def figure_notes(results: Results, of: str) -> tuple[str, ...]:
    """How the numbers beside a figure came about; `of`: what was resampled."""
    return (*value_notes(results, of), *main_temperature_note(results))
