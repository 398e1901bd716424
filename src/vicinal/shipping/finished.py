"""A finished run of a study, read for shipping: its network, how it is shown images, and what it answered."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vicinal.config import DataSpec, RunSpec
from vicinal.data import Originals, View, find_originals
from vicinal.errors import UsageError, VicinalError
from vicinal.evaluation import Predictions
from vicinal.networks import Classifier, read_weights_file, rebuilt_classifier
from vicinal.report import recommended_run
from vicinal.results import RESULTS_FILE, StudyResults, read_results
from vicinal.results import Student as StudentEntry
from vicinal.results import Teacher as TeacherEntry
from vicinal.shipping.shown import Shown, how_shown
from vicinal.workspace import DamagedError, RunFolder, check_study_folder, read_sealed_json


@dataclass(frozen=True)
class FinishedRun:
    """What is shipped of a run.

    `shown` is how its network was shown test images.
    `results` and `entry` are the study's and the network's own, None before the study is measured; so are `predictions`.
    """

    study: Path
    name: str
    spec: RunSpec
    network: Classifier
    class_names: tuple[str, ...]
    channels: int
    shown: Shown
    results: StudyResults | None
    entry: StudentEntry | TeacherEntry | None
    predictions: Predictions | None

    @property
    def view(self) -> View:
        """How it was shown test images, in one step of Pillow's."""
        return self.shown.view

    @property
    def images(self) -> Originals:
        """The study's images. Raises UsageError where they cannot be had any more."""
        if self.results is None:
            raise UsageError("the study is not measured yet, so it does not say where its images are")
        return find_originals(DataSpec.model_validate(self.results.spec["data"]))


def finished_run(source: Path, run: str | None = None) -> FinishedRun:
    """Read a run of a study folder, or the run that a folder in its runs/ is.

    Args:
        source: a study folder, or a run's folder in it.
        run: the run's folder name, or a part of it that no other has; default: the one that the study recommends.

    Raises:
        UsageError: no such folder or run, or none recommended.
        VicinalError: the run's files are damaged.
    """
    if (source / "spec.json").is_file() and source.absolute().parent.name == "runs":
        if run is not None:
            raise UsageError(f"{source} is one run, so --run says nothing: leave it out or give the study's folder")
        study, run = source.absolute().parents[1], source.absolute().name
        study = Path(source).parents[1] if len(Path(source).parts) > 2 else study
    else:
        check_study_folder(source)
        study = source
    results = read_results(study) if (study / RESULTS_FILE).is_file() else None
    name = _chosen(study, run, results)
    spec = _spec(study / "runs" / name)
    folder = RunFolder(study, spec)
    if folder.path.name != name:
        raise UsageError(
            f"{study / 'runs' / name} was written by another version of vicinal; export it with that version"
        )
    if folder.damage is not None or not folder.is_done:
        raise VicinalError(folder.damage or f"{folder.path} is not finished: give the study's command again")
    network = _network(folder)
    trained: list[StudentEntry | TeacherEntry] = [*results.students, *results.teachers] if results is not None else []
    # Of a teacher at several scales of its logits, the network as it is.
    entry = next((e for e in trained if e.run == name and getattr(e, "logit_scale", None) in (None, 1.0)), None)
    mean = getattr(network, "mean", None)
    channels = int(mean.shape[1]) if isinstance(mean, torch.Tensor) else 3
    assert network.class_names is not None
    return FinishedRun(
        study=study,
        name=name,
        spec=spec,
        network=network,
        class_names=network.class_names,
        channels=channels,
        shown=how_shown(spec, network, results),
        results=results,
        entry=entry,
        predictions=_predictions(folder),
    )


def _chosen(study: Path, run: str | None, results: StudyResults | None) -> str:
    done = sorted(path.parent.name for path in (study / "runs").glob("*/done.json"))
    if not done:
        raise UsageError(f"{study} has no finished run yet: give the study's command again")
    if run is None:
        run = recommended_run(study) if results is not None else None
        if run is None:
            raise UsageError(f"{study} recommends no student: choose a run with --run, one of {_listed(done)}")
    alike = [name for name in done if name == run] or [name for name in done if run in name]
    if len(alike) != 1:
        what = f"{len(alike)} runs" if alike else "no finished run"
        raise UsageError(f"{study} has {what} named {run!r}: give one of {_listed(alike or done)}")
    return alike[0]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _spec(folder: Path) -> RunSpec:
    try:
        value = read_sealed_json(folder / "spec.json")
        value.pop("sha256", None)
        return RunSpec.model_validate(value)
    except (DamagedError, OSError) as error:
        raise VicinalError(f"{error}: give the study's command again, which mends it") from None
    except ValueError:
        raise UsageError(f"{folder} was written by another version of vicinal; export it with that version") from None


def _network(folder: RunFolder) -> Classifier:
    file = read_weights_file(folder.weights)
    names = file.meaning.class_names or tuple(map(str, folder.spec.data["classes"]))
    try:
        with torch.random.fork_rng(devices=[]):  # weights are drawn and at once replaced
            channels = int(file.tensors["mean"].shape[1]) if "mean" in file.tensors else 3
            network = rebuilt_classifier(folder.spec.network, file.tensors, len(names), channels)
    except (UsageError, RuntimeError) as error:
        raise VicinalError(f"{folder.weights} cannot be used ({' '.join(str(error).split())[:160]})") from None
    network.class_names = names
    return network


def _predictions(folder: RunFolder) -> Predictions | None:
    """The stored answers of the network, the newest where several ways of measuring left some."""
    weights = folder.summary()["weights_sha256"]
    for path in sorted(folder.path.glob("predictions-*.safetensors"), key=lambda path: -path.stat().st_mtime):
        with contextlib.suppress(VicinalError):
            found = Predictions.load(path, weights)
            if found is not None:
                return found
    return None


def source_facts(run: FinishedRun) -> dict[str, Any]:
    """Where a student comes from, as vicinal.json says it: no paths of this machine."""
    facts: dict[str, Any] = {"run": run.name, "model": run.spec.network.model, "seed": run.spec.seed}
    if run.results is not None:
        facts |= {"study": run.results.study, "command": run.results.command, "data": run.results.data.name}
    if isinstance(run.entry, StudentEntry):
        facts |= {"arm": run.entry.arm, "teacher": run.entry.teacher, "temperature_of_training": run.entry.temperature}
    return facts
