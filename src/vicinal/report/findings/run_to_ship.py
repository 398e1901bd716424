"""Which run of a study is the one to ship: the selected student's, of its seeds the one that the report names."""

from __future__ import annotations

from pathlib import Path

from vicinal.report.findings.recommendation import best_seed, choose
from vicinal.report.rows import load_results


def recommended_run(folder: Path) -> str | None:
    """The name of the run's folder, by the rule of "which student to take"; a study's only student is its recommendation.

    None where nothing tells the students apart: no validation images, or none but students without a scale. Raises UsageError
    without results.
    """
    results = load_results(folder)
    choice = choose(results)
    if choice is None and len(results.students) != 1:
        return None
    run: str | None = best_seed(results.students[0] if choice is None else choice.row, results).get("run")
    return run
