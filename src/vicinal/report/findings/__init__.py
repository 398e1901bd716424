"""Sentences that say what was found, the rule that selects a student, and the recommendation."""

from vicinal.report.findings.findings import findings
from vicinal.report.findings.recommendation import Choice, advice_on, best_seed, choose, recommendation
from vicinal.report.findings.recommendation import candidate_label as row_sentence_name
from vicinal.report.findings.run_to_ship import recommended_run
from vicinal.report.findings.selection_rule import pareto_front

__all__ = [
    "Choice",
    "advice_on",
    "best_seed",
    "choose",
    "findings",
    "pareto_front",
    "recommendation",
    "recommended_run",
    "row_sentence_name",
]
