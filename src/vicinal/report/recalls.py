"""The recall of each class, of one network, as counts of images; and whether the classes of a study are of unequal size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from vicinal.report.degenerate import answers_of, class_name
from vicinal.report.fitness import Recall
from vicinal.report.rows import Model, Results

Split = Literal["train", "validation", "test"]
UNEQUAL = 1.5  # largest class over smallest, from which classes are called unequal


def images_by_class(results: Results, split: Split) -> list[int] | None:
    """Images of each class in a split; None where an older version did not store it, or the split has none."""
    found = (results.data.get("images_by_class") or {}).get(split)
    if found and any(found):
        return [int(count) for count in found]
    if split == "test":  # what an older version stored of it
        for row in results.rows:
            for model in row.models:
                if counts := (model.get("class_calibration") or {}).get("images"):
                    return [int(count) for count in counts]
    return None


def test_recalls(results: Results, model: Model) -> list[Recall]:
    """Of one network on the test images; empty where it, or the number of images, was not stored."""
    return _recalls(results, answers_of(model).get("class_accuracy"), "test")


def validation_recalls(results: Results, model: Model) -> list[Recall]:
    """Of one network on the validation images; empty where they were not stored."""
    return _recalls(results, (model.get("validation") or {}).get("class_accuracy"), "validation")


def _recalls(results: Results, values: Sequence[float | None] | None, split: Split) -> list[Recall]:
    counts = images_by_class(results, split)
    if not values or counts is None or len(counts) != len(values):
        return []
    return [
        Recall(class_name(results, k), round((value or 0.0) * counts[k]), counts[k]) for k, value in enumerate(values)
    ]


def classes_are_unequal(results: Results, split: Split = "test") -> bool:
    """Whether a split's largest class has more than `UNEQUAL` times the images of its smallest."""
    counts = images_by_class(results, split)
    return counts is not None and max(counts) > UNEQUAL * min(counts)


def balanced_of(model: Model) -> float | None:
    """The mean recall over the classes of one network on the test images; None where it was not stored."""
    found = model.get("accuracy_balanced")
    found = answers_of(model).get("balanced_accuracy") if found is None else found
    return None if found is None else float(found)
