"""The entries of results.json: a teacher, a student, and what both are and are measured by."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vicinal.config import Objective
from vicinal.results.base import Bounds, Number, Part
from vicinal.results.measures import (
    Alignment,
    Answers,
    ByClass,
    CalibrationTests,
    ClassCalibration,
    Corruption,
    Information,
    McNemar,
    OnPairs,
    Reliability,
    Representation,
    ScalarIntervals,
    ScoreParts,
    Selective,
    StudentMinusBaseline,
    StudentVersusTeacher,
    Validation,
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


class Model(Part):
    """One trained network: how it was trained and all that is measured of it on test images and pairs."""

    seed: int
    run: str | None = Field(None, description="its folder in runs/")
    model: str | None = Field(None, description="the network's name in timm")
    head: str | None = None
    epochs: int | None = None
    objective: Objective | None = Field(None, description="what it was trained on")
    history: History | None = None
    parameters: int | None = Field(None, description="numbers that training may change")
    train_images: int | None = Field(None, description="of which it was trained")
    selected_epoch: int | None = Field(None, description="that it is taken after")
    training_s: float | None = Field(None, description="seconds")
    images_per_second: float | None = Field(None, description="null where nothing was trained")
    teacher_precision: str | None = Field(None, description="of its teacher's answers; null without a teacher")

    accuracy: float = Field(description="fraction of test images")
    accuracy_balanced: float | None = Field(
        None, description="mean of recall_by_class over the classes with test images"
    )
    accuracy_top5: float | None = Field(
        None, description="fraction whose class is among the five likeliest; null for five classes or fewer"
    )
    recall_by_class: list[Number] | None = Field(
        None, description="(K,) fraction of a class's test images classified correctly; null without images"
    )
    recall_by_class_interval: Bounds | None = Field(None, description="Wilson's, (K,) each; each class for itself")
    confidence: float = Field(description="mean probability of the predicted class")
    ece: float = Field(description="expected calibration error, bins of equal width, fraction")
    ece_equal_mass: float | None = Field(None, description="the same, bins of equally many images")
    nll: float = Field(description="negative log-likelihood, nats")
    brier: float = Field(description="Brier score, in [0, 2]")
    squared_calibration_error: float | None = Field(
        None,
        description="squared ℓ2 calibration error in bins of equal mass, without the bias of noise; below 0 by chance",
    )
    rms_calibration_error: float | None = Field(None, description="its root, 0 where it is below 0; fraction")
    calibration_tests: CalibrationTests | None = Field(None, description="each ECE held against noise")
    reliability: Reliability
    intervals: ScalarIntervals | None = None
    scale_free: bool = Field(
        False, description="whether the scale of its logits is arbitrary: trained on a sigma temperature alone"
    )
    fitted_temperature: float | None = Field(
        None, description="by NLL on the validation images; null where none is best, and then so is every scaled key"
    )
    no_fitted_temperature: str | None = Field(None, description="why fitted_temperature is null")
    confidence_after_temperature_scaling: float | None = None
    ece_after_temperature_scaling: float | None = None
    ece_equal_mass_after_temperature_scaling: float | None = None
    nll_after_temperature_scaling: float | None = None
    brier_after_temperature_scaling: float | None = None
    squared_calibration_error_after_temperature_scaling: float | None = None
    rms_calibration_error_after_temperature_scaling: float | None = None
    reliability_after_temperature_scaling: Reliability | None = None
    brier_parts: ScoreParts | None = Field(None, description="null without a fitted temperature")
    nll_parts: ScoreParts | None = Field(None, description="nats; null without a fitted temperature")
    answers: Answers | None = None
    classwise_ece: float | None = Field(None, description="mean over classes of the ECE of 'is it this class?'")
    class_calibration: ClassCalibration | None = Field(None, description="what classwise_ece is the mean of")
    selective: Selective | None = None
    validation: Validation | None = Field(None, description="null without validation images")
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
    temperature: float | Literal["sigma", "teacher_sigma"] | None
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
