"""The product's training loop as an entrant: the one place that knows how it is stepped."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from timm.optim import param_groups_weight_decay
from torch import Tensor, nn

from benchmarks.harness import Running
from benchmarks.pairs import TEMPERATURE, Pair, channels_last
from vicinal.bank import BankSpec, TeacherBank
from vicinal.models import Classifier
from vicinal.objectives import objective_loss
from vicinal.specs import ARMS, Objective
from vicinal.teachers import FrozenTeacher, choose_precision
from vicinal.vicinity import ImagePipeline, PlannedBatch, VicinalPlan

Precision = Literal["fp32", "bf16"]
KD_MIXUP = ARMS["kd_mixup"].model_copy(update={"temperature": TEMPERATURE})
PRECISION_IMAGES = 64


@dataclass(frozen=True)
class How:
    """How a group of students is trained."""

    precision: Precision = "fp32"  # of the teacher's forward pass
    compiled: bool = False
    bank: Path | None = None  # folder of a warm bank; None asks the teacher live


def freeze(network: Classifier, precision: Precision, compiled: bool) -> Callable[[Tensor], Tensor]:
    """A teacher as the loop asks it; the original may change afterwards."""
    frozen = FrozenTeacher(channels_last(copy.deepcopy(network)), precision)
    return torch.compile(frozen, dynamic=False) if compiled else frozen


def bf16_refused(pair: Pair, device: torch.device) -> str | None:
    """Why the product would not ask this teacher in bf16 here, or None."""
    teacher, pixels = (
        pair.teacher_network().to(device),
        pipeline(pair, device).make(plan(pair, KD_MIXUP).batch(0, 0)).mixed,
    )
    if choose_precision(teacher, pixels[:PRECISION_IMAGES]) == "bf16":
        return None
    return "the product asks this teacher in fp32 on this device: bf16 is slower here or moves its answers beyond the bound"


def plan(pair: Pair, objective: Objective) -> VicinalPlan:
    """The input stream of an objective."""
    return VicinalPlan(pair.images, pair.batch, 0, objective.mixing)


def pipeline(pair: Pair, device: torch.device) -> ImagePipeline:
    """What makes its batches."""
    data = pair.data()
    assert isinstance(data.images, Tensor)
    return ImagePipeline(data.images, data.labels, pair.spec(pair.student).augment, pair.side_px, device)


def ours(pair: Pair, device: torch.device, objectives: Sequence[Objective], how: How) -> Running:
    """Students that share one input stream, stepped together; one step is a step of each."""
    original = pair.teacher_network().to(device)
    frozen = freeze(original, how.precision, how.compiled)
    students = [channels_last(pair.student_network(1 + k).to(device)).train() for k in range(len(objectives))]
    bank = _warm_bank(pair, device, frozen, objectives[0], how.bank) if how.bank is not None else None
    running = Running(
        _steps(pair, device, objectives, how, frozen, students, bank),
        units_per_step=pair.batch * len(objectives),
        learning=list(students),
        frozen=[original],
        sees=[] if how.compiled else [(student, pair.batch) for student in students],
        compiled=how.compiled * (len(students) + (bank is None)),
    )
    if bank is not None:
        running.close = bank.close
    return running


def _steps(
    pair: Pair,
    device: torch.device,
    objectives: Sequence[Objective],
    how: How,
    frozen: Callable[[Tensor], Tensor],
    students: Sequence[Classifier],
    bank: TeacherBank | None,
) -> Iterator[int]:
    spec = pair.spec(pair.student)
    forward = [torch.compile(student, dynamic=False) if how.compiled else student for student in students]
    optimizers = [torch.optim.AdamW(_groups(student), lr=spec.lr, fused=True) for student in students]
    autocast = torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else contextlib.nullcontext()
    batches = pipeline(pair, device).batches(_endless(plan(pair, objectives[0]), repeats=bank is not None))
    for number, (planned, batch) in enumerate(batches):
        answers = bank.read(0, number % plan(pair, objectives[0]).batches) if bank is not None else None
        answers = frozen(batch.mixed) if answers is None else answers.to(device, non_blocking=True)
        for objective, student, optimizer in zip(objectives, forward, optimizers, strict=True):
            with autocast:
                logits = student(batch.mixed)
            loss = objective_loss(objective, logits, batch.labels, batch.partner_labels, batch.lam, answers)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        yield len(planned) * len(students)


def _groups(network: nn.Module) -> list[dict[str, object]]:
    groups: list[dict[str, object]] = param_groups_weight_decay(network, 1e-4)
    return groups


def _endless(stream: VicinalPlan, repeats: bool) -> Iterator[PlannedBatch]:
    epoch = 0
    while True:
        yield from stream.epoch(epoch)
        epoch += not repeats


def _warm_bank(
    pair: Pair, device: torch.device, frozen: Callable[[Tensor], Tensor], objective: Objective, folder: Path
) -> TeacherBank:
    """A bank of the first epoch's answers; the timed loop repeats that epoch."""
    inputs = {"pair": pair.name, "shown": objective.mixing.model_dump(mode="json")}
    bank = TeacherBank(folder, BankSpec(inputs, 1, pair.images, pair.batch, pair.classes))
    stream = plan(pair, objective)
    for position, (_, batch) in enumerate(pipeline(pair, device).batches(stream.epoch(0))):
        bank.write(0, position, frozen(batch.mixed))
    return bank
