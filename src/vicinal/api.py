"""The verbs as functions: what the command line calls, and a notebook or a program may.

No function here changes the process that calls it: threads, allocator and signals are the command line's to set.
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from vicinal.config import DataSpec, MeasuresSpec, StudySpec, load_study

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from vicinal.evaluation import Measurement
    from vicinal.measuring import SourceMeasurement
    from vicinal.networks import Classifier
    from vicinal.recipes import Ranking
    from vicinal.results import JoinedResults, StudyResults
    from vicinal.shipping import Prediction
    from vicinal.study import DataCheck, Executor, PlanSummary
    from vicinal.workspace import StudyProgress

__all__ = [
    "check",
    "compare",
    "distill",
    "export",
    "init",
    "join",
    "load_study",
    "measure",
    "plan",
    "predict",
    "push",
    "rank",
    "report",
    "run",
]


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


def plan(
    study: StudySpec | str | Path,
    out: Path | str | None = None,
    overrides: Sequence[str] = (),
    *,
    networks: Mapping[str, nn.Module] | None = None,
) -> PlanSummary:
    """What `run` with the same arguments would do and take; trains nothing and writes nothing.

    Args:
        study: a value, the name of a packaged study, or a YAML file.
        out: the study's folder; default: runs/<name of the study>. Or the URL of one on an object store (docs/workers.md), which is
            worked on in a folder of this machine.
        overrides: KEY=VALUE by dotted key, as on the command line.
        networks: as `run` takes them.

    Raises UsageError for whatever does not fit.
    """
    from vicinal.networks import networks_given
    from vicinal.study import Study, summarize

    spec = load_study(study, overrides)
    with networks_given(networks or {}):
        return summarize(Study(spec, _folder(spec, out)))


def run(
    study: StudySpec | str | Path,
    out: Path | str | None = None,
    overrides: Sequence[str] = (),
    *,
    command: str | None = None,
    executor: Executor | None = None,
    progress: StudyProgress | None = None,
    networks: Mapping[str, nn.Module] | None = None,
) -> StudyResults:
    """Run a study, or continue it, and write its results and report; progress goes to stderr, in a notebook below the cell.

    Processes that torchrun started, each of which calls this with the same arguments, share its trainings; the main one alone decides
    and writes, and what it wrote is returned in all.

    Args:
        study, out, overrides: as `plan` takes them.
        command: that gives this study, as its results state it.
        executor: that runs its jobs; default: one after the other in this process.
        progress: that a person sees.
        networks: your own modules, (B, C, H, W) normalised pixels to (B, K) logits, by the name that the study calls each by as
            `given/NAME`; a study is continued with the same ones. What they take is in their attribute `pretrained_cfg`, or in the
            study.

    Returns:
        What results.json holds; `to_frame()` gives it as a table of pandas.

    Raises:
        UsageError: something does not fit, before anything is spent.
        VicinalError: training failed; what was finished stays, and the same call continues.
    """
    from vicinal.errors import UsageError
    from vicinal.metrics import not_gathered
    from vicinal.networks import networks_given
    from vicinal.results import read_results
    from vicinal.study import Study, execute
    from vicinal.tracking import open_trackers
    from vicinal.training import processes
    from vicinal.workspace import kept_folder, launched, printable, say

    spec = load_study(study, overrides)
    if launched().count > 1 and spec.runtime.workers not in (1, "auto"):
        raise UsageError(
            f"runtime.workers={spec.runtime.workers} trains runs side by side, and the {launched().count} processes of torchrun share "
            "each: leave one of them out"
        )
    is_alone = spec.runtime.executor == "local"
    with networks_given(networks or {}), kept_folder(out, spec.name, is_alone, partial(say, to=sys.stderr)) as folder:
        if command is None:
            name = spec.name if isinstance(study, StudySpec) else str(study)
            command = printable(shlex.join(["vicinal", "run", name, *overrides, "--out", str(out or folder)]))
        opened = Study(spec, folder)
        with processes(opened.context.device) as parallel:
            if not parallel.is_main:
                opened.follow(parallel)
                return read_results(folder)
            opened.share(parallel)
            with not_gathered(), open_trackers(spec, folder, partial(say, to=sys.stderr)) as trackers:
                results = execute(opened, command, executor, progress, trackers)
                trackers.report(report(folder))
            parallel.agree(None)  # there is no more to follow
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
    int8: bool = False,
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
        int8: write int8.onnx, with its network in 8 bits, where that answers nearly as the float one does.
        command: that makes this folder, as the card states it; say: told what is done, in lines.

    Raises UsageError or VicinalError, in one line, and then writes nothing; only what was refused of int8.onnx is raised behind all
    other files, which are then there.
    """
    from vicinal.shipping import export_student

    source = Path(source)
    folder = Path(out) if out is not None else source / "student"
    return export_student(
        source,
        folder,
        run=run,
        onnx=onnx,
        torch_export=torch_export,
        force=force,
        int8=int8,
        command=command,
        say=say,
    )


def predict(
    student: Path | str,
    paths: Iterable[Path | str],
    *,
    coverage: float | None = None,
    risk: float | None = None,
    batch_size: int = 32,
    engine: Literal["timm", "onnx", "int8"] | None = None,
) -> Iterator[Prediction]:
    """What a student says of images, one by one, in the order of the files.

    Args:
        student: its folder, as `export` writes it; one that timm wrote gives probabilities alone.
        paths: image files, and folders that are searched for them.
        coverage: give sets of classes that hold the true one with this probability; risk: say "don't know" where an answer would
            be wrong more often than that.
        batch_size: images at once.
        engine: timm, onnx (onnxruntime) or int8 (int8.onnx, which has promises of its own); default: timm where the folder holds
            its files.

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


@overload
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
) -> Measurement: ...


@overload
def measure(
    network: str | Classifier | Callable[[Tensor], Tensor],
    images: str | Path | DataSpec,
    *,
    out: Path | str | None = None,
    **options: Any,
) -> SourceMeasurement: ...


def measure(
    network: str | Classifier | Callable[[Tensor], Tensor],
    images: Tensor | str | Path | DataSpec,
    labels: Tensor | None = None,
    *,
    validation: Any = None,
    pair_images: Tensor | None = None,
    class_names: Sequence[str] | None = None,
    image_size: int | None = None,
    measures: MeasuresSpec | None = None,
    device: torch.device | str = "cpu",
    out: Path | str | None = None,
    **options: Any,
) -> Measurement | SourceMeasurement:
    """Calibration and vicinal curves of any classifier, by the code that measures the networks of a study.

    Of images in memory, or of every image of a source such as a folder; then the classifier may be a name as well, its own
    preparation is used, and the page can be written.

    Args:
        network: a module or a plain function, (B, C, H, W) float32 pixels in [0, 1] to (B, K) logits; for a source also a name, as
            `vicinal measure` takes it.
        images, labels: (N, H, W, C) uint8 and (N,) int64, that accuracy and calibration are measured on; or a source alone: a
            folder, a manifest, whatever `data.source` of a study takes.
        validation: images and labels that a temperature is fitted on, or a source; None: of tensors nothing is measured after
            temperature scaling, of a source its own validation split serves, else each half of the images serves the other.
        pair_images: (M, H, W, C) uint8 that pairs are drawn from, as a rule training images, and then pairs of `images` are measured
            beside them (`held_out`); default: `images`. Not of a source.
        class_names: K names; default: the network's own, where it is a `Classifier` that has them, else numbers, or the source's.
        image_size: side in px that images are resized to; None: as the network's own preparation says, else as they are.
        measures: pairs, λ grid, bins, resamples and confidence level.
        out: of a source: the folder to write the page, measurement.json and tables to.
        options: of a source: weights, pairs, classes, on_error, lazy, batch_size (`measuring.MeasuringOptions`).

    Raises:
        ValueError: images or labels of another form.
        UsageError: a source or a named model that cannot be used.
    """
    if isinstance(images, str | Path | DataSpec):
        from vicinal.measuring import MeasuringOptions, measure_named

        if labels is not None or pair_images is not None:
            raise ValueError("labels and pair_images go with images in memory: a source brings its own")
        given: dict[str, Any] = {"validation": validation, "class_names": class_names, "image_size": image_size}
        asked = MeasuringOptions(**given, measures=measures, device=device, **options)
        return measure_named([network], images, asked, None if out is None else Path(out))
    from vicinal.evaluation import measure_images

    if options or out is not None:
        raise ValueError(f"{', '.join(options) or 'out'} goes with a source of images, not with images in memory")
    if isinstance(network, str) or labels is None:
        raise ValueError(
            "images in memory go with their labels and a network at hand: measure(network, images, labels)"
        )
    spec = measures or MeasuresSpec()
    return measure_images(network, images, labels, validation, pair_images, class_names, image_size, spec, device)


def compare(
    networks: Sequence[str | Classifier | Callable[[Tensor], Tensor]],
    images: str | Path | DataSpec,
    *,
    out: Path | str | None = None,
    **options: Any,
) -> SourceMeasurement:
    """Several classifiers on the same images, side by side, with the differences of every two and their paired intervals.

    Arguments as `measure` takes them for a source.
    """
    from vicinal.measuring import MeasuringOptions, measure_named

    return measure_named(list(networks), images, MeasuringOptions(**options), None if out is None else Path(out))


def join(studies: Sequence[Path | str], *, out: Path | str | None = None) -> JoinedResults:
    """Finished studies side by side: which settings differ, and every figure of a further study less that of the first.

    Args:
        studies: folders, two or more, whose networks were measured on the same test images.
        out: a folder for the page, joined.json and tables; None: nothing is written.

    Raises UsageError, in one line, for what is no finished study and for studies on other images or classes.
    """
    from vicinal.measuring import check_joined_folder, join_studies, write_joined

    if out is not None:
        check_joined_folder(Path(out))
    results = join_studies([Path(study) for study in studies])
    if out is not None:
        write_joined(results, Path(out))
    return results


def init(
    data: str | Path,
    out: Path | str = "study.yaml",
    *,
    teacher: str | None = None,
    student: str | None = None,
    student_weights: str | None = None,
    force: bool = False,
) -> StudySpec:
    """Write a commented study file for a data folder and a teacher, every choice with its reason; trains nothing.

    Args:
        data: as `data.source` of a study.
        teacher: a timm name, `NAME=FILE` or a weights file that says its model; None: one to train first.
        student: a timm name; None: a small one of the teacher's family.
        student_weights: a file, `hub` or `none`; None: the hub's, where it can be reached.
        force: write over a file that is there.

    Raises UsageError where something cannot be used, or the file is there.
    """
    from vicinal.recipes import write_study

    return write_study(str(data), teacher, student, student_weights, Path(out), force).spec(str(out))


def distill(
    teacher: str,
    data: str | Path,
    out: Path | str | None = None,
    *,
    student: str | None = None,
    student_weights: str | None = None,
    minutes: float = 60.0,
    overrides: Sequence[str] = (),
    plan_only: bool = False,
    command: str | None = None,
    show: Callable[[str], None] = print,
    say: Callable[[str], None] = lambda _: None,
    prepare_process: Callable[[StudySpec], None] = lambda _: None,
) -> Path | None:
    """From a teacher and a folder of images to a student to ship: the study that a careful engineer would write, run and reported.

    Args:
        teacher: a timm name, `NAME=FILE`, a weights file that says its model, a run folder, or a folder as timm writes it.
        data: as `data.source` of a study.
        out: the study's folder; default: runs/distill-<name of the data>. The same call continues what was killed there.
        student, student_weights: as `init` takes them.
        minutes: that all may take on this machine.
        overrides: KEY=VALUE, keys of the study that are then not decided.
        plan_only: decide and show the study file, and stop.
        command: that gives all this, as results state it.
        show: is given the study file; say: what a person wants to know meanwhile.
        prepare_process: is given the study before anything is timed.

    Returns:
        The report's page, beside which `student/` lies; None where nothing was run.

    Raises:
        UsageError: something does not fit, or not even the smallest study fits into the minutes; before anything is spent.
        VicinalError: training failed; what was finished stays, and the same call continues.
    """
    started = time.monotonic()
    from vicinal import recipes  # imports torch, which is a part of the minutes
    from vicinal.workspace import printable

    request = recipes.Request(teacher, str(data), student, student_weights, minutes, tuple(overrides))
    folder = Path(out) if out is not None else request.folder
    if command is None:
        command = printable(shlex.join(["vicinal", "distill", teacher, str(data), *overrides, "--out", str(folder)]))
    return recipes.distill(
        request,
        folder,
        command,
        started,
        plan_only=plan_only,
        show=show,
        say=say,
        prepare_process=prepare_process,
    )


def rank(
    teachers: Sequence[str],
    data: str | Path,
    out: Path | str | None = None,
    overrides: Sequence[str] = (),
    *,
    command: str | None = None,
    prepare_process: Callable[[StudySpec], None] = lambda _: None,
) -> Ranking:
    """Which of several teachers to distil from, before any student is trained, and what such a ranking is worth (docs/rank.md).

    Args:
        teachers: at least two, as `distill` takes one; each knows the data's classes already.
        data: as `data.source` of a study.
        out: folder that keeps what was predicted; default: runs/rank-<name of the data>.
        overrides: KEY=VALUE of the study that measures them.
        command: as results state it.
        prepare_process: is given the study before anything is predicted.

    Raises UsageError where a teacher or the data cannot be used, or a teacher's classes are not the data's.
    """
    from vicinal import recipes

    place = Path(out) if out is not None else None
    words = command or shlex.join(["vicinal", "rank", *teachers, str(data), *overrides])
    return recipes.rank(teachers, str(data), place, overrides, words, prepare_process)


def _folder(spec: StudySpec, out: Path | str | None) -> Path:
    from vicinal.workspace import fetched_folder

    return fetched_folder(out, spec.name)[0]
