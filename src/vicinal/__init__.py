"""Mixup-based knowledge distillation of image classifiers, and the measures of whether their confidence can be trusted.

The names below are imported when they are first used, so that `import vicinal` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vicinal.version import __version__

if TYPE_CHECKING:
    from vicinal.api import check, compare, load_study, measure, plan, run
    from vicinal.api import report as write_report
    from vicinal.config import Objective, StudySpec
    from vicinal.data import data_of
    from vicinal.inputs import VicinalPlan

__all__ = [
    "Objective",
    "StudySpec",
    "VicinalPlan",
    "__version__",
    "check",
    "compare",
    "data_of",
    "load_study",
    "measure",
    "plan",
    "run",
    "write_report",
]

_HOMES = {
    "Objective": ("vicinal.config", "Objective"),
    "StudySpec": ("vicinal.config", "StudySpec"),
    "VicinalPlan": ("vicinal.inputs", "VicinalPlan"),
    "data_of": ("vicinal.data", "data_of"),
    "check": ("vicinal.api", "check"),
    "compare": ("vicinal.api", "compare"),
    "load_study": ("vicinal.api", "load_study"),
    "measure": ("vicinal.api", "measure"),
    "plan": ("vicinal.api", "plan"),
    "run": ("vicinal.api", "run"),
    "write_report": ("vicinal.api", "report"),  # `vicinal.report` is the room
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vicinal' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
