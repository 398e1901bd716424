"""`vicinal init`: a commented study file for a data folder and a teacher."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vicinal.config import DataSpec
from vicinal.data import Glance, glance
from vicinal.errors import UsageError
from vicinal.recipes.decide import sheet_of, study_name
from vicinal.recipes.practice import SMALL_SIDE
from vicinal.recipes.sheet import Sheet
from vicinal.recipes.students import TINY_SIDE, choose_student
from vicinal.recipes.teachers import Teacher, look_at_teacher
from vicinal.version import __version__
from vicinal.workspace import write_atomically

DEFAULT_TEACHER = "tf_efficientnetv2_s"
SMALL_TEACHER = "vicinal_resnet8"  # trained from the start on images of about 28 px


def write_study(
    data: str, teacher: str | None, student: str | None, student_weights: str | None, out: Path, force: bool = False
) -> Sheet:
    """Write a study file with every choice and its reason; nothing is trained.

    Raises UsageError where data or teacher cannot be used, or the file is there and `force` is not given.
    """
    check_file(out, force)
    seen = glance(DataSpec(source=data, on_error="skip"))
    sheet = new_sheet(seen, teacher, student, student_weights, study_name(data), _head(seen, out), ())
    sheet.spec(str(out))
    write_atomically(out, sheet.text())
    return sheet


def check_file(out: Path, force: bool) -> None:
    """UsageError where the study file cannot be written."""
    if out.is_dir():
        raise UsageError(f"{out} is a folder; give a file with --out")
    if out.exists() and not force:
        raise UsageError(f"{out} is there already; --force writes it anew, --out FILE writes another")


def new_sheet(
    seen: Glance,
    teacher: str | None,
    student: str | None,
    student_weights: str | None,
    name: str,
    head: Sequence[str],
    overrides: Sequence[str],
) -> Sheet:
    """Look at teacher and student and decide everything that needs no clock."""
    found = look_at_teacher(teacher, seen.class_names, 1 if seen.grey else 3) if teacher else _default_teacher(seen)
    chosen = choose_student(seen, str(found.keys["model"]), found.parameters, student, student_weights)
    return sheet_of(seen, found, chosen, name, head, overrides)


def _default_teacher(seen: Glance) -> Teacher:
    """One to train, where the user names none."""
    if (seen.short_side or 1000) <= TINY_SIDE:
        reasons = {"model": "no teacher was given: a small network for images of about 28 px, trained here first"}
        return Teacher({"model": SMALL_TEACHER}, reasons, False, "it starts from nothing", 308_074)
    small = "" if (seen.short_side or 1000) > SMALL_SIDE else "; your images are small for it"
    reasons = {"model": f"no teacher was given: ImageNet weights from the hub, fine-tuned here first{small}"}
    keys = {"model": DEFAULT_TEACHER, "weights": "hub"}
    return Teacher(keys, reasons, False, "its head is ImageNet's", 21_458_488)


def _head(seen: Glance, out: Path) -> list[str]:
    sides, colours = sorted(min(size) for size in seen.sizes), "without colours, " * seen.grey
    sizes = "of unknown size"
    if sides:
        sizes = (
            f"of {sides[0]} px"
            if sides[0] == sides[-1]
            else f"of {sides[0]} to {sides[-1]} px, {seen.short_side} in the middle"
        )
    return [
        f"By vicinal {__version__} for {seen.source}: {len(seen.class_names)} classes, images {colours}{sizes} (shorter side).",
        f"vicinal plan {out} says what it takes, vicinal run {out} runs it; any key can be changed here or on the command line.",
    ]
