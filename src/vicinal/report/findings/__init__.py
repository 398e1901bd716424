"""Sentences that say what was found, the rule that selects a student, and the recommendation."""

from vicinal.report.findings.findings import findings
from vicinal.report.findings.recommendation import recommendation
from vicinal.report.findings.selection_rule import pareto_front

__all__ = ["findings", "pareto_front", "recommendation"]
