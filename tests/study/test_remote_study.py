"""A study whose folder is on an object store."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tiny_studies import Answer
from vicinal.study import Job, Study
from vicinal.study.driver import Driven
from vicinal.workspace import remote_jobs

URL = "memory://bucket/studies/smallest"


def test_a_second_command_goes_on_with_what_is_done(
    smallest: dict[str, Any],
    study_file: Callable[..., Path],
    vicinal: Callable[..., Answer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file, store = study_file(smallest), fsspec.filesystem("memory")
    answer = vicinal("run", file, "--out", URL)
    assert answer.code == 0, answer.err
    assert f"all of it: {URL}" in answer.out
    first = {name.partition("/studies/smallest/")[2]: store.cat_file(name) for name in store.find("/bucket")}
    assert {"study.json", "results.json", "report.html"} <= first.keys()
    assert not [name for name in first if "checkpoint" in name or ".lock" in name]
    (student,) = [name for name in first if name.startswith("runs/student") and name.endswith("done.json")]
    store.rm_file(f"/bucket/studies/smallest/{student}")  # as if the first command had been killed before
    shutil.rmtree(tmp_path / "vicinal" / "remote")
    answer = vicinal("run", file, "--out", URL)
    assert answer.code == 0, answer.err
    assert "1 finished runs are fetched" in answer.err
    assert "1 of 2 runs are done already" in answer.err
    again = {name.partition("/studies/smallest/")[2]: store.cat_file(name) for name in store.find("/bucket")}
    same = [name for name in first if name.endswith((".safetensors", "spec.json"))]
    assert {name: again[name] for name in same} == {name: first[name] for name in same}
    shutil.rmtree(tmp_path / "vicinal" / "remote")
    assert vicinal("plan", file, "--out", URL).out.count(" done ") == 2
    other = vicinal("run", study_file(smallest, {"name": "other"}), "--out", URL)
    assert (other.code, "holds the study" in other.last) == (2, True)
    elsewhere = vicinal("run", file, "--out", URL, "runtime.executor=ray")
    assert (elsewhere.code, "no other sees" in elsewhere.last) == (2, True)


@pytest.mark.slow
def test_workers_that_share_nothing_else_bring_home_what_they_trained(
    smallest: dict[str, Any],
    study_file: Callable[..., Path],
    vicinal: Callable[..., Answer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    url, file, store = "memory://bucket/workers/one", study_file(smallest), fsspec.filesystem("memory")
    home = {name: tmp_path / name for name in ("driver", "first", "second")}
    monkeypatch.setattr(remote_jobs, "SETTLED_SECONDS", 0.1)

    def at(name: str) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(home[name]))

    at("driver")
    assert "holds no jobs" in vicinal("work", url).last
    monkeypatch.setattr(Driven, "run", stopped)  # once the jobs are there
    assert vicinal("run", file, "--out", url, "runtime.workers=0").code == 130
    monkeypatch.undo()
    monkeypatch.setenv("VICINAL_PIXEL_CACHE", "off")
    at("first")
    monkeypatch.setattr(Study, "run_job", only_teachers(Study.run_job))
    assert vicinal("work", url).code == 130
    monkeypatch.undo()
    at("second")
    answer = vicinal("work", url)
    assert answer.code == 0, answer.err
    assert not list(store.find("/bucket/workers/one/work"))
    assert "kd-T2-one: done" in answer.err
    assert "one: done" not in answer.err.replace("kd-T2-one: done", "")  # the first one brought it home
    at("driver")
    answer = vicinal("run", file, "--out", url)
    assert answer.code == 0, answer.err
    assert "2 finished runs are fetched" in answer.err
    assert "2 of 2 runs are done already" in answer.err
    assert store.exists("/bucket/workers/one/results.json")


def stopped(*_: Any) -> None:
    raise KeyboardInterrupt


def only_teachers(run_job: Callable[..., Any]) -> Callable[..., Any]:
    def run(study: Study, job: Job, progress: Any) -> Any:
        if job.needs:
            raise KeyboardInterrupt
        return run_job(study, job, progress)

    return run
