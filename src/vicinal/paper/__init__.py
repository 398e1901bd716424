"""The paper as data: its printed numbers, the audit of them, and what a person sees of it."""

from vicinal.paper.page import html_page
from vicinal.paper.show import as_json, everything, print_everything
from vicinal.paper.tables import CLASSES, DATA_SETS, paper_evidence

__all__ = ["CLASSES", "DATA_SETS", "as_json", "everything", "html_page", "paper_evidence", "print_everything"]
