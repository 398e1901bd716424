"""Arms, seeds and epochs that fit into given minutes, by the speed of each network measured on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from vicinal.errors import UsageError
from vicinal.recipes import practice
from vicinal.recipes.decide import FULL_ARMS, TEACHER
from vicinal.recipes.sheet import Sheet
from vicinal.study import Study

AIM = 0.9  # of the time that is left: an estimate from a few steps errs
TEACHER_SHARE = 0.4  # of the time, that a teacher's own training may take
SHORT_ARMS = ["baseline", "kd", {"name": "kd_mixup", "temperature": 2}]
# What a sitting takes beside training and predicting, in units of `probe_s`: measures, resamples, tables, figures, files. Measured:
# docs/distill.md.
UNITS_ONCE, UNITS_PER_NETWORK, UNITS_PER_THOUSAND_IMAGES = 250.0, 30.0, 20.0


@dataclass(frozen=True)
class Ambition:
    """How much a study asks for."""

    arms: list[Any]
    seeds: list[int]
    why: str


_CHANCE = "what differs between arms is told from chance over seeds"
AMBITIONS = (
    Ambition(FULL_ARMS, [0, 1, 2], f"three students of each arm fit into the time: {_CHANCE}"),
    Ambition(FULL_ARMS, [0, 1], f"two students of each arm fit into the time: {_CHANCE}"),
    Ambition(
        FULL_ARMS, [0], "one student of each arm fits into the time: sentences are about these networks, not about arms"
    ),
    Ambition(SHORT_ARMS, [0], "one student of each arm, KD + mixup at one temperature: the time is short"),
)


@dataclass(frozen=True)
class Taken:
    """Seconds that a study is thought to take."""

    runs_s: float  # training and predicting
    else_s: float  # measures, report and files

    @property
    def total_s(self) -> float:
        return self.runs_s + self.else_s


def fit(study: Study, sheet: Sheet, left_s: Callable[[], float]) -> tuple[Study, Taken]:
    """State arms, seeds and epochs on the sheet, so that the study takes at most the seconds that are left.

    The most ambitious study whose students get the epochs of practice is taken, else the least ambitious one; its students train for
    as long as there is time, up to `practice.most_epochs`. What the user has stated stays.

    Args:
        study: of the sheet, opened: its networks are timed here, for a moment each.
        left_s: seconds that are left when it is asked.

    Returns:
        The study as the sheet now has it, and what it is thought to take.

    Raises UsageError where not even one epoch of the least ambitious study fits.
    """
    assert study.spec.student is not None
    reckoning = Reckoning(study, sheet, probe_s())
    seconds = AIM * left_s()
    student, train = study.spec.student, len(study.context.training_images(study.spec.student))
    good = practice.good_epochs(train, student.batch_size, student.weights is not None)
    most = practice.most_epochs(good)
    sheet.put("student.epochs", 1)
    reckoning.shorten_teacher(TEACHER_SHARE * seconds)
    epochs = 0
    for ambition in AMBITIONS:
        sheet.put("arms", ambition.arms, "baseline and KD as controls, and KD + mixup")
        sheet.put("seeds", ambition.seeds, ambition.why)
        epochs = reckoning.affordable(seconds, most)
        if epochs >= good:
            break
    if not sheet.is_fixed("student.epochs"):
        if epochs < 1:
            needed = reckoning.taken(1).total_s / 60
            raise UsageError(
                f"--minutes: one epoch of the smallest study takes about {needed:.2g} min here, and {max(seconds, 0) / 60:.2g} are "
                "left; give more, or fewer or smaller images (data.train_images=N, data.image_size=SIDE)"
            )
        sheet.put("student.epochs", epochs, _of_epochs(epochs, good, most))
    fitted = study.with_plan(sheet.spec())
    return fitted, reckoning.of(fitted)


def probe_s() -> float:
    """Seconds that a fixed piece of work takes on this machine now: what is not networks is reckoned in it."""
    values, times = np.random.default_rng(0).random(400_000), []
    for _ in range(5):
        start = time.perf_counter()
        np.sort(values)
        sum(values[:100_000].tolist())
        times.append(time.perf_counter() - start)
    return sorted(times)[2]


class Reckoning:
    """What the study on a sheet takes, with its networks timed once."""

    def __init__(self, study: Study, sheet: Sheet, unit_s: float) -> None:
        self._study, self._sheet, self._unit_s = study, sheet, unit_s

    def of(self, study: Study) -> Taken:
        """Of a study as it is."""
        plan, data = study.plan, study.context.data
        measured = len(plan.runs) + len(plan.scaled_teachers)
        images = (len(data.test) + len(data.validation)) / 1000
        units = UNITS_ONCE + measured * (UNITS_PER_NETWORK + UNITS_PER_THOUSAND_IMAGES * images)
        return Taken(sum(map(study.estimate.run_s, plan.unique_runs)), units * self._unit_s)

    def taken(self, epochs: int) -> Taken:
        """With so many epochs of every student, unless the user has stated them."""
        self._sheet.put("student.epochs", epochs)
        return self.of(self._study.with_plan(self._sheet.spec()))

    def affordable(self, seconds: float, most: int) -> int:
        """The most epochs, up to `most`, with which all is done in so many seconds; 0 where one is too many."""
        low, high = 0, most
        while low < high:
            middle = (low + high + 1) // 2
            if self.taken(middle).total_s <= seconds:
                low = middle
            else:
                high = middle - 1
        return low

    def shorten_teacher(self, seconds: float) -> None:
        """Fewer epochs of a teacher that is trained first, where its training would take longer."""
        teacher = self._study.spec.teachers[TEACHER]
        key = f"teachers.{TEACHER}.epochs"
        if teacher.epochs <= 1 or self._sheet.is_fixed(key):
            return
        images = len(self._study.context.training_images(teacher)) * teacher.epochs
        needed = images * self._study.estimate.network_costs[f"teachers.{TEACHER}"].step_s
        fits = max(1, int(teacher.epochs * seconds / needed)) if needed > 0 else teacher.epochs
        if fits < teacher.epochs:
            why = f"of {teacher.epochs} of practice: its training takes at most {TEACHER_SHARE:.0%} of the time"
            self._sheet.put(key, fits, why)


def _of_epochs(epochs: int, good: int, most: int) -> str:
    if epochs == most:
        return f"as many as are of use: about {good} would do, and patience pays (Beyer et al. 2022)"
    if epochs >= good:
        return f"as many as fit into the time; about {good} would do, and patience pays (Beyer et al. 2022)"
    return (
        f"as many as fit into the time: fewer than the {good} of practice, so every student is worse than it could be"
    )
