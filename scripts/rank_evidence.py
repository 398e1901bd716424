"""What the studies under docs/results say on which teacher to choose: src/vicinal/recipes/rank_evidence.json, from their tables.

    python scripts/rank_evidence.py            # write it, and print its tables as docs/rank.md has them
    python scripts/rank_evidence.py --check    # exit with 1 where it is out of date

A criterion of teachers, which `vicinal rank` has before a student is trained, is held against how their students came out: does the
teacher that it prefers have the better student? Teachers are compared within a study, under one arm and temperature, by means over
seeds. Teachers that a criterion cannot tell apart are no pair of its.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, linregress, t

REPOSITORY = Path(__file__).resolve().parents[1]
EVIDENCE = REPOSITORY / "src" / "vicinal" / "recipes" / "rank_evidence.json"
STUDIES = ("teachers", "temperature", "quickstart", "cifar10-lite", "budgets")
TEMPERATURE = "2.0"  # of KD that all studies have
RESAMPLES = 2000
SCALED = "_after_temperature_scaling"
# What is preferred: +1 a larger one, -1 a smaller one; of NL, D and H as the paper has it.
CRITERIA = {
    "accuracy": 1,
    f"nll{SCALED}": -1,
    "nll": -1,
    "ece": -1,
    "nonlinearity_0.5": -1,
    f"nonlinearity{SCALED}_0.5": -1,
    "dominance_0.5": -1,
    f"dominance{SCALED}_0.5": -1,
    f"entropy{SCALED}_0.5": 1,
}
OUTCOMES = {"accuracy": 1, f"nll{SCALED}": -1, "nll": -1}
TIE = 1e-9


@dataclass(frozen=True)
class Group:
    """Teachers whose students were trained in one way: their figures, by teacher."""

    study: str
    arm: str
    teachers: Mapping[str, Mapping[str, float]]
    students: Mapping[str, Mapping[str, float]]


def read_groups(results: Path) -> list[Group]:
    """Every arm at T = 2 and the first budget of every study that has at least two teachers."""
    groups = []
    for study in STUDIES:
        with (results / study / "summary.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        of = [
            row
            for row in rows
            if row["role"] == "student" and row["temperature"] == TEMPERATURE and row["budget"] in ("", "1.0")
        ]
        for arm in dict.fromkeys(row["arm"] for row in of):
            names = list(dict.fromkeys(row["teacher"] for row in of if row["arm"] == arm))
            students = {name: _means([r for r in of if r["arm"] == arm and r["teacher"] == name]) for name in names}
            teachers = {
                name: _means([r for r in rows if r["role"] == "teacher" and r["name"] == name]) for name in names
            }
            if len(names) > 1:
                groups.append(Group(study, arm, teachers, students))
    return groups


def _means(rows: Sequence[Mapping[str, str]]) -> dict[str, float]:
    """Over seeds, of every figure that all of them have."""
    keys = {*CRITERIA, *OUTCOMES, "confidence"}
    return {key: fmean(float(row[key]) for row in rows) for key in sorted(keys) if all(row.get(key) for row in rows)}


def pairs_of(group: Group, criterion: str, outcome: str) -> list[int]:
    """+1 for a pair of teachers whose students came out as the criterion has it, -1 for the contrary; ties left out."""
    found = []
    for a, b in combinations(group.teachers, 2):
        if criterion not in group.teachers[a] or criterion not in group.teachers[b]:
            continue
        by = CRITERIA[criterion] * (group.teachers[a][criterion] - group.teachers[b][criterion])
        out = OUTCOMES[outcome] * (group.students[a][outcome] - group.students[b][outcome])
        if abs(by) > TIE and abs(out) > TIE:
            found.append(1 if by * out > 0 else -1)
    return found


def judged(groups: Sequence[Group], criterion: str, outcome: str) -> dict[str, Any]:
    """How far students follow a criterion: Kendall's tau over the teachers of the study made for it, and agreeing pairs of all."""
    group = next(g for g in groups if g.study == "teachers" and g.arm == "kd_mixup")
    names = list(group.teachers)
    by = np.array([CRITERIA[criterion] * group.teachers[name][criterion] for name in names])
    out = np.array([OUTCOMES[outcome] * group.students[name][outcome] for name in names])
    found = kendalltau(by, out)
    low, high = np.quantile(_resampled_taus(by, out), [0.025, 0.975])
    elsewhere = [sign for g in groups if g.study != "teachers" for sign in pairs_of(g, criterion, outcome)]
    return {
        "tau": round(float(found.statistic), 3),
        "interval": [round(float(low), 3), round(float(high), 3)],
        "p_value": round(float(found.pvalue), 4),
        "teachers": len(names),
        "pairs_elsewhere": len(elsewhere),
        "agree_elsewhere": sum(sign > 0 for sign in elsewhere),
    }


def _resampled_taus(by: NDArray[np.float64], out: NDArray[np.float64]) -> NDArray[np.float64]:
    """Kendall's τ-b over teachers drawn again with replacement; those of draws that leave no pair are left out."""
    index = np.random.default_rng(0).integers(0, len(by), (RESAMPLES, len(by)))
    signs = [np.sign(values[index][:, :, None] - values[index][:, None, :]) for values in (by, out)]
    agree = (signs[0] * signs[1]).sum((1, 2))
    untied = np.sqrt(np.abs(signs[0]).sum((1, 2)) * np.abs(signs[1]).sum((1, 2)))
    taus: NDArray[np.float64] = agree[untied > 0] / untied[untied > 0]
    return taus


def calibration(groups: Sequence[Group]) -> dict[str, Any]:
    """Students' confidence less accuracy by their teacher's: a line through the teachers of all studies, KD + mixup at T = 2."""
    points = {}
    for group in groups:
        if group.arm != "kd_mixup":
            continue
        for name, teacher in group.teachers.items():
            student = group.students[name]
            place = f"{'temperature' if group.study == 'quickstart' else group.study} {name}"  # quickstart's are temperature's
            points[place] = (teacher["confidence"] - teacher["accuracy"], student["confidence"] - student["accuracy"])
    x, y = (np.array(values) for values in zip(*points.values(), strict=True))
    line = linregress(x, y)
    rest = y - line.intercept - line.slope * x
    freedom = len(x) - 2
    half = float(t.ppf(0.975, freedom)) * float(line.stderr)
    return {
        "slope": round(float(line.slope), 3),
        "slope_interval": [round(float(line.slope) - half, 3), round(float(line.slope) + half, 3)],
        "intercept": round(float(line.intercept), 4),
        "residual_deviation": round(math.sqrt(float((rest**2).sum()) / freedom), 4),
        "teachers": len(x),
        "mean": round(float(x.mean()), 4),
        "squares": round(float(((x - x.mean()) ** 2).sum()), 5),
        "range": [round(float(x.min()), 3), round(float(x.max()), 3)],
    }


def evidence(results: Path) -> dict[str, Any]:
    """What the packaged file holds."""
    groups = read_groups(results)
    return {
        "students": {o: {c: judged(groups, c, o) for c in CRITERIA} for o in OUTCOMES},
        "calibration": calibration(groups),
    }


def table(found: Mapping[str, Any], outcome: str) -> str:
    """Markdown, a row for each criterion."""
    lines = ["| criterion of the teacher | τ (95 %) | p | pairs that agree elsewhere |", "|---|---|---|---|"]
    for criterion, own in found["students"][outcome].items():
        low, high = own["interval"]
        lines.append(
            f"| {criterion} | {own['tau']:+.2f} ({low:+.2f} to {high:+.2f}) | {own['p_value']:.3f} | "
            f"{own['agree_elsewhere']} of {own['pairs_elsewhere']} |"
        )
    return "\n".join(lines)


def main(say: Callable[[str], None] = print) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--check", action="store_true")
    found = evidence(REPOSITORY / "docs" / "results")
    text = json.dumps(found, indent=1) + "\n"
    if parser.parse_args().check:
        if not EVIDENCE.is_file() or EVIDENCE.read_text(encoding="utf-8") != text:
            say(f"{EVIDENCE} is out of date: run {Path(__file__).name}")
            return 1
        return 0
    EVIDENCE.write_text(text, encoding="utf-8")
    for outcome in OUTCOMES:
        say(f"\nstudents' {outcome}\n\n{table(found, outcome)}")
    say(f"\n{json.dumps(found['calibration'])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
