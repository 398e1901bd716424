"""The seam to experiment trackers: what one has to do, and all those of a study behind one object.

A run is told to a tracker by the name of its folder, so that a study that continues goes on in the tracker's own run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from vicinal.config import StudySpec
from vicinal.errors import UsageError, one_line
from vicinal.tracking.mlflow_tracker import MlflowTracker
from vicinal.tracking.runs import TrackerRun
from vicinal.tracking.tensorboard_tracker import TensorboardTracker
from vicinal.tracking.trackio_tracker import TrackioTracker
from vicinal.tracking.wandb_tracker import WandbTracker


class Tracker(Protocol):
    """One experiment tracker. Whatever it raises ends its part in the study, not the study."""

    def epoch(self, run: TrackerRun, step: int, values: Mapping[str, float]) -> None:
        """Numbers of a run after `step` epochs."""

    def results(self, run: TrackerRun, values: Mapping[str, float]) -> None:
        """What was measured of a finished run."""

    def finish(self, report: Path | None) -> None:
        """The study ended; `report` is its page, None where it was stopped or failed."""


# Made with the study's name and folder; raises ImportError where its package is not installed.
TRACKERS: Mapping[str, Callable[[str, Path], Tracker]] = {
    "tensorboard": TensorboardTracker,
    "wandb": WandbTracker,
    "mlflow": MlflowTracker,
    "trackio": TrackioTracker,
}
PHASE_PREFIX = {"head_warmup": "head_warmup/"}  # epochs of the head alone are counted apart


class Trackers:
    """The trackers of a study. One that fails is left out from there on, with a line, and the study goes on.

    Args:
        trackers: by the names that a study gives them.
        say: told that line.
    """

    def __init__(self, trackers: Mapping[str, Tracker], say: Callable[[str], None]) -> None:
        self._trackers, self._say = dict(trackers), say
        self._report: Path | None = None
        self._last: dict[tuple[str, str], int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._each("finish", self._report if kind is None else None)

    def epoch(self, name: str, config: Mapping[str, Any], entry: Mapping[str, Any]) -> None:
        """An epoch of a run, as its log has it (phase, epoch, loss, lr, selection_accuracy, ...)."""
        phase, step = str(entry["phase"]), int(entry["epoch"])
        if step <= self._last.get((name, phase), 0):  # trained again after a kill
            return
        self._last[name, phase] = step
        told = {k: v for k, v in entry.items() if k not in ("phase", "epoch", "step")}
        values = {f"{PHASE_PREFIX.get(phase, '')}{key}": value for key, value in _numbers(told).items()}
        self._each("epoch", TrackerRun(name, config), step, values)

    def results(self, name: str, config: Mapping[str, Any], entry: Mapping[str, Any]) -> None:
        """A network of results.json: its single numbers."""
        values = {f"test/{key}": value for key, value in _numbers(entry).items() if key not in ("seed", "budget")}
        self._each("results", TrackerRun(name, config), values)

    def report(self, page: Path) -> None:
        """The page of the study, told when the study ends."""
        self._report = page

    def _each(self, what: str, *arguments: Any) -> None:
        for name, tracker in list(self._trackers.items()):
            try:
                getattr(tracker, what)(*arguments)
            except Exception as error:  # of a service, a network, a disk: anything
                del self._trackers[name]
                reason = one_line(error)
                self._say(f"runtime.trackers: {name} failed and is left out from here on ({reason})")


def open_trackers(spec: StudySpec, folder: Path, say: Callable[[str], None]) -> Trackers:
    """The trackers that a study names in `runtime.trackers`.

    Raises UsageError where one is not installed, or does not start.
    """
    return Trackers({name: _opened(name, spec.name, folder) for name in spec.runtime.trackers}, say)


def _opened(name: str, study: str, folder: Path) -> Tracker:
    try:
        return TRACKERS[name](study, folder)
    except ImportError as error:
        raise UsageError(
            f"runtime.trackers: {name} is not installed ({error}): pip install 'vicinal[{name}]', or leave it out"
        ) from None
    except Exception as error:
        reason = one_line(error)
        raise UsageError(f"runtime.trackers: {name} does not start ({reason}): set it up, or leave it out") from None


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of a mapping, those of mappings in it by a dotted name."""
    found: dict[str, float] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= {f"{key}.{inner}": number for inner, number in _numbers(value).items()}
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            found[key] = float(value)
    return found
