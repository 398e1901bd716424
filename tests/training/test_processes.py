"""Two processes under torchrun: the weights of one, bit for bit or in float64, and one of them that decides, writes and speaks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tiny_studies import Answer, merged, weights_of

HERE = Path(__file__).parent
RUNS = ("parts", "both", "linear", "features")
PROCESSES = (("alone", 0), ("spread", 0), ("spread", 1))


def torchrun(count: int, *command: object) -> list[str]:
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    return [*start, *map(str, command)]


def environment() -> dict[str, str]:
    paths = [str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def shared_study(smallest: dict[str, Any]) -> dict[str, Any]:
    """Students with and without a teacher, of its features, dropout, a bank; batches of 11, of which the last has one row."""
    features = {"terms": {"feature_regression": 0.5}}
    hints = [{"name": "hint", "like": "mixup", **features}, {"name": "both", "like": "kd", **features}]
    arms = ["baseline", {"name": "kd_mixup", "temperature": [2, "sigma"]}, "linear_target", *hints]
    student = {"head": "bottleneck", "batch_size": 11, "epochs": 2}
    changes = {"name": "shared", "arms": arms, "student": {**smallest["student"], **student}}
    return merged(smallest, {**changes, "runtime.students_at_once": 1, "runtime.checkpoint_seconds": 0})


class Stopped(KeyboardInterrupt):
    """As Ctrl-C, at a known step."""


@pytest.fixture(scope="module")
def two(
    shared_study: dict[str, Any], study_file: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """Everything that torchrun is tried on, by one start of it."""
    from vicinal.cli import main
    from vicinal.training import Learner

    file, out = study_file(shared_study), tmp_path_factory.mktemp("two")
    learn = Learner.learn

    def until(self: Learner, *arguments: Any) -> None:
        if self.run.objective.uses_teacher and self.state.step == 7:
            raise Stopped
        learn(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "learn", until)
        assert main(["run", str(file), "--out", str(out / "begun_by_one")]) == 130
    what = ("float64", "fresh", "begun_by_one", "rows", "spread", "begun_by_two")
    command = torchrun(2, HERE / "shared_training.py", file, out, *what)
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert main(["run", str(file), "--out", str(out / "alone")]) == 0
    return {"file": file, "out": out, "stderr": done.stderr, "stdout": done.stdout}


def test_a_shared_teacher_gives_the_weights_of_one_process(two: dict[str, Any]) -> None:
    alone, shared = weights_of(two["out"] / "alone"), weights_of(two["out"] / "fresh")
    assert alone == shared
    assert len(alone) == 7
    marks = [json.loads(path.read_text()) for path in two["out"].glob("fresh/runs/*/done.json")]
    counts = sorted(mark["processes"] for mark in marks)
    assert counts == [1, 1, 2, 2, 2, 2, 2]  # the teacher and the baseline ask nobody
    assert {mark["threads"] for mark in marks} == {1}
    numbers = [json.loads((two["out"] / name / "results.json").read_text())["students"] for name in ("alone", "fresh")]
    assert [student["nll"] for student in numbers[0]] == [student["nll"] for student in numbers[1]]
    records = [next((two["out"] / name / "banks").glob("*/answers.bin")).read_bytes() for name in ("alone", "fresh")]
    assert records[0] == records[1]


def test_begun_by_one_process_continued_by_two_and_the_other_way(
    two: dict[str, Any], vicinal: Callable[..., Answer]
) -> None:
    assert weights_of(two["out"] / "begun_by_one") == weights_of(two["out"] / "alone")
    assert list((two["out"] / "begun_by_two" / "runs").glob("student-*/checkpoint.pt"))
    assert vicinal("run", two["file"], "--out", two["out"] / "begun_by_two").code == 0
    assert weights_of(two["out"] / "begun_by_two") == weights_of(two["out"] / "alone")


def test_only_the_main_process_speaks(two: dict[str, Any]) -> None:
    assert two["stdout"].count("report.html") == 5
    assert two["stderr"].count("run 1 of 7, seed 0, one: starts") == 3
    assert two["stderr"].count("run 1 of 2, seed 0, one: starts") == 2


def test_a_teacher_spread_over_processes_gives_the_weights_and_numbers_of_one(two: dict[str, Any]) -> None:
    assert weights_of(two["out"] / "alone") == weights_of(two["out"] / "spread")
    one, spread = (json.loads((two["out"] / name / "results.json").read_text()) for name in ("alone", "spread"))
    for kind in ("teachers", "students"):
        for mine, theirs in zip(one[kind], spread[kind], strict=True):
            assert mine["nll"] == theirs["nll"]
            assert mine["vicinity"] == theirs["vicinity"]
    assert one["teachers"][0]["predicted_per_second"] > 0
    assert spread["teachers"][0]["predicted_per_second"] is None
    assert not (two["out"] / "spread" / "banks").exists()
    said = [line.removeprefix("own share ") for line in two["stderr"].splitlines() if line.startswith("own share")]
    assert len(said) == 2  # of each process
    for shares in map(json.loads, said):
        assert len(shares) >= 5
        assert set(shares) == {0.5}


def test_a_teacher_spread_over_processes_that_share_rows(two: dict[str, Any]) -> None:
    """Also one of them that has none of a batch's rows; and the pilot of the pairs asks it, too."""
    (mark,) = [json.loads(path.read_text()) for path in two["out"].glob("spread_rows/runs/student-*/done.json")]
    assert (mark["processes"], mark["parallel"]) == (2, "data")
    spread, rows = (
        json.loads((two["out"] / name / "results.json").read_text())["students"][0]["nll"]
        for name in ("spread_rows", "rows")
    )
    assert spread == pytest.approx(rows, rel=1e-5)


def test_one_process_holds_a_teacher_whole(two: dict[str, Any], vicinal: Callable[..., Answer]) -> None:
    answer = vicinal("run", two["file"], "--out", two["out"] / "alone", "runtime.shard_teacher=true")
    assert answer.code == 0
    assert "this is one process, which holds each teacher whole" in answer.err


@pytest.mark.parametrize("name", RUNS)
def test_shared_rows_give_the_weights_of_one_process_in_float64(two: dict[str, Any], name: str) -> None:
    """Batch norms included, or parts of each process's rows; a last batch of one row."""
    files = (f"alone-{name}-0", f"shared-{name}-0", f"shared-{name}-1")
    alone, *shared = (load_file(two["out"] / f"float64-{file}.safetensors") for file in files)
    assert any(key.endswith("running_var") for key in alone) == (name != "parts")
    for own in shared:
        for key, value in alone.items():
            torch.testing.assert_close(own[key], value, rtol=1e-10, atol=1e-10)
    assert all(torch.equal(shared[0][key], shared[1][key]) for key in alone)


@pytest.mark.parametrize("name", RUNS[1:])
def test_shared_rows_with_a_spread_teacher_give_the_weights_of_one_process_in_float64(
    two: dict[str, Any], name: str
) -> None:
    """Also where a process has none of a batch's rows."""
    alone, *spread = (load_file(two["out"] / f"float64-{file}-{name}-{n}.safetensors") for file, n in PROCESSES)
    for own in spread:
        for key, value in alone.items():
            torch.testing.assert_close(own[key], value, rtol=1e-10, atol=1e-10)


def test_rows_are_shared_of_every_training_by_name(two: dict[str, Any]) -> None:
    marks = [json.loads(path.read_text()) for path in two["out"].glob("rows/runs/*/done.json")]
    assert [(mark["processes"], mark["parallel"]) for mark in marks] == [(2, "data")] * 2  # the teacher's too
    alone = json.loads((two["out"] / "alone" / "results.json").read_text())["teachers"][0]["nll"]
    assert json.loads((two["out"] / "rows" / "results.json").read_text())["teachers"][0]["nll"] == pytest.approx(
        alone, abs=0.1
    )


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def rank_of(pid: int) -> int:
    variables = dict(v.split("=", 1) for v in Path(f"/proc/{pid}/environ").read_text().split("\0") if "=" in v)
    return int(variables.get("RANK", -1))


@pytest.mark.slow
@pytest.mark.parametrize(("killed", "spread"), [(0, False), (2, False), (1, True)])
def test_one_of_three_killed_ends_all_in_a_line_and_another_number_continues(
    smallest: dict[str, Any],
    study_file: Callable[..., Path],
    tmp_path: Path,
    killed: int,
    spread: bool,
    vicinal: Callable[..., Answer],
) -> None:
    """Also one that holds a part of the teacher, which another number then holds whole."""
    student = {**smallest["student"], "epochs": 60, "head": "bottleneck", "batch_size": 11}
    changes = {"student": student, "arms": ["kd_mixup"], "runtime.checkpoint_seconds": 0, "runtime.devices": 3}
    file, out = study_file(merged(smallest, changes)), tmp_path / "out"
    command = [sys.executable, "-m", "vicinal", "run", str(file), "--out", str(out)]
    shard = ["runtime.shard_teacher=true"] if spread else []
    process = subprocess.Popen(
        [*command, *shard], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 300
    while sum(len(log.read_text().splitlines()) for log in out.glob("runs/student-*/log.jsonl")) < 5:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    ranks = {rank_of(pid): pid for pid in children(process.pid)}
    os.kill(ranks[killed], signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode in (1, 143)
    assert len([line for line in said.splitlines() if line.startswith("vicinal:")]) in (1, 2)
    assert "Traceback" not in said
    assert "the same command continues from the last checkpoint" in said
    assert not any(Path(f"/proc/{pid}").exists() for pid in ranks.values())
    assert not list(out.glob("runs/student-*/done.json"))
    again = subprocess.run([*command, "runtime.devices=2"], env=environment(), capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert vicinal("run", file, "runtime.devices=1", "--out", tmp_path / "alone").code == 0
    assert weights_of(out) == weights_of(tmp_path / "alone") != {}
