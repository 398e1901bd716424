"""What came out, in sentences computed from the numbers, whichever way they point."""

from __future__ import annotations

from functools import lru_cache

from vicinal.report.findings.accuracy import answering, most_accurate
from vicinal.report.findings.budgets import over_budgets
from vicinal.report.findings.calibration import (
    better_probabilities,
    beyond_one_number,
    calibration_follows,
    own_calibration,
)
from vicinal.report.findings.finding import Finding
from vicinal.report.findings.linearity import dominance, gains
from vicinal.report.rows import Results, Row


@lru_cache(maxsize=2)  # the page and two files ask
def findings(results: Results) -> tuple[Finding, ...]:
    """Everything that the results at hand can answer."""
    found: list[Finding | None] = [most_accurate(results), answering(results), *over_budgets(results)]
    studied = _studied(results)
    # A teacher at other scales of its own logits is asked about in the claims alone.
    plain = [teacher for teacher in results.teachers if teacher.scaled_from is None]
    for teacher in plain:
        rows = [row for row in studied if row.teacher == teacher.label]
        found.append(better_probabilities(results, teacher, rows))
        found.append(beyond_one_number(results, teacher, rows))
        found += gains(results, teacher, rows)
    found.append(calibration_follows(results, studied))
    found += [dominance(results, teacher) for teacher in plain]
    if not results.students:
        found += [own_calibration(results, teacher) for teacher in plain]
    if len(results.seeds) == 1:
        found.append(
            Finding(
                "How sure is this?",
                "fact",
                "One seed gives no spread between trainings: intervals and p are of the images alone, so every answer is about these "
                "networks. Of the arms that made them, another seed may say something else.",
            )
        )
    return tuple(finding for finding in found if finding is not None)


def _studied(results: Results) -> list[Row]:
    """The students that the questions are about: KD + mixup, or else every arm with a teacher."""
    rows = [row for row in results.distilled if row.arm == "kd_mixup"]
    return rows or list(results.distilled)
