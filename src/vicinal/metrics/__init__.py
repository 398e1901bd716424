"""`torchmetrics.Metric` classes over `vicinal.functional`: calibration with its bins, vicinal curves, alignment."""

from vicinal.metrics.calibration import Calibration
from vicinal.metrics.vicinal import Alignment, VicinalCurves, lam_grid

__all__ = ["Alignment", "Calibration", "VicinalCurves", "lam_grid"]
