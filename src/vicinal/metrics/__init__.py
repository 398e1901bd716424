"""`torchmetrics.Metric` classes over the pure functions: calibration, vicinal curves, alignment, information, robustness."""

from vicinal.metrics.calibration import Calibration
from vicinal.metrics.information import Information, InformationBound
from vicinal.metrics.robustness import Robustness, measure_corruptions
from vicinal.metrics.vicinal import Alignment, VicinalCurves, lam_grid

__all__ = [
    "Alignment",
    "Calibration",
    "Information",
    "InformationBound",
    "Robustness",
    "VicinalCurves",
    "lam_grid",
    "measure_corruptions",
]
