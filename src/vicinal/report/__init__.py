"""Tables, figures, sentences and the page of a study, from `results.json` alone; imports no torch."""

from vicinal.report.figures import (
    COLOURS,
    DASHES,
    FONTS,
    FigureSet,
    Key,
    Panel,
    common_limits,
    compose,
    draw_curve,
    draw_reliability,
    figure_context,
    lam_axis,
    new_axes,
    reliability_curve,
    render,
    risk_curve,
    sentinel,
    vicinal_curve,
)
from vicinal.report.findings import (
    recommended_run,
)
from vicinal.report.page import (
    count_words,
    duration,
    typeset,
)
from vicinal.report.rows import (
    Row,
)
from vicinal.report.tables import (
    csv_text,
)
from vicinal.report.terminal import (
    terminal_summary,
)
from vicinal.report.words import (
    inert,
)
from vicinal.report.write import (
    write_report,
)

__all__ = [
    "COLOURS",
    "DASHES",
    "FONTS",
    "FigureSet",
    "Key",
    "Panel",
    "Row",
    "common_limits",
    "compose",
    "count_words",
    "csv_text",
    "draw_curve",
    "draw_reliability",
    "duration",
    "figure_context",
    "inert",
    "lam_axis",
    "new_axes",
    "recommended_run",
    "reliability_curve",
    "render",
    "risk_curve",
    "sentinel",
    "terminal_summary",
    "typeset",
    "vicinal_curve",
    "write_report",
]
