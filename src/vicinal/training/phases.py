"""A run's phases: the head alone first where asked for, then the whole network."""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import Tensor

from vicinal.config import ARMS, RunSpec
from vicinal.inputs import ClassLabels, VicinalPlan
from vicinal.training.state import Phase


def phases_of(run: RunSpec, images: int, labels: Tensor | None = None) -> list[Phase]:
    """The phases of a run of so many training images, in their order; `labels` as `training_plan` takes them."""
    spec, phases = run.network, []
    if spec.head_warmup_epochs and spec.epochs:
        plan = VicinalPlan(
            images, spec.batch_size, run.input_seed, ARMS["baseline"].mixing, "head_warmup", order=spec.order
        )
        phases.append(Phase("head_warmup", spec.head_warmup_epochs, ARMS["baseline"], plan))
    return [*phases, Phase("train", spec.epochs, run.objective, training_plan(run, images, labels))]


def training_plan(run: RunSpec, images: int, labels: Tensor | None = None) -> VicinalPlan:
    """The input stream of a run of so many training images, without the head's warm-up.

    Args:
        labels: (N,) int64 of the images; without them batches can be counted and not drawn where partners are chosen by class.
    """
    spec, mixing = run.network, run.objective.mixing
    steps = spec.epochs * -(-images // spec.batch_size)
    return VicinalPlan(
        images,
        spec.batch_size,
        run.input_seed,
        mixing,
        repeat_inputs_after_epochs=spec.repeat_inputs_after_epochs,
        order=spec.order,
        mixed_batches=None if mixing.until == 1 else math.floor(mixing.until * steps + 0.5),
        labels=None if mixing.partners == "any" or labels is None else ClassLabels.of(labels),
    )


def phases_left(phases: list[Phase], step: int) -> Iterator[tuple[Phase, int]]:
    """The phases that are not over at a step of the run, each with the step at which it begins."""
    first = 0
    for phase in phases:
        if step < first + phase.steps:
            yield phase, first
        first += phase.steps


def trained_image_count(run: RunSpec, train_images: int) -> int:
    """How many images a run passes through in all."""
    return epoch_count(phases_of(run, train_images)) * train_images


def trained_row_count(run: RunSpec, train_images: int) -> int:
    """How many rows it is stepped on: an image may be several of a step."""
    plan, mixed = training_plan(run, train_images), run.network.epochs * train_images
    if plan.mixed_batches is not None:
        epochs, batches = divmod(plan.mixed_batches, plan.batches)
        mixed = epochs * train_images + batches * plan.batch_size
    return trained_image_count(run, train_images) + (plan.rows_per_image - 1) * mixed


def images_done(phases: list[Phase], step: int) -> int:
    """How many images a run has passed through at a step."""
    done = 0
    for phase in phases:
        epochs, batches = divmod(min(step, phase.steps), phase.plan.batches)
        done += epochs * phase.plan.images + batches * phase.plan.batch_size
        step -= min(step, phase.steps)
    return done


def epochs_before(phases: list[Phase], phase: Phase) -> int:
    """Epochs of the phases before one."""
    return epoch_count(phases[: phases.index(phase)])


def epoch_count(phases: list[Phase]) -> int:
    """Epochs of phases together."""
    return sum(phase.epochs for phase in phases)
