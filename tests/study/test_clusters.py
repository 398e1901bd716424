"""Workers on clusters that exist: submitit's jobs on this machine, and a Ray cluster of two nodes of which one is killed."""

from __future__ import annotations

import contextlib
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

from tiny_studies import merged, weights_of
from vicinal.config import RuntimeSpec, StudySpec
from vicinal.errors import UsageError, VicinalError
from vicinal.study import Study
from vicinal.study.crew import crew_of
from vicinal.study.driver import MOST_SOON, Deaths
from vicinal.study.executors import hands_of
from vicinal.workspace import StudyProgress, read_state


@pytest.fixture(scope="module")
def values(tiny: dict[str, Any]) -> dict[str, Any]:
    """Two teachers and what learns from them; checkpoints after every batch, so that a kill leaves one."""
    changes = {"teachers.one.epochs": 12, "student.epochs": 2, "runtime.checkpoint_seconds": 0, "runtime.threads": 1}
    return merged(tiny, {"name": "clusters", **changes})


@contextlib.contextmanager
def driver(*words: object) -> Iterator[subprocess.Popen[str]]:
    """`vicinal run` in a process of its own, told to stop at the end."""
    command = [sys.executable, "-m", "vicinal", "run", *map(str, words)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def wait_for(condition: Callable[[], Any], seconds: float = 240) -> Any:
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until
        time.sleep(0.02)
    return found


def parent(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def runs_below(process: int, ancestor: int) -> bool:
    while process > 1 and process != ancestor:
        process = parent(process)
    return process == ancestor


def is_gone(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def at_the_teacher(values: dict[str, Any], out: Path) -> Callable[[], Any]:
    """Who trains the teacher, once that has left a checkpoint."""
    teacher = Study(StudySpec.model_validate(values), out).plan.teachers[0].folder
    return lambda: teacher.checkpoint.exists() and read_state(out, teacher.path.name)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"executor_options": {"mem_gb": 3}}, "executor_options are of a cluster"),
        ({"executor": "ray", "workers": 0}, "workers: 0 starts none"),
        ({"executor": "slurm", "workers": "auto"}, "no number of its own"),
        ({"executor": "ray", "workers": "auto", "executor_options": {"num_cpus": "two"}}, "is no number of cores"),
    ],
)
def test_what_no_cluster_can_do_is_told(words: dict[str, Any], told: str):
    with pytest.raises((ValueError, UsageError), match=told):
        crew_of(RuntimeSpec(**words), torch.device("cpu"))


def test_a_lacking_package_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for name, package in (("slurm", "submitit"), ("ray", "ray")):
        monkeypatch.setitem(sys.modules, package, None)
        runtime = RuntimeSpec(executor=name)
        crew = crew_of(runtime, torch.device("cpu"))
        assert not crew.is_this_process
        with pytest.raises(UsageError, match=rf"pip install 'vicinal\[{name}\]'"):
            hands_of(tmp_path, runtime, crew)


def test_workers_that_die_at_once_are_not_started_for_ever():
    deaths = Deaths(StudyProgress(0, name=None, lines_only=True))
    for _ in range(MOST_SOON - 1):
        deaths.count("killed by signal 9")
    with pytest.raises(VicinalError, match="killed by signal 9"):
        deaths.count("killed by signal 9")


@pytest.mark.slow
def test_jobs_of_submitit_of_which_one_is_killed(
    values: dict[str, Any], alone: Path, study_file: Callable[..., Path], tmp_path: Path
):
    pytest.importorskip("submitit")
    out = tmp_path / "out"
    on_teacher = at_the_teacher(values, out)
    here = ["runtime.workers=2", "runtime.executor=slurm", "runtime.executor_options.cluster=local"]
    with driver(study_file(values), "--out", out, *here) as process:
        victim = wait_for(on_teacher).process
        os.kill(victim, signal.SIGKILL)
        _, told = process.communicate(timeout=400)
    assert process.returncode == 0, told
    assert "2 workers of 1 thread each" in told
    assert "another takes its place" in told
    assert weights_of(out) == weights_of(alone) != {}


@pytest.mark.slow
def test_a_ray_cluster_of_which_a_node_is_killed(
    values: dict[str, Any],
    alone: Path,
    study_file: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})  # it has the driver alone
    try:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        out = tmp_path / "out"
        on_teacher = at_the_teacher(values, out)
        here = ["runtime.workers=2", "runtime.executor=ray", f"runtime.executor_options.address={cluster.address}"]
        with driver(study_file(values), "--out", out, *here) as process:
            at_it = wait_for(on_teacher).process
            (node,) = [one for one in nodes if runs_below(at_it, one.all_processes["raylet"][0].process.pid)]
            cluster.remove_node(node, allow_graceful=False)
            wait_for(lambda: is_gone(at_it), 30)
            _, told = process.communicate(timeout=400)
        assert process.returncode == 0, told
        assert weights_of(out) == weights_of(alone) != {}
        assert json.loads((out / "results.json").read_text())["environment"]["threads"] == 1
    finally:
        cluster.shutdown()
        ray.shutdown()
