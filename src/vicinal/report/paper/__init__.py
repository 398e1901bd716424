"""The paper's tables and figures, by its numbers, filled from a study; every claim judged on it."""

from vicinal.report.paper.figures import paper_figures
from vicinal.report.paper.page_part import PaperPart, own_files, paper_context, paper_files
from vicinal.report.paper.study_claims import claims_csv, claims_markdown, study_claims
from vicinal.report.paper.tables import paper_tables

__all__ = [
    "PaperPart",
    "claims_csv",
    "claims_markdown",
    "own_files",
    "paper_context",
    "paper_figures",
    "paper_files",
    "paper_tables",
    "study_claims",
]
