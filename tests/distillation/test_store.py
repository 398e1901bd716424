"""The bank: what was written is read and nothing else, whole batches only, whoever writes them."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_answers import FORMS, LAYOUT, answers, with_form

from vicinal.config import AnswersSpec
from vicinal.distillation import BankLayout, TeacherBank
from vicinal.inputs import slice_rows


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
                rows = slice_rows(layout.batch_images(p), rank, world)
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
