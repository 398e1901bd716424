"""What the claims are judged on: numbers of teachers and students, from a study's results or from the paper's tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from vicinal.claims.numbers import Curve, Number, difference

# What counts as no difference, by unit: one point of accuracy, .01 of ECE, .02 nats (measures.margins in a study).
MARGINS: Mapping[str, float] = {"points": 1.0, "ECE": 0.01, "nats": 0.02}


@dataclass(frozen=True)
class StudentVersusTeacher:
    """A student beside one teacher: linearity gain by λ and at its peak, and alignment, all in nats."""

    gain: Curve = field(default_factory=dict)
    gain_peak: Number | None = None
    kl_real: Number | None = None
    kl_mixed: Number | None = None
    independent_response: Number | None = None


@dataclass(frozen=True)
class ModelResults:
    """A teacher, or a student arm with its teacher and temperature.

    `numbers`: accuracy and confidence in percent, overconfidence (confidence less accuracy, points), fitted_temperature, ece,
    ece_scaled (after temperature scaling), each with its floor (ece_floor, ece_scaled_floor: what a perfectly calibrated network
    would show), nll, brier, nl_mean (over λ, by the trapezoid rule), nl_peak and eq11_residual (at λ = 0.5) in nats, entropy_mean
    (over λ, nats, of the paper), v_score, parameters (a count). `curves`: nonlinearity, entropy, linearity_information, dominance.
    `corruption_gain`: percentage points over the baseline student, by corruption and severity.
    """

    name: str
    arm: str | None = None  # None for a teacher
    teacher: str | None = None
    temperature: float | str | None = None
    model: str | None = None
    trained_with_mixup: bool = False  # of a teacher
    logit_scale: float = 1.0  # of a teacher: what its answers are multiplied by
    is_ensemble: bool = False  # of a teacher: the mean of others
    scaled_from: str | None = None  # of a teacher of another scale than 1: the name of its network's plain teacher
    uninformative: str = ""  # why it answers nothing, to follow its name; nothing where it does answer
    scale_free: bool = False  # its logits have no scale of their own, so raw ECE, NL, Δ_lin and KL mean nothing
    numbers: Mapping[str, Number] = field(default_factory=dict)
    curves: Mapping[str, Curve] = field(default_factory=dict)
    versus_teacher: Mapping[str, StudentVersusTeacher] = field(default_factory=dict)
    corruption_gain: Mapping[str, Mapping[int, Number]] = field(default_factory=dict)
    scaled: ModelResults | None = None  # what temperature scaling makes of it; None where that was not measured
    held_out: ModelResults | None = None  # with pairs of test images; None where they were not measured

    @property
    def has_fixed_temperature(self) -> bool:
        """Whether its temperature is a number, not a σ variant."""
        return not isinstance(self.temperature, str)


@dataclass(frozen=True)
class Evidence:
    """Everything known about one data set: a study's results or the paper's tables."""

    data: str  # as shown, for example CIFAR-100
    teachers: tuple[ModelResults, ...] = ()
    students: tuple[ModelResults, ...] = ()
    classes: int | None = None
    margins: Mapping[str, float] = field(default_factory=lambda: MARGINS)  # by unit

    def after_temperature_scaling(self) -> Evidence:
        """The same networks with every answer divided by its fitted temperature; those without one are left out."""
        return self._with(lambda model: model.scaled)

    def on_held_out_pairs(self) -> Evidence:
        """The same networks on pairs of test images; those that were not measured there are left out."""
        return self._with(lambda model: model.held_out)

    def _with(self, form: Callable[[ModelResults], ModelResults | None]) -> Evidence:
        teachers, students = (
            tuple(found for model in models if (found := form(model)) is not None)
            for models in (self.teachers, self.students)
        )
        return replace(self, teachers=teachers, students=students)

    def teacher(self, name: str | None) -> ModelResults | None:
        """The teacher of this name."""
        return next((teacher for teacher in self.teachers if teacher.name == name), None)

    @property
    def plain_teachers(self) -> tuple[ModelResults, ...]:
        """The teachers the claims are about: single ones that never saw mixed images in training, at their own scale."""
        single = (t for t in self.teachers if t.scaled_from is None and not t.is_ensemble)
        return tuple(t for t in single if not t.trained_with_mixup)

    def undistilled(self, arm: str) -> ModelResults | None:
        """The student of an arm without a teacher."""
        return next((s for s in self.students if s.arm == arm and s.teacher is None), None)

    def distilled(self, arm: str, teacher: ModelResults) -> list[ModelResults]:
        """A teacher's students of an arm, fixed temperatures rising, then the σ variants."""
        found = [s for s in self.students if s.arm == arm and s.teacher == teacher.name]
        return sorted(
            found,
            key=lambda s: (
                not s.has_fixed_temperature,
                float(s.temperature or 0) if s.has_fixed_temperature else 0,
                str(s.temperature),
            ),
        )

    def reference(self, arm: str, teacher: ModelResults) -> ModelResults | None:
        """The student that stands for an arm: T = 2 as in the paper, else the lowest fixed T, else what there is."""
        found = self.distilled(arm, teacher)
        return next((s for s in found if s.temperature == 2), found[0] if found else None)

    def gap(self, key: str, a: ModelResults, b: ModelResults) -> Number | None:
        """A number of a less that of b. None where either is missing."""
        if key not in a.numbers or key not in b.numbers:
            return None
        return difference(a.numbers[key], b.numbers[key])
