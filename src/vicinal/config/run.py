"""One training, by everything that decides its weights; its fingerprint names its folder."""

from __future__ import annotations

from typing import Any, Literal

from vicinal.config.base import TRAINING_SEMANTICS, Frozen, fingerprint
from vicinal.config.network import NetworkSpec
from vicinal.config.objective import Objective
from vicinal.config.study import AnswersSpec, Selection


class RunSpec(Frozen):
    """One training, by everything that decides its weights. Its fingerprint names its folder."""

    role: Literal["teacher", "student"]
    name: str  # readable part of the folder's name: teacher's name, or arm and temperature
    network: NetworkSpec
    objective: Objective
    seed: int
    given_input_seed: int | None = None  # of the input stream, where it is not the run's own seed
    data: dict[str, Any]  # hashes of the images it trains on and selects by, and their size: not where they lie
    weights_hash: str | None = None  # of the local weights file, so that a path does not matter and a changed file does
    teacher: str | None = None  # fingerprint of the teacher's run
    teacher_precision: str | None = None
    teacher_logit_scale: float | None = None  # that the teacher's answers are multiplied by, where it is not 1
    ensemble: tuple[str, ...] | None = None  # of an ensemble, which nobody trains: fingerprints of its members' runs
    answers: AnswersSpec | None = None  # the form of the teacher's answers, where they are not exact
    selection: Selection = "last"
    validate_every_epochs: int = 1

    @property
    def selects_by_images(self) -> bool:
        """Whether the selection images decide something: which epoch is kept, or when lr falls."""
        return self.selection != "last" or self.network.schedule == "plateau"

    @property
    def input_seed(self) -> int:
        """The seed of the input stream."""
        return self.seed if self.given_input_seed is None else self.given_input_seed

    def fingerprint(self) -> str:
        """12 hex digits over all that decides the weights."""
        value = self.model_dump(mode="json", exclude={"name"})
        if value["weights_hash"] is not None:
            value["network"]["weights"] = None
        if not self.objective.uses_temperature:
            value["objective"]["temperature"] = Objective.model_fields["temperature"].default  # it scales nothing
        if self.network.preparation in (None, "data"):
            del value["network"]["preparation"]  # older than this field
        for name in ("order", "classes", "clip_gradient_norm", "layer_decay", "ema_decay"):
            if getattr(self.network, name) is None:
                del value["network"][name]  # older than this field
        if self.ensemble is None:
            del value["ensemble"]  # older than this field
        if self.teacher_logit_scale is None:
            del value["teacher_logit_scale"]  # older than this field
        plateau = self.network.plateau
        if plateau is not None:
            value["network"]["plateau"] |= {"min_delta": plateau.least_gain}
            if (
                plateau.monitor == "accuracy" and not plateau.least_gain
            ):  # what every plateau was before it could be told
                del value["network"]["plateau"]["monitor"], value["network"]["plateau"]["min_delta"]
        if not self.selects_by_images:
            value["validate_every_epochs"] = None  # only looked at, decides nothing
        return fingerprint({"semantics": TRAINING_SEMANTICS, **value})

    @property
    def folder(self) -> str:
        return f"{self.role}-{self.name}-s{self.seed}-{self.fingerprint()}"
