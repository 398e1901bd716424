"""A study whose folder is on an object store."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tiny_studies import Answer, weights_of
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
    assert "smallest: 2 of 2 runs are done" in vicinal("status", url).out
    assert "kd-T2-one: done" in answer.err
    assert "one: done" not in answer.err.replace("kd-T2-one: done", "")  # the first one brought it home
    at("driver")
    answer = vicinal("run", file, "--out", url)
    assert answer.code == 0, answer.err
    assert "2 finished runs are fetched" in answer.err
    assert "2 of 2 runs are done already" in answer.err
    assert store.exists("/bucket/workers/one/results.json")


@pytest.mark.slow
def test_two_workers_at_once_on_s3(
    tiny: dict[str, Any], study_file: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A driver and two workers, each with a cache of its own and nothing shared but the bucket: one process's weights."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0)
    server.start()
    try:
        keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
        keys["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{server.get_host_and_port()[1]}"
        for name, value in keys.items():
            monkeypatch.setenv(name, value)
        fsspec.filesystem("s3").mkdir("bucket")
        url, file = "s3://bucket/two", study_file(tiny, {"name": "two", "seeds": [0, 1], "runtime.threads": 1})
        command = [sys.executable, "-m", "vicinal"]

        def begun(name: str, *words: object) -> subprocess.Popen[str]:
            own = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / name)}
            return subprocess.Popen([*command, *map(str, words)], env=own, stderr=subprocess.PIPE, text=True)

        driver = begun("driver", "run", file, "--out", url, "runtime.workers=0")
        until = time.monotonic() + 120
        while not fsspec.filesystem("s3", skip_instance_cache=True).exists("bucket/two/jobs.json"):
            assert time.monotonic() < until
            time.sleep(0.2)
        workers = [begun(f"worker-{number}", "work", url) for number in range(2)]
        told = [worker.communicate(timeout=300)[1] for worker in workers]
        assert [worker.returncode for worker in workers] == [0, 0], told
        assert driver.wait(200) == 0
        done = [sum(": done in" in line for line in lines.splitlines()) for lines in told]
        assert min(done) >= 1
        assert sum(done) == 6  # two students of a teacher are one job: none was done twice
        status = begun("anybody", "status", url)
        assert status.wait(60) == 0
        alone = tmp_path / "alone"
        assert begun("alone", "run", file, "--out", alone).wait(200) == 0
        (brought,) = (tmp_path / "driver" / "vicinal" / "remote").iterdir()
        assert weights_of(brought) == weights_of(alone) != {}
    finally:
        server.stop()


def stopped(*_: Any) -> None:
    raise KeyboardInterrupt


def only_teachers(run_job: Callable[..., Any]) -> Callable[..., Any]:
    def run(study: Study, job: Job, progress: Any) -> Any:
        if job.needs:
            raise KeyboardInterrupt
        return run_job(study, job, progress)

    return run
