"""Which way several processes share a training: a pure function of its arithmetic."""

from __future__ import annotations

from typing import Literal

Way = Literal["teacher", "data"]
BACKWARD = 2  # passes' worth of arithmetic beside the forward pass of a training step
TEACHER_SUFFICES = 0.8  # of the speed that as many processes could have at most, from which on teachers are shared out
FEWEST_ROWS = 8  # of a batch for each process, from which on rows are shared out


def way_to_share(
    stated: Way | Literal["auto"], processes: int, batch_size: int, teacher_flops: int, student_flops: int
) -> Way:
    """How the processes share a training: as the study says, or for auto by the arithmetic of a step.

    Args:
        stated: `runtime.parallel`.
        teacher_flops: of a forward pass of one image; 0 without a teacher, or where its answers are stored.
        student_flops: the same of all students that are stepped together.
    """
    if stated != "auto":
        return stated
    students = (1 + BACKWARD) * student_flops
    alone, shared = teacher_flops + students, teacher_flops / processes + students
    suffices = alone / processes >= TEACHER_SUFFICES * shared
    return "teacher" if suffices or batch_size < FEWEST_ROWS * processes else "data"
