"""Fixtures that several test files share: tiny image folders, tiny study files, and the command line called in process."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import settings

from tiny_studies import Answer, merged, undrawn, write_images

# Networks this small gain nothing from a second thread, and threads change the last digits. Before torch, also in subprocesses.
os.environ["OMP_NUM_THREADS"] = "1"
# What is measured of this machine is remembered for the whole suite and not beyond it.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="vicinal-test-cache-")
os.environ["VICINAL_PIXEL_CACHE"] = "off"  # each test reads its own images; those of the cache turn it on
# No test asserts a time: an example may take long on a busy machine.
settings.register_profile("no times", deadline=None)
settings.load_profile("no times")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """A command that was called in this process leaves the threads that its study stated, and threads change weights."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


# Rooms whose tests run studies and look at no picture of their reports.
UNDRAWN = {
    "distillation",
    "evaluation",
    "inputs",
    "measuring",
    "networks",
    "recipes",
    "study",
    "tracking",
    "training",
}


@pytest.fixture(scope="module")
def without_pictures() -> Iterator[None]:
    """Reports have no pictures."""
    with undrawn():
        yield


@pytest.fixture(autouse=True, scope="module")
def pictures(request: pytest.FixtureRequest) -> None:
    """Drawn in tests of those rooms alone that look at them."""
    if request.path.parent.name in UNDRAWN:
        request.getfixturevalue("without_pictures")


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """90 training and 60 test images of 3 classes, 12 px, grey."""
    root = tmp_path_factory.mktemp("images")
    write_images(root / "train", 30, seed=1)
    write_images(root / "test", 20, seed=2)
    return root


@pytest.fixture(scope="session")
def tiny(image_folder: Path) -> dict[str, Any]:
    """A study, as plain values, that trains one teacher and three students in about two seconds."""
    return {
        "name": "tiny",
        "data": {"source": str(image_folder), "validation": 0.2},
        "teachers": {"one": {"model": "vicinal_resnet8", "epochs": 4, "batch_size": 20, "lr": 1e-2}},
        "student": {"model": "vicinal_mobilenet", "epochs": 4, "batch_size": 15, "lr": 1e-2, "train_images": 45},
        "arms": ["baseline", {"name": "kd_mixup", "temperature": [2, "sigma"]}],
        "measures": {"vicinity": {"pairs": 12, "lam_points": 5}, "bootstrap_resamples": 100, "ece_bins": 7},
        "runtime": {"device": "cpu"},
    }


@pytest.fixture(scope="session")
def smallest(tiny: dict[str, Any]) -> dict[str, Any]:
    """A study with one epoch each and one student, for tests that need a finished folder and no good network."""
    return merged(
        tiny,
        {"name": "smallest", "teachers.one.epochs": 1, "student.epochs": 1, "arms": ["kd"], "measures.ece_bins": 15},
    )


@pytest.fixture(scope="session")
def study_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """study_file(values, **{"dotted.key": value}): write a study file of its own folder."""

    def write(values: Mapping[str, Any], changes: Mapping[str, Any] | None = None) -> Path:
        path = tmp_path_factory.mktemp("study") / f"{values['name']}.yaml"
        path.write_text(yaml.safe_dump(merged(values, changes or {}), sort_keys=False), encoding="utf-8")
        return path

    return write


@pytest.fixture
def vicinal(capfd: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """vicinal("run", file, ...): the command line, in this process. An exception that gets out fails the test: a traceback."""
    from vicinal.cli.main import main

    def call(*arguments: object) -> Answer:
        capfd.readouterr()
        try:
            code = main([str(a) for a in arguments])
        except SystemExit as stop:  # argparse
            code = int(stop.code or 0)
        out, err = capfd.readouterr()
        return Answer(code, out, err)

    return call


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.compile traces and keeps its graphs as always, and generates no code, which takes most of the time."""
    import torch

    compile_it = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda network, **options: compile_it(network, backend="aot_eager", **options)
    )
    torch._dynamo.reset()
