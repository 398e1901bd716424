"""The paper as data: its printed numbers, the audit of them, and what a person sees of it."""

from vicinal.paper.page import VERDICT_CLASSES, html_page
from vicinal.paper.show import as_json, everything, print_everything
from vicinal.paper.tables import CLASSES, DATA_SETS, PERFORMANCE_TABLES, paper_evidence, printed_numbers

__all__ = [
    "CLASSES",
    "DATA_SETS",
    "PERFORMANCE_TABLES",
    "VERDICT_CLASSES",
    "as_json",
    "everything",
    "html_page",
    "paper_evidence",
    "print_everything",
    "printed_numbers",
]
