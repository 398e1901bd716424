"""A teacher's answers along a plan: the same from a bank as live, to what is needed and to nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from small_teachers import classifier
from torch import Tensor, nn

from vicinal.config import ARMS, AnswersSpec, MixingSpec, NetworkSpec, RunSpec
from vicinal.distillation import (
    AnswerCodec,
    Answers,
    BankLayout,
    FrozenTeacher,
    Precision,
    Spread,
    TeacherBank,
    frozen_teacher,
    objective_needs,
)
from vicinal.errors import VicinalError
from vicinal.inputs import ImagePipeline, Preparation, VicinalBatch, VicinalPlan, slice_rows
from vicinal.networks import Classifier

IMAGES, BATCH, CLASSES = 22, 8, 10
EXACT = AnswerCodec(CLASSES)
LINEAR, MIXED = objective_needs(ARMS["linear_target"]), objective_needs(ARMS["kd_mixup"])
BOTH = LINEAR | MIXED


class Counting(FrozenTeacher):
    """A teacher that knows how many images it was given at a time."""

    def __init__(self) -> None:
        super().__init__(classifier())
        self.seen: list[int] = []

    def forward(self, pixels: Tensor) -> Tensor:
        self.seen.append(len(pixels))
        return super().forward(pixels)


@pytest.fixture
def pipeline() -> ImagePipeline:
    generator = torch.Generator().manual_seed(2)
    images = torch.randint(0, 256, (IMAGES, 28, 28, 1), generator=generator, dtype=torch.uint8)
    return ImagePipeline(images, torch.arange(IMAGES) % CLASSES, Preparation())


@pytest.fixture
def bank(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[TeacherBank]:
    made = TeacherBank(tmp_path, BankLayout({"input_kind": request.param}, 2, IMAGES, BATCH, CLASSES))
    yield made
    made.close()


def plan(mixing: MixingSpec = ARMS["mixup"].mixing, **changes: int) -> VicinalPlan:
    return VicinalPlan(IMAGES, BATCH, 0, mixing, **changes)


def batch_of(pipeline: ImagePipeline, of: VicinalPlan, epoch: int, position: int) -> VicinalBatch:
    return pipeline.make(of.batch(epoch, position))


def test_what_is_needed_is_answered_and_nothing_else(pipeline: ImagePipeline) -> None:
    teacher = Counting()
    answers, batch = Answers(teacher, EXACT, plan()), batch_of(pipeline, plan(), 0, 0)
    nothing = answers.of(batch, 0, 0, frozenset({"features"}))
    assert (nothing.mixed, nothing.own, nothing.partner) == (None, None, None)
    assert teacher.seen == []
    mixed = answers.of(batch, 0, 0, MIXED)
    assert torch.equal(mixed.mixed, teacher(batch.mixed))
    assert mixed.own is mixed.partner is None
    clean = answers.of(batch, 0, 0, LINEAR)
    assert torch.equal(clean.own, teacher(batch.clean))
    assert torch.equal(clean.partner, teacher(batch.clean)[batch.partner])
    assert clean.mixed is None
    both = answers.of(batch, 0, 0, BOTH)
    assert all(torch.equal(a, b) for a, b in ((both.mixed, mixed.mixed), (both.own, clean.own)))
    none = Answers(None, EXACT, plan())
    assert (none.precision, none.of(batch, 0, 0, BOTH).mixed) == ("", None)
    assert answers.precision == "fp32"


def test_without_mixing_both_questions_are_one(pipeline: ImagePipeline) -> None:
    teacher, plain = Counting(), plan(ARMS["kd"].mixing)
    got = Answers(teacher, EXACT, plain).of(batch_of(pipeline, plain, 0, 0), 0, 0, BOTH)
    assert teacher.seen == [BATCH]
    assert torch.equal(got.mixed, got.own)
    assert torch.equal(got.mixed, got.partner)


@pytest.mark.parametrize(
    ("bank", "needs", "predicts_again"),
    [("mixed", MIXED, 0), ("clean", LINEAR, 0), ("mixed", BOTH, 1), ("clean", BOTH, 1), ("clean", MIXED, 1)],
    indirect=["bank"],
)
def test_a_bank_gives_the_answers_of_its_kind_and_the_teacher_the_others(
    pipeline: ImagePipeline, bank: TeacherBank, needs: frozenset[str], predicts_again: int
) -> None:
    teacher, batch = Counting(), batch_of(pipeline, plan(), 1, 2)  # the last one, of six images
    live = Answers(teacher, EXACT, plan()).of(batch, 1, 2, needs)
    banked = Answers(teacher, EXACT, plan(), bank)
    first = banked.of(batch, 1, 2, needs)
    teacher.seen.clear()
    again = banked.of(batch, 1, 2, needs)
    assert teacher.seen == [6] * predicts_again
    for kind in ("mixed", "own", "partner"):
        a, b, c = (getattr(of, kind) for of in (live, first, again))
        assert (a is b is c is None) or (torch.equal(a, b) and torch.equal(a, c)), kind
    assert bank.precision == "fp32"


@pytest.mark.parametrize("bank", ["clean"], indirect=True)
def test_clean_answers_serve_arms_that_do_not_mix(pipeline: ImagePipeline, bank: TeacherBank) -> None:
    teacher, plain = Counting(), plan(ARMS["kd"].mixing)
    mixed, unmixed = batch_of(pipeline, plan(), 0, 1), batch_of(pipeline, plain, 0, 1)
    linear = Answers(teacher, EXACT, plan(), bank).of(mixed, 0, 1, LINEAR)
    teacher.seen.clear()
    kd = Answers(teacher, EXACT, plain, bank).of(unmixed, 0, 1, objective_needs(ARMS["kd"]))
    assert teacher.seen == []
    assert torch.equal(kd.mixed, linear.own)


@pytest.mark.parametrize("bank", ["mixed"], indirect=True)
def test_answers_are_stored_by_the_epoch_whose_draws_they_are_of(pipeline: ImagePipeline, bank: TeacherBank) -> None:
    """A stream that repeats after two epochs has banks of two: epoch 4 reads what epoch 0 stored."""
    repeated, teacher = plan(repeat_inputs_after_epochs=2), Counting()
    answers = Answers(teacher, EXACT, repeated, bank)
    stored = [answers.of(batch_of(pipeline, repeated, epoch, 0), epoch, 0, MIXED).mixed for epoch in (0, 1)]
    teacher.seen.clear()
    for epoch in (2, 3, 4, 7):
        got = answers.of(batch_of(pipeline, repeated, epoch, 0), epoch, 0, MIXED).mixed
        assert torch.equal(got, stored[epoch % 2]), epoch
    assert teacher.seen == []


@pytest.mark.parametrize("form", [AnswersSpec(dtype="float16"), AnswersSpec(top_k=3)], ids=str)
def test_live_answers_have_the_form_of_stored_ones(tmp_path: Path, pipeline: ImagePipeline, form: AnswersSpec) -> None:
    teacher, batch = Counting(), batch_of(pipeline, plan(), 0, 0)
    codec = AnswerCodec.of(form, CLASSES)
    bank = TeacherBank(tmp_path, BankLayout({}, 1, IMAGES, BATCH, CLASSES, form))
    live = Answers(teacher, codec, plan()).of(batch, 0, 0, MIXED).mixed
    assert not torch.equal(live, teacher(batch.mixed))
    for _ in range(2):
        assert torch.equal(Answers(teacher, codec, plan(), bank).of(batch, 0, 0, MIXED).mixed, live)
    bank.close()


@pytest.mark.parametrize(("bank", "needs"), [("mixed", MIXED), ("clean", LINEAR)], indirect=["bank"])
def test_rows_of_a_batch_have_their_places_in_a_bank(
    pipeline: ImagePipeline, bank: TeacherBank, needs: frozenset[str]
) -> None:
    """Two processes store and read their halves; partners beyond their rows are predicted each time."""
    teacher = Counting()
    whole = Answers(teacher, EXACT, plan()).of(batch_of(pipeline, plan(), 0, 0), 0, 0, needs)
    answers = Answers(teacher, EXACT, plan(), bank)
    for _ in range(2):
        for rank in range(2):
            rows, batch = slice_rows(BATCH, rank, 2), pipeline.make(plan().batch(0, 0, rank, 2))
            teacher.seen.clear()
            got = answers.of(batch, 0, 0, needs, rows)
            for kind in ("mixed", "own", "partner"):
                if getattr(whole, kind) is not None:
                    torch.testing.assert_close(getattr(got, kind), getattr(whole, kind)[rows], rtol=1e-4, atol=1e-5)
    assert bank.holds(0, 0)
    assert teacher.seen == ([] if needs == MIXED else [len(batch.clean) - len(batch.mixed)])


@pytest.mark.parametrize("bank", ["mixed"], indirect=True)
def test_a_bank_of_another_precision_is_refused(bank: TeacherBank) -> None:
    bank.precision = "bf16"
    with pytest.raises(VicinalError, match="computed in bf16, not in fp32"):
        Answers(Counting(), EXACT, plan(), bank)


def a_run(**changes: object) -> RunSpec:
    spec = NetworkSpec(model="vicinal_resnet8", epochs=1, batch_size=BATCH)
    return RunSpec(role="student", name="a", network=spec, objective=ARMS["kd_mixup"], seed=0, data={}, **changes)


def test_a_teachers_precision_is_the_banks_then_the_checkpoints_then_the_runs(
    tmp_path: Path, pipeline: ImagePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vicinal.distillation.answers.kept_precision", lambda *_: "bf16")
    bank = TeacherBank(tmp_path, BankLayout({}, 1, IMAGES, BATCH, CLASSES))

    def precision(run: RunSpec, known: str = "", bank: TeacherBank | None = None) -> str:
        return Answers.along(plan(), run, classifier(), pipeline, CLASSES, bank, known).precision

    assert precision(a_run()) == "bf16"
    assert precision(a_run(teacher_precision="fp32")) == "fp32"
    assert precision(a_run(teacher_precision="fp32"), "bf16") == "bf16"
    assert bank.precision is None
    bank.precision = "fp32"
    assert precision(a_run(), "bf16", bank) == "fp32"
    assert Answers.along(plan(), a_run(), None, pipeline, CLASSES).precision == ""
    bank.close()


def test_a_frozen_teacher_is_fused_and_leaves_the_trained_one_as_it_is(pipeline: ImagePipeline) -> None:
    trained = classifier()
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    frozen = frozen_teacher(trained, a_run(teacher_precision="fp32"), pipeline)
    assert frozen.network is not trained
    batch = batch_of(pipeline, plan(), 0, 0)
    with torch.no_grad():
        torch.testing.assert_close(frozen(batch.mixed), trained.eval()(batch.mixed), rtol=1e-3, atol=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in trained.state_dict().items())


@pytest.mark.parametrize("told", ["fp32", "bf16"])
def test_a_spread_teachers_precision_is_what_the_main_process_says_before_and_after_it_is_asked(
    pipeline: ImagePipeline, monkeypatch: pytest.MonkeyPatch, told: Precision
) -> None:
    """So all processes ask it as often as one another, also where their machines would choose otherwise."""
    order: list[object] = []

    def shard(network: Classifier, pixels: Tensor) -> None:
        assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
        network.register_forward_hook(lambda *_: order.append("asked"))
        order.append(("shard", tuple(pixels.shape)))

    def agree(own: Precision) -> Precision:
        order.append("agree")
        return told if order.count("agree") == 1 else own

    monkeypatch.setattr("vicinal.networks.bf16.BF16_OPERATOR_FLOPS", 1e12)  # here fp32 is wanted
    monkeypatch.setattr("vicinal.distillation.precision.BF16_BOUND_NATS", 1e9)
    frozen = frozen_teacher(classifier(), a_run(), pipeline, spread=Spread(shard, agree))
    assert order == ["agree", ("shard", (1, 1, 28, 28)), *["asked"] * (2 * (told == "bf16")), "agree"]
    assert frozen.precision == told
