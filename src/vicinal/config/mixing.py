"""What the images of a batch become before a network learns from them: the vicinity, and how its numbers are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from vicinal.config.base import Frozen, Text

Partners = Literal["any", "same_class", "other_class"]
_PAIRS = frozenset({"distribution", "beta_concentration", "lam", "clean_fraction", "partners", "until"})
# The keys that have a meaning for a vicinity of the package; one of your own may honour any.
KEYS: Mapping[str, frozenset[str]] = {
    "mixup": _PAIRS,
    "cutmix": _PAIRS,
    "regmixup": _PAIRS | {"eta"},
    "gaussian_noise": frozenset({"noise_std", "clean_fraction", "until"}),
    "two_crops": frozenset({"until"}),
}
# Told only where they differ from their default: older runs lack them.
NEWER = frozenset({"partners", "until", "noise_std", "eta"})


class MixingSpec(Frozen):
    """Which vicinity, and how λ (`lam`) is drawn for each sample of a batch. `none` leaves every image as it is."""

    vicinity: Text = Field(
        "mixup", description=f"what becomes of an image: {', '.join(KEYS)}, or what your own code registers"
    )
    distribution: Literal["none", "uniform", "beta", "fixed"] = "uniform"
    beta_concentration: float | None = Field(None, ge=1e-3, le=1e6, description="beta: the a of λ ~ Beta(a, a)")
    lam: float | None = Field(None, ge=0, le=1, description="fixed: the λ of every sample")
    clean_fraction: float = Field(0.0, ge=0, le=1, description="share of samples left as they are, exact over an epoch")

    partners: Partners = Field("any", description="whom an image is mixed with, of those in its batch")
    until: float = Field(1.0, gt=0, le=1, description="share of the training after which images are left as they are")
    noise_std: float | None = Field(None, gt=0, le=10, description="gaussian_noise: σ, of pixels in [0, 1]")
    eta: float = Field(
        1.0, gt=0, le=1e3, description="regmixup: η, the weight of a mixed view beside its clean one's 1"
    )

    @model_validator(mode="after")
    def _keys_fit_the_vicinity(self) -> Self:
        known = KEYS.get(self.vicinity)
        for key in type(self).model_fields:
            if known is not None and key in self.model_fields_set - known - {"vicinity"}:
                raise ValueError(
                    f"'{key}' has no meaning with vicinity: {self.vicinity}, which takes {', '.join(sorted(known))}"
                )
        return self

    @model_validator(mode="after")
    def _parameters_fit(self) -> Self:
        if (self.beta_concentration is not None) != (self.distribution == "beta"):
            raise ValueError(
                "'beta_concentration' goes with distribution: beta, and beta needs it (the a of λ ~ Beta(a, a))"
            )
        if (self.lam is not None) != (self.distribution == "fixed"):
            raise ValueError("'lam' goes with distribution: fixed, and fixed needs it")
        for key in ("clean_fraction", "partners", "until"):
            if self.distribution == "none" and getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"'{key}' has no meaning with distribution: none")
        if self.vicinity == "gaussian_noise" and self.noise_std is None:
            raise ValueError("vicinity: gaussian_noise needs 'noise_std', its σ of pixels in [0, 1]")
        if self.distribution == "none" and self.vicinity in KEYS and self.vicinity != "mixup":
            raise ValueError(f"vicinity: {self.vicinity} has no meaning with distribution: none, which mixes nothing")
        return self

    @model_serializer(mode="wrap")
    def _what_has_a_meaning(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What is given and means something, so that a dump reads back and older runs keep their fingerprints."""
        fields, known = type(self).model_fields, KEYS.get(self.vicinity)
        value: dict[str, Any] = handler(self)
        return {
            key: item
            for key, item in value.items()
            if (key == "vicinity" or known is None or key in known)
            and (key not in NEWER or getattr(self, key) != fields[key].default)
        }

    @property
    def mixes(self) -> bool:
        """Whether images are mixed with one another."""
        return self.distribution != "none" and "distribution" in KEYS.get(self.vicinity, _PAIRS)
