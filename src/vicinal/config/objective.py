"""What a network is trained on: mixing, temperature, α and β, and the arms that are known by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, model_validator

from vicinal.config.base import Frozen, Weight
from vicinal.config.mixing import MixingSpec
from vicinal.config.temperature import Temperature, sigma_multiple
from vicinal.config.terms import OF_FEATURES, OF_TEACHER, TermsSpec

Target = Literal["teacher", "linear"]


class Objective(Frozen):
    """What a network is trained on: α·CE(mixed labels) + β·T²·KL(teacher^T ‖ student^T) on images mixed as `mixing` says (eq. 2).

    `temperature` is a positive number, `sigma` (each network's logits over their own per-sample deviation, no T²: the
    authors' code), `2sigma` and the like (over T times that deviation, with T²: Sun et al. 2024) or `teacher_sigma` (both over the
    teacher's deviation: the paper's text). The loss is in `vicinal.distillation`.
    `target` is the teacher's answer to the mixed image, or `linear`: λ p_t(x_i) + (1 − λ) p_t(x_j), the answer that a perfectly
    linear teacher would give, as a control for what its confusion between images does.
    """

    alpha: Weight = 0.0
    beta: Weight = 1.0
    temperature: Temperature = 2.0
    mixing: MixingSpec = MixingSpec(distribution="none")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of every true label spread over all classes")
    target: Target = "teacher"
    terms: TermsSpec = Field(
        TermsSpec(),
        description="further loss terms by name: their weight, or a mapping of weight and what else they take",
    )

    @model_validator(mode="after")
    def _teaches_something(self) -> Self:
        teaches_logits = self.terms.weighs((OF_TEACHER - OF_FEATURES) | _OF_LABELS)
        if self.alpha == 0 and self.beta == 0 and not teaches_logits:
            features = ", for features teach no head" if self.uses_features else ""
            raise ValueError(f"alpha and beta are both 0: nothing to learn from{features}; set one above 0")
        if self.alpha == 0 and self.label_smoothing and not self.terms.weighs(_OF_LABELS):
            raise ValueError("label_smoothing has no meaning where alpha is 0: no true labels are learned from")
        if self.target == "linear" and (self.beta == 0 or not self.mixing.mixes):
            raise ValueError(
                "target: linear is the mix of the teacher's two answers, so it needs beta above 0 and mixing"
            )
        if self.temperature == "teacher_sigma" and (self.target == "linear" or self.terms.weighs(_OF_TWO_ANSWERS)):
            raise ValueError("target: linear mixes two answers of the teacher, so there is no single teacher_sigma")
        return self

    @property
    def uses_teacher(self) -> bool:
        return self.beta > 0 or self.terms.weighs(OF_TEACHER)

    @property
    def uses_features(self) -> bool:
        """Whether it learns from the teacher's features."""
        return self.terms.weighs(OF_FEATURES)

    @property
    def uses_temperature(self) -> bool:
        """Whether the temperature scales anything; a term of your own may read it wherever there is a teacher."""
        own = frozenset(self.terms.weights) - _OF_LABELS - OF_FEATURES
        return self.uses_teacher and (self.beta > 0 or self.terms.weighs(own))

    @property
    def leaves_scale_open(self) -> bool:
        """Whether the scale of the logits changes nothing, so that raw confidence means nothing by itself."""
        soft = self.terms.soft_cross_entropy
        is_fixed = self.alpha > 0 or self.terms.weighs(_OF_LABELS)
        is_fixed |= soft is not None and soft.weight != 0 and soft.student_temperature is not None
        return sigma_multiple(self.temperature) is not None and self.uses_temperature and not is_fixed


_OF_LABELS = frozenset({"cross_entropy", "hard_cross_entropy"})
_OF_TWO_ANSWERS = frozenset({"linear_target"})
NO_MIXING = MixingSpec(distribution="none")
UNIFORM_MIXING = MixingSpec(distribution="uniform")
ARMS: Mapping[str, Objective] = {
    "baseline": Objective(alpha=1, beta=0, mixing=NO_MIXING),
    "mixup": Objective(alpha=1, beta=0, mixing=UNIFORM_MIXING),
    "kd": Objective(alpha=0, beta=1, mixing=NO_MIXING),
    "kd_mixup": Objective(alpha=0, beta=1, mixing=UNIFORM_MIXING),
    "linear_target": Objective(alpha=0, beta=1, mixing=UNIFORM_MIXING, target="linear"),
    "label_smoothing": Objective(alpha=1, beta=0, mixing=NO_MIXING, label_smoothing=0.1),
}
