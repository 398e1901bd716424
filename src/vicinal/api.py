"""The verbs as functions: what the command line calls, and a notebook or a program may.

No function here changes the process that calls it: threads, allocator and signals are the command line's to set.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vicinal.config import MeasuresSpec, StudySpec, load_study

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from vicinal.evaluation import Measurement
    from vicinal.results import StudyResults
    from vicinal.shipping import Prediction
    from vicinal.study import DataCheck, Executor, PlanSummary
    from vicinal.workspace import StudyProgress

__all__ = ["check", "export", "load_study", "measure", "plan", "predict", "push", "report", "run"]


def check(
    source: str | Path,
    *,
    teacher: str | None = None,
    out: Path | str | None = None,
    image_size: int | None = None,
    class_order: Literal["text", "natural"] | None = None,
) -> DataCheck:
    """What there is to know of images before a study is written: counts, sizes, what cannot be read, duplicates, imbalance.

    Args:
        source: as `data.source` of a study.
        teacher: a classifier that is asked about up to 500 of the images, as `networks.load_classifier` takes it.
        out: a folder for CSV files; None: none are written.
        image_size, class_order: as `data` of the study to come will have them.

    Raises UsageError for images or a classifier that cannot be read at all; what else speaks against them is in `problems`.
    """
    from pydantic import ValidationError

    from vicinal.config import DataSpec
    from vicinal.errors import UsageError

    try:
        spec = DataSpec(source=str(source), image_size=image_size, class_order=class_order)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"data.{first['loc'][0]}: {first['msg']}") from None
    from vicinal.study import check_data

    found = check_data(spec, teacher)
    if out is not None:
        found.write(Path(out))
    return found


def plan(study: StudySpec | str | Path, out: Path | str | None = None, overrides: Sequence[str] = ()) -> PlanSummary:
    """What `run` with the same arguments would do and take; trains nothing and writes nothing.

    Args:
        study: a value, the name of a packaged study, or a YAML file.
        out: the study's folder; default: runs/<name of the study>.
        overrides: KEY=VALUE by dotted key, as on the command line.

    Raises UsageError for whatever does not fit.
    """
    from vicinal.study import Study, summarize

    spec = load_study(study, overrides)
    return summarize(Study(spec, _folder(spec, out)))


def run(
    study: StudySpec | str | Path,
    out: Path | str | None = None,
    overrides: Sequence[str] = (),
    *,
    command: str | None = None,
    executor: Executor | None = None,
    progress: StudyProgress | None = None,
) -> StudyResults:
    """Run a study, or continue it, and write its results and report; progress goes to stderr, in a notebook below the cell.

    Args:
        study, out, overrides: as `plan` takes them.
        command: that gives this study, as its results state it.
        executor: that runs its jobs; default: one after the other in this process.
        progress: that a person sees.

    Returns:
        What results.json holds; `to_frame()` gives it as a table of pandas.

    Raises:
        UsageError: something does not fit, before anything is spent.
        VicinalError: training failed; what was finished stays, and the same call continues.
    """
    from vicinal.study import Study, execute
    from vicinal.tracking import open_trackers
    from vicinal.workspace import printable, say

    spec = load_study(study, overrides)
    folder = _folder(spec, out)
    if command is None:
        name = spec.name if isinstance(study, StudySpec) else str(study)
        command = printable(shlex.join(["vicinal", "run", name, *overrides, "--out", str(folder)]))
    opened = Study(spec, folder)
    with open_trackers(spec, folder, partial(say, to=sys.stderr)) as trackers:
        results = execute(opened, command, executor, progress, trackers)
        trackers.report(report(folder))
    return results


def report(folder: Path | str) -> Path:
    """Write the report of a study folder from its results.json; returns the page's path. Raises UsageError without results."""
    from vicinal.workspace import check_study_folder

    check_study_folder(Path(folder))
    from vicinal.report import write_report

    return write_report(Path(folder))


def export(
    source: Path | str,
    out: Path | str | None = None,
    *,
    run: str | None = None,
    onnx: bool = True,
    torch_export: bool = False,
    force: bool = False,
    command: str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Path:
    """Write the folder of a student that runs without vicinal: timm's files, ONNX, class names, promises, model card.

    Args:
        source: a study folder, or a run's folder in its runs/.
        out: the folder to write; default: `student` in the study's folder.
        run: which run, by its folder's name or a part of it; default: the student that the study recommends.
        onnx: write model.onnx; torch_export: write model.pt2 also where timm has the network.
        force: replace a student's folder that lies there.
        command: that makes this folder, as the card states it; say: told what is done, in lines.

    Raises UsageError or VicinalError, in one line, and then writes nothing.
    """
    from vicinal.shipping import export_student

    source = Path(source)
    folder = Path(out) if out is not None else source / "student"
    return export_student(
        source, folder, run=run, onnx=onnx, torch_export=torch_export, force=force, command=command, say=say
    )


def predict(
    student: Path | str,
    paths: Iterable[Path | str],
    *,
    coverage: float | None = None,
    risk: float | None = None,
    batch_size: int = 32,
    engine: Literal["timm", "onnx"] | None = None,
) -> Iterator[Prediction]:
    """What a student says of images, one by one, in the order of the files.

    Args:
        student: its folder, as `export` writes it; one that timm wrote gives probabilities alone.
        paths: image files, and folders that are searched for them.
        coverage: give sets of classes that hold the true one with this probability; risk: say "don't know" where an answer would
            be wrong more often than that.
        batch_size: images at once.
        engine: timm or onnx (onnxruntime); default: timm where the folder holds its files.

    Raises UsageError for what cannot be promised or is no student; a file that cannot be read is a prediction with an `error`.
    """
    from vicinal.shipping import files_of, open_student, predictions, rules_of

    opened = open_student(Path(student), engine)
    rules = rules_of(opened, coverage, risk)
    return predictions(opened, list(files_of(map(str, paths))), rules, batch_size)


def push(student: Path | str, repository: str, *, private: bool = False) -> str:
    """Put a student's folder on the Hugging Face hub; returns its address. Raises UsageError or VicinalError in one line."""
    from vicinal.shipping import push_student

    return push_student(Path(student), repository, private)


def measure(
    network: Callable[[Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
    *,
    validation: tuple[Tensor, Tensor] | None = None,
    pair_images: Tensor | None = None,
    class_names: Sequence[str] | None = None,
    image_size: int | None = None,
    measures: MeasuresSpec | None = None,
    device: torch.device | str = "cpu",
) -> Measurement:
    """Calibration and vicinal curves of any classifier, by the code that measures the networks of a study.

    Args:
        network: a module or a plain function, (B, C, H, W) float32 pixels in [0, 1] to (B, K) logits.
        images, labels: (N, H, W, C) uint8 and (N,) int64, that accuracy and calibration are measured on.
        validation: images and labels that a temperature is fitted on; None: nothing is measured after temperature scaling.
        pair_images: (M, H, W, C) uint8 that pairs are drawn from, as a rule training images, and then pairs of `images` are measured
            beside them (`held_out`); default: `images`.
        class_names: K names; default: the network's own, where it is a `Classifier` that has them, else numbers.
        image_size: side in px that images are resized to; None: as the network's own preparation says, else as they are.
        measures: pairs, λ grid, bins, resamples and confidence level.

    Raises ValueError for images or labels of another form.
    """
    from vicinal.evaluation import measure_images

    spec = measures or MeasuresSpec()
    return measure_images(network, images, labels, validation, pair_images, class_names, image_size, spec, device)


def _folder(spec: StudySpec, out: Path | str | None) -> Path:
    from vicinal.workspace import check_out_folder, check_place

    folder = Path(out) if out is not None else Path("runs") / spec.name
    check_place(folder)
    check_out_folder(folder, spec.name)
    return folder
