"""The one training loop, for teachers, baselines and students. Read `_train_together` from top to bottom.

Students who share a teacher and an input stream are stepped together, so that the teacher predicts once. Every random number of a
step depends on the run's seed and the step alone (the plan) or is saved with the checkpoint (dropout), so that a run killed at
any moment, or trained in other company, ends with the weights of one that was not.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import partial

import torch

from vicinal.distillation import Answers, Spread, TeacherBank
from vicinal.inputs import ImagePipeline
from vicinal.networks import Classifier
from vicinal.training.answered import answered_batches, check_all_stand_alike, first_in_main
from vicinal.training.checkpoints import Checkpoints
from vicinal.training.group import Group
from vicinal.training.learner import Learner
from vicinal.training.losses import LossBuffer
from vicinal.training.parallel import SINGLE, Parallel
from vicinal.training.phases import epochs_before, phases_left, phases_of, training_plan
from vicinal.training.sharded import shard
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
    parallel: Parallel = SINGLE,
    micro_batch_size: int | None = None,
) -> None:
    """Train the networks of runs, or continue where a killed process left them, and leave their weights in the runs' folders.

    Several runs are stepped on each batch in turn: they must share teacher and input stream (`Study.groups`), and end with the
    weights that each would have had alone.

    Args:
        folders: of the runs; each knows its spec.
        teacher: the trained teacher, for objectives that learn from one.
        progress: what a person sees; a quiet one in all processes but the main one.
        checkpoint_seconds: least time between two checkpoints.
        bank: the teacher's answers along the runs' plan: read where they are stored, and stored where they are not.
        compiled: call networks through torch.compile.
        parallel: the processes that share this training; each is given the same runs.
        micro_batch_size: rows that a network in training is given at once; None: all of a batch that are this process's.

    Raises:
        UsageError: an objective names a loss term that is not registered, or one that it gives no teacher to; a network cannot be
            trained on parts of a batch.
        VicinalError: a loss is not finite (the other runs are trained to their end first), or a file cannot be written.
    """
    learners = [Learner(folder, data, device, compiled, progress.say, parallel, micro_batch_size) for folder in folders]
    for _ in train_steps(learners, data, teacher, progress, checkpoint_seconds, bank, parallel):
        pass


def train_steps(
    learners: Sequence[Learner],
    data: TrainingData,
    teacher: Classifier | None,
    progress: StudyProgress,
    checkpoint_seconds: float = 20.0,
    bank: TeacherBank | None = None,
    parallel: Parallel = SINGLE,
) -> Iterator[int]:
    """`train`, step by step: gives the number of images in the batch that every network has just been stepped on."""
    at: dict[int, list[Learner]] = {}
    for learner in learners:
        at.setdefault(learner.state.step, []).append(learner)
    # Killed between two checkpoints of one step, some are behind: they catch up by themselves.
    groups = [Group(together) for together in at.values()]
    check_all_stand_alike([learner.state.step for learner in learners], parallel)
    for group in groups:
        yield from _train_together(group, data, teacher, progress, checkpoint_seconds, bank, parallel)
    failures = [failure for group in groups for failure in group.failures]
    if failures and parallel.is_main:  # the others have seen the same
        raise failures[0]


def _train_together(  # the whole of training in one piece, so that it is read in one
    group: Group,
    data: TrainingData,
    teacher: Classifier | None,
    progress: StudyProgress,
    checkpoint_seconds: float,
    bank: TeacherBank | None,
    parallel: Parallel,
) -> Iterator[int]:
    lead = group.lead
    run, step = lead.run, lead.state.step
    own = len(data.train), data.train.labels
    phases, plan = phases_of(run, *own), training_plan(run, *own)
    pipeline = ImagePipeline(data.train.images, data.train.labels, data.preparation, lead.device)

    spread = Spread(partial(shard, device=lead.device), parallel.agree) if parallel.shards_teacher else None

    def answers_in(precision: str) -> Answers:
        return Answers.along(
            plan, run, teacher, pipeline, data.classes, bank, precision, lead.is_compiled, progress.say, spread
        )

    answers = first_in_main(answers_in, lead.state.teacher_precision, parallel)
    group.know_precision(answers.precision)
    group.know_features(answers)
    group.agree_on_precision(parallel)
    losses = LossBuffer(group, phases, step, progress, parallel)
    checkpoints = Checkpoints(group, checkpoint_seconds, parallel)

    for phase, first_step in phases_left(phases, step):
        group.enter(phase)
        start_epoch, start_batch = divmod(step - first_step, phase.plan.batches)

        for epoch in range(start_epoch, phase.epochs):
            epoch_started, images_before = time.monotonic(), group.lead.state.epoch_images
            group.begin_epoch(phase)
            planned = phase.plan.epoch(epoch, start_batch, parallel.rank, parallel.world_size)
            batches = ((position, batch) for position, (_, batch) in enumerate(pipeline.batches(planned), start_batch))
            for position, batch, answered in answered_batches(batches, answers, epoch, phase, group.needs, parallel):
                # The step: the teacher has predicted once, now every student does and learns.
                images = phase.batch_images(position)
                rows_of_each = phase.plan.rows_of(epoch, position)
                group.learn(batch, answered, phase, (step - first_step) / phase.plan.batches, images, rows_of_each)
                step += 1
                losses.add(images, step)

                ends_epoch, saves = (step - first_step) % phase.plan.batches == 0, checkpoints.are_due()
                if ends_epoch or saves:
                    losses.read_all(epochs_before(phases, phase) + epoch + 1)
                elif losses.is_full:
                    losses.read(epochs_before(phases, phase) + epoch + 1)
                if not group.learners:
                    return
                if saves and not ends_epoch:
                    checkpoints.save(phase)
                yield images
            start_batch = 0

            # The epoch's end: look at the selection images, log, keep the best.
            speed = (group.lead.state.epoch_images - images_before) / (time.monotonic() - epoch_started)
            checkpoints.keep_time()
            group.end_epoch(phase, epoch + 1, data, speed, progress.epoch)
            if checkpoints.are_due():
                checkpoints.save(phase)

    # The end: the weights, then the mark that they are whole.
    checkpoints.keep_time()
    group.finish(len(data.train), plan.share_without_partner)
    losses.finish(f"done in {format_seconds(group.seconds)}")
