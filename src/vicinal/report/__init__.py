"""Tables, figures, sentences and the page of a study, from `results.json` alone; imports no torch."""

from vicinal.report.figures import COLOURS, FONTS, Panel, compose, render, sentinel
from vicinal.report.findings import recommended_run
from vicinal.report.terminal import terminal_summary
from vicinal.report.write import write_report

__all__ = [
    "COLOURS",
    "FONTS",
    "Panel",
    "compose",
    "recommended_run",
    "render",
    "sentinel",
    "terminal_summary",
    "write_report",
]
