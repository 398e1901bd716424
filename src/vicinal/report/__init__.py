"""Tables, figures, sentences and the page of a study, from `results.json` alone; imports no torch."""

from vicinal.report.evidence import (
    HELD_OUT,
    number_at_half,
    scalar,
    vicinal_curve_numbers,
)
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
    Results,
    Row,
    load_results,
    term_label,
    told_in_a_line,
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
    "HELD_OUT",
    "FigureSet",
    "Key",
    "Panel",
    "Results",
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
    "load_results",
    "new_axes",
    "number_at_half",
    "recommended_run",
    "reliability_curve",
    "render",
    "risk_curve",
    "scalar",
    "sentinel",
    "term_label",
    "terminal_summary",
    "told_in_a_line",
    "typeset",
    "vicinal_curve",
    "vicinal_curve_numbers",
    "write_report",
]
