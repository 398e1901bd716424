"""`torchmetrics.Metric` classes over `vicinal.functional`: calibration with its bins, vicinal curves, alignment, robustness."""

from vicinal.metrics.calibration import Calibration
from vicinal.metrics.robustness import Robustness, measure_corruptions
from vicinal.metrics.vicinal import Alignment, VicinalCurves, lam_grid

__all__ = ["Alignment", "Calibration", "Robustness", "VicinalCurves", "lam_grid", "measure_corruptions"]
