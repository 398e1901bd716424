"""Workers that pull jobs from a study's folder: the same bits as one after another, also where one of them is killed."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from tiny_studies import Answer, merged, weights_of
from vicinal.config import StudySpec
from vicinal.errors import UsageError, VicinalError
from vicinal.study import Job, Study, execute, work
from vicinal.study.crew import crew_of
from vicinal.study.driver import Driven
from vicinal.study.executor import InOrder, held
from vicinal.study.pull import pull
from vicinal.workspace import (
    HeldError,
    JobState,
    StudyProgress,
    hold,
    open_study_folder,
    read_state,
    reported,
    status_of,
    tidy,
)
from vicinal.workspace.jobs import MOST_ATTEMPTS, forget_failures


@pytest.fixture(scope="module")
def values(tiny: dict[str, Any]) -> dict[str, Any]:
    """One teacher, and students in two jobs; checkpoints after every batch, so that a kill leaves one."""
    changes = {"teachers.one.epochs": 6, "student.epochs": 2, "runtime.checkpoint_seconds": 0, "runtime.threads": 1}
    return merged(tiny, {"name": "workers", **changes})


def prepared(values: dict[str, Any], out: Path) -> Study:
    """A study whose jobs lie in its folder and that nobody has begun."""
    study = Study(StudySpec.model_validate(values), out)
    open_study_folder(out, study.spec.name)
    study.write_jobs()
    return study


@contextlib.contextmanager
def started(*words: object, **kept: Any) -> Iterator[subprocess.Popen[str]]:
    """A command of its own process, killed at the end."""
    command = [sys.executable, "-m", "vicinal", *map(str, words)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **kept) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(condition: Callable[[], Any], seconds: float = 120) -> Any:
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until
        time.sleep(0.02)
    return found


def is_gone(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_what_a_killed_worker_left_is_gone_on_with(values: dict[str, Any], alone: Path, tmp_path: Path):
    out = tmp_path / "out"
    study = prepared(values, out)
    teacher = study.plan.teachers[0].folder
    with started("work", out) as victim:
        state = wait_for(lambda: teacher.checkpoint.exists() and read_state(out, teacher.path.name))
        assert state.process == victim.pid
        assert next(one.what for one in status_of(out).jobs if one.job.runs[0] == teacher.path.name) == "running"
        victim.send_signal(signal.SIGKILL)
        victim.wait()
    assert next(one.what for one in status_of(out).jobs if one.job.runs[0] == teacher.path.name) == "to continue"
    said = Console(file=io.StringIO())
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with StudyProgress(0, said, name=None) as progress:
            assert not work(out, progress).failures
    finally:
        torch.set_num_threads(threads)
    assert "seed 0, one: continues" in said.file.getvalue()  # type: ignore[attr-defined]
    assert weights_of(out) == weights_of(alone) != {}
    found = status_of(out)
    assert [one.what for one in found.jobs] == ["done"] * 3
    assert (found.runs_done, found.runs, found.has_results) == (4, 4, False)
    times = [path.stat().st_mtime_ns for path in out.glob("runs/*/*.safetensors")]
    here = execute(Study(study.given, out), "measured where it was worked on")
    assert [path.stat().st_mtime_ns for path in out.glob("runs/*/*.safetensors")] == times
    assert len(here.students) == 3


@pytest.mark.slow
def test_a_second_worker_takes_what_a_killed_one_left(values: dict[str, Any], alone: Path, tmp_path: Path):
    out = tmp_path / "out"
    teacher = prepared(values, out).plan.teachers[0].folder
    with started("work", out) as first, started("work", out) as second:
        state = wait_for(lambda: teacher.checkpoint.exists() and read_state(out, teacher.path.name))
        victim, other = (first, second) if state.process == first.pid else (second, first)
        victim.send_signal(signal.SIGKILL)
        said, told = other.communicate(timeout=200)
        assert (victim.wait(), other.returncode) == (-signal.SIGKILL, 0)
    assert "seed 0, one: continues" in told
    assert f"nothing is left to do in {out}" in said
    assert weights_of(out) == weights_of(alone) != {}


@pytest.mark.slow
def test_a_driver_starts_killed_workers_again_and_takes_them_with_it(
    values: dict[str, Any], alone: Path, study_file: Callable[..., Path], tmp_path: Path
):
    out = tmp_path / "out"
    file = study_file(values)
    teacher = Study(StudySpec.model_validate(values), out).plan.teachers[0].folder
    with started("run", file, "--out", out, "runtime.workers=2") as driver:
        first = wait_for(lambda: teacher.checkpoint.exists() and read_state(out, teacher.path.name)).process
        os.kill(first, signal.SIGKILL)
        again = wait_for(lambda: (state := read_state(out, teacher.path.name)).process != first and state).process
        driver.kill()  # its workers end with it, wherever they are
        driver.wait()
        wait_for(lambda: is_gone(again), 30)
    with started("run", file, "--out", out, "runtime.workers=2") as driver:
        _, told = driver.communicate(timeout=300)
    assert driver.returncode == 0, told
    assert "2 workers of 1 thread each" in told
    assert weights_of(out) == weights_of(alone)
    mine, theirs = (json.loads((folder / "results.json").read_text()) for folder in (out, alone))
    assert mine["environment"]["threads"] == 1
    assert [student["nll"] for student in mine["students"]] == [student["nll"] for student in theirs["students"]]


@pytest.mark.slow
def test_a_driver_without_workers_waits_for_others(
    values: dict[str, Any], alone: Path, study_file: Callable[..., Path], tmp_path: Path
):
    out = tmp_path / "out"
    with started("run", study_file(values), "--out", out, "runtime.workers=0") as driver:
        wait_for(lambda: (out / "jobs.json").exists())
        with started("work", out) as one:
            _, told = one.communicate(timeout=200)
            assert one.returncode == 0, told
        _, told = driver.communicate(timeout=100)
    assert driver.returncode == 0, told
    assert f"waits for workers: vicinal work {out}" in told
    assert weights_of(out) == weights_of(alone)
    assert (out / "report.html").exists()


# --- pulling, in this process -----------------------------------------------------------------------------------------


class Jobs:
    """A study of jobs that take no time; some fail, some are held by others for a while."""

    def __init__(self, out: Path, fails: dict[str, VicinalError] | None = None, held: tuple[str, ...] = ()) -> None:
        self.out, self.fails, self.held, self.done, self.begun = out, fails or {}, list(held), set[str](), list[str]()

    def is_trained(self, run: str) -> bool:
        return run in self.done

    def is_finished(self, job: Job) -> bool:
        return self.done >= set(job.runs)

    def epochs(self, run: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        return {}, []

    def run_job(self, job: Job, progress: StudyProgress) -> None:
        (name,) = job.runs
        if name in self.held:
            self.held.remove(name)
            raise HeldError(f"{name} is held")
        self.begun.append(name)
        with reported(self.out, job.runs, progress):
            if name in self.fails:
                raise self.fails[name]
            self.done.add(name)


JOBS = [
    Job(("t",), frozenset()),
    Job(("u",), frozenset()),
    Job(("s",), frozenset({"t"})),
    Job(("v",), frozenset({"u"})),
]


def pulled(study: Jobs) -> Any:
    with StudyProgress(0, lines_only=True) as progress:
        return pull(study, JOBS, progress)


def test_what_failed_and_what_needs_it_is_left_and_the_rest_is_done(tmp_path: Path):
    study = Jobs(tmp_path, {"t": VicinalError("t: the loss became nan")})
    found = pulled(study)
    assert study.begun == ["t", "u", "v"]
    with pytest.raises(VicinalError, match="t: the loss became nan") as raised:
        found.raise_failure()
    assert raised.value.exit_code == 1
    again = Jobs(tmp_path)
    pulled(again)
    assert again.begun == ["u", "v"]  # it failed, and nobody asked to try again
    forget_failures(tmp_path)
    once_more = Jobs(tmp_path)
    assert not pulled(once_more).failures
    assert once_more.begun == ["t", "u", "s", "v"]


def test_after_a_mistake_of_the_user_nothing_more_is_spent(tmp_path: Path):
    study = Jobs(tmp_path, {"t": UsageError("classes stand in another order")})
    with pytest.raises(UsageError, match="another order"):
        pulled(study).raise_failure()
    assert study.begun == ["t"]


@pytest.mark.parametrize("by", ["pull", "in order"])
def test_what_others_hold_is_waited_for(tmp_path: Path, by: str):
    study = Jobs(tmp_path, held=("t",))
    if by == "pull":
        pulled(study)
    else:
        with StudyProgress(0, lines_only=True) as progress:
            InOrder().run(JOBS, study.run_job, progress)
    assert study.begun[0] == "u"
    assert study.done == {"t", "u", "s", "v"}


def test_a_job_that_kills_its_workers_is_given_up(tmp_path: Path):
    path = tmp_path / "work" / "t.json"
    with StudyProgress(0, lines_only=True) as progress:
        for _ in range(MOST_ATTEMPTS):
            with reported(tmp_path, ["t"], progress):
                left = path.read_bytes()  # as a killed process leaves it
            path.write_bytes(left)
        with pytest.raises(VicinalError, match="killed before it saved anything"), reported(tmp_path, ["t"], progress):
            pass
    state = read_state(tmp_path, "t")
    assert isinstance(state, JobState)
    assert state.state == "failed"


def test_nothing_of_a_living_worker_is_tidied_away(tmp_path: Path):
    (tmp_path / "work").mkdir()
    part = tmp_path / ".weights.part"
    part.write_text("half of it")
    with (tmp_path / "work" / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        tidy(tmp_path)
        assert part.exists()
    tidy(tmp_path)
    assert not part.exists()


class Idle:
    """A worker that does one job of a study each time it is looked at, if what that needs is done."""

    def __init__(self, study: Jobs) -> None:
        self.study = study

    def check(self) -> bool:
        ready = [job for job in JOBS if not self.study.is_finished(job) and job.needs <= self.study.done]
        self.study.done |= set(ready[0].runs) if ready else set()
        return True


@pytest.mark.parametrize(("workers", "spared", "expected"), [(1, False, []), (2, False, [4]), (1, True, [1, 2, 3, 4])])
def test_a_driver_measures_ahead_where_it_takes_no_core_from_a_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int, spared: bool, expected: list[int]
):
    monkeypatch.setattr("vicinal.study.driver.POLL_SECONDS", 0.0)
    study, ahead = Jobs(tmp_path), list[int]()

    def get_ahead(_: StudyProgress) -> bool:
        ahead.append(len(study.done))
        return True

    study.get_ahead = get_ahead  # type: ignore[attr-defined]

    @contextlib.contextmanager
    def hands(count: int, _: StudyProgress) -> Iterator[list[Idle]]:
        yield [Idle(study)] * (count > 0)

    jobs = [Job((job.runs[0],), job.needs) for job in JOBS]
    with StudyProgress(0, lines_only=True) as progress:
        Driven(study, hands, workers, "", spared).run(jobs, study.run_job, progress)  # type: ignore[arg-type]
    assert study.done == {"t", "u", "s", "v"}
    assert ahead == expected


# --- what is shown, and mistakes --------------------------------------------------------------------------------------


def test_status_of_every_kind(values: dict[str, Any], vicinal: Callable[..., Answer], tmp_path: Path):
    out = tmp_path / "out"
    study = prepared(values, out)
    teacher, *_ = study.plan.unique_runs
    assert vicinal("status", out).out.count("waits") == 2  # the teacher comes first: a job with two students needs it
    with (
        held([teacher]),
        StudyProgress(0, lines_only=True) as progress,
        reported(out, [teacher.folder.path.name], progress),
    ):
        bar = progress.run("run 1 of 4, seed 0, one", 100, 0)
        time.sleep(1.1)
        bar.advance(25, 3, 12, 0.5)
        answer = vicinal("status", out)
        assert "running (training) 3 of 12" in " ".join(answer.out.split())
        assert f"process {os.getpid()} on " in answer.out
        (plain,) = [
            job for job in json.loads(vicinal("status", out, "--json").out)["jobs"] if job["state"] == "running"
        ]
        assert (plain["epoch"], plain["share_done"]) == (3, 0.25)
        assert 2 < plain["seconds_left"] < 60
    with (
        StudyProgress(0, lines_only=True) as progress,
        contextlib.suppress(VicinalError),
        reported(out, [teacher.folder.path.name], progress),
    ):
        raise VicinalError("one: the loss became nan")
    answer = vicinal("status", out)
    assert "one: the loss became nan" in answer.out
    assert "--retry" in answer.out


def test_mistakes_are_told_in_a_line(values: dict[str, Any], vicinal: Callable[..., Answer], tmp_path: Path):
    def refused(*words: object) -> str:
        answer = vicinal(*words)
        assert answer.code == 2
        assert len(answer.err.strip().splitlines()) == 1
        return answer.last

    for verb in ("work", "status"):
        assert "is not a folder" in refused(verb, tmp_path / "none")
        assert "holds no jobs" in refused(verb, tmp_path)
    out = tmp_path / "out"
    prepared(values, out)
    jobs = out / "jobs.json"
    whole = jobs.read_text()
    jobs.write_text(whole.replace('"threads": 1', '"threads": 2'))
    assert "jobs.json is damaged" in refused("work", out)
    jobs.write_text(whole[: len(whole) // 2])
    assert "jobs.json is damaged" in refused("status", out)
    from vicinal.workspace import read_work, write_work

    jobs.write_text(whole)
    known = read_work(out)
    source = {**known.study, "data": {**known.study["data"], "validation": 0.3}}
    write_work(out, type(known)(source, known.folder, known.threads, known.jobs, known.order))
    assert "would not plan" in refused("work", out)


def test_a_crew_fits_the_machine(monkeypatch: pytest.MonkeyPatch):
    from vicinal.config import RuntimeSpec
    from vicinal.study import crew

    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    monkeypatch.setattr(crew, "cpu_count", lambda: 8)
    monkeypatch.setattr(crew, "available_memory", lambda: 2**60)
    found = lambda device=cpu, **keys: crew_of(RuntimeSpec(**keys), device)  # noqa: E731
    assert (found().workers, found().threads) == (1, None)  # as ever
    assert (found(workers=2).workers, found(workers=2).threads) == (2, 4)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert (found(workers="auto").workers, found(workers="auto").threads) == (1, 8)  # the threads are not its choice
    assert (found(workers="auto", threads=1).workers, found(workers="auto", threads=1).threads) == (8, 1)
    assert (found(workers="auto", threads=3).workers, found(workers="auto", threads=3).threads) == (2, 3)
    begun = crew_of(RuntimeSpec(workers=2), cpu, recorded=3)
    assert (begun.workers, begun.threads) == (2, 3)
    monkeypatch.setattr(crew, "available_memory", lambda: 1)
    assert found(workers="auto").workers == 1
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert found(cuda, workers="auto").gpus == ("2", "5")
    assert found(cuda, workers="auto").workers == 2
    assert found(cuda, workers=3).sharing == 2
    with pytest.raises(ValueError, match="workers"):
        RuntimeSpec(workers=-1)


def test_a_folder_that_is_held_is_known(tmp_path: Path):
    from vicinal.workspace.lock import is_held

    assert not is_held(tmp_path)
    with hold(tmp_path):
        assert is_held(tmp_path)
    assert not is_held(tmp_path)
