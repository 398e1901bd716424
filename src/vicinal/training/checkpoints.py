"""Checkpoints of runs trained together."""

from __future__ import annotations

import time

from vicinal.training.learner import Learner
from vicinal.training.state import Phase


class Checkpoints:
    """Checkpoints of runs trained together, at least `interval_s` apart, and each run's share of the time that this takes."""

    def __init__(self, learners: list[Learner], interval_s: float) -> None:
        self._learners, self._interval_s, self._runs = learners, interval_s, len(learners)
        self._started = self._last = time.monotonic()
        self._before_s = {learner.folder.path: learner.state.seconds for learner in learners}

    @property
    def are_due(self) -> bool:
        return time.monotonic() - self._last >= self._interval_s

    def seconds(self, learner: Learner) -> float:
        """Seconds that a run has trained, also before it was killed."""
        return self._before_s[learner.folder.path] + (time.monotonic() - self._started) / self._runs

    def save(self, phase: Phase) -> None:
        for learner in self._learners:
            learner.save(phase, self.seconds(learner))
        self._last = time.monotonic()
