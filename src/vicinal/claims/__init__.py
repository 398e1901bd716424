"""The paper's claims as code and the one comparator that judges them, on the paper's tables and on every study."""

from vicinal.claims.catalogue import (
    CLAIMS,
    ORDER_OF_MAGNITUDE,
    SMOOTH_CORRUPTIONS,
    corruption_text,
    judge_all,
    mean_gain_by_corruption,
    mean_robustness_gain,
)
from vicinal.claims.evidence import EPSILON, Curve, Evidence, Number, Subject, Toward, decide, difference, mean, ratio
from vicinal.claims.judge import RULE, Judgement, Verdict, judge

__all__ = [
    "CLAIMS",
    "EPSILON",
    "ORDER_OF_MAGNITUDE",
    "RULE",
    "SMOOTH_CORRUPTIONS",
    "Curve",
    "Evidence",
    "Judgement",
    "Number",
    "Subject",
    "Toward",
    "Verdict",
    "corruption_text",
    "decide",
    "difference",
    "judge",
    "judge_all",
    "mean",
    "mean_gain_by_corruption",
    "mean_robustness_gain",
    "ratio",
]
