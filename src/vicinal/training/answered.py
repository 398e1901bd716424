"""The batches of an epoch with the teacher's answers: asked about one by one, or as many at once as there are processes.

Where the teacher is shared out, each process asks it about every so-many-th batch, a whole one, and gives the answers to the others:
a network's answers to an image depend, in their last digits, on how many stand beside it, so that rows shared out would not be
those of one process, and whole batches are, whatever the network and the device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

from vicinal.distillation import Answers, Need, TeacherAnswers
from vicinal.errors import VicinalError
from vicinal.inputs import VicinalBatch, slice_rows
from vicinal.training.parallel import Parallel
from vicinal.training.state import Phase


def answered_batches(
    batches: Iterator[tuple[int, VicinalBatch]],
    answers: Answers,
    epoch: int,
    phase: Phase,
    needs: frozenset[Need],
    parallel: Parallel,
) -> Iterator[tuple[int, VicinalBatch, TeacherAnswers]]:
    """Every batch with its position in the epoch, and what is needed of the teacher for it.

    Args:
        batches: (of the rows that this process steps on) in their order, with their positions.
    """
    count, features = answers.count(needs), answers.feature_count(needs)
    if parallel.batches_at_once == 1 or not (count or features):
        for position, batch in batches:
            rows = slice_rows(phase.batch_images(position), parallel.rank, parallel.world_size)
            yield position, batch, answers.of(batch, epoch, position, needs, rows)
        return
    while window := list(islice(batches, parallel.batches_at_once)):
        own, device = TeacherAnswers(), window[0][1].mixed.device
        is_asked = parallel.number < len(window)
        if is_asked or parallel.shards_teacher:  # whose parts come together in calls of all processes
            position, batch = window[min(parallel.number, len(window) - 1)]
            own = answers.of(batch, epoch, position, needs)
        told: list[TeacherAnswers] = [TeacherAnswers()] * len(window)
        if count:
            shapes = [(count, len(batch.labels), answers.classes) for _, batch in window]
            packed = parallel.exchange(own.packed() if is_asked else None, shapes, device)
            told = [answers.unpacked(part, needs) for part in packed]
        if features:
            sizes = [(len(batch.labels), features) for _, batch in window]
            parts = parallel.exchange(own.features if is_asked else None, sizes, device)
            told = [replace(answered, features=part) for answered, part in zip(told, parts, strict=True)]
        for (position, batch), answered in zip(window, told, strict=True):
            yield position, batch, answered


def first_in_main(make: Callable[[str], Answers], precision: str, parallel: Parallel) -> Answers:
    """The teacher's answers, in the precision that the main process has found best, where none is known yet."""
    if parallel.shards_teacher:  # it is made by all at once
        return make(precision)
    answers = make(precision) if parallel.is_main else None
    chosen = parallel.agree(answers.precision if answers is not None else "")
    return answers if answers is not None else make(chosen)


def check_all_stand_alike(steps: Sequence[int], parallel: Parallel) -> None:
    """Raises VicinalError where this process has found its runs at other steps than the main one has."""
    if parallel.agree(list(steps)) != list(steps):
        raise VicinalError(
            "the processes of this training found other checkpoints each; give all of them one --out folder"
        )
