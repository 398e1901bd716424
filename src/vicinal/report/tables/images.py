"""The table "Images by class": how many images each class has in each split, and how often they are recognised.

Recalls are of the selected student and its teacher.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from vicinal.report.degenerate import class_name, percent
from vicinal.report.evidence import teacher_of
from vicinal.report.findings import best_seed, choose
from vicinal.report.fitness import Recall, wilson
from vicinal.report.recalls import Split, classes_are_unequal, images_by_class, test_recalls
from vicinal.report.rows import Model, Results
from vicinal.report.tables.core import ABSENT, Cell, Column, Line, TableSection, csv_text, shown_markdown

SPLITS: tuple[Split, ...] = get_args(Split)
_HEADINGS: dict[Split, str] = {"train": "Training", "validation": "Validation", "test": "Test"}
MOST_SHOWN = 24  # classes; of more the largest and the smallest half of so many
MOVED = 0.05  # difference of a class's shares of training and of test images that is told


def images_context(results: Results) -> dict[str, Any] | None:
    """The table as the page shows it; None where an older version did not store the counts."""
    counts = _counts(results)
    if not counts:
        return None
    shown = _networks(results)
    return {
        "columns": _columns(counts, shown),
        "sections": _sections(results, counts, shown),
        "notes": _notes(results, counts, shown),
    }


def images_markdown(results: Results) -> str | None:
    """The table in Markdown; None as `images_context`."""
    counts = _counts(results)
    if not counts:
        return None
    shown = _networks(results)
    sections, notes = _sections(results, counts, shown), _notes(results, counts, shown)
    return shown_markdown(_columns(counts, shown), sections, notes, "Class")


def images_csv(results: Results) -> str | None:
    """Every class with its images in each split; None as `images_context`."""
    counts = _counts(results)
    if not counts:
        return None
    names, classes = results.data.get("class_names") or [], len(next(iter(counts.values())))
    lines = [
        [names[k] if k < len(names) else k, results.selection, *(counts[split][k] if split in counts else None for split in SPLITS)]
        for k in range(classes)
    ]  # fmt: skip
    return csv_text(["class", "selection", *SPLITS], lines)


def _counts(results: Results) -> dict[Split, list[int]]:
    if not results.data.get("images_by_class"):
        return {}
    found = {split: counts for split in SPLITS if (counts := images_by_class(results, split)) is not None}
    return found if len({len(counts) for counts in found.values()}) == 1 else {}


def _networks(results: Results) -> list[tuple[str, list[Recall]]]:
    """The selected student and its teacher, as shown, with their recalls; where no student is selected, every teacher of one seed."""
    choice = choose(results)
    found: list[tuple[str, Model]] = []
    if choice is not None:
        model = best_seed(choice.row, results)
        found.append((choice.row.label, model))
        teacher = teacher_of(results, choice.row.teacher, model) if choice.row.teacher else None
        found += [(f"teacher {choice.row.teacher}", teacher)] if teacher is not None else []
    elif not results.students:
        found += [(row.label, row.models[0]) for row in results.teachers[:2] if len(row.models) == 1]
    known = [(name, test_recalls(results, model)) for name, model in found]
    return [(name, recalls) for name, recalls in known if recalls]


def _columns(counts: dict[Split, list[int]], shown: Sequence[tuple[str, list[Recall]]]) -> tuple[Column, ...]:
    images = [
        Column(f"{_HEADINGS[split]} images", f"{_HEADINGS[split].lower()} images of the class, and its share of them", _nothing)
        for split in counts
    ]  # fmt: skip
    recalls = [
        Column(f"Recall %, {name}", "share of the class’s test images that it recognises", _nothing)
        for name, _ in shown
    ]
    return (*images, *recalls)


def _nothing(*_: object) -> None:
    """Cells are made class by class, not network by network."""


def _sections(
    results: Results, counts: dict[Split, list[int]], shown: Sequence[tuple[str, list[Recall]]]
) -> list[TableSection]:
    first = next(iter(counts.values()))
    order = sorted(range(len(first)), key=lambda k: -first[k]) if len(first) > MOST_SHOWN else list(range(len(first)))
    if len(order) <= MOST_SHOWN:
        return [TableSection("All classes", tuple(_line(results, counts, shown, k) for k in order))]
    half = MOST_SHOWN // 2
    return [
        TableSection(f"The {half} largest", tuple(_line(results, counts, shown, k) for k in order[:half])),
        TableSection(f"The {half} smallest", tuple(_line(results, counts, shown, k) for k in order[-half:])),
    ]


def _line(results: Results, counts: dict[Split, list[int]], shown: Sequence[tuple[str, list[Recall]]], k: int) -> Line:
    cells = [Cell(f"{own[k]:,}", percent(own[k] / sum(own))) if sum(own) else Cell(ABSENT) for own in counts.values()]
    for _, recalls in shown:
        one = recalls[k]
        low, high = wilson(one.right, one.images, results.confidence_level)
        range_ = f"{100 * low:.1f} to {100 * high:.1f}"
        cells.append(Cell(f"{100 * one.value:.1f}", range_) if one.images else Cell(ABSENT))
    return Line(None, class_name(results, k).strip("“”"), tuple(cells))


def _notes(results: Results, counts: dict[Split, list[int]], shown: Sequence[tuple[str, list[Recall]]]) -> list[str]:
    notes = []
    for split, own in counts.items():
        if classes_are_unequal(results, split):
            most, least = (chosen(range(len(own)), key=own.__getitem__) for chosen in (max, min))
            times = f"{own[most] / own[least]:.1f} times" if own[least] else "all, beside none,"
            notes.append(
                f"{_HEADINGS[split]} images are unequal: {class_name(results, most)} has {times} those of {class_name(results, least)} "
                f"({own[most]:,} and {own[least]:,})."
            )
    if classes_are_unequal(results):
        notes.append(
            "So accuracy is above all that of the large classes; balanced accuracy, the mean recall over the classes, counts each "
            "the same."
        )
    notes += _moved(results, counts)
    notes = notes or ["Classes are of about equal size in every split."]
    if shown:
        notes.append(
            f"Recall: Wilson’s {results.coverage} intervals over the class’s test images, of each network alone."
        )
    return [results.selection_sentence, *notes]


def _moved(results: Results, counts: dict[Split, list[int]]) -> list[str]:
    """That a class is a larger share of one split than of the other."""
    train, test = counts.get("train"), counts.get("test")
    if train is None or test is None:
        return []
    shares = [(own / sum(train), other / sum(test)) for own, other in zip(train, test, strict=True)]
    k = max(range(len(shares)), key=lambda k: abs(shares[k][0] - shares[k][1]))
    here, there = shares[k]
    if abs(here - there) < MOVED:
        return []
    return [
        f"{class_name(results, k)} is {percent(here)} of the training images and {percent(there)} of the test images: the two were not "
        "drawn alike, so figures here are those of the test images’ shares."
    ]
