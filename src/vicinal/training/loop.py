"""The one training loop, for teachers, baselines and students. Read `_train_together` from top to bottom.

Students who share a teacher and an input stream are stepped together, so that the teacher is asked once. Every random number of a
step depends on the run's seed and the step alone (the plan) or is saved with the checkpoint (dropout), so that a run killed at
any moment, or trained in other company, ends with the weights of one that was not.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import torch

from vicinal.distillation import AnswerCodec, TeacherBank, ask_teacher, frozen_teacher
from vicinal.errors import VicinalError
from vicinal.inputs import ImagePipeline
from vicinal.networks import Classifier
from vicinal.training.checkpoints import Checkpoints
from vicinal.training.learner import Learner, train_mode
from vicinal.training.losses import LossBuffer
from vicinal.training.phases import epochs_before, phases_of
from vicinal.training.state import TrainingData
from vicinal.workspace import RunFolder, StudyProgress, format_seconds


def train(
    folders: Sequence[RunFolder],
    data: TrainingData,
    teacher: Classifier | None,
    device: torch.device,
    progress: StudyProgress,
    checkpoint_seconds: float = 20.0,
    bank: TeacherBank | None = None,
    compiled: bool = False,
) -> None:
    """Train the networks of runs, or continue where a killed process left them, and leave their weights in the runs' folders.

    Several runs are stepped on each batch in turn: they must share teacher and input stream (`Study.groups`), and end with the
    weights that each would have had alone.

    Args:
        folders: of the runs; each knows its spec.
        teacher: the trained teacher, for objectives that ask one.
        checkpoint_seconds: least time between two checkpoints.
        bank: the teacher's answers along the runs' plan: read where they are stored, and stored where they are not.
        compiled: call networks through torch.compile.

    Raises:
        VicinalError: a loss is not finite (the other runs are trained to their end first), or a file cannot be written.
    """
    learners = [Learner(folder, data, device, compiled, progress.say) for folder in folders]
    for _ in train_steps(learners, data, teacher, progress, checkpoint_seconds, bank):
        pass


def train_steps(
    learners: Sequence[Learner],
    data: TrainingData,
    teacher: Classifier | None,
    progress: StudyProgress,
    checkpoint_seconds: float = 20.0,
    bank: TeacherBank | None = None,
) -> Iterator[int]:
    """`train`, step by step: gives the number of images in the batch that every network has just been stepped on."""
    at: dict[int, list[Learner]] = {}
    for learner in learners:
        at.setdefault(learner.state.step, []).append(learner)
    failures: list[VicinalError] = []
    # Killed between two checkpoints of one step, some are behind: they catch up by themselves.
    for together in at.values():
        yield from _train_together(together, data, teacher, progress, checkpoint_seconds, bank, failures)
    if failures:
        raise failures[0]


def _train_together(
    learners: list[Learner],
    data: TrainingData,
    teacher: Classifier | None,
    progress: StudyProgress,
    checkpoint_seconds: float,
    bank: TeacherBank | None,
    failures: list[VicinalError],
) -> Iterator[int]:
    lead = learners[0]
    run, step = lead.run, lead.state.step
    phases = phases_of(run, len(data.train))
    pipeline = ImagePipeline(data.train.images, data.train.labels, data.preparation, lead.device)
    frozen, codec = None, AnswerCodec.of(run.answers, data.classes)
    if teacher is not None:
        known = (bank.precision if bank is not None else None) or lead.state.teacher_precision
        frozen = frozen_teacher(teacher, run, pipeline, known, lead.is_compiled, progress.say)
        if bank is not None:
            bank.precision = frozen.precision
    for learner in learners:
        learner.state.teacher_precision = frozen.precision if frozen is not None else ""
    losses = LossBuffer(learners, phases, step, progress, failures)
    checkpoints = Checkpoints(learners, checkpoint_seconds)

    first_step = 0
    for phase in phases:
        if step >= first_step + phase.steps:
            first_step += phase.steps
            continue
        for learner in learners:
            learner.enter(phase)
        start_epoch, start_batch = divmod(step - first_step, phase.plan.batches)

        for epoch in range(start_epoch, phase.epochs):
            epoch_started, images_before = time.monotonic(), learners[0].state.epoch_images
            for learner in learners:
                train_mode(learner.network, phase)
            batches = pipeline.batches(phase.plan.epoch(epoch, start_batch))
            for position, (planned, batch) in enumerate(batches, start_batch):
                # The step: ask the teacher once, then let every student answer and learn.
                drawn = phase.plan.drawn_epoch(epoch)
                answers = ask_teacher(frozen, bank, codec, learners[0].objective, batch, drawn, position)
                for learner in learners:
                    learner.learn(batch, answers, phase, (step - first_step) / phase.plan.batches)
                step += 1
                losses.add(len(planned), step)

                ends_epoch = (step - first_step) % phase.plan.batches == 0
                if ends_epoch or checkpoints.are_due:
                    losses.read_all(epochs_before(phases, phase) + epoch + 1)
                elif losses.is_full:
                    losses.read(epochs_before(phases, phase) + epoch + 1)
                if not learners:
                    return
                if checkpoints.are_due and losses.is_empty and not ends_epoch:
                    checkpoints.save(phase)
                yield len(planned)
            start_batch = 0

            # The epoch's end: look at the selection images, log, keep the best.
            speed = (learners[0].state.epoch_images - images_before) / (time.monotonic() - epoch_started)
            for learner in learners:
                learner.end_epoch(phase, epoch + 1, data, speed, checkpoints.seconds(learner))
            if checkpoints.are_due:
                checkpoints.save(phase)
        first_step += phase.steps

    # The end: the weights, then the mark that they are whole.
    for learner in list(learners):
        learner.state.seconds = checkpoints.seconds(learner)
        try:
            learner.finish(len(data.train), len(losses.started))
        except VicinalError as error:
            failures.append(error)
    losses.finish(f"done in {format_seconds(sum(learner.state.seconds for learner in learners))}")
