"""The paper's figures 2 to 9 from a study's results: drawn where the study has what they need, listed where it does not."""

from __future__ import annotations

from pathlib import Path

from vicinal.report.figures import (
    Styles,
)
from vicinal.report.paper.corruption_figure import corruption_gains
from vicinal.report.paper.curve_figures import confidence_accuracy, linearity_gains, teachers_between_images
from vicinal.report.paper.epochs_figure import temperatures_over_epochs
from vicinal.report.paper.feature_figures import networks_features, students_features
from vicinal.report.paper.match import paper_data_set
from vicinal.report.paper.paper_figure import PaperFigure
from vicinal.report.paper.toy_figure import boundaries
from vicinal.report.rows import Results


def paper_figures(results: Results, folder: Path) -> list[PaperFigure]:
    """Every figure from 2 to 9, drawn or not. Figure 2 is another command's file in the study folder."""
    data_set = paper_data_set(results.data)
    styles = Styles.of(results)
    return [
        boundaries(folder / "paper" / "figure2.svg"),
        confidence_accuracy(results, styles),
        teachers_between_images(results),
        linearity_gains(results, data_set),
        corruption_gains(results, data_set),
        networks_features(results, data_set),
        students_features(results, data_set),
        temperatures_over_epochs(results),
    ]
