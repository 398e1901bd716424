"""The teacher bank: the same weights bit for bit with and without it, whole batches only, never another's answers."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.special
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vicinal.config import AnswersSpec, load_study
from vicinal.distillation import AnswerCodec, BankLayout, FrozenTeacher, TeacherBank
from vicinal.distillation.bank.checksums import checksums
from vicinal.distillation.bank.store import ERROR_ANSWERS, ERROR_TEMPERATURES
from vicinal.errors import UsageError, VicinalError
from vicinal.study import Shard, Study, bank_layout
from vicinal.workspace import hold

LAYOUT = BankLayout({"teacher": "a"}, epochs=3, images=10, batch_size=4, classes=5)
FORMS = [
    AnswersSpec(),
    AnswersSpec(dtype="float16"),
    AnswersSpec(top_k=3),
    AnswersSpec(dtype="float16", top_k=2),
]


def answers(size: int, seed: int = 0, classes: int = 5, scale: float = 30) -> torch.Tensor:
    return torch.randn(size, classes, generator=torch.Generator().manual_seed(seed)) * scale


def with_form(form: AnswersSpec) -> BankLayout:
    return BankLayout({"teacher": "a"}, 3, 10, 4, 5, form)


# --- how an answer is stored ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS, ids=str)
@given(count=st.integers(0, 6), classes=st.integers(5, 40), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_live_answers_are_those_that_a_reader_gets(form: AnswersSpec, count: int, classes: int, seed: int):
    codec, z = AnswerCodec.of(form, classes), answers(count, seed, classes)
    records = codec.encode(z)
    assert records.shape == (count, codec.bytes)
    assert torch.equal(codec.decode(records), codec.roundtrip(z))
    assert codec.is_exact == (form == AnswersSpec())
    if codec.is_exact:
        assert torch.equal(codec.roundtrip(z), z)
    if form.top_k is None:
        assert ((codec.roundtrip(z) - z).abs() <= z.abs() * 2**-11 + 3e-8).all()


def test_more_classes_than_16_bits_have_wider_places():
    z = torch.zeros(1, 70_000)
    z[0, 69_999], z[0, 5] = 3, 2
    codec = AnswerCodec(70_000, top_k=2)
    assert codec.bytes == 2 * (4 + 4) + 4
    got = codec.decode(codec.encode(z))
    assert torch.equal(got.topk(2).indices, torch.tensor([[69_999, 5]]))
    assert AnswerCodec(2**16, top_k=2).bytes == 2 * (4 + 2) + 4


@given(seed=st.integers(0, 999), classes=st.integers(4, 60), data=st.data())
@settings(max_examples=40, deadline=None)
def test_top_k_keeps_probabilities_at_temperature_1(seed: int, classes: int, data: st.DataObject):
    k = data.draw(st.integers(1, classes - 1))
    z = answers(3, seed, classes, scale=4)
    got = AnswerCodec(classes, top_k=k).roundtrip(z)
    p, q = scipy.special.softmax(z.double().numpy(), 1), scipy.special.softmax(got.double().numpy(), 1)
    top = np.argsort(-z.numpy(), 1)[:, :k]
    np.testing.assert_allclose(np.take_along_axis(q, top, 1), np.take_along_axis(p, top, 1), rtol=1e-5)
    rest = np.argsort(-z.numpy(), 1)[:, k:]
    np.testing.assert_allclose(np.take_along_axis(q, rest, 1).sum(1), np.take_along_axis(p, rest, 1).sum(1), rtol=1e-5)
    assert np.ptp(np.take_along_axis(got.numpy(), rest, 1), axis=1).max() == 0


@pytest.mark.parametrize("value", [65520.0, -1e6, torch.inf, torch.nan])
@pytest.mark.parametrize("top_k", [None, 2])
def test_what_float16_cannot_hold_is_refused(value: float, top_k: int | None, tmp_path: Path):
    z = answers(4, scale=1)
    z[2] = value
    codec = AnswerCodec(5, "float16", top_k)
    for call in (codec.encode, codec.roundtrip):
        with pytest.raises(VicinalError, match=r"answers\.dtype: float32"):
            call(z)
    bank = TeacherBank(tmp_path, with_form(AnswersSpec(dtype="float16", top_k=top_k)))
    with pytest.raises(VicinalError, match="65504"):
        bank.write(0, 0, z)
    assert bank.read(0, 0) is None
    bank.close()


@pytest.mark.parametrize("top_k", [0, 5, 6])
def test_top_k_must_leave_something_out(top_k: int):
    with pytest.raises(ValueError, match="between 1 and 4"):
        AnswerCodec(5, top_k=top_k)


# --- checksums --------------------------------------------------------------------------------------------------------

record_batches = st.integers(1, 40).flatmap(
    lambda words: st.lists(st.binary(min_size=2 * words, max_size=2 * words), min_size=1, max_size=6)
)


def as_records(raw: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(raw), dtype=np.uint8).reshape(len(raw), -1).copy()


@given(record_batches, st.integers(0, 2**33), st.data())
@example([b"\0\0"], 0, None)
@settings(max_examples=200, deadline=None)
def test_a_checksum_is_never_0_and_tells_any_changed_byte(raw: list[bytes], first: int, data: st.DataObject | None):
    records = as_records(raw)
    before = checksums(records, first)
    assert before.dtype == np.uint32
    assert before.all()
    if data is None:
        return
    row, byte = data.draw(st.integers(0, len(raw) - 1)), data.draw(st.integers(0, records.shape[1] - 1))
    records[row, byte] ^= data.draw(st.integers(1, 255))
    changed = checksums(records, first) != before
    assert changed[row]
    assert changed.sum() == 1


def test_a_checksum_is_that_of_its_place_and_the_same_in_any_company():
    records = as_records([os.urandom(2 * 70_000) for _ in range(3)])  # longer than the sums that fit 64 bits
    whole = checksums(records, 7)
    assert [int(checksums(records[k : k + 1], 7 + k)[0]) for k in range(3)] == whole.tolist()
    assert (checksums(records, 8) != whole).all()
    prime, power, total = 4294967291, 1, 0
    for word in np.frombuffer(records[1].tobytes(), dtype="<u2").tolist():  # the definition, in whole numbers
        power = power * 2654435761 % prime
        total += word * power
    assert int(whole[1]) == (total + 8 * (power * 2654435761 % prime)) % prime + 1


@given(st.integers(1, 47), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_torn_write_is_noticed(tmp_path_factory, bytes_written: int, over_old: bool):
    """A batch of 2 records of 24 B, of which a crash left some bytes, over nothing or over another answer."""
    root = tmp_path_factory.mktemp("torn")
    for name in ("new", "torn"):
        (root / name).mkdir()
    layout = BankLayout({}, 1, 2, 2, 5)
    new, torn = TeacherBank(root / "new", layout), TeacherBank(root / "torn", layout)
    new.write(0, 0, answers(2, 1))
    torn.write(0, 0, answers(2, 2)) if over_old else os.truncate(torn.path / "answers.bin", layout.bytes)
    data = (new.path / "answers.bin").read_bytes()
    assert len(data) == 48
    os.pwrite(torn._answers, data[:bytes_written], 0)
    got, first = torn.read(0, 0), torn.read(0, 0, slice(0, 1))
    assert got is None or (over_old and bytes_written == 24)  # one record of each answer: both are whole
    assert (first is not None) == (bytes_written >= 24)
    assert torn.content().damaged.sum() == (bytes_written % 24 != 0)
    new.close()
    torn.close()


# --- the bank ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_what_was_written_is_read_and_nothing_else(tmp_path: Path, form: AnswersSpec):
    layout = with_form(form)
    bank = TeacherBank(tmp_path, layout)
    assert bank.read(0, 0) is None
    bank.write(2, 2, answers(2))  # the last batch of an epoch of 10
    bank.write(0, 1, answers(4, 1))
    assert torch.equal(bank.read(2, 2), layout.codec.roundtrip(answers(2)))
    assert torch.equal(bank.read(0, 1), layout.codec.roundtrip(answers(4, 1)))
    assert all(bank.read(e, p) is None for e in range(3) for p in range(3) if (e, p) not in ((2, 2), (0, 1)))
    assert bank.content().stored.sum() == 6
    bank.close()
    again = TeacherBank(tmp_path, layout, create=False)
    assert torch.equal(again.read(2, 2), layout.codec.roundtrip(answers(2)))
    again.close()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(1, 9), st.integers(1, 4), st.integers(5, 8), st.sampled_from(FORMS))
def test_every_batch_has_a_place_of_its_own(
    tmp_path_factory, images: int, batch: int, epochs: int, classes: int, form: AnswersSpec
):
    layout = BankLayout({}, epochs, images, batch, classes, form)
    bank = TeacherBank(tmp_path_factory.mktemp("bank"), layout)
    shape = {p: (layout.batch_images(p), classes) for p in range(layout.batches)}
    given_answers = {(e, p): torch.randn(shape[p]) for e in range(epochs) for p in range(layout.batches)}
    for (e, p), z in given_answers.items():
        bank.write(e, p, z)
    assert all(torch.equal(bank.read(e, p), layout.codec.roundtrip(z)) for (e, p), z in given_answers.items())
    assert bank.content().share == 1
    bank.close()
    assert sum(f.stat().st_size for f in bank.path.iterdir() if f.name != "bank.json") == layout.bytes


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_one_two_and_eight_writers_leave_the_same_bytes(tmp_path: Path, form: AnswersSpec):
    layout = BankLayout({"teacher": "a"}, 3, 50, 16, 5, form)
    z = {(e, p): answers(layout.batch_images(p), 10 * e + p) for e in range(3) for p in range(layout.batches)}
    contents = []
    for world in (1, 2, 8):

        def fill(rank: int, world: int = world) -> None:
            bank = TeacherBank(tmp_path / str(world), layout, "weights")
            bank.precision = "fp32"
            order = list(z)
            random.Random(rank).shuffle(order)
            for e, p in order:
                rows = Shard(rank, world).rows(layout.batch_images(p))
                bank.write(e, p, z[e, p][rows], rows)
            bank.close()

        with ThreadPoolExecutor(world) as pool:
            list(pool.map(fill, range(world)))
        bank = TeacherBank(tmp_path / str(world), layout, "weights")
        assert torch.equal(bank.read(1, 2), layout.codec.roundtrip(z[1, 2]))
        assert torch.equal(bank.read(1, 2, slice(3, 7)), layout.codec.roundtrip(z[1, 2])[3:7])
        contents.append((bank.path / "answers.bin").read_bytes())
        assert bank.precision == "fp32"
        if not layout.codec.is_exact:
            assert json.loads((bank.path / "bank.json").read_text())["error"]["answers"] == 150
        bank.close()
    assert contents[0] == contents[1] == contents[2]


@given(st.integers(1, 300), st.integers(1, 12))
def test_slices_are_the_whole_batch(images: int, world: int):
    rows = [i for rank in range(world) for i in range(images)[Shard(rank, world).rows(images)]]
    assert rows == list(range(images))


def test_a_batch_is_there_when_all_its_slices_are(tmp_path: Path):
    bank = TeacherBank(tmp_path, LAYOUT)
    bank.write(0, 0, answers(4)[:2], slice(0, 2))
    assert bank.read(0, 0) is None
    assert torch.equal(bank.read(0, 0, slice(0, 2)), answers(4)[:2])
    assert bank.read(0, 0, slice(2, None)) is None
    bank.write(0, 0, answers(4)[2:], slice(2, 4))
    assert torch.equal(bank.read(0, 0), answers(4))
    assert bank.read(0, 0, slice(1, 1)).shape == (0, 5)
    for rows, error in ((slice(0, 4, 2), "no step"), (slice(0, 3), "has 3 images")):
        with pytest.raises(ValueError, match=error):
            bank.write(0, 0, answers(2), rows)
    for epoch, position in ((3, 0), (0, 3), (-1, 0)):
        with pytest.raises(IndexError):
            bank.read(epoch, position)
    bank.close()


def test_a_damaged_batch_counts_as_missing(tmp_path: Path):
    bank = TeacherBank(tmp_path, LAYOUT)
    for position in range(3):
        bank.write(0, position, answers(4 if position < 2 else 2, position))
    with (bank.path / "answers.bin").open("r+b") as file:
        file.seek(3 * 24 + 5)
        byte = file.read(1)
        file.seek(3 * 24 + 5)
        file.write(bytes([byte[0] ^ 1]))
    assert bank.read(0, 0) is None
    assert np.argwhere(bank.content().damaged).tolist() == [[0, 3]]
    assert torch.equal(bank.read(0, 1), answers(4, 1))
    os.truncate(bank.path / "answers.bin", 9 * 24 + 3)
    assert bank.read(0, 2) is None
    bank.write(0, 0, answers(4))
    assert torch.equal(bank.read(0, 0), answers(4))
    bank.close()


def test_another_teacher_plan_or_form_has_another_bank(tmp_path: Path):
    first = TeacherBank(tmp_path, LAYOUT)
    first.write(0, 0, answers(4))
    for other in (
        BankLayout({"teacher": "b"}, 3, 10, 4, 5),
        BankLayout({"teacher": "a"}, 3, 11, 4, 5),
        BankLayout({"teacher": "a"}, 3, 10, 5, 5),
        BankLayout({"teacher": "a"}, 3, 10, 4, 6),
        BankLayout({"teacher": "a"}, 3, 10, 4, 5, AnswersSpec(dtype="float16")),
    ):
        assert TeacherBank(tmp_path, other).read(0, 0) is None
    longer = TeacherBank(tmp_path, BankLayout({"teacher": "a"}, 9, 10, 4, 5))
    assert torch.equal(longer.read(0, 0), answers(4))  # more epochs of the same plan
    assert json.loads((first.path / "bank.json").read_text())["epochs"] == 9


def test_a_bank_that_does_not_match_is_refused(tmp_path: Path):
    first = TeacherBank(tmp_path, LAYOUT, "1" * 64)
    first.write(0, 0, answers(4))
    told = first.path / "bank.json"
    good = told.read_text()
    assert {"created", "vicinal", "torch", "device"} <= set(json.loads(good)["provenance"])
    TeacherBank(tmp_path, LAYOUT, "1" * 64).close()
    TeacherBank(tmp_path, LAYOUT).close()
    with pytest.raises(VicinalError, match=r"of other weights \(111111111111\.\.\.\), not of this teacher's"):
        TeacherBank(tmp_path, LAYOUT, "2" * 64)
    for text, error in (
        (json.dumps(json.loads(good) | {"images": 99}), "another bank"),
        (json.dumps(json.loads(good) | {"format": 1}), "another version"),
        (json.dumps(json.loads(good) | {"teacher_weights": None}), "of unknown weights"),
        (good[:-20], "damaged"),
        ("[]", "damaged"),
    ):
        told.write_text(text)
        with pytest.raises(VicinalError, match=error) as caught:
            TeacherBank(tmp_path, LAYOUT, "1" * 64)
        assert "\n" not in str(caught.value)
        assert "delete" in str(caught.value)
    told.unlink()
    with pytest.raises(VicinalError, match=r"holds answers but no bank\.json"):
        TeacherBank(tmp_path, LAYOUT, "1" * 64)
    with pytest.raises(UsageError, match="holds no bank"):
        TeacherBank(tmp_path, LAYOUT, create=False)


def test_its_precision_is_set_once(tmp_path: Path):
    one, other = TeacherBank(tmp_path, LAYOUT), TeacherBank(tmp_path, LAYOUT)
    assert one.precision is None
    one.precision = "bf16"
    other.precision = "bf16"
    assert other.precision == "bf16"
    with pytest.raises(VicinalError, match="asked in bf16, not in fp32"):
        other.precision = "fp32"
    assert TeacherBank(tmp_path, LAYOUT).precision == "bf16"


@pytest.mark.parametrize("form", FORMS[1:], ids=str)
def test_the_error_of_a_form_is_measured_while_it_is_written(tmp_path: Path, form: AnswersSpec):
    layout = BankLayout({}, 1, 4000, 300, 8, form)
    bank = TeacherBank(tmp_path, layout)
    z = answers(4000, 3, 8, scale=5)
    for position, part in enumerate(z.split(300)):
        bank.write(0, position, part)
    error = json.loads((bank.path / "bank.json").read_text())["error"]
    seen = -(-ERROR_ANSWERS // 300) * 300
    assert error["answers"] == seen
    kept = layout.codec.roundtrip(z[:seen]).double().numpy()
    for t, mean, most in zip(ERROR_TEMPERATURES, error["kl_mean"], error["kl_max"], strict=True):
        p, q = scipy.special.softmax(z[:seen].double().numpy() / t, 1), scipy.special.softmax(kept / t, 1)
        kl = scipy.special.rel_entr(p, q).sum(1)
        assert mean == pytest.approx(kl.mean(), rel=1e-4, abs=1e-12)
        assert most == pytest.approx(kl.max(), rel=1e-4, abs=1e-12)
    bank.close()


def test_sizes_in_words():
    layout = BankLayout({}, 500, 50_000, 128, 100, AnswersSpec(dtype="float16"))
    assert layout.size == "500 epochs x 50,000 images x 204 B = 5.1 GB"
    assert layout.bytes == 5_100_000_000


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_one_line(tmp_path: Path):
    bank = TeacherBank(tmp_path, LAYOUT)
    os.close(bank._answers)
    bank._answers = os.open("/dev/full", os.O_RDWR)
    with pytest.raises(VicinalError, match="the disk is full"):
        bank.write(0, 0, answers(4))
    bank.close()


# --- studies ----------------------------------------------------------------------------------------------------------

BATCHES = 2 * 3  # epochs of 45 images in batches of 15


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the batches that any frozen teacher is asked."""
    sizes: list[int] = []
    original = FrozenTeacher.forward

    def counting(self: FrozenTeacher, pixels: torch.Tensor) -> torch.Tensor:
        sizes.append(len(pixels))
        return original(self, pixels)

    monkeypatch.setattr(FrozenTeacher, "forward", counting)
    return sizes


@pytest.fixture(scope="module")
def banked(tiny: dict[str, Any], study_file: Callable[..., Path]) -> Callable[..., Path]:
    def file(arms: list[Any], **changes: Any) -> Path:
        return study_file(
            tiny,
            {
                "arms": arms,
                "teachers.one.epochs": 1,
                "teachers.one.inference_precision": "fp32",
                "student.epochs": 2,
                **changes,
            },
        )

    return file


MIXUP = [{"name": "kd_mixup", "temperature": [1, 3]}]


def student_weights(out: Path) -> dict[str, bytes]:
    return {p.parent.name: p.read_bytes() for p in out.glob("runs/student-*/weights.safetensors")}


@pytest.mark.parametrize("arm", ["kd_mixup", "linear_target"])
def test_a_study_has_the_same_weights_with_and_without_banks_and_asks_once(banked, tmp_path, vicinal, asked, arm: str):
    file = banked([{"name": arm, "temperature": [1, 3, "sigma"]}])
    # Not shared, stepped together, and one after the other by a bank.
    ways = {"alone": ["students_at_once=1", "bank_gb=0"], "live": [], "banked": ["students_at_once=1"]}
    counts, weights = {}, {}
    for way, overrides in ways.items():
        asked.clear()
        out = tmp_path / way
        assert vicinal("run", file, "--out", out, *(f"runtime.{o}" for o in overrides)).code == 0
        counts[way] = len(asked)
        weights[way] = student_weights(out)
    assert len(weights["alone"]) == 3
    assert weights["alone"] == weights["live"] == weights["banked"]
    assert counts == {"alone": 3 * BATCHES, "live": BATCHES, "banked": BATCHES}
    assert [len(list((tmp_path / way).glob("banks/*"))) for way in ways] == [0, 0, 1]
    answer = vicinal("plan", file, "--out", tmp_path / "new")
    assert "3 runs are stepped together on one pass of their teachers" in answer.out
    answer = vicinal("plan", file, "--out", tmp_path / "new", "runtime.students_at_once=1")
    assert "3 runs share 1 bank of teachers' answers, 2 epochs x 45 images x 16 B = 1,440 B: each" in answer.out


def test_groups_share_a_stream_and_banks_serve_groups(banked, tmp_path: Path):
    """kd and linear_target are told the same clean answers and mix differently: two groups, one bank."""
    arms = [{"name": "kd", "temperature": [1, 2]}, "linear_target", {"name": "kd_mixup", "temperature": [1, 2, 3]}]
    study = Study(load_study(str(banked(arms)), ["seeds=[0,1]", "teacher_seed=0"]), tmp_path)
    assert [len(group) for group in study.groups] == [1, 2, 1, 3, 2, 1, 3]
    assert sorted(
        run.spec.objective.target for path, run in ((r.folder.path, r) for r in study.plan.runs) if path in study.banks
    ) == (["linear"] * 2 + ["teacher"] * 4)
    one_stream = Study(load_study(str(banked(arms)), ["seeds=[0,1]", "teacher_seed=0", "input_seed=0"]), tmp_path)
    assert [len(group) for group in one_stream.groups] == [1, 4, 2, 6]
    assert len({run.spec.fingerprint() for run in one_stream.plan.runs}) == 1 + 2 * 6
    few = Study(load_study(str(banked(arms)), ["runtime.students_at_once=2"]), tmp_path)
    assert [len(group) for group in few.groups] == [1, 2, 1, 2, 1]


@pytest.mark.parametrize("form", [[], ["answers.dtype=float16", "answers.top_k=1"]], ids=str)
def test_students_of_a_built_bank_are_those_of_a_live_teacher(banked, tmp_path, vicinal, asked, form: list[str]):
    file = banked(["kd", "kd_mixup"])
    live, built = tmp_path / "live", tmp_path / "built"
    assert vicinal("run", file, "--out", live, "runtime.bank_gb=0", *form).code == 0
    asked.clear()
    answer = vicinal("bank", "build", file, "--out", built, *form)
    assert answer.code == 0
    assert len(answer.out.splitlines()) == 2
    assert asked == [15] * (2 * BATCHES)
    asked.clear()
    assert vicinal("run", file, "--out", built, *form).code == 0
    assert asked == []
    weights = student_weights(built)
    assert len(weights) == 2
    assert weights == student_weights(live)


def test_smaller_answers_teach_other_students_and_leave_teachers_alone(banked, tmp_path: Path):
    file = banked(["baseline", "kd"])
    exact, small = (
        [run.spec for run in Study(load_study(str(file), form), tmp_path).plan.unique_runs]
        for form in ([], ["answers.dtype=float16"])
    )
    same = [a.fingerprint() == b.fingerprint() for a, b in zip(exact, small, strict=True)]
    assert same == [True, True, False]
    assert exact[2].answers is None


def test_clean_answers_are_shared(banked, tmp_path: Path):
    study = Study(load_study(str(banked(["kd", "linear_target", "kd_mixup"]))), tmp_path)
    layouts = [bank_layout(run, study.plan) for run in study.plan.runs if run.teacher is not None]
    assert layouts[0] == layouts[1] != layouts[2]


def test_a_bank_over_the_budget_is_not_made(banked, tmp_path: Path, vicinal):
    file = banked(MIXUP, **{"runtime.bank_gb": 1e-9})
    assert "teachers' answers" not in vicinal("plan", file, "--out", tmp_path / "new").out
    answer = vicinal("bank", "build", file, "--out", tmp_path / "new")
    assert answer.code == 2
    assert "1 bank of tiny takes 1,440 B, and runtime.bank_gb allows 1e-09 GB; give runtime.bank_gb=0.1" in answer.last
    assert not (tmp_path / "new").exists()


def test_a_build_that_was_stopped_asks_for_the_rest(banked, tmp_path, vicinal, asked, monkeypatch):
    file, out = banked(MIXUP), tmp_path / "out"
    counting = FrozenTeacher.forward

    def stopping(self: FrozenTeacher, pixels: torch.Tensor) -> torch.Tensor:
        if len(asked) == 4:
            raise KeyboardInterrupt
        return counting(self, pixels)

    with monkeypatch.context() as stopped:
        stopped.setattr(FrozenTeacher, "forward", stopping)
        assert vicinal("bank", "build", file, "--out", out).code == 130
    assert " 66.67 %" in vicinal("bank", "info", out).out
    asked.clear()
    assert vicinal("bank", "build", file, "--out", out).code == 0
    assert len(asked) == BATCHES - 4
    assert "2 of 2" in vicinal("bank", "info", out).out


def test_slices_fill_a_bank_together(banked, tmp_path, vicinal, asked):
    file, out = banked(MIXUP), tmp_path / "out"
    early = vicinal("bank", "build", file, "--out", out, "--slice", "1/2")
    assert early.code == 2
    assert "--slice 0/2 does first" in early.last
    assert vicinal("bank", "build", file, "--out", out, "--slice", "0/2").code == 0
    assert asked == [7] * BATCHES
    info = vicinal("bank", "info", out).out
    assert "0 of 2" in info
    assert "46.67 %" in info  # 7 of 15
    answer = vicinal("bank", "verify", file, "--out", out)
    assert answer.code == 1
    assert "no whole batch" in answer.last
    asked.clear()
    assert vicinal("bank", "build", file, "--out", out, "--slice", "1/2").code == 0
    assert asked == [8] * BATCHES
    answer = vicinal("bank", "verify", file, "--out", out)
    assert answer.code == 0
    assert "100 % of 2 epochs" in answer.out
    for wrong in ("2/2", "1", "-1/2", "a/b", "0/0"):
        assert "--slice" in vicinal("bank", "build", file, "--out", out, f"--slice={wrong}").last


@pytest.mark.parametrize("form", [[], ["answers.dtype=float16"], ["answers.top_k=1"]], ids=str)
def test_verify_finds_what_is_wrong(banked, tmp_path, vicinal, form: list[str]):
    file, out = banked(MIXUP), tmp_path / "out"
    assert vicinal("bank", "build", file, "--out", out, *form).code == 0
    answer = vicinal("bank", "verify", file, "--out", out, "--batches", 3, *form)
    assert answer.code == 0
    assert "3 batches asked again differ by at most" in answer.out

    study = Study(load_study(str(file), form), out)
    run = next(run for run in study.plan.runs if run.teacher is not None)
    bank = study.open_bank(run, bank_layout(run, study.plan))
    path, good = bank.path / "answers.bin", (bank.path / "answers.bin").read_bytes()

    def fails(words: str) -> None:
        answer = vicinal("bank", "verify", file, "--out", out, "--batches", BATCHES, *form)
        assert answer.code == 1
        assert len(answer.err.splitlines()) == 1
        assert words in answer.last
        assert bank.path.name in answer.last

    path.write_bytes(good[:9] + bytes([good[9] ^ 8]) + good[10:])
    fails("1 records are damaged")
    path.write_bytes(good)
    bank.write(1, 2, bank.read(1, 2) * 1.5 + torch.randn(15, 3))  # whole, and of no teacher
    fails("epoch 1, batch 2 asked again differs by")
    path.write_bytes(good)
    weights = run.teacher.folder.weights
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    fails("of other weights")
    # Students neither learn from such a bank, nor is its teacher trained again in silence.
    assert "of other weights" in vicinal("run", file, "--out", out, *form).last
    weights.unlink()
    for verb in (["run"], ["bank", "build"], ["bank", "verify"]):
        answer = vicinal(*verb, file, "--out", out, *form)
        assert answer.code == 2
        assert "bring" in answer.last
    bank.close()


def test_mistakes_with_banks_are_one_line(banked, tiny, study_file, tmp_path, vicinal):
    file, out = banked(["kd"]), tmp_path / "out"

    def line(*arguments: object) -> str:
        answer = vicinal("bank", *arguments)
        assert answer.code == 2
        assert len(answer.err.splitlines()) == 1, answer.err
        assert answer.out == ""
        return answer.err

    assert "is not a folder" in line("info", tmp_path / "nope")
    assert "holds no banks; vicinal bank build" in line("info", tmp_path)
    assert "vicinal run" in line("verify", file, "--out", tmp_path / "nope")
    assert "--batches" in line("verify", file, "--out", out, "--batches=0")
    assert "asks a teacher" in line("build", banked(["baseline"]), "--out", out)
    assert "fewer than 3" in line("build", file, "--out", out, "answers.top_k=3")
    sigma = banked([{"name": "kd", "temperature": [2, "teacher_sigma"]}])
    assert "answers.top_k keeps no deviation" in line("build", sigma, "--out", out, "answers.top_k=2")
    assert "unrecognized" in line("info", out, "more")
    assert not out.exists()
    with hold(out):
        assert "is held by process" in line("build", file, "--out", out)
    assert vicinal("run", file, "--out", out).code == 0
    assert "holds no bank of tiny" in line("verify", file, "--out", out)
    bad = out / "banks" / "0123456789ab"
    bad.mkdir(parents=True)
    (bad / "bank.json").write_text("{}")
    answer = vicinal("bank", "info", out)
    assert answer.code == 1
    assert "delete the folder" in answer.last
