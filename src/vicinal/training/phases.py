"""A run's phases: the head alone first where asked for, then the whole network."""

from __future__ import annotations

from collections.abc import Iterator

from vicinal.config import ARMS, RunSpec
from vicinal.inputs import VicinalPlan
from vicinal.training.state import Phase


def phases_of(run: RunSpec, images: int) -> list[Phase]:
    """The phases of a run of so many training images, in their order."""
    spec, phases = run.network, []
    if spec.head_warmup_epochs and spec.epochs:
        plan = VicinalPlan(
            images, spec.batch_size, run.input_seed, ARMS["baseline"].mixing, "head_warmup", order=spec.order
        )
        phases.append(Phase("head_warmup", spec.head_warmup_epochs, ARMS["baseline"], plan))
    return [*phases, Phase("train", spec.epochs, run.objective, training_plan(run, images))]


def training_plan(run: RunSpec, images: int) -> VicinalPlan:
    """The input stream of a run of so many training images, without the head's warm-up."""
    spec = run.network
    return VicinalPlan(
        images,
        spec.batch_size,
        run.input_seed,
        run.objective.mixing,
        repeat_inputs_after_epochs=spec.repeat_inputs_after_epochs,
        order=spec.order,
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
