"""resamples.npz: what is read is what was written, and only beside the results that it was written with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm, t

from vicinal.cli.main import main
from vicinal.report.rows import load_results
from vicinal.results import RESAMPLES_FILE, StudyResults, read_resamples, read_results, write_resamples

WIDER = t.ppf(0.975, 11) / norm.ppf(0.975)  # an interval of twelve pairs that share no image
DRAW = np.random.default_rng(0)


@pytest.fixture(scope="module")
def folder(smallest: dict[str, Any], study_file: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("resamples") / "out"
    changes = {"measures.corruptions": {"images": 9, "names": ["contrast"]}}
    assert main(["run", str(study_file(smallest, changes)), "--out", str(out)]) == 0
    return out


def copy_of(folder: Path, to: Path) -> Path:
    to.mkdir(exist_ok=True)
    for name in ("results.json", RESAMPLES_FILE):
        (to / name).write_bytes((folder / name).read_bytes())
    return to


def with_sha256(results: StudyResults, sha256: str) -> StudyResults:
    return results.model_copy(update={"measures": results.measures.model_copy(update={"resamples_sha256": sha256})})


def test_what_is_read_is_what_was_written_to_a_thousandth(folder: Path, tmp_path: Path):
    curve = DRAW.normal(size=(150, 3)) * [1e-9, 1, 1e6]
    written = [
        {"accuracy": DRAW.normal(size=150), "vicinity.entropy": np.concatenate([curve, curve[:, -2::-1]], 1)},
        {"accuracy": np.zeros(150), "versus_teacher.a.b.kl_real": DRAW.normal(size=150) * 1e-5},
        {"corruptions.fog.ece": DRAW.normal(size=(150, 5))},
    ]
    results = with_sha256(read_results(folder), write_resamples(tmp_path, written))
    found = read_resamples(tmp_path, results)
    assert found is not None
    assert found.resamples == 150
    assert set(found.keys) == {key for own in written for key in own}
    for position, own in enumerate(written):
        for key in found.keys:
            got = found.of(position, key)
            if key not in own:
                assert got is None
                continue
            assert got is not None
            assert got.dtype == np.float64
            assert np.all(abs(got - own[key]) <= 1e-3 * (abs(own[key]) + own[key].std(0)))
    assert found.of(0, "nonsense") is None


def test_a_symmetric_curve_takes_half_the_room(tmp_path: Path):
    half = DRAW.normal(size=(400, 11))
    sizes = []
    for name, curve in (("whole", DRAW.normal(size=(400, 21))), ("half", np.concatenate([half, half[:, -2::-1]], 1))):
        write_resamples(tmp_path / name, [{"vicinity.entropy": curve}])
        sizes.append((tmp_path / name / RESAMPLES_FILE).stat().st_size)
    assert sizes[1] < 0.6 * sizes[0]


def test_the_same_deviations_are_the_same_bytes(tmp_path: Path):
    own = {"accuracy": DRAW.normal(size=100)}
    assert write_resamples(tmp_path / "a", [own]) == write_resamples(tmp_path / "b", [own])


@pytest.mark.parametrize("what", ["gone", "damaged", "stale"])
def test_a_file_that_does_not_belong_is_ignored_with_one_line(folder: Path, tmp_path: Path, what: str):
    copied, lines = copy_of(folder, tmp_path / "study"), []
    path = copied / RESAMPLES_FILE
    if what == "gone":
        path.unlink()
    elif what == "damaged":
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    else:
        write_resamples(copied, [{"accuracy": np.ones(100)}])
    assert read_resamples(copied, read_results(copied), lines.append) is None
    assert len(lines) == 1
    assert RESAMPLES_FILE in lines[0]
    assert load_results(copied).resamples is None


def test_results_of_an_older_version_have_none_and_nothing_is_said(folder: Path, tmp_path: Path):
    copied, lines = copy_of(folder, tmp_path / "study"), []
    raw = json.loads((copied / "results.json").read_text(encoding="utf-8"))
    del raw["measures"]["resamples_sha256"], raw["sha256"]
    (copied / "results.json").write_text(json.dumps(raw), encoding="utf-8")
    assert read_resamples(copied, read_results(copied), lines.append) is None
    assert lines == []


def test_a_study_keeps_every_network_s_deviations(folder: Path):
    results, resamples = read_results(folder), load_results(folder).resamples
    assert resamples is not None
    assert resamples.resamples == results.measures.bootstrap_resamples == 100
    teacher, student = results.teachers[0], results.students[0]
    for position, model in enumerate((teacher, student)):
        for key in ("accuracy", "confidence", "nll", "brier", "ece"):
            low, high = getattr(model.intervals, key)
            drawn = getattr(model, key) + resamples.of(position, key)
            if key not in ("accuracy", "ece"):  # other intervals than percentiles
                assert np.quantile(drawn, [0.025, 0.975]) == pytest.approx([low, high], abs=1e-3 * (high - low) + 1e-9)
        for name in ("nonlinearity", "entropy", "linearity_information"):
            drawn = np.array(getattr(model.vicinity, name)) + WIDER * resamples.of(position, f"vicinity.{name}")
            assert drawn.shape == (100, 5)
            bounds = getattr(model.vicinity.intervals, name)
            assert np.quantile(drawn, 0.025, axis=0) == pytest.approx(bounds.lower, rel=1e-2, abs=1e-9)
        assert resamples.of(position, "corruptions.contrast.accuracy").shape == (100, 5)
    gain = resamples.of(0, "vicinity.nonlinearity") - resamples.of(1, "vicinity.nonlinearity")
    bounds = student.versus_teacher["one"].linearity_gain_interval
    estimate = np.array(student.versus_teacher["one"].linearity_gain)
    assert np.quantile(estimate + WIDER * gain, 0.975, axis=0) == pytest.approx(bounds.upper, rel=1e-2, abs=1e-6)
    assert results.measures.pair_images == 2 * results.measures.pairs == 24
    for key in ("versus_teacher.one.kl_real", "versus_teacher.one.held_out.kl_mixed", "information.residual_eq11"):
        assert len(resamples.of(1, key)) == 100
    assert resamples.of(1, "held_out.vicinity.entropy").shape == (100, 5)
    assert resamples.of(0, "versus_teacher.one.kl_real") is None
