"""The teacher bank: the same weights bit for bit with and without it, whole batches only, never another's answers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vicinal.bank import BankLayout, TeacherBank
from vicinal.errors import VicinalError
from vicinal.teachers import FrozenTeacher

LAYOUT = BankLayout({"teacher": "a"}, epochs=3, images=10, batch_size=4, classes=5)


def answers(size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(size, 5, generator=torch.Generator().manual_seed(seed)) * 30


def test_what_was_written_is_read_and_nothing_else(tmp_path: Path):
    bank = TeacherBank(tmp_path, LAYOUT)
    assert bank.read(0, 0) is None
    bank.write(2, 2, answers(2))  # the last batch of an epoch of 10
    bank.write(0, 1, answers(4, 1))
    assert torch.equal(bank.read(2, 2), answers(2))
    assert torch.equal(bank.read(0, 1), answers(4, 1))
    assert all(bank.read(e, p) is None for e in range(3) for p in range(3) if (e, p) not in ((2, 2), (0, 1)))
    bank.close()
    again = TeacherBank(tmp_path, LAYOUT)
    assert torch.equal(again.read(2, 2), answers(2))
    again.close()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(1, 9), st.integers(1, 4), st.integers(2, 6))
def test_every_batch_has_a_place_of_its_own(tmp_path_factory, images: int, batch: int, epochs: int, classes: int):
    spec = BankLayout({}, epochs, images, batch, classes)
    bank = TeacherBank(tmp_path_factory.mktemp("bank"), spec)
    sizes = [min(batch, images - p * batch) for p in range(spec.batches)]
    given_answers = {(e, p): torch.randn(sizes[p], classes) for e in range(epochs) for p in range(spec.batches)}
    for (e, p), z in given_answers.items():
        bank.write(e, p, z)
    assert all(torch.equal(bank.read(e, p), z) for (e, p), z in given_answers.items())
    bank.close()
    assert sum(f.stat().st_size for f in bank.path.iterdir() if f.name != "bank.json") == spec.bytes


def test_a_damaged_batch_counts_as_missing(tmp_path: Path):
    bank = TeacherBank(tmp_path, LAYOUT)
    for position in range(3):
        bank.write(0, position, answers(4 if position < 2 else 2, position))
    with (bank.path / "answers.bin").open("r+b") as file:
        file.seek(3 * 5 * 4)
        file.write(b"\xff")
    assert bank.read(0, 0) is None
    assert torch.equal(bank.read(0, 1), answers(4, 1))
    os.truncate(bank.path / "answers.bin", 9 * 5 * 4)
    assert bank.read(0, 2) is None
    bank.write(0, 0, answers(4))
    assert torch.equal(bank.read(0, 0), answers(4))
    bank.close()


def test_another_teacher_or_plan_has_another_bank(tmp_path: Path):
    first = TeacherBank(tmp_path, LAYOUT)
    first.write(0, 0, answers(4))
    for other in (
        BankLayout({"teacher": "b"}, 3, 10, 4, 5),
        BankLayout({"teacher": "a"}, 3, 11, 4, 5),
        BankLayout({"teacher": "a"}, 3, 10, 5, 5),
        BankLayout({"teacher": "a"}, 3, 10, 4, 6),
    ):
        assert TeacherBank(tmp_path, other).read(0, 0) is None
    longer = TeacherBank(tmp_path, BankLayout({"teacher": "a"}, 9, 10, 4, 5))
    assert torch.equal(longer.read(0, 0), answers(4))  # more epochs of the same plan
    told = first.path / "bank.json"
    told.write_text(json.dumps(json.loads(told.read_text()) | {"images": 99}))
    with pytest.raises(VicinalError, match="another bank"):
        TeacherBank(tmp_path, LAYOUT)


def test_a_batch_of_another_size_is_refused(tmp_path: Path):
    bank = TeacherBank(tmp_path, LAYOUT)
    with pytest.raises(ValueError, match="has 2 images"):
        bank.write(0, 2, answers(4))
    bank.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_one_line(tmp_path: Path):
    bank = TeacherBank(tmp_path, LAYOUT)
    os.close(bank._answers)
    bank._answers = os.open("/dev/full", os.O_RDWR)
    with pytest.raises(VicinalError, match="the disk is full"):
        bank.write(0, 0, answers(4))
    bank.close()


@pytest.mark.parametrize("arm", ["kd_mixup", "linear_target"])
def test_a_study_has_the_same_weights_with_and_without_banks_and_asks_once(
    tiny: dict[str, Any], study_file: Callable[..., Path], tmp_path: Path, vicinal, monkeypatch, arm: str
):
    file = study_file(
        tiny,
        {
            "arms": [{"name": arm, "temperature": [1, 3, "sigma"]}],
            "teachers.one.epochs": 2,
            "teachers.one.ask_precision": "fp32",
        },
    )
    asked = 0
    original = FrozenTeacher.forward

    def counting(self: FrozenTeacher, pixels: torch.Tensor) -> torch.Tensor:
        nonlocal asked
        asked += 1
        return original(self, pixels)

    monkeypatch.setattr(FrozenTeacher, "forward", counting)
    counts, weights = {}, {}
    for gigabytes in (0, 1):
        asked, out = 0, tmp_path / str(gigabytes)
        assert vicinal("run", file, "--out", out, f"runtime.bank_gb={gigabytes}").code == 0
        counts[gigabytes] = asked
        weights[gigabytes] = {p.parent.name: p.read_bytes() for p in out.glob("runs/student-*/weights.safetensors")}
    assert len(weights[0]) == 3
    assert weights[0] == weights[1]
    batches = 4 * 3  # epochs of 45 images in batches of 15
    assert counts[0] - counts[1] == 2 * batches
    assert not (tmp_path / "0" / "banks").exists()
    assert len(list((tmp_path / "1" / "banks").iterdir())) == 1
    answer = vicinal("plan", file, "--out", tmp_path / "new")
    assert "3 runs share 1 bank of teachers' answers" in answer.out


def test_a_bank_over_the_budget_is_not_made(tiny, study_file, tmp_path: Path, vicinal):
    file = study_file(tiny, {"arms": [{"name": "kd", "temperature": [1, 3]}], "runtime.bank_gb": 1e-9})
    assert "teachers' answers" not in vicinal("plan", file, "--out", tmp_path / "new").out
