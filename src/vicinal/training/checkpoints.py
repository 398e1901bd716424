"""When runs trained together leave checkpoints, and each run's share of the time."""

from __future__ import annotations

import time

from vicinal.training.group import Group
from vicinal.training.learner import Learner
from vicinal.training.parallel import Parallel
from vicinal.training.state import Phase


class Checkpoints:
    """Checkpoints of runs trained together, at least `interval_s` apart, and each run's share of the time that this takes."""

    def __init__(self, group: Group, interval_s: float, parallel: Parallel) -> None:
        self._group, self._interval_s, self._parallel = group, interval_s, parallel
        self._started = self._last = time.monotonic()
        self._before_s = {learner.folder.path: learner.state.seconds for learner in group.started}

    def are_due(self) -> bool:
        """Whether it is time, in all processes alike."""
        return self._parallel.agree(time.monotonic() - self._last >= self._interval_s)

    def save(self, phase: Phase) -> None:
        """One of each run that is left."""
        self.keep_time()
        for learner in self._group.learners:
            learner.save(phase)
        self._last = time.monotonic()

    def keep_time(self) -> None:
        """Tell each run how many seconds it has trained, also before it was killed."""
        for learner in self._group.learners:
            learner.state.seconds = self._seconds(learner)

    def _seconds(self, learner: Learner) -> float:
        return self._before_s[learner.folder.path] + (time.monotonic() - self._started) / len(self._group.started)
