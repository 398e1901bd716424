"""Which small network to train, where the user names none, and the weights that it starts from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from vicinal.data import Glance
from vicinal.errors import UsageError
from vicinal.networks import ModelFacts, hub_weights_at_hand, model_facts
from vicinal.recipes.practice import SMALL_SIDE

HALF = 0.5  # of the teacher's parameters, which a student has at most
TINY = "vicinal_mobilenet"  # of 31 k parameters, for images of about 28 px
TINY_SIDE = 36  # px; up to here timm's networks, which halve an image five times, have one pixel left
# By the teacher's family, largest first; then what suits any.
FAMILIES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"vicinal_", (TINY,)),
    (r"efficientnet|mobilenet|mnasnet|fbnet|lcnet|ghostnet", ("tf_efficientnet_lite0",)),
    (r"resnet|resnext|resnest|resnetv2|res2net|rexnet", ("resnet18", "resnet10t")),
    (r"convnext", ("convnext_atto",)),
    (r"regnet", ("regnety_004", "regnety_002")),
    (r"vit|deit|beit|eva", ("vit_tiny_patch16_224",)),
)
ANY = ("mobilenetv3_large_100", "mobilenetv3_small_100", "lcnet_050", "test_efficientnet", TINY)


@dataclass(frozen=True)
class Student:
    """The student's architecture and start, each with its reason."""

    facts: ModelFacts
    model_reason: str
    weights: str | None  # hub, a file, or None for a new network
    weights_reason: str


def choose_student(
    data: Glance, teacher: str, teacher_parameters: int | None, name: str | None = None, weights: str | None = None
) -> Student:
    """The student that is asked for, or a small one of the teacher's family.

    Args:
        teacher: its architecture; teacher_parameters: None where they are not known.
        weights: a file, `hub`, `none`, or None for the hub's where they can be had.

    Raises UsageError for an unknown name, or a file that is not there.
    """
    classes = len(data.class_names)
    if name is not None:
        facts, reason = model_facts(name, classes), f"as asked; {_millions(model_facts(name, classes).parameters)}"
    else:
        facts, reason = _chosen(data, teacher, teacher_parameters, classes)
    if weights is not None and weights not in ("hub", "none"):
        if not Path(weights).expanduser().is_file():
            raise UsageError(f"--student-weights {weights}: no such file; give a file, hub or none")
        return Student(facts, reason, weights, "as asked")
    if weights == "none":
        return Student(facts, reason, None, "it starts from nothing, as asked")
    if weights == "hub":
        if facts.hub_id is None:
            raise UsageError(f"--student-weights hub: the hub has no weights of {facts.name}; give a file or none")
        return Student(facts, reason, "hub", "as asked")
    if facts.hub_id is None:
        return Student(facts, reason, None, f"it starts from nothing: there are no weights of {facts.name} on the hub")
    if (data.short_side or 1000) <= SMALL_SIDE // 2:
        return Student(
            facts, reason, None, "it starts from nothing: weights of large photographs say little of images so small"
        )
    if hub_weights_at_hand(facts):
        return Student(
            facts, reason, "hub", f"fine-tuning needs fewer images and epochs (Kornblith et al. 2019): {facts.hub_id}"
        )
    return Student(
        facts,
        reason,
        None,
        f"it starts from nothing: {facts.hub_id} cannot be reached from here; with a copy of its weights give --student-weights FILE",
    )


def _chosen(data: Glance, teacher: str, teacher_parameters: int | None, classes: int) -> tuple[ModelFacts, str]:
    if (data.short_side or 1000) <= TINY_SIDE:
        facts = model_facts(TINY, classes)
        return facts, f"{_millions(facts.parameters)}, made for images of about 28 px; --student NAME takes another"
    family = teacher.rpartition(":")[2].rpartition("/")[2]
    own = next((names for pattern, names in FAMILIES if re.search(pattern, family)), ())
    for name in (*own, *ANY):
        facts = model_facts(name, classes)
        if teacher_parameters is None or facts.parameters <= HALF * teacher_parameters or name == ANY[-1]:
            break
    kind = "small and of its teacher's family" if facts.name in own else "small"
    beside = f", the teacher has {_millions(teacher_parameters)}" if teacher_parameters else ""
    return facts, f"{kind}: {_millions(facts.parameters)}{beside}; --student NAME takes another"


def _millions(parameters: int) -> str:
    return f"{parameters / 1e6:.3g} M parameters"
