"""`torchmetrics.Metric` classes over the pure functions, and the intervals behind them.

What needs torchmetrics is imported when it is first asked for: that takes seconds, and training does without.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vicinal.metrics.alone import not_gathered
from vicinal.metrics.bootstrap import interval, percentiles, resample_counts, sample_size
from vicinal.metrics.consistency import calibration_test
from vicinal.metrics.dyadic import PairDesign
from vicinal.metrics.grid import lam_grid
from vicinal.metrics.proportions import mean_proportion_interval, paired_interval, proportion_interval
from vicinal.metrics.representation import default_classes, draw_images, represent
from vicinal.metrics.selective import (
    class_calibration,
    classwise_expected_calibration_error,
    mcnemar,
    ood_auroc,
    resampled_aurc,
    selective,
)
from vicinal.metrics.temperature import fitted_log_temperatures

if TYPE_CHECKING:
    from vicinal.metrics.calibration import Calibration
    from vicinal.metrics.information import Information, InformationBound
    from vicinal.metrics.recall import Recall
    from vicinal.metrics.robustness import Robustness, corruption_deviations, measure_corruptions
    from vicinal.metrics.vicinal import Alignment, VicinalCurves

__all__ = [
    "Alignment",
    "Calibration",
    "Information",
    "InformationBound",
    "PairDesign",
    "Recall",
    "Robustness",
    "VicinalCurves",
    "calibration_test",
    "class_calibration",
    "classwise_expected_calibration_error",
    "corruption_deviations",
    "default_classes",
    "draw_images",
    "fitted_log_temperatures",
    "interval",
    "lam_grid",
    "mcnemar",
    "mean_proportion_interval",
    "measure_corruptions",
    "not_gathered",
    "ood_auroc",
    "paired_interval",
    "percentiles",
    "proportion_interval",
    "represent",
    "resample_counts",
    "resampled_aurc",
    "sample_size",
    "selective",
]

_HOMES = {
    "Calibration": "vicinal.metrics.calibration",
    "Information": "vicinal.metrics.information",
    "InformationBound": "vicinal.metrics.information",
    "Recall": "vicinal.metrics.recall",
    "Robustness": "vicinal.metrics.robustness",
    "corruption_deviations": "vicinal.metrics.robustness",
    "measure_corruptions": "vicinal.metrics.robustness",
    "Alignment": "vicinal.metrics.vicinal",
    "VicinalCurves": "vicinal.metrics.vicinal",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vicinal.metrics' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
