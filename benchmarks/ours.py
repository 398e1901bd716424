"""The product's training loop as an entrant: the one place that knows how it is stepped."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from benchmarks.harness import Running
from benchmarks.pairs import TEMPERATURE, Pair
from vicinal.config import ARMS, Objective, RunSpec
from vicinal.data import ImageSet
from vicinal.distillation import BankLayout, FrozenTeacher, Precision, TeacherBank, choose_precision
from vicinal.inputs import ImagePipeline, Preparation, VicinalPlan
from vicinal.networks import FUSING_IMAGES, Classifier, Compiled, fused
from vicinal.training import SINGLE, Learner, Parallel, TrainingData, train_steps, training_plan
from vicinal.workspace import RunFolder, StudyProgress

KD_MIXUP = ARMS["kd_mixup"].model_copy(update={"temperature": TEMPERATURE})


@dataclass(frozen=True)
class How:
    """How a group of students is trained."""

    precision: Precision = "fp32"  # of the teacher's forward pass
    compiled: bool = False
    bank: Path | None = None  # folder of a warm bank; None asks the teacher live


def freeze(network: Classifier, pixels: Tensor, precision: Precision, compiled: bool) -> FrozenTeacher:
    """A teacher as the loop asks it for batches like `pixels`; the original may change afterwards."""
    fast = fused(network, pixels[:FUSING_IMAGES])
    return FrozenTeacher(fast, precision, Compiled(fast, len(pixels), _fail) if compiled else None)


def _fail(reason: str) -> None:
    raise RuntimeError(reason)


def bf16_refused(pair: Pair, device: torch.device) -> str | None:
    """Why the product would not ask this teacher in bf16 here, or None."""
    pixels = pipeline(pair, device).make(plan(pair, KD_MIXUP).batch(0, 0)).mixed
    if choose_precision(fused(pair.teacher_network().to(device), pixels[:FUSING_IMAGES]), pixels) == "bf16":
        return None
    return "the product asks this teacher in fp32 on this device: bf16 is slower here or moves its answers beyond the bound"


def plan(pair: Pair, objective: Objective) -> VicinalPlan:
    """The input stream of an objective."""
    return VicinalPlan(pair.images, pair.batch, 0, objective.mixing)


def preparation(pair: Pair) -> Preparation:
    """How its images become inputs."""
    return Preparation(pair.spec(pair.student).augment, pair.side_px)


def pipeline(pair: Pair, device: torch.device) -> ImagePipeline:
    """What makes its batches."""
    data = pair.data()
    assert isinstance(data.images, Tensor)
    return ImagePipeline(data.images, data.labels, preparation(pair), device)


def ours(
    pair: Pair, device: torch.device, objectives: Sequence[Objective], how: How, parallel: Parallel = SINGLE
) -> Running:
    """Students that share one input stream, stepped together; one step is a step of each."""
    original, data = pair.teacher_network(), pair.data()
    if not parallel.shards_teacher:
        original = original.to(device)
    # A timed bank holds one epoch, which repeats.
    network = pair.spec(pair.student).model_copy(
        update={"repeat_inputs_after_epochs": 1 if how.bank is not None else None}
    )
    runs = [
        RunSpec(
            role="student",
            name=f"student{number}",
            network=network,
            objective=objective,
            seed=1 + number,
            given_input_seed=0,
            data={},
            teacher=pair.teacher,
            teacher_precision=how.precision,
        )
        for number, objective in enumerate(objectives)
    ]
    nothing = ImageSet(torch.empty(0, *data.images.shape[1:], dtype=torch.uint8), torch.empty(0, dtype=torch.int64))
    training = TrainingData(train=data, selection_images=nothing, classes=pair.classes, preparation=preparation(pair))
    folder = tempfile.TemporaryDirectory(prefix="vicinal-bench-")
    learners = [
        Learner(RunFolder(Path(folder.name), run), training, device, how.compiled, _fail, parallel) for run in runs
    ]
    bank = _warm_bank(pair, device, original, runs[0], how) if how.bank is not None else None
    progress = StudyProgress(0, Console(quiet=True))

    def steps() -> Iterator[int]:
        for images in train_steps(learners, training, original, progress, bank=bank, parallel=parallel):
            yield images * len(learners)

    def close() -> None:
        folder.cleanup()
        if bank is not None:
            bank.close()

    students = [learner.network for learner in learners]
    return Running(
        steps(),
        units_per_step=pair.batch * len(objectives),
        learning=list(students),
        frozen=[original],
        sees=[] if how.compiled else [(student, pair.batch) for student in students],
        compiled=how.compiled * (len(students) + (bank is None)),
        close=close,
        keeps_memory=device.type == "cpu",
    )


def _warm_bank(pair: Pair, device: torch.device, original: Classifier, run: RunSpec, how: How) -> TeacherBank:
    """A bank of the epoch's answers."""
    assert how.bank is not None
    inputs = {"pair": pair.name, "mixing": run.objective.mixing.model_dump(mode="json")}
    bank = TeacherBank(how.bank, BankLayout(inputs, 1, pair.images, pair.batch, pair.classes))
    bank.precision = how.precision
    stream, made = training_plan(run, pair.images), pipeline(pair, device)
    frozen = freeze(original, made.make(stream.batch(0, 0)).mixed, how.precision, compiled=False)
    for position, (_, batch) in enumerate(made.batches(stream.epoch(0))):
        bank.write(0, position, frozen(batch.mixed))
    return bank
