"""A study to its runs: which there are, who learns from whom, and what results.json calls them. Needs hashes and counts, no pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, Literal

from vicinal.config import NetworkSpec, Objective, RunSpec, StudySpec
from vicinal.training import trained_image_count, trained_row_count
from vicinal.workspace import RunFolder


@dataclass(frozen=True)
class DataFacts:
    """What of the data decides the runs. Networks are named by their dotted path in the study."""

    class_names: tuple[str, ...]
    train_images: Mapping[str, int]  # that each network trains on
    train_hashes: Mapping[str, str]
    stored_side: int | None  # in px, that all are cut from; None: as they are
    selection_hash: str  # of the images that are looked at while training
    weights_hashes: Mapping[str, str | None]  # of local files that networks start from
    seen_selection_hashes: Mapping[str, str] = field(
        default_factory=dict
    )  # as networks with a view of their own see them


@dataclass(frozen=True)
class PlannedRun:
    """A run of a study and its place in it."""

    spec: RunSpec
    folder: RunFolder
    teacher: PlannedRun | None  # whose answers it learns from
    # What results.json calls it: name, seed and logit_scale, or arm, teacher, temperature, seed and budget.
    label: Mapping[str, Any]
    train_images: int
    members: tuple[PlannedRun, ...] = ()  # of an ensemble, whose folder is never made

    @property
    def networks(self) -> tuple[PlannedRun, ...]:
        """The runs that train its networks: itself, or the members of an ensemble."""
        return self.members or (self,)

    @property
    def is_as_given(self) -> bool:
        """Whether its weights are taken as they are, so that its training computes nothing."""
        return self.teacher is None and not self.spec.network.epochs

    @property
    def logit_scale(self) -> float:
        """What a teacher's logits are multiplied by; 1 for a student."""
        return float(self.label.get("logit_scale", 1.0))

    @property
    def place(self) -> Path:
        """What its measures are kept by while results are made: its folder, and for a scaled teacher a name beside it."""
        folder = self.folder.path
        return folder if self.logit_scale == 1 else folder.with_name(f"{folder.name}@{self.logit_scale:g}")

    @property
    def budget(self) -> float:
        """The multiple of the study's epochs that a student is trained for; 1 for a teacher."""
        return float(self.label.get("budget", 1.0))

    @property
    def images(self) -> int:
        """That it passes through in training."""
        return trained_image_count(self.spec, self.train_images)

    @property
    def rows(self) -> int:
        """That it is stepped on in training: more than images where a step shows an image more than once."""
        return trained_row_count(self.spec, self.train_images)

    @property
    def network_key(self) -> str:
        """The dotted path of its network in the study."""
        return f"teachers.{self.spec.name}" if self.spec.role == "teacher" else "student"

    @property
    def status(self) -> Literal["done", "to continue", "to do"]:
        if self.folder.is_done:
            return "done"
        return "to continue" if self.folder.checkpoint.exists() else "to do"


@dataclass(frozen=True)
class StudyPlan:
    """Every run of a study, teachers before their students."""

    spec: StudySpec
    out: Path
    runs: tuple[PlannedRun, ...]
    ensembles: tuple[PlannedRun, ...] = ()  # of teachers among them, each once

    @cached_property
    def unique_runs(self) -> tuple[PlannedRun, ...]:
        """The runs without those that several seeds share (one teacher for all seeds)."""
        return tuple({run.folder.path: run for run in self.runs}.values())

    @cached_property
    def images_by_network(self) -> Counter[str]:
        """Images that all trainings of a network take together, by `PlannedRun.network_key`."""
        images: Counter[str] = Counter()
        for run in self.unique_runs:
            images[run.network_key] += run.images
        return images

    @cached_property
    def teachers(self) -> tuple[PlannedRun, ...]:
        """The teachers to train, one for each network and seed."""
        return tuple(run for run in self.unique_runs if run.spec.role == "teacher")

    @cached_property
    def teacher_variants(self) -> tuple[PlannedRun, ...]:
        """The teachers that results speak of: each at every scale of its logits, as `PlannedRun.logit_scale` has it."""
        single = tuple(
            replace(run, label={"name": variant.name, "seed": run.spec.seed, "logit_scale": variant.scale})
            for run in self.teachers
            for variant in self.spec.teacher_variants.values()
            if variant.base == run.spec.name
        )
        return single + self.ensembles

    @property
    def scaled_teachers(self) -> tuple[PlannedRun, ...]:
        """Those of another scale than 1."""
        return tuple(run for run in self.teacher_variants if run.logit_scale != 1)

    @cached_property
    def students(self) -> tuple[PlannedRun, ...]:
        return tuple(run for run in self.runs if run.spec.role == "student")

    def named(self, folder: str) -> PlannedRun:
        """The run of a folder's name. Raises KeyError for another study's."""
        return self._by_name[folder]

    @cached_property
    def _by_name(self) -> dict[str, PlannedRun]:
        return {run.folder.path.name: run for run in self.unique_runs}

    def baseline_of(self, run: PlannedRun) -> PlannedRun | None:
        """The baseline student of a student's seed and budget, for students other than itself."""
        if run.spec.role == "teacher" or run.label["arm"] == "baseline":
            return None
        alike = (other for other in self.students if (other.spec.seed, other.budget) == (run.spec.seed, run.budget))
        return next((other for other in alike if other.label["arm"] == "baseline"), None)

    def teachers_of(self, student: PlannedRun) -> dict[str, PlannedRun]:
        """The teachers of a student's seed, by name, at every scale."""
        seed = teacher_seed(self.spec, student.spec.seed)
        return {run.label["name"]: run for run in self.teacher_variants if run.spec.seed == seed}


def teacher_seed(spec: StudySpec, seed: int) -> int:
    """The seed of the teachers that the students of a seed learn from."""
    return seed if spec.teacher_seed is None else spec.teacher_seed


def plan_study(spec: StudySpec, out: Path, facts: DataFacts) -> StudyPlan:
    """Expand a study into its runs."""
    runs = [run for seed in spec.seeds for run in _runs_of_seed(spec, out, facts, seed)]
    ensembles = {run.folder.path: run for run in runs if run.members}
    return StudyPlan(spec, out, tuple(run for run in runs if not run.members), tuple(ensembles.values()))


def _runs_of_seed(spec: StudySpec, out: Path, facts: DataFacts, seed: int) -> Iterator[PlannedRun]:
    teachers = {}
    for name, network in spec.teachers.items():
        of_teachers = teacher_seed(spec, seed)
        run = _run_spec(spec, facts, "teacher", name, network, network.objective(), of_teachers, None)
        label = {"name": name, "seed": of_teachers}
        teachers[name] = PlannedRun(run, RunFolder(out, run), None, label, facts.train_images[f"teachers.{name}"])
        yield teachers[name]
    for name, members in spec.ensembles.items():
        teachers[name] = _ensemble(name, [teachers[member] for member in members], out)
        yield teachers[name]
    for budget, arm in product(spec.budgets, spec.arms):
        for objective in arm.objectives():
            for teacher_name in [*(arm.teachers or spec.teacher_variants)] if objective.uses_teacher else [None]:
                assert spec.student is not None  # held by StudySpec
                variant = None if teacher_name is None else spec.teacher_variants[teacher_name]
                teacher = None if variant is None else teachers[variant.base]
                temperature = objective.temperature if objective.uses_temperature else None
                label = {
                    "arm": arm.name,
                    "teacher": teacher_name,
                    "temperature": temperature,
                    "seed": seed,
                    "budget": budget,
                }
                text = f"T{temperature:g}" if isinstance(temperature, float) else temperature
                times = f"x{budget:g}" if budget != 1 else None
                name = "-".join(part for part in (arm.name, text, teacher_name, times) if part)
                run = _run_spec(spec, facts, "student", name, spec.student.stretched(budget), objective, seed, teacher)
                if variant is not None and variant.scale != 1:
                    run = run.model_copy(update={"teacher_logit_scale": variant.scale})
                yield PlannedRun(run, RunFolder(out, run), teacher, label, facts.train_images["student"])


def _ensemble(name: str, members: Sequence[PlannedRun], out: Path) -> PlannedRun:
    """The mean of some teachers of a seed, as one that nobody trains."""
    first, fingerprints = members[0], tuple(member.spec.fingerprint() for member in members)
    run = first.spec.model_copy(update={"name": name, "ensemble": fingerprints})
    label = {"name": name, "seed": first.spec.seed, "logit_scale": 1.0}
    return PlannedRun(run, RunFolder(out, run), None, label, first.train_images, tuple(members))


def _inference_precision(spec: StudySpec, teacher: PlannedRun) -> str:
    """As asked for; of an ensemble what all members have in common, else float32."""
    asked = {spec.teachers[run.spec.name].inference_precision for run in teacher.networks}
    return asked.pop() if len(asked) == 1 else "fp32"


def _run_spec(
    spec: StudySpec,
    facts: DataFacts,
    role: Literal["teacher", "student"],
    name: str,
    network: NetworkSpec,
    objective: Objective,
    seed: int,
    teacher: PlannedRun | None,
) -> RunSpec:
    key = f"teachers.{name}" if role == "teacher" else "student"
    data: dict[str, Any] = {
        "train": facts.train_hashes[key],
        "classes": list(facts.class_names),
        "image_size": spec.data.image_size,
    }
    if facts.stored_side != spec.data.image_size:
        data["stored_side"] = facts.stored_side
    if spec.data.fit != "crop":
        data["fit"] = spec.data.fit
    if spec.data.lazy and spec.data.fit != "pad" and network.augment.crop == "random_resized":
        data["crops"] = "of originals"  # they were of stored squares, and the weights others
    if spec.selection != "last" or network.schedule == "plateau":
        data["selection_images"] = facts.seen_selection_hashes.get(key, facts.selection_hash)
    return RunSpec(
        role=role,
        name=name,
        network=NetworkSpec(**{field: getattr(network, field) for field in NetworkSpec.model_fields}),
        objective=objective,
        seed=seed,
        given_input_seed=spec.input_seed if role == "student" and spec.input_seed != seed else None,
        data=data,
        weights_hash=facts.weights_hashes[key],
        teacher=teacher.spec.fingerprint() if teacher is not None else None,
        teacher_precision=_inference_precision(spec, teacher) if teacher is not None else None,
        answers=spec.answers if teacher is not None and not spec.answers.is_exact else None,
        selection=spec.selection,
        validate_every_epochs=spec.validate_every_epochs,
    )
