"""Figure 2: the drawing of `vicinal toy`, shown where it lies in the study folder."""

from __future__ import annotations

from pathlib import Path

from vicinal.report.paper.paper_figure import PaperFigure
from vicinal.report.paper.plain_svg import plain_svg


def boundaries(path: Path) -> PaperFigure:
    """Figure 2, decision boundaries on a toy: only where `vicinal toy` has drawn it."""
    title = "Decision boundaries on two-dimensional toy data"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return PaperFigure(
            2,
            title,
            missing=("paper/figure2.svg, which vicinal toy --out DIR/paper draws, DIR being the folder of the study",),
        )
    svg = plain_svg(text, "toy")
    if svg is None:
        return PaperFigure(2, title, missing=("a paper/figure2.svg that is a plain drawing",))
    return PaperFigure(2, title, foreign=svg)
