"""Sentences that say what was found, the rule that selects a student, and the recommendation."""

from vicinal.report.findings.findings import findings
from vicinal.report.findings.recommendation import choice
from vicinal.report.findings.rule import SIGNIFICANT, pareto_front

__all__ = ["SIGNIFICANT", "choice", "findings", "pareto_front"]
