"""What the command line does to its process: threads, allocator and signals, which are given back or never taken by a library call."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tiny_studies import merged
from vicinal.cli import main, study_arguments
from vicinal.cli.study_arguments import prepare_process
from vicinal.config import StudySpec
from vicinal.errors import UsageError
from vicinal.workspace import hold


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was asked of the process, instead of doing it."""
    found: list[Any] = []
    monkeypatch.setattr(study_arguments, "keep_freed_memory", lambda: found.append("keep"))
    monkeypatch.setattr(torch, "set_num_threads", found.append)
    return found


def spec(tiny: dict[str, Any], **runtime: Any) -> StudySpec:
    return StudySpec.model_validate(merged(tiny, {"runtime": runtime}))


def test_a_process_gets_the_threads_that_the_study_states(tiny: dict[str, Any], asked: list[Any]):
    prepare_process(spec(tiny, device="cpu", threads=3))
    assert asked == [3, "keep"]
    asked.clear()
    prepare_process(spec(tiny, device="cpu"))
    assert asked == ["keep"]


@pytest.mark.parametrize(("has_gpu", "device", "kept"), [
    (False, "auto", True), (True, "auto", False), (True, "cpu", True), (True, "cuda", False),
])  # fmt: skip
def test_freed_memory_is_kept_where_a_cpu_trains(
    tiny: dict[str, Any], asked: list[Any], monkeypatch: pytest.MonkeyPatch, has_gpu: bool, device: str, kept: bool
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    prepare_process(spec(tiny, device=device))
    assert asked == ["keep"] * kept


def test_making_a_study_leaves_the_process_as_it_is(tiny: dict[str, Any], asked: list[Any], tmp_path: Path):
    from vicinal.study import Study

    Study(spec(tiny, device="cpu", threads=3), tmp_path)
    assert asked == []


@pytest.mark.parametrize("verb", ["run", "plan"])
def test_the_command_line_prepares_its_process(
    vicinal: Callable[..., Any], smallest: dict[str, Any], study_file: Callable[..., Path], asked: list[Any], tmp_path: Path, verb: str
):  # fmt: skip
    answer = vicinal(verb, study_file(smallest), "runtime.threads=1", "--out", tmp_path / "out")
    assert answer.code == 0, answer.err
    assert asked[:2] == [1, "keep"]


@pytest.mark.parametrize("words", [["run"], ["bank", "build"]])
def test_a_folder_that_is_held_is_told_before_anything_is_loaded(
    vicinal: Callable[..., Any], smallest: dict[str, Any], study_file: Callable[..., Path], asked: list[Any], tmp_path: Path,
    words: list[str],
):  # fmt: skip
    with hold(tmp_path):
        answer = vicinal(*words, study_file(smallest), "--out", tmp_path)
    assert answer.code == 2
    assert "is held by process" in answer.err
    assert asked == []


# --- signals ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def own() -> Any:
    """A handler that the caller of the command line has installed."""

    def handler(*_: object) -> None:
        """The caller's."""

    before = signal.signal(signal.SIGTERM, handler)
    yield handler
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(("arguments", "code"), [(["studies"], 0), (["run", "nope"], 2)])
def test_the_callers_signal_handler_comes_back(own: Any, capfd: Any, arguments: list[str], code: int):
    assert main(arguments) == code
    assert signal.getsignal(signal.SIGTERM) is own


def test_the_callers_signal_handler_comes_back_after_a_signal(own: Any, capfd: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("vicinal.cli.studies.packaged_studies", lambda: signal.raise_signal(signal.SIGTERM))
    assert main(["studies"]) == 143
    assert "continues from the last checkpoint" in capfd.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is own


def test_a_thread_may_use_the_command_line(own: Any, capfd: Any):
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(main(["studies"])))
    thread.start()
    thread.join()
    assert codes == [0]
    assert signal.getsignal(signal.SIGTERM) is own


def test_an_unforeseen_error_gets_out_with_the_handler_back(own: Any, monkeypatch: pytest.MonkeyPatch):
    def fail() -> None:
        raise RuntimeError

    monkeypatch.setattr("vicinal.cli.studies.packaged_studies", fail)
    with pytest.raises(RuntimeError):
        main(["studies"])
    assert signal.getsignal(signal.SIGTERM) is own


# --- schema -----------------------------------------------------------------------------------------------------------


def test_the_schemas_are_printed_as_json(vicinal: Callable[..., Any]):
    import json

    from vicinal.config import study_file_schema
    from vicinal.results import results_schema

    for arguments, schema in (
        ([], study_file_schema()),
        (["study"], study_file_schema()),
        (["results"], results_schema()),
    ):
        answer = vicinal("schema", *arguments)
        assert answer.code == 0
        assert json.loads(answer.out) == json.loads(json.dumps(schema))
    assert vicinal("schema", "paper").code == 2


def test_a_mistake_is_told_before_the_process_is_prepared(asked: list[Any]):
    with pytest.raises(UsageError):
        study_arguments.study_and_folder(type("Parsed", (), {"study": "nope", "overrides": []})())
    assert asked == []
