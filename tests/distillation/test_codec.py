"""How an answer is stored: exact, or within the error that its form allows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.special
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_answers import FORMS, answers, with_form

from vicinal.config import AnswersSpec
from vicinal.distillation import AnswerCodec, TeacherBank
from vicinal.errors import VicinalError


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
