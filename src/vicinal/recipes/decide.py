"""The study that a careful engineer would write for a data folder, a teacher and a student: a sheet of values with reasons."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from vicinal.data import Glance
from vicinal.networks import model_facts
from vicinal.recipes import practice
from vicinal.recipes.practice import Choice
from vicinal.recipes.sheet import Sheet
from vicinal.recipes.students import Student
from vicinal.recipes.teachers import Teacher
from vicinal.workspace import printable

TEACHER = "teacher"  # its name in the study
VALIDATION = 0.1  # default share of a study, which stands where the source has a validation split
PAIRS, LAM_POINTS = 250, 11
FULL_ARMS = ["baseline", "kd", {"name": "kd_mixup", "temperature": [2, 4]}]
ARMS_REASON = (
    "baseline and KD as controls; KD + mixup at two temperatures (T = 2 had the lowest NLL in docs/results/temperature)"
)


def sheet_of(
    data: Glance, teacher: Teacher, student: Student, name: str, head: Sequence[str], overrides: Sequence[str]
) -> Sheet:
    """Every key of the study; `student.epochs`, `seeds` and `arms` as they are without a limit of time.

    Raises UsageError for an override that is none.
    """
    sheet = Sheet(head)
    sheet.values = {"name": name}
    sheet.put("title", f"{student.facts.name} learns from {teacher.keys['model']} on {Path(data.name).name}"[:900])
    _put_data(sheet, data, teacher, student)
    sheet.override(
        [text for text in overrides if text.startswith("data.")]
    )  # what follows goes by the side and the number of images
    train = _training_images(data, sheet)
    side = sheet.values["data"]["image_size"]
    _put_teacher(sheet, data, teacher, side, train)
    _put_student(sheet, data, student, side, train)
    sheet.put("arms", FULL_ARMS, ARMS_REASON)
    sheet.put(
        "seeds", [0, 1, 2], "three students of each arm: what differs between arms is told from chance over seeds"
    )
    sheet.put("teacher_seed", 0, "one teacher for all of them")
    sheet.put(
        "selection",
        "last",
        "one cycle ends at its lowest rate; which arm is taken is chosen on validation images by the report",
    )
    sheet.put(
        "measures.vicinity",
        {"pairs": PAIRS, "lam_points": LAM_POINTS},
        "enough for NL, H and D; 1000 pairs halve their intervals",
    )
    sheet.override(overrides)
    return sheet


def _put_data(sheet: Sheet, data: Glance, teacher: Teacher, student: Student) -> None:
    seen = ", ".join(f"{count:,} {role}" for role, count in data.images.items())
    least, most = _extremes(data)
    sheet.put(
        "data.source",
        data.source,
        f"{len(data.class_names)} classes; {seen} images; of a class {least:,} to {most:,} training images",
    )
    if data.natural_differs:
        order = "natural" if teacher.natural_order else "text"
        why = (
            "as timm, which trained the teacher, numbers class folders"
            if teacher.natural_order
            else "class folders by name, as text"
        )
        sheet.put("data.class_order", order, why)
    size = practice.image_size(data, student.facts)
    sheet.put("data.image_size", size.value, size.reason)
    if "validation" not in data.images or "test" not in data.images:
        images = data.images["train"]
        share = practice.validation_share(images)
        sheet.put("data.validation", share.value, f"share of the training images: {share.reason}")
    if "test" not in data.images and "validation" not in data.images:
        sheet.put("data.test", 0.2, "the source has no test images: a fifth is cut off, and nothing is chosen on it")
    sheet.put(
        "data.on_error",
        "skip",
        "images that cannot be read are left out and counted in the report; raise lists them and stops",
    )


def _put_teacher(sheet: Sheet, data: Glance, teacher: Teacher, side: int, train: int) -> None:
    def put(key: str, value: object, reason: str = "") -> None:
        sheet.put(f"teachers.{TEACHER}.{key}", value, reason)

    for key, value in teacher.keys.items():
        put(key, value, teacher.reasons.get(key, ""))
    if teacher.keeps:
        put("head", "keep", f"it teaches as it is: {teacher.why}")
        put("epochs", 0)
        return
    put("head", "linear", f"it is trained first, with a new head: {_clause(teacher.why)}")
    facts, pretrained = model_facts(str(teacher.keys["model"]), len(data.class_names)), "weights" in teacher.keys
    if facts.image_size and "image_size" not in teacher.keys and facts.image_size > side:
        put("image_size", facts.image_size, "side in px that it was made for: images are enlarged to it inside")
    _put_choice(sheet, f"teachers.{TEACHER}.augment", practice.augment(data, side))
    batch = practice.batch_size(train)
    _put_choice(sheet, f"teachers.{TEACHER}.epochs", practice.teacher_epochs(train, int(str(batch.value)), pretrained))
    _put_choice(sheet, f"teachers.{TEACHER}.batch_size", batch)
    rate = practice.teacher_learning_rate(facts) if pretrained else practice.learning_rate(facts, False)
    _put_choice(sheet, f"teachers.{TEACHER}.lr", rate)


def _put_student(sheet: Sheet, data: Glance, student: Student, side: int, train: int) -> None:
    sheet.put("student.model", student.facts.name, student.model_reason)
    if student.weights is not None:
        sheet.put("student.weights", student.weights, student.weights_reason)
    else:
        sheet.reasons["student.model"] += f"; {student.weights_reason}"
    _put_choice(sheet, "student.augment", practice.augment(data, side))
    batch, pretrained = practice.batch_size(train), student.weights is not None
    epochs = practice.good_epochs(train, int(str(batch.value)), pretrained)
    updates = practice.UPDATES_FINE_TUNED if pretrained else practice.UPDATES_NEW
    sheet.put("student.epochs", epochs, f"about {updates:,} updates; longer is better as a rule (Beyer et al. 2022)")
    _put_choice(sheet, "student.batch_size", batch)
    _put_choice(sheet, "student.lr", practice.learning_rate(student.facts, pretrained))
    sheet.put("student.weight_decay", 0.01, "AdamW's own default (Loshchilov & Hutter 2019)")


def _put_choice(sheet: Sheet, key: str, choice: Choice) -> None:
    sheet.put(key, choice.value, choice.reason)


def _extremes(data: Glance) -> tuple[int, int]:
    return min(data.counts["train"]), max(data.counts["train"])


def _training_images(data: Glance, sheet: Sheet) -> int:
    """About how many are left to train on."""
    images = data.images["train"]
    own = sheet.values["data"]
    images = min(images, int(own.get("train_images") or images))
    return max(1, int(images * (1 - float(own.get("test", 0))) * (1 - float(own.get("validation", 0)))))


def _clause(text: str) -> str:
    return printable(text if len(text) <= 240 else f"{text[:237]}...")


def study_name(source: str) -> str:
    """A study's name from that of its data: the end of its path, of letters that a name may have."""
    slug = re.sub(r"[^A-Za-z0-9_.+-]+", "-", Path(source).name or "data").strip("-.+_")[:40]
    return slug or "data"
