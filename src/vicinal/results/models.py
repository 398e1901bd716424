"""The entries of results.json: a teacher, a student, and what both are and are measured by."""

from __future__ import annotations

from pydantic import Field

from vicinal.config import Objective, Temperature
from vicinal.results.base import Bounds, Number, Part
from vicinal.results.figures import ImageFigures
from vicinal.results.measures import (
    Alignment,
    ByClass,
    Corruption,
    Information,
    McNemar,
    OnPairs,
    Representation,
    StudentMinusBaseline,
    StudentVersusTeacher,
    VicinalCurves,
)


class History(Part):
    """A training along its epochs, the head's warm-up left out."""

    epoch: list[int]
    loss: list[Number] = Field(description="mean training loss of the epoch, nats")
    selection_accuracy: list[Number] = Field(description="fraction; null in epochs after which nobody looked")
    selection_loss: list[Number] | None = Field(
        None, description="nats; null as selection_accuracy, and in older trainings"
    )


class Model(ImageFigures):
    """One trained network: how it was trained and all that is measured of it on test images and pairs."""

    seed: int
    run: str | None = Field(None, description="its folder in runs/")
    model: str | None = Field(None, description="the network's name in timm")
    head: str | None = None
    epochs: int | None = None
    objective: Objective | None = Field(None, description="what it was trained on")
    history: History | None = None
    parameters: int | None = Field(None, description="numbers that training may change")
    forward_flops: int | None = Field(None, description="multiplications and additions of a forward pass of one image")
    weights_bytes: int | None = Field(None, description="of its weights file")
    predicted_per_second: float | None = Field(
        None, description="images, on this study's device in batches; an estimate from a few passes, not a benchmark"
    )
    train_images: int | None = Field(None, description="of which it was trained")
    selected_epoch: int | None = Field(None, description="that it is taken after")
    training_s: float | None = Field(None, description="seconds")
    images_per_second: float | None = Field(None, description="null where nothing was trained")
    precision: str | None = Field(None, description="of its training: fp32 or bf16; null where it was not trained")
    teacher_precision: str | None = Field(None, description="of its teacher's answers; null without a teacher")

    without_partner: float | None = Field(
        None,
        description="share of an epoch's images that were left unmixed since none of the class asked for was in their batch; null "
        "where any image may be mixed in",
    )

    information: Information | None = None
    vicinity: VicinalCurves
    vicinity_after_temperature_scaling: VicinalCurves | None = None
    by_class: ByClass | None = Field(None, description="null where the classes of the images in pairs are not known")
    by_class_after_temperature_scaling: ByClass | None = None
    held_out: OnPairs | None = Field(None, description="on pairs of test images; null without two")

    corruptions: dict[str, Corruption] | None = Field(None, description="by corruption, where they are measured")
    representation: Representation | None = Field(None, description="where it is measured")
    ood_auroc: dict[str, float] | None = Field(
        None,
        description="by the other data set's name, where it is measured: the probability that a test image gets a higher confidence "
        "than one of the other set; 0.5 is chance",
    )


class Teacher(Model):
    """A teacher of one seed."""

    name: str
    ensemble: list[str] | None = Field(
        None, description="the teachers whose mean probability it is; null for a single one"
    )
    logit_scale: float | None = Field(
        None,
        description="that its answers are multiplied by, as students get them and all is measured; null in older results: 1",
    )


class Student(Model):
    """A student: an arm, with the teacher it learns from, at one temperature and seed."""

    arm: str
    budget: float | None = Field(
        None,
        description="multiple of the study's epochs that it was trained for; null in older results: 1",
    )
    teacher: str | None = Field(description="null for an arm that uses none, as below")
    temperature: Temperature | None
    linearity_gain: list[Number] | None = Field(None, description="against its own teacher, as in versus_teacher")
    linearity_gain_interval: Bounds | None = None
    linearity_gain_after_temperature_scaling: list[Number] | None = None
    linearity_gain_after_temperature_scaling_interval: Bounds | None = None
    alignment: Alignment | None = None
    alignment_after_temperature_scaling: Alignment | None = None
    versus_teacher: dict[str, StudentVersusTeacher] | None = Field(
        None, description="by name: against every teacher of its seed, also those that it never learned from"
    )
    minus_baseline: StudentMinusBaseline | None = Field(
        None, description="null for the baseline itself, and without one"
    )
    mcnemar_versus_baseline: McNemar | None = Field(None, description="as minus_baseline")
