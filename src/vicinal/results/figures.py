"""What is measured of one network, of a study or taken as it is: the part of its entry that says nothing of a training.

Shapes: K classes. All on test images, but for the pairs.
"""

from __future__ import annotations

from pydantic import Field

from vicinal.results.base import Bounds, Number, Part
from vicinal.results.measures import (
    Answers,
    CalibrationTests,
    ClassCalibration,
    Reliability,
    ScalarIntervals,
    ScoreParts,
    Selective,
    Validation,
)


class ImageFigures(Part):
    """All that is measured of a network on single images."""

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
