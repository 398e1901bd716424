"""measurement.json: classifiers measured as they are on one set of images, side by side where there are several; no torch.

Shapes: N images, K classes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError

from vicinal.errors import UsageError
from vicinal.results.base import Number, Pair, Part
from vicinal.results.figures import ImageFigures
from vicinal.results.files import first_problem
from vicinal.results.measures import ByClass, Information, McNemar, VicinalCurves
from vicinal.results.study import Environment
from vicinal.version import __version__
from vicinal.workspace import Seal, mapping_seal, write_sealed_json

MEASUREMENT_FILE = "measurement.json"
MEASUREMENT_SCHEMA = 1
Form = TypeVar("Form", bound=Part)


class MeasuredData(Part):
    """The images that are measured."""

    name: str
    source: str
    content_hash: str = Field(description="of pixels and labels, as the first classifier sees them")
    class_names: list[str] = Field(description="(K,) of the data, in its order")
    images: int = Field(description="every one that was given")
    images_by_class: list[int] = Field(description="(K,)")
    validation_source: str | None = Field(None, description="of the validation images, where they come from elsewhere")
    validation: int = Field(0, description="images that temperatures are fitted on, beside those measured")
    spec: dict[str, Any] = Field({}, description="as the data of a study file, so that the images are found again")
    notes: list[str] = Field([], description="what the reader of the images has to say")


class MeasurementSettings(Part):
    """How everything is measured."""

    ece_bins: int
    pairs: int | None = Field(None, description="of images behind the vicinal curves; null where they were left out")
    pair_images: int | None = Field(None, description="distinct images in these pairs")
    lam_points: int | None = Field(None, description="values of λ; null without pairs")
    confidence_level: float
    bootstrap_resamples: int
    calibrated_on: Literal["validation", "halves"] = Field(
        description="what temperatures are fitted on: validation images, or each half of the images for the other half"
    )


class ImageAnswer(Part):
    """What a classifier answers on one image."""

    position: int = Field(description="of the image in the data, from 0")
    path: str | None = Field(description="in the source; null where it has none")
    true_class: str
    answer: str
    probability: float = Field(description="of the answer, at the fitted temperature where there is one")
    true_probability: float
    second: str | None = Field(None, description="the next likeliest class")
    second_probability: float | None = None


class Confusion(Part):
    """Images of one class that are taken for another."""

    true_class: str
    answer: str
    images: int


class MeasuredModel(ImageFigures):
    """One classifier, taken as it is, and all that is measured of it."""

    name: str = Field(description="what it is called here")
    model: str = Field(description="as it was asked for")
    weights: str | None = Field(None, description="the file, where one was named")
    class_names: list[str] = Field(description="what its logits stand for, in the order of all lists by class")
    parameters: int
    preparation: str = Field(description="how an image becomes its input, in words")
    notes: list[str] = Field([], description="what a reader should know beside it")
    predicting_s: float = Field(description="seconds for single images, as it happened to run")
    confusions: list[Confusion] = Field(description="all classes taken for others, the commonest first")
    confident_mistakes: list[ImageAnswer] = Field(description="wrong answers of the highest probability")
    least_certain: list[ImageAnswer] = Field(description="answers of the lowest probability, right or wrong")
    information: Information | None = None
    vicinity: VicinalCurves | None = Field(None, description="null where pairs were left out")
    vicinity_after_temperature_scaling: VicinalCurves | None = None
    by_class: ByClass | None = None
    by_class_after_temperature_scaling: ByClass | None = None


class MeasuredDifference(Part):
    """A figure of one classifier less that of another, on the same images."""

    value: float = Field(description="in the figure's unit; of accuracies percentage points")
    interval: Pair | None
    p_value: Number = Field(description="two-sided")
    sign: Literal[-1, 0, 1] = Field(description="0: the interval holds 0")
    detectable: Number = Field(
        description="the smallest difference that four in five such measurements would have shown"
    )


class ModelComparison(Part):
    """Two classifiers on the same images: the first less the second."""

    first: int = Field(description="position in `models`")
    second: int
    differences: dict[str, MeasuredDifference] = Field(description="by the figure's key")
    mcnemar: McNemar
    same_answers: float = Field(description="share of the images to which both give the same answer")
    both_wrong: int = Field(description="images")


class MeasurementResults(Part):
    """All of measurement.json."""

    kind: Literal["measurement"] = "measurement"
    schema_version: int = Field(alias="schema", ge=MEASUREMENT_SCHEMA, le=MEASUREMENT_SCHEMA)
    version: str = Field(description="of vicinal, that wrote it")
    command: str = ""
    created: str | None = Field(None, description="ISO 8601, UTC")
    wall_time_s: float | None = Field(None, description="seconds")
    environment: Environment
    data: MeasuredData
    measures: MeasurementSettings
    models: list[MeasuredModel] = Field(min_length=1)
    comparisons: list[ModelComparison] = Field([], description="every two of several")
    notes: list[str] = Field([], description="what a reader should know beside it")
    sha256: str | None = Field(None, description="of all other keys, in the file alone: tested when it is read")

    def to_json(self) -> dict[str, Any]:
        """As plain values; keys that were not given stay out."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude={"sha256"})


def write_measurement_results(folder: Path, results: MeasurementResults) -> Path:
    """Write measurement.json of a folder, whole or not at all. Raises VicinalError where it cannot be written."""
    write_sealed_json(folder / MEASUREMENT_FILE, results.to_json())
    return folder / MEASUREMENT_FILE


def read_measurement_results(folder: Path) -> MeasurementResults:
    """The measurement of a folder; UsageError in one line where it is missing, damaged or of another schema."""
    path, again = folder / MEASUREMENT_FILE, "measure again with `vicinal measure`"
    return read_sealed_part(path, MeasurementResults, MEASUREMENT_SCHEMA, again)


def read_sealed_part(path: Path, form: type[Form], schema: int, again: str) -> Form:
    """A sealed JSON file of a folder as its form; UsageError in one line where it is missing, damaged or of another schema.

    Args:
        again: what makes it anew, as the line says it.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda _: None)
    except FileNotFoundError:
        raise UsageError(f"{path.parent} has no {path.name}; {again}") from None
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as JSON ({' '.join(str(error).split())}); {again}") from None
    if not isinstance(raw, dict):
        raise UsageError(f"{path} is not a mapping; {again}")
    if mapping_seal(raw) is Seal.DAMAGED:
        raise UsageError(f"{path} is not what was written (its checksum does not fit); {again}")
    raw.pop("sha256", None)
    if raw.get("schema") != schema:
        raise UsageError(
            f"{path} has schema {raw.get('schema')!r}, and vicinal {__version__} reads schema {schema}; {again}"
        )
    try:
        return form.model_validate(raw)
    except ValidationError as error:
        raise UsageError(f"{path} {first_problem(error)}; {again}") from None
