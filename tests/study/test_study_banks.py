"""Studies and their banks: the same weights bit for bit with and without them, and `vicinal bank` from end to end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vicinal.config import load_study
from vicinal.distillation import FrozenTeacher
from vicinal.study import Shard, Study, bank_layout
from vicinal.workspace import hold

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
                "student.augment": {"crop": "random_resized", "scale": [0.5, 1], "erasing": {}},
                **changes,
            },
        )

    return file


MIXUP = [{"name": "kd_mixup", "temperature": [1, 3]}]


def student_weights(out: Path) -> dict[str, bytes]:
    return {p.parent.name: p.read_bytes() for p in out.glob("runs/student-*/weights.safetensors")}


@given(st.integers(1, 300), st.integers(1, 12))
def test_slices_are_the_whole_batch(images: int, world: int):
    rows = [i for rank in range(world) for i in range(images)[Shard(rank, world).rows(images)]]
    assert rows == list(range(images))


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
    assert "mixed images of seed 0)" in vicinal("bank", "verify", file, "--out", out).err
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
    assert "3 batches predicted again differ by at most" in answer.out

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
    fails("epoch 1, batch 2 predicted again differs by")
    path.write_bytes(good)
    weights = run.teacher.folder.weights
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    fails("weights.safetensors is damaged")
    # A damaged teacher is trained again, with a line and to the weights that made the bank; one that is gone is asked for.
    assert "weights.safetensors is damaged" in vicinal("run", file, "--out", out, *form).err
    assert weights.read_bytes() == whole
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
    assert "learns from a teacher" in line("build", banked(["baseline"]), "--out", out)
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
