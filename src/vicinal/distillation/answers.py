"""The teacher's answers to a batch: from a bank where they are stored, live where they are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from torch import Tensor

from vicinal.config import ARMS, Objective, RunSpec
from vicinal.distillation.bank import AnswerCodec, TeacherBank
from vicinal.distillation.precision import choose_precision
from vicinal.distillation.teacher import FrozenTeacher, Precision
from vicinal.inputs import ImagePipeline, VicinalBatch, VicinalPlan
from vicinal.networks import FUSING_IMAGES, Classifier, Compiled, fused

PRECISION_IMAGES = 256  # that the effect of a teacher's precision is measured on


def frozen_teacher(
    teacher: Classifier,
    run: RunSpec,
    pipeline: ImagePipeline,
    precision: str = "",
    compiled: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> FrozenTeacher:
    """A run's teacher as students ask it: folded, in `precision`, or where that is empty as the run says or as is found best."""
    precision = precision or run.teacher_precision or "auto"
    seen = min(len(pipeline), PRECISION_IMAGES if precision == "auto" else FUSING_IMAGES)
    # Mixed images whatever the arm, so that all arms of a seed ask their teacher in one precision.
    plan = VicinalPlan(len(pipeline), seen, run.input_seed, ARMS["mixup"].mixing)
    mixed = pipeline.make(plan.batch(0, 0)).mixed
    network = fused(teacher, mixed[:FUSING_IMAGES])
    if precision == "auto":
        precision = choose_precision(network, mixed)
    call = Compiled(network, run.network.batch_size, say) if compiled else None
    return FrozenTeacher(network, cast(Precision, precision), call)


def ask_teacher(
    frozen: FrozenTeacher | None,
    bank: TeacherBank | None,
    codec: AnswerCodec,
    objective: Objective,
    batch: VicinalBatch,
    epoch: int,
    position: int,
) -> tuple[Tensor | None, Tensor | None]:
    """The teacher's answers that an objective learns from: to the mixed images, or to both clean ones of each."""
    if frozen is None or not objective.uses_teacher:
        return None, None
    answers = bank.read(epoch, position) if bank is not None else None
    if answers is not None:
        answers = answers.to(batch.mixed.device)
    else:
        asked = frozen(batch.mixed if objective.target == "teacher" else batch.clean)
        if bank is not None:
            bank.write(epoch, position, asked)
        answers = codec.roundtrip(asked)
    # Partners are among the clean images, so they are asked once; the rows' own images come first.
    if objective.target == "linear":
        return answers[: len(batch.mixed)], answers[batch.partner]
    return answers, None
