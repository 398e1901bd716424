"""Which way processes share a training: by the arithmetic of a step, unless the study says."""

from __future__ import annotations

import pytest

from vicinal.study.shared import way_to_share


@pytest.mark.parametrize(
    ("teacher", "student", "processes", "batch", "way"),
    [
        (34.4, 0.3, 2, 64, "teacher"),  # ConvNeXt-L and MobileNetV2: 97 % of the step is the teacher's
        (34.4, 0.3, 8, 64, "teacher"),
        (4.1, 0.3, 2, 64, "teacher"),  # 85 % of the best speed
        (4.1, 0.3, 8, 64, "data"),
        (0.0, 0.3, 2, 64, "data"),  # no teacher, or one whose answers are stored
        (0.0, 0.3, 8, 63, "teacher"),  # too few rows for each
    ],
)
def test_auto_shares_what_is_most_of_the_work(
    teacher: float, student: float, processes: int, batch: int, way: str
) -> None:
    flops = int(teacher * 1e9), int(student * 1e9)
    assert way_to_share("auto", processes, batch, *flops) == way
    assert way_to_share("teacher", processes, batch, *flops) == "teacher"
    assert way_to_share("data", processes, batch, *flops) == "data"
