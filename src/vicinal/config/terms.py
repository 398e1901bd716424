"""The loss terms that an objective may have beside α·CE and β·KD: each by its name, with a weight and what else it takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from vicinal.config.base import Frozen, Weight, no_boolean
from vicinal.config.temperature import COLDEST, HOTTEST

MOST_TERMS, LONGEST_NAME = 100, 4096
TermWeight = Annotated[float, Field(ge=-1e6, le=1e6), BeforeValidator(no_boolean)]
# Terms of the package that learn from a teacher.
OF_TEACHER = frozenset({"kd", "linear_target", "dkd", "soft_cross_entropy", "confidence_kd", "feature_regression"})
OF_FEATURES = frozenset({"feature_regression"})  # of the teacher: no bank holds them, and they teach no head


class TermSpec(Frozen):
    """A loss term and its weight."""

    weight: TermWeight


class DecoupledKdSpec(TermSpec):
    """dkd: α·TCKD + β·NCKD, the two parts of KD with a weight each (Zhao et al. 2022)."""

    alpha: Weight = Field(1.0, description="of the target class against all others")
    beta: Weight = Field(8.0, description="of the classes other than the target among themselves")


class SoftCrossEntropySpec(TermSpec):
    """soft_cross_entropy: cross-entropy with the teacher's softened answer (Hinton et al. 2015)."""

    student_temperature: Annotated[float, Field(ge=COLDEST, le=HOTTEST)] | None = Field(
        None, description="that divides the student's logits, a number; default: as the teacher's are divided"
    )


class HardCrossEntropySpec(TermSpec):
    """hard_cross_entropy: cross-entropy with one label of a mixed input."""

    label: Literal["larger", "own"] = Field(
        "larger", description="of the image with the larger share (of equal ones the own), or of the row's own image"
    )


class ConfidenceKdSpec(TermSpec):
    """confidence_kd: KD in which every sample weighs by how much the teacher's answer to it is to be trusted."""

    by: Literal["label", "correct", "entropy", "relative"] = Field(
        "label",
        description="label: the teacher's probability of the label; correct: whether its top class is the label; entropy: 1 − H/log K; "
        "relative: 1 − exp(−CE of the student / CE of the teacher)",
    )


class FeatureRegressionSpec(TermSpec):
    """feature_regression: a trained linear map of the student's features to the teacher's (Romero et al. 2015)."""


def _by_weight_alone(value: Any) -> Any:
    """A number as the weight of a term that is else as by default."""
    return {"weight": value} if isinstance(value, int | float) and not isinstance(value, bool) else value


class TermsSpec(Frozen):
    """Further loss terms by name: a weight, or a mapping of it and the term's own keys.

    Beside the fields below kd, cross_entropy and linear_target, and whatever `vicinal.distillation.register_term` made known, each
    with a weight alone.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, TermWeight]

    dkd: Annotated[
        DecoupledKdSpec | None, BeforeValidator(_by_weight_alone, json_schema_input_type=DecoupledKdSpec | TermWeight)
    ] = None
    soft_cross_entropy: Annotated[
        SoftCrossEntropySpec | None,
        BeforeValidator(_by_weight_alone, json_schema_input_type=SoftCrossEntropySpec | TermWeight),
    ] = None
    hard_cross_entropy: Annotated[
        HardCrossEntropySpec | None,
        BeforeValidator(_by_weight_alone, json_schema_input_type=HardCrossEntropySpec | TermWeight),
    ] = None
    confidence_kd: Annotated[
        ConfidenceKdSpec | None, BeforeValidator(_by_weight_alone, json_schema_input_type=ConfidenceKdSpec | TermWeight)
    ] = None

    feature_regression: Annotated[
        FeatureRegressionSpec | None,
        BeforeValidator(_by_weight_alone, json_schema_input_type=FeatureRegressionSpec | TermWeight),
    ] = None

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        names = self.__pydantic_extra__
        if len(names) > MOST_TERMS or any(not 0 < len(name) <= LONGEST_NAME for name in names):
            raise ValueError(f"at most {MOST_TERMS} terms, with names of 1 to {LONGEST_NAME} characters")
        return self

    @model_serializer(mode="wrap")
    def _those_given(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """As a study file writes it, so that runs without a term keep their fingerprints."""
        value: dict[str, Any] = handler(self)
        return {name: item for name, item in value.items() if item is not None}

    @property
    def weights(self) -> Mapping[str, float]:
        """The weight of every term that is given, by name."""
        given = {name: getattr(self, name) for name in type(self).model_fields}
        own = {name: spec.weight for name, spec in given.items() if spec is not None}
        return {**own, **self.__pydantic_extra__}

    def weighs(self, names: frozenset[str]) -> bool:
        """Whether one of these terms has another weight than 0."""
        return any(weight for name, weight in self.weights.items() if name in names)
