"""The paper as data: its printed numbers, the audit of them, and what a person sees of it."""

from vicinal.paper.page import VERDICT_CLASSES, html_page
from vicinal.paper.show import everything, paper_as_json, print_everything
from vicinal.paper.tables import CLASSES, DATA_SETS, PERFORMANCE_TABLES, paper_evidence, printed_numbers

__all__ = [
    "CLASSES",
    "DATA_SETS",
    "PERFORMANCE_TABLES",
    "VERDICT_CLASSES",
    "everything",
    "html_page",
    "paper_as_json",
    "paper_evidence",
    "print_everything",
    "printed_numbers",
]
