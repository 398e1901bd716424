"""What a network is trained on: mixing, temperature, α and β, and the arms that are known by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from vicinal.config.base import Frozen, Text, Weight
from vicinal.config.mixing import MixingSpec

COLDEST, HOTTEST = 1e-3, 1e6
SIGMA_TEMPERATURES = ("sigma", "teacher_sigma")


def _check_temperature(value: Any) -> Any:
    allowed = f"a positive number, {' or '.join(SIGMA_TEMPERATURES)} (numbers from {COLDEST:g} to {HOTTEST:,.0f})"
    if value in SIGMA_TEMPERATURES:
        return value
    try:
        number = float(value if not isinstance(value, str) or (value.isascii() and "_" not in value) else "")
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"a temperature is {allowed}, not {value!r}") from None
    if isinstance(value, bool) or not COLDEST <= number <= HOTTEST:
        raise ValueError(f"a temperature is {allowed}, not {value!r}")
    return number


Temperature = Annotated[
    Annotated[float, Field(ge=COLDEST, le=HOTTEST)] | Literal["sigma", "teacher_sigma"],
    BeforeValidator(_check_temperature),
]


Target = Literal["teacher", "linear"]


class Objective(Frozen):
    """What a network is trained on: α·CE(mixed labels) + β·T²·KL(teacher^T ‖ student^T) on images mixed as `mixing` says (eq. 2).

    `temperature` is a positive number, `sigma` (each network's logits over their own per-sample deviation, no T²: the
    authors' code) or `teacher_sigma` (both over the teacher's deviation: the paper's text). The loss is in `vicinal.distillation`.
    `target` is the teacher's answer to the mixed image, or `linear`: λ p_t(x_i) + (1 − λ) p_t(x_j), the answer that a perfectly
    linear teacher would give, as a control for what its confusion between images does.
    """

    alpha: Weight = 0.0
    beta: Weight = 1.0
    temperature: Temperature = 2.0
    mixing: MixingSpec = MixingSpec(distribution="none")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of every true label spread over all classes")
    target: Target = "teacher"
    terms: dict[Text, Annotated[float, Field(ge=-1e6, le=1e6)]] = Field(
        {}, max_length=100, description="further loss terms by registered name and their weight"
    )

    @model_validator(mode="after")
    def _teaches_something(self) -> Self:
        if self.alpha == 0 and self.beta == 0:
            raise ValueError("alpha and beta are both 0: nothing to learn from; set one above 0")
        if self.alpha == 0 and self.label_smoothing:
            raise ValueError("label_smoothing has no meaning where alpha is 0: no true labels are learned from")
        if self.target == "linear" and (self.beta == 0 or not self.mixing.mixes):
            raise ValueError(
                "target: linear is the mix of the teacher's two answers, so it needs beta above 0 and mixing"
            )
        if self.target == "linear" and self.temperature == "teacher_sigma":
            raise ValueError("target: linear mixes two answers of the teacher, so there is no single teacher_sigma")
        return self

    @property
    def uses_teacher(self) -> bool:
        return self.beta > 0


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
