"""Made-up results.json of a study whose students were trained for one, two and four times its epochs."""

from __future__ import annotations

import copy
from typing import Any

from made_up_results import make_results

BUDGETS = (1.0, 2.0, 4.0)


def with_budgets(
    gains: dict[str, tuple[float, float, float]], seeds: tuple[int, ...] = (0, 1, 2), width: float = 0.002, **shape: Any
) -> dict[str, Any]:
    """Results in which an arm's accuracy is what `gains` says at each budget, give or take a tenth of a point by seed.

    Args:
        width: of the stored intervals of accuracy, either side.
    """
    raw = make_results(teachers=1, arms=tuple(gains), seeds=seeds, **shape)
    students = []
    for position, budget in enumerate(BUDGETS):
        for model in copy.deepcopy(raw["students"]):
            accuracy = gains[model["arm"]][position] + 0.001 * (model["seed"] - 1)
            model |= {
                "budget": budget,
                "epochs": int(30 * budget),
                "accuracy": accuracy,
                "ece": 0.08 / budget,
                "nll": 0.5 + 0.1 / budget,
            }
            model["intervals"]["accuracy"] = [accuracy - width, accuracy + width]
            students.append(model)
    return raw | {"students": students}
