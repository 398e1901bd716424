"""The paper's claims as code and the one comparator that judges them, on the paper's tables and on every study."""

from vicinal.claims.between_images import once
from vicinal.claims.by_arm import ORDER_OF_MAGNITUDE
from vicinal.claims.catalogue import CLAIMS, judge_all
from vicinal.claims.comparison import POWER, Comparison, Inference, compare, decide, infer, why_undecided
from vicinal.claims.evidence import MARGINS, Evidence, ModelResults, StudentVersusTeacher
from vicinal.claims.judge import RULE, VERDICTS, Case, Effect, Judgement, Unit, Verdict, after_holm, judge
from vicinal.claims.numbers import (
    EPSILON,
    Curve,
    Deviations,
    Load,
    Number,
    constant,
    difference,
    kendall_tau,
    mean,
    ratio,
)
from vicinal.claims.pool import SeedPool
from vicinal.claims.under_corruption import SMOOTH_CORRUPTIONS, mean_gain_by_corruption, mean_robustness_gain
from vicinal.claims.words import (
    TEMPERATURE_SYMBOLS,
    corruption_heading,
    corruption_text,
    listed,
    p_value_text,
    temperature_text,
)

__all__ = [
    "CLAIMS",
    "EPSILON",
    "MARGINS",
    "ORDER_OF_MAGNITUDE",
    "POWER",
    "RULE",
    "SMOOTH_CORRUPTIONS",
    "TEMPERATURE_SYMBOLS",
    "VERDICTS",
    "Case",
    "Comparison",
    "Curve",
    "Deviations",
    "Effect",
    "Evidence",
    "Inference",
    "Judgement",
    "Load",
    "ModelResults",
    "Number",
    "SeedPool",
    "StudentVersusTeacher",
    "Unit",
    "Verdict",
    "after_holm",
    "compare",
    "constant",
    "corruption_heading",
    "corruption_text",
    "decide",
    "difference",
    "infer",
    "judge",
    "judge_all",
    "kendall_tau",
    "listed",
    "mean",
    "mean_gain_by_corruption",
    "mean_robustness_gain",
    "once",
    "p_value_text",
    "ratio",
    "temperature_text",
    "why_undecided",
]
