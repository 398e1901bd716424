"""The verbs as functions: a study without a subprocess, a classifier of one's own, and a process that stays as it was."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import vicinal as package
from vicinal import api
from vicinal.config import MeasuresSpec, StudySpec, VicinitySpec
from vicinal.errors import UsageError
from vicinal.functional import expected_calibration_error

MEASURES = MeasuresSpec(vicinity=VicinitySpec(pairs=20, lam_points=5), bootstrap_resamples=100, ece_bins=10)


@pytest.fixture(scope="module")
def finished(smallest: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    out = tmp_path_factory.mktemp("api") / "out"
    return out, api.run(StudySpec.model_validate(smallest), out, ["seeds=[0,1]"])


def test_a_study_runs_from_python_as_from_the_shell(
    finished, smallest, study_file: Callable[..., Path], tmp_path, vicinal
):
    out, results = finished
    assert (out / "report.html").exists()
    assert json.loads((out / "results.json").read_text())["students"][1]["nll"] == results.students[1].nll
    assert results.command == f"vicinal run smallest 'seeds=[0,1]' --out {out}"
    assert vicinal("run", study_file(smallest), "--out", tmp_path / "shell", "seeds=[0,1]").code == 0
    shell = json.loads((tmp_path / "shell" / "results.json").read_text())
    assert [s["nll"] for s in shell["students"]] == [s.nll for s in results.students]


def test_results_are_tables(finished):
    frame = finished[1].to_frame()
    assert isinstance(frame, pd.DataFrame)
    assert list(frame.role) == ["teacher", "teacher", "student", "student"]
    assert set(finished[1].curves_frame().lam) == {0.0, 0.25, 0.5, 0.75, 1.0}


def test_a_plan_is_a_table_and_spends_nothing(smallest, tmp_path: Path):
    summary = api.plan(StudySpec.model_validate(smallest), tmp_path / "nothing")
    assert list(summary.to_frame()["run"]) == ["one", "kd-T2-one"]
    assert "2 of 2 runs to do" in str(summary)
    assert not (tmp_path / "nothing").exists()


def test_a_library_call_leaves_the_process_as_it_was(smallest, tmp_path: Path):
    script = (
        "import sys, signal, ctypes, torch\nfrom vicinal import api, StudySpec\n"
        "import vicinal.workspace.machine as machine\n"
        "machine.keep_freed_memory = lambda *a: sys.exit('the allocator was changed')\n"
        "before = torch.get_num_threads(), signal.getsignal(signal.SIGTERM), torch.get_rng_state().tolist()\n"
        "spec = StudySpec.model_validate_json(sys.argv[1])\napi.run(spec, sys.argv[2])\n"
        "after = torch.get_num_threads(), signal.getsignal(signal.SIGTERM), torch.get_rng_state().tolist()\n"
        "sys.exit(before != after)\n"
    )
    spec = StudySpec.model_validate({**smallest, "runtime": {"device": "cpu", "threads": 2}})
    command = [sys.executable, "-c", script, spec.model_dump_json(), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_command_line_gives_signals_back(vicinal):
    before = signal.getsignal(signal.SIGTERM)
    assert vicinal("studies").code == 0
    assert signal.getsignal(signal.SIGTERM) is before


def classifier(pixels: torch.Tensor) -> np.ndarray:
    """Brighter thirds, by plain NumPy: no module, no gradients."""
    columns = pixels.mean((1, 2)).numpy().reshape(len(pixels), 3, -1)
    return 40 * columns.mean(2)


def thirds(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 3
    images = torch.randint(0, 200, (n, 12, 12, 1), dtype=torch.uint8, generator=generator)
    for k, label in enumerate(labels.tolist()):
        images[k, :, 4 * label : 4 * label + 4] += 40
    return images, labels


def test_any_function_of_pixels_is_measured():
    images, labels = thirds(90, seed=0)
    others, theirs = thirds(30, seed=1)
    theirs[0] = 1 - theirs[0]  # one wrong, since no temperature is fitted to answers that are all right
    measured = api.measure(classifier, images, labels, validation=(others, theirs), measures=MEASURES)
    logits = torch.from_numpy(classifier(images.permute(0, 3, 1, 2) / 255))
    assert measured.numbers["accuracy"] == pytest.approx(float((logits.argmax(1) == labels).double().mean()))
    assert measured.numbers["ece"] == pytest.approx(
        float(expected_calibration_error(logits.softmax(1), labels, 10)), abs=1e-6
    )
    assert measured.numbers["fitted_temperature"] is not None
    assert measured.numbers["no_fitted_temperature"] is None
    curve = measured.numbers["vicinity"]["nonlinearity"]
    assert curve[0] == curve[-1] == pytest.approx(0, abs=1e-6)
    assert min(curve) >= 0
    assert measured.to_frame().accuracy[0] == measured.numbers["accuracy"]
    assert set(measured.curves_frame().quantity) >= {"nonlinearity", "entropy"}


def test_a_measurement_says_what_does_not_fit():
    images, labels = thirds(9, seed=0)
    with pytest.raises(ValueError, match="2 class names for a network of 3 classes"):
        api.measure(classifier, images, labels, class_names=["a", "b"], measures=MEASURES)
    with pytest.raises(ValueError, match="images are uint8"):
        api.measure(classifier, images.float(), labels, measures=MEASURES)


def test_what_trains_does_not_wait_for_torchmetrics():
    script = "import sys, vicinal.study; sys.exit('torchmetrics' in sys.modules or 'scipy.stats' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_public_names_are_there_and_cost_nothing():
    script = "import sys, vicinal; vicinal.StudySpec; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
    for name in package.__all__:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        package.nothing  # noqa: B018


def test_mistakes_are_usage_errors(smallest, tmp_path: Path):
    with pytest.raises(UsageError, match="no study 'quickstrat'"):
        api.run("quickstrat", tmp_path / "out")
    with pytest.raises(UsageError, match="is not a folder"):
        api.report(tmp_path / "nope")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(UsageError, match="no study"):
        api.plan(StudySpec.model_validate(smallest), tmp_path / "other")
