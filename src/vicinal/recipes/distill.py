"""`vicinal distill`: from a teacher and a folder of images to a student to ship, in one sitting that may be killed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from vicinal.config import DataSpec, StudySpec, load_study
from vicinal.data import glance
from vicinal.errors import UsageError
from vicinal.evaluation import doubt_of_order, predict
from vicinal.recipes.decide import TEACHER, study_name
from vicinal.recipes.fit import fit
from vicinal.recipes.start import new_sheet
from vicinal.report import write_report
from vicinal.shipping import export_student
from vicinal.study import Study, execute
from vicinal.tracking import open_trackers
from vicinal.version import __version__
from vicinal.workspace import (
    check_out_folder,
    check_place,
    format_seconds,
    open_study_folder,
    write_atomically,
)

STUDENT_FOLDER = "student"
STUDY_YAML = "distill.yaml"  # of the folder: what was decided, which a command that continues does not decide again
_MARK = "# distill: "  # before what was asked for, as JSON
CHECKED_IMAGES = 500
MOST_MINUTES = 60 * 24 * 30.0


@dataclass(frozen=True)
class Request:
    """What the user asks for."""

    teacher: str
    data: str
    student: str | None = None
    student_weights: str | None = None
    minutes: float = 60.0
    overrides: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.minutes <= MOST_MINUTES:
            raise UsageError(f"--minutes is a number above 0 and at most {MOST_MINUTES:,.0f}, not {self.minutes:g}")

    @property
    def folder(self) -> Path:
        """Where it goes, where nothing else is said."""
        return Path("runs") / self.name

    @property
    def name(self) -> str:
        """Of the study."""
        return f"distill-{study_name(self.data)}"


@dataclass(frozen=True)
class Sitting:
    """A study that was decided and opened."""

    text: str  # of the study file
    study: Study
    estimated_s: float | None  # that it takes in all; None where it was decided by an earlier command
    said: tuple[str, ...]


def decided_before(request: Request, out: Path) -> str | None:
    """The study file that an earlier command of the same request left in the folder; None where there is none.

    Raises UsageError where the folder is another request's, or another study's.
    """
    check_place(out)
    check_out_folder(out, request.name)
    path = out / STUDY_YAML
    if not path.exists():
        return None
    try:
        text = path.read_text(encoding="utf-8")
        mark = next(line for line in text.splitlines() if line.startswith(_MARK))
        held = json.loads(mark.removeprefix(_MARK))
        held["overrides"] = tuple(held["overrides"])
        before = Request(**held)
    except (OSError, ValueError, TypeError, KeyError, StopIteration, UsageError):
        raise UsageError(
            f"{path} is damaged or was changed in its first lines; delete it, or choose another folder with --out"
        ) from None
    if before != request:
        differs = [key for key, value in asdict(request).items() if getattr(before, key) != value]
        raise UsageError(
            f"{out} holds a distillation with another {', '.join(differs)} ({getattr(before, differs[0])}): give the same command to "
            "continue it, or another folder with --out"
        )
    return text


def opened(
    request: Request,
    out: Path,
    started: float,
    prepare_process: Callable[[StudySpec], None],
    say: Callable[[str], None],
) -> Sitting:
    """Decide the study, or take what was decided before, and open it: data are read, networks built and timed.

    Args:
        started: when the minutes began, on `time.monotonic`.
        prepare_process: is given the study before anything is timed.
        say: is told what takes a while.

    Raises UsageError where something cannot be used, or not even the smallest study fits into the minutes.
    """
    text = decided_before(request, out)
    if text is not None:
        spec = load_study(str(out / STUDY_YAML))
        prepare_process(spec)
        return Sitting(
            text, Study(spec, out), None, (f"{out / STUDY_YAML} is there: it is continued as it was decided.",)
        )
    say(f"looking at {request.data} and {request.teacher}")
    seen = glance(DataSpec(source=request.data, on_error="skip"))
    head = [
        f"Decided by vicinal {__version__}; vicinal run FILE runs it again.",
        f"{_MARK[2:]}{json.dumps(asdict(request))}",
    ]
    sheet = new_sheet(
        seen, request.teacher, request.student, request.student_weights, request.name, head, request.overrides
    )
    spec = sheet.spec(STUDY_YAML)
    prepare_process(spec)
    say(f"reading {sum(seen.images.values()):,} images and timing two networks")
    study = Study(spec, out)
    said = [check_teacher(study, request.teacher)]
    study, estimate = fit(study, sheet, lambda: 60 * request.minutes - (time.monotonic() - started))
    before_s = time.monotonic() - started
    total_s = before_s + estimate.total_s
    parts = (
        f"{format_seconds(before_s)} to look and to time",
        f"{format_seconds(estimate.runs_s)} of training and predicting",
        f"{format_seconds(estimate.else_s)} of measures and report",
    )
    line = f"{request.minutes:g} min were asked for, {format_seconds(total_s)} are estimated: {', '.join(parts)}."
    if total_s > 60 * request.minutes:
        said.append(f"What is stated takes longer than the {request.minutes:g} min: about {format_seconds(total_s)}.")
    sheet.head += [line, "Its error: docs/distill.md."]
    return Sitting(sheet.text(), study, total_s, (*said, line))


def check_teacher(study: Study, model: str) -> str:
    """A sentence on how often a teacher that is taken as it is is right. Raises UsageError where its classes
    seem not to be the data's."""
    spec = study.spec.teachers[TEACHER]
    if spec.epochs:
        return f"The teacher {model} is trained first, for {spec.epochs} epochs or fewer."
    data = study.context.data
    images = data.validation if len(data.validation) else data.train
    index = torch.linspace(0, len(images) - 1, min(CHECKED_IMAGES, len(images))).long()
    chosen = images.subset(index)
    network = study.networks[f"teachers.{TEACHER}"].network.to(study.context.device)
    logits = predict(network, chosen, study.context.preparation(spec), study.context.device)
    accuracy, classes = float((logits.argmax(1) == chosen.labels).double().mean()), len(data.class_names)
    doubt = doubt_of_order(logits, chosen.labels) if spec.check_classes else None
    fine_tune = f"teachers.{TEACHER}.head=linear teachers.{TEACHER}.epochs=5 trains it on them first"
    if doubt is not None:
        raise UsageError(f"the teacher {model}: {doubt.sentence(data.class_names)}; or {fine_tune}")
    # Three standard errors above the commonest class.
    share = float(chosen.labels.bincount().max()) / len(chosen)
    if spec.check_classes and accuracy < share + 3 * (share * (1 - share) / len(chosen)) ** 0.5:
        raise UsageError(
            f"the teacher {model} is right on {accuracy:.1%} of {len(chosen)} images, and the commonest class is {share:.1%} of them: "
            "its classes, image size or normalisation seem not to be the data's; "
            f"{fine_tune}, teachers.{TEACHER}.check_classes=false goes on"
        )
    return f"The teacher {model} is right on {accuracy:.1%} of {len(chosen)} images of {classes} classes."


def distill(
    request: Request,
    out: Path,
    command: str,
    started: float,
    *,
    plan_only: bool = False,
    show: Callable[[str], None],
    say: Callable[[str], None],
    prepare_process: Callable[[StudySpec], None] = lambda _: None,
) -> Path | None:
    """Decide, show the study file, run it, write its report, and put the selected student into a folder to ship.

    Args:
        out: the study's folder.
        command: that gives all this, as results.json states it.
        started: when the minutes began, on `time.monotonic`.
        plan_only: stop behind the study file.
        show: is given the study file; say: what a person wants to know meanwhile.
        prepare_process: is given the study before anything is timed.

    Returns:
        The report's page; None where nothing was run.

    Raises:
        UsageError: something does not fit, before anything is spent.
        VicinalError: training failed; what was finished stays, and the same call continues.
    """
    sitting = opened(request, out, started, prepare_process, say)
    show(sitting.text)
    for line in sitting.said:
        say(line)
    if plan_only:
        return None
    open_study_folder(out, sitting.study.spec.name)
    if not (out / STUDY_YAML).exists():
        write_atomically(out / STUDY_YAML, sitting.text)
    with open_trackers(sitting.study.spec, out, say) as trackers:
        execute(sitting.study, command, trackers=trackers)
        page = write_report(out)
        trackers.report(page)
    student = export_student(out, out / STUDENT_FOLDER, force=True, command=command, say=say)
    taken_s = time.monotonic() - started
    if sitting.estimated_s is not None:
        ratio = f"{taken_s / sitting.estimated_s:.2f} of what was estimated, {taken_s / 60 / request.minutes:.2f} of what was asked for"
        say(f"It took {format_seconds(taken_s)}: {ratio}.")
    say(f"student: {student}")
    return page
