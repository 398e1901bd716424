"""The teacher's answers to the batches of a plan: from a bank where they are stored, live where they are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, Self, cast

import torch
from torch import Tensor

from vicinal.config import ARMS, RunSpec
from vicinal.distillation.bank import AnswerCodec, TeacherBank
from vicinal.distillation.objective import OF_ANSWERS, Need, TeacherAnswers
from vicinal.distillation.precision import kept_precision, worthwhile_precision
from vicinal.distillation.teacher import FrozenTeacher, Precision
from vicinal.inputs import ImagePipeline, VicinalBatch, VicinalPlan
from vicinal.networks import FUSING_IMAGES, Classifier, Compiled, fused

PRECISION_IMAGES = 256  # that the effect of a teacher's precision is measured on


class Spread(NamedTuple):
    """How a teacher's parameters are spread over processes, all of which make it together."""

    shard: Callable[[Classifier, Tensor], None]  # a network on the CPU, by (1, C, H, W) pixels on the device
    agree: Callable[[Precision], Precision]  # on the main process's: each has to ask as often as the others do


def frozen_teacher(
    teacher: Classifier,
    run: RunSpec,
    pipeline: ImagePipeline,
    precision: str = "",
    compiled: bool = False,
    say: Callable[[str], None] = lambda _: None,
    spread: Spread | None = None,
) -> FrozenTeacher:
    """A run's teacher as students learn from it: batch norms fused, in `precision`, or where that is empty as the run says or as is
    found best.

    Args:
        pipeline: of the run's training images, some of which decide how batch norms are fused and what is best.
        compiled: call it through torch.compile; `say` is told where that does not work.
        spread: its parameters over processes; None: this one has them all.
    """
    precision = precision or run.teacher_precision or "auto"
    seen = min(len(pipeline), PRECISION_IMAGES if precision == "auto" else FUSING_IMAGES)
    # Mixed images whatever the arm, so that the teacher of a seed has one precision for all arms.
    plan = VicinalPlan(len(pipeline), seen, run.input_seed, ARMS["mixup"].mixing, order=run.network.order)
    mixed = pipeline.make(plan.batch(0, 0)).mixed
    near = mixed if spread is None else mixed.cpu()  # no device holds it whole
    network = fused(teacher, near[:FUSING_IMAGES])
    is_open = precision == "auto"
    chosen = worthwhile_precision(network, near[:1], mixed.device) if is_open else cast(Precision, precision)
    if spread is not None:
        chosen = spread.agree(chosen)
        spread.shard(network, mixed[:1])
    if is_open:
        chosen = kept_precision(network, mixed, chosen)
        chosen = chosen if spread is None else spread.agree(chosen)
    call = Compiled(network, run.network.batch_size, say) if compiled else None
    return FrozenTeacher(network, chosen, call)


def records_of(images: slice, rows: int) -> slice:
    """Which answers to a batch are those to the `rows` rows that are made of these of its images, as many of each."""
    count = images.stop - images.start
    of_each = rows // count if count else 1
    return slice(images.start * of_each, images.stop * of_each)


class Answers:
    """A teacher's answers to the batches of a plan, whether they come from a bank or from the teacher now.

    Either way they have passed through the codec, so that a student ends with the same weights. What is predicted now is stored
    in the bank, if there is one and it holds answers of that kind.

    Args:
        teacher: None for runs that learn from none.
        codec: the form in which students get the answers.
        plan: of the batches.
        bank: the teacher's answers along that plan, in that form and in the teacher's precision.

    Raises:
        VicinalError: the bank holds answers of another precision.
    """

    def __init__(
        self, teacher: FrozenTeacher | None, codec: AnswerCodec, plan: VicinalPlan, bank: TeacherBank | None = None
    ) -> None:
        self._teacher, self._codec, self._plan, self._bank = teacher, codec, plan, bank
        if teacher is not None and bank is not None:
            bank.precision = teacher.precision

    @classmethod
    def along(
        cls,
        plan: VicinalPlan,
        run: RunSpec,
        teacher: Classifier | None,
        pipeline: ImagePipeline,
        classes: int,
        bank: TeacherBank | None = None,
        precision: str = "",
        compiled: bool = False,
        say: Callable[[str], None] = lambda _: None,
        spread: Spread | None = None,
    ) -> Self:
        """Those of a run's plan, by the rest of what `frozen_teacher` takes; a bank's precision goes before `precision`."""
        frozen = None
        if teacher is not None:
            assert bank is None or spread is None  # some processes would read where others ask
            known = (bank.precision if bank is not None else None) or precision
            frozen = frozen_teacher(teacher, run, pipeline, known, compiled, say, spread)
        return cls(frozen, AnswerCodec.of(run.answers, classes), plan, bank)

    @property
    def precision(self) -> str:
        """Of the teacher's forward pass; empty without a teacher."""
        return "" if self._teacher is None else self._teacher.precision

    @property
    def classes(self) -> int:
        """K."""
        return self._codec.classes

    def count(self, needs: frozenset[Need]) -> int:
        """How many (B, K) tensors of logits `of` gives for these needs."""
        if self._teacher is None or not needs & OF_ANSWERS:
            return 0
        return ("mixed_answers" in needs) + 2 * ("clean_answers" in needs) if self._plan.mixes else 1

    def feature_count(self, needs: frozenset[Need]) -> int:
        """D of the teacher's features, where `of` gives them for these needs; else 0."""
        return self._teacher.feature_count if self._teacher is not None and "teacher_features" in needs else 0

    def unpacked(self, packed: Tensor, needs: frozenset[Need]) -> TeacherAnswers:
        """What `TeacherAnswers.packed` made of the logits for these needs."""
        if not self._plan.mixes:
            return TeacherAnswers(packed[0], packed[0], packed[0])
        left = list(packed)
        mixed = left.pop(0) if "mixed_answers" in needs else None
        return TeacherAnswers(mixed, *left)

    def of(
        self, batch: VicinalBatch, epoch: int, position: int, needs: frozenset[Need], rows: slice | None = None
    ) -> TeacherAnswers:
        """What is needed of the teacher for batch `position` of `epoch`: (B, K) float32 logits on the batch's device, features.

        Args:
            batch: of the images of it that are this process's, all or `rows`, by their places in the batch.

        Raises:
            VicinalError: the disk is full, or the form kept cannot hold the answers.
            ValueError: features are needed and the teacher gives none.
        """
        if self._teacher is None or not needs & (OF_ANSWERS | {"teacher_features"}):
            return TeacherAnswers()
        place, place_of_clean = (
            (own, epoch, position, None if rows is None else records_of(rows, own))
            for own in (len(batch.mixed), batch.samples)
        )
        mixes = self._plan.mixes
        mixed = own = partner = features = None
        if "teacher_features" in needs:  # of one pass with the logits; no bank has them
            logits, features = self._teacher.with_features(batch.mixed)
            mixed = self._kept("mixed" if mixes else "clean", logits, *place) if needs & OF_ANSWERS else None
        elif not mixes:
            mixed = self._to("clean", batch.mixed, *place)
        elif "mixed_answers" in needs:
            mixed = self._to("mixed", batch.mixed, *place)
        if not mixes:  # both questions are one
            return TeacherAnswers(mixed, mixed, mixed, features)
        if "clean_answers" in needs:
            # Partners are among the clean images, so each is predicted once; the rows' own images come first.
            clean = self._to("clean", batch.clean, *place_of_clean)
            own, partner = batch.of_rows(clean[: batch.samples]), clean[batch.partner]
        return TeacherAnswers(mixed if "mixed_answers" in needs else None, own, partner, features)

    def _to(
        self, kind: Literal["mixed", "clean"], pixels: Tensor, own: int, epoch: int, position: int, rows: slice | None
    ) -> Tensor:
        """(M, K) answers to M images, of which the first `own` are those that a bank has a place for, at its `rows`."""
        assert self._teacher is not None
        bank = self._bank_of(kind)
        stored = bank.read(self._plan.drawn_epoch(epoch), position, rows) if bank is not None else None
        if stored is None:
            return self._kept(kind, self._teacher(pixels), own, epoch, position, rows)
        stored = stored.to(pixels.device)
        if len(pixels) == own:
            return stored
        # A bank keeps rows by their own images alone: partners beyond a process's rows are predicted now.
        return torch.cat([stored, self._codec.roundtrip(self._teacher(pixels[own:]))])

    def _kept(
        self, kind: Literal["mixed", "clean"], fresh: Tensor, own: int, epoch: int, position: int, rows: slice | None
    ) -> Tensor:
        """Fresh answers in the form in which students get them; those that the bank has a place for are stored."""
        bank = self._bank_of(kind)
        if bank is not None:
            bank.write(self._plan.drawn_epoch(epoch), position, fresh[:own], rows)
        return self._codec.roundtrip(fresh)

    def _bank_of(self, kind: Literal["mixed", "clean"]) -> TeacherBank | None:
        """The bank, where it holds answers to such images."""
        bank = self._bank
        return None if bank is None or (self._plan.mixes and bank.layout.input_kind != kind) else bank
