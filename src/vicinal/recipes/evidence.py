"""What earlier studies say of choosing a teacher before a student is trained: read from the packaged file, said in sentences.

The file is made from the tables under docs/results by scripts/rank_evidence.py.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

from scipy.stats import t

EVIDENCE_FILE = "rank_evidence.json"
CRITERION = (
    "nll"  # that teachers are ranked by, chosen on this evidence: of all criteria it has the most pairs on its side
)
LEVEL = 0.9  # of the interval in which a new student's calibration is expected


@dataclass(frozen=True)
class Expected:
    """A student's mean confidence less its accuracy, fractions."""

    gap: float
    lower: float
    upper: float
    outside: bool  # the teacher's own lies outside of what the studies had


@lru_cache
def evidence() -> dict[str, Any]:
    """The packaged file."""
    text = (resources.files("vicinal.recipes") / EVIDENCE_FILE).read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def expected_gap(teacher_gap: float) -> Expected:
    """What students of a teacher are to be expected to have, where they learn by KD + mixup at T = 2, with a prediction interval.

    Args:
        teacher_gap: the teacher's mean confidence less its accuracy, before any scaling.
    """
    line = evidence()["calibration"]
    count, away = line["teachers"], teacher_gap - line["mean"]
    gap = line["intercept"] + line["slope"] * teacher_gap
    spread = line["residual_deviation"] * math.sqrt(1 + 1 / count + away**2 / line["squares"])
    half = float(t.ppf(0.5 + LEVEL / 2, count - 2)) * spread
    low, high = line["range"]
    return Expected(gap, gap - half, gap + half, not low <= teacher_gap <= high)


def sentences() -> list[str]:
    """What the evidence is worth, to be said wherever teachers are ranked."""
    found = evidence()
    said = []
    for outcome, words in (("nll", "NLL"), ("accuracy", "accuracy")):
        own = found["students"][outcome][CRITERION]
        low, high = own["interval"]
        holds = "follow" if low > 0 else "are not shown to follow"
        said.append(
            f"In {words}, students {holds} the ranking among {own['teachers']} teachers of one study (Kendall's τ {own['tau']:+.2f}, "
            f"{low:+.2f} to {high:+.2f}); they do in {own['agree_elsewhere']} of {own['pairs_elsewhere']} pairs of teachers of others."
        )
    line = found["calibration"]
    low, high = line["slope_interval"]
    said.append(
        f"A student takes over {line['slope']:.2f} ({low:.2f} to {high:.2f}) of its teacher's confidence above accuracy, by "
        f"{line['teachers']} teachers."
    )
    said.append(
        "All of it is on small images with one small student (docs/rank.md): on your data it is a guess, and a run decides."
    )
    return said
