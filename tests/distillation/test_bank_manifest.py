"""bank.json: whose answers these are, said once and checked by everyone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import scipy.special
from made_up_answers import FORMS, LAYOUT, answers

from vicinal.config import AnswersSpec
from vicinal.distillation import BankLayout, Manifest, TeacherBank
from vicinal.distillation.bank.manifest import ERROR_ANSWERS, ERROR_TEMPERATURES
from vicinal.errors import UsageError, VicinalError
from vicinal.workspace import sealed_mapping


def test_a_bank_that_does_not_match_is_refused(tmp_path: Path):
    first = TeacherBank(tmp_path, LAYOUT, "1" * 64)
    first.write(0, 0, answers(4))
    manifest = first.path / "bank.json"
    good = manifest.read_text()
    assert {"created", "vicinal", "torch", "device"} <= set(json.loads(good)["provenance"])
    TeacherBank(tmp_path, LAYOUT, "1" * 64).close()
    TeacherBank(tmp_path, LAYOUT).close()
    with pytest.raises(VicinalError, match=r"of other weights \(111111111111\.\.\.\), not of this teacher's"):
        TeacherBank(tmp_path, LAYOUT, "2" * 64)
    for text, error in (
        (json.dumps(sealed_mapping(json.loads(good) | {"images": 99})), "another bank"),
        (json.dumps(sealed_mapping(json.loads(good) | {"format": 1})), "another version"),
        (json.dumps(sealed_mapping(json.loads(good) | {"teacher_weights": None})), "of unknown weights"),
        (good[:-20], "damaged"),
        (json.dumps(json.loads(good) | {"images": 99}), "damaged"),
        ("[]", "damaged"),
    ):
        manifest.write_text(text)
        with pytest.raises(VicinalError, match=error) as caught:
            TeacherBank(tmp_path, LAYOUT, "1" * 64)
        assert "\n" not in str(caught.value)
        assert "delete" in str(caught.value)
    manifest.unlink()
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
    with pytest.raises(VicinalError, match="computed in bf16, not in fp32"):
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


def test_a_folder_says_by_its_manifest_what_bank_it_is(tmp_path: Path):
    layout = BankLayout({"input_kind": "clean"}, 3, 10, 4, 5, AnswersSpec(top_k=2), "one")
    bank = TeacherBank(tmp_path, layout, "1" * 64, "cpu")
    manifest = Manifest(bank.path)
    assert (manifest.layout, manifest.layout.teacher, manifest.layout.epochs) == (layout, "one", 3)
    assert manifest.layout.input_kind == "clean"
    assert manifest.precision is None
    bank.precision = "fp32"
    assert manifest.precision == "fp32"  # read anew while it is not set
    assert manifest.provenance["device"] == "cpu"
    assert manifest.error["answers"] == 0
    bank.close()
    moved = bank.path.rename(tmp_path / "0123456789ab")
    with pytest.raises(VicinalError, match="does not belong to its folder; delete"):
        _ = Manifest(moved).layout


def test_fewer_epochs_leave_the_manifest_of_more(tmp_path: Path):
    TeacherBank(tmp_path, LAYOUT).close()
    shorter = BankLayout({"teacher": "a"}, 1, 10, 4, 5)
    bank = TeacherBank(tmp_path, shorter)
    assert Manifest(bank.path).layout.epochs == 3
    bank.close()
