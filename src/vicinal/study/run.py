"""A study from its value to results.json: skip what is done, continue what was killed, train the rest, predict, measure.

`execute` reads from top to bottom. What trains is a job (`executor`), which `run_job` does in this process and any other.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from vicinal.config import StudySpec
from vicinal.data import write_lists
from vicinal.distillation import BankLayout, TeacherBank
from vicinal.errors import UsageError, VicinalError
from vicinal.evaluation import Measured, Predictions
from vicinal.networks import compiling_pays
from vicinal.results import RESULTS_FILE, StudyResults, write_resamples, write_results
from vicinal.study.checks import CheckedNetwork, check_banks, check_networks, check_spec
from vicinal.study.context import StudyContext
from vicinal.study.costs import Estimate
from vicinal.study.crew import Crew, crew_of
from vicinal.study.executor import Executor, Job, held, jobs_of
from vicinal.study.executors import executor_of
from vicinal.study.groups import Group, bank_layout, banks_of_groups, existing_banks, groups_of, students_at_once
from vicinal.study.networks import describe_networks, load_teacher
from vicinal.study.plan import PlannedRun, StudyPlan, plan_study
from vicinal.study.predict import StudyPredictions
from vicinal.study.results import build_results, is_scale_free
from vicinal.study.shared import Way, way_to_share
from vicinal.study.spread import SpreadTeachers
from vicinal.study.stored import stored_work
from vicinal.tracking import Trackers
from vicinal.training import SINGLE, Parallel, sharing, train
from vicinal.workspace import (
    DamagedError,
    StudyProgress,
    content_hash_of,
    forget_failures,
    free_bytes,
    hold,
    launched,
    open_study_folder,
    read_sealed_json,
    recorded_threads,
    reported,
    tidy,
    told_if_slow,
    write_work,
)

CPU = torch.device("cpu")


class Study:
    """An opened study: its data, its plan and what is there of it. Trains nothing by itself.

    Opening one reads the data and checks every network. Raises UsageError for whatever in the spec does not fit the data, before
    anything is spent.
    """

    def __init__(self, spec: StudySpec, out: Path) -> None:
        context = StudyContext.load(spec)
        check_spec(context)
        with told_if_slow(f"loading and trying {len(spec.networks())} networks"):
            self.networks: dict[str, CheckedNetwork] = check_networks(context)
        self.context = context.with_networks({key: checked.network for key, checked in self.networks.items()})
        self.given, self.spec, self.out = spec, self.context.spec, out
        self.plan: StudyPlan = plan_study(self.spec, out, self.context.facts())
        self.predictions = StudyPredictions(self.context, self.plan)
        self.parallel: Parallel = SINGLE  # the processes that share its trainings; this is the main one
        self._spread: SpreadTeachers | None = None  # over these processes
        self.measured: dict[Path, Measured] = {}  # by place, those that something was asked of already

    def share(self, parallel: Parallel) -> None:
        """Have its trainings shared by processes, of which this is one.

        Raises UsageError where a teacher is to be spread over them and cannot be, or something is measured that it then does not give.
        """
        self.parallel = parallel
        if self.shards_teacher:
            self._spread = SpreadTeachers(self.context, self.plan, self.networks, parallel)
            self.predictions.open_network = self._spread.open

    @property
    def shards_teacher(self) -> bool:
        """Whether the parameters of teachers are spread over several processes."""
        return self.spec.runtime.shard_teacher and self.parallel is not SINGLE

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What is to be said of the images, before anything is spent and beside every figure."""
        other = self.predictions.other
        of_other = [f"{other.name}: {note}" for note in other.notes] if other else []
        return (*self.context.notes, *of_other)

    @property
    def bank_root(self) -> Path:
        """The folder of all banks."""
        return self.out / "banks"

    @cached_property
    def crew(self) -> Crew:
        """The workers that train it on this machine."""
        return crew_of(self.spec.runtime, self.context.device, recorded_threads(self.out))

    @cached_property
    def groups(self) -> list[Group]:
        """All runs in the order of their training, as this process found them when it first asked."""
        student = self.networks.get("student")
        free = free_bytes(self.context.device) // self.crew.sharing
        return groups_of(self.plan, students_at_once(self.plan, student.parameters if student else 1, free))

    @cached_property
    def existing_banks(self) -> frozenset[str]:
        return existing_banks(self.bank_root)

    @cached_property
    def banks(self) -> dict[Path, BankLayout]:
        """The bank of every run to do that has one, by run folder."""
        return banks_of_groups(self.plan, self.groups, self.existing_banks)

    @cached_property
    def estimate(self) -> Estimate:
        """What the study takes."""
        return Estimate(
            self.context, self.plan, self.networks, self.predictions, self.groups, self.banks, self.existing_banks
        )

    def with_plan(self, spec: StudySpec) -> Study:
        """The same data and networks under other arms, seeds and epochs; nothing is read, built or timed again.

        Args:
            spec: that arms, seeds and epochs are taken from; all else is this study's. Raises UsageError where they do not fit.
        """
        other, student = copy.copy(self), self.spec.student
        if student is not None and spec.student is not None:
            student = student.model_copy(update={"epochs": spec.student.epochs})
        teachers = {
            name: own.model_copy(update={"epochs": spec.teachers[name].epochs})
            for name, own in self.spec.teachers.items()
        }
        changes = {"arms": spec.arms, "seeds": spec.seeds, "student": student, "teachers": teachers}
        other.context = replace(self.context, spec=self.spec.model_copy(update=changes))
        check_spec(other.context)
        other.given = other.spec = other.context.spec
        other.plan = plan_study(other.spec, self.out, other.context.facts())
        other.predictions, other.measured = StudyPredictions(other.context, other.plan), {}
        for kept in ("notes", "groups", "existing_banks", "banks", "estimate"):
            vars(other).pop(kept, None)
        vars(other.estimate)["network_costs"] = self.estimate.network_costs
        return other

    def compiles(self, run: PlannedRun) -> bool:
        """Whether a run's network is called through torch.compile: where all trainings of its architecture together pay for it."""
        if self.spec.runtime.compile != "auto":
            return self.spec.runtime.compile == "always"
        images = self.plan.images_by_network[run.network_key]
        flops = self.networks[run.network_key].forward_flops
        return compiling_pays(3 * images * flops, self.context.device)

    def open_bank(self, run: PlannedRun, layout: BankLayout, create: bool = True) -> TeacherBank:
        """The bank of a student whose teacher is trained. Raises VicinalError where it was made with other weights."""
        assert run.teacher is not None
        hashes = [content_hash_of(one.folder.weights) for one in run.teacher.networks]
        weights = hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
        return TeacherBank(self.bank_root, layout, weights, self.context.device, create)

    # --- work ---

    def run_job(self, job: Job, progress: StudyProgress) -> dict[Path, Predictions]:
        """Train a job's runs, or continue them, and predict with each: nothing that diverged teaches others.

        Raises VicinalError where training fails, UsageError where another process trains one of the runs.
        """
        runs = [self.plan.named(name) for name in job.runs]
        for run in runs:
            for line in [run.folder.damage, *run.folder.mend()]:
                if line:
                    progress.say(line)
        unfinished = [run for run in runs if not self._is_finished(run)]
        if not unfinished:
            return {run.folder.path: self.predictions.of(run, progress) for run in runs}
        with held(unfinished), reported(self.out, job.runs, progress):
            to_do = [run for run in unfinished if not run.folder.is_done]
            if to_do:
                self._train(to_do, progress)
            return {run.folder.path: self.predictions.of(run, progress) for run in runs}

    def is_trained(self, run: str) -> bool:
        """Whether the run of a folder's name has its weights."""
        return self.plan.named(run).folder.is_done

    def is_finished(self, job: Job) -> bool:
        """Whether a job's runs are trained and have predicted."""
        return all(self._is_finished(self.plan.named(name)) for name in job.runs)

    def _is_finished(self, run: PlannedRun) -> bool:
        return run.folder.is_done and self.predictions.exist(run)

    def get_ahead(self, progress: StudyProgress) -> bool:
        """Measure a network that has predicted, while others still train; False where none is left."""
        for run in self.plan.unique_runs:
            if run.folder.path not in self.measured and self._is_finished(run):
                own = self.measured_of(run.folder.path, self.predictions.of(run, progress))
                own.deviations()
                own.numbers(is_scale_free(run))
                return True
        return False

    def measured_of(self, place: Path, predictions: Predictions) -> Measured:
        """The numbers of a network, computed as they are asked for."""
        if place not in self.measured:
            self.measured[place] = Measured(predictions, self.spec.measures)
        return self.measured[place]

    def epochs(self, run: str) -> tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]:
        """What defines the run of a folder's name, as plain values, and the lines of its log."""
        planned = self.plan.named(run)
        return planned.spec.model_dump(mode="json"), planned.folder.read_log()

    @property
    def jobs(self) -> list[Job]:
        """What there is to do, done jobs included."""
        first = None if self.spec.measures.vicinity.precision_nats is None else self.plan.runs[0].folder.path.name
        return jobs_of(self.groups, first)

    def write_jobs(self) -> None:
        """Leave the jobs in the folder, for workers and for whoever looks on."""
        flops = {key: network.forward_flops for key, network in self.networks.items()}
        threads = torch.get_num_threads() if self.crew.is_this_process else self.crew.threads
        write_work(self.out, stored_work(self.given, self.plan, self.jobs, flops, threads))

    def _train(self, runs: Sequence[PlannedRun], progress: StudyProgress) -> None:
        """Train runs, together with the processes that wait for that in `follow` where these have a part in it."""
        first, layout = runs[0], None if self.shards_teacher else self.banks.get(runs[0].folder.path)
        mode = self._way_to_share(runs, layout)
        # Norms of all rows make no graph, nor do parts that come together.
        whole = self.parallel is SINGLE or (mode == "teacher" and not self.shards_teacher)
        compiled = self.compiles(first) and whole
        if first.is_as_given or (first.teacher is None and mode == "teacher"):  # there is nothing to share out
            self._train_with(runs, progress, None, compiled, SINGLE)
            return
        with self._opened(first, layout) as bank:
            names = [run.folder.path.name for run in runs]
            beside = [] if self._spread is None else self._spread.in_use()
            how = {"bank": bank is not None, "compiled": compiled, "mode": mode}
            self.parallel.agree({"runs": names, "beside": beside, **how})
            self._train_with(runs, progress, bank, compiled, sharing(self.parallel, mode, self.shards_teacher))

    def _way_to_share(self, runs: Sequence[PlannedRun], layout: BankLayout | None) -> Way:
        network, teacher = runs[0].spec.network, runs[0].teacher
        is_stored = layout is not None and layout.fingerprint in self.existing_banks
        asked = 0
        if teacher is not None and not is_stored:
            asked = sum(self.networks[one.network_key].forward_flops for one in teacher.networks)
        stepped = len(runs) * self.networks[runs[0].network_key].forward_flops
        return way_to_share(self.spec.runtime.parallel, launched().count, network.batch_size, asked, stepped)

    def follow(self, parallel: Parallel) -> None:
        """Take part in every training that the main process begins, and in the answers of teachers that are spread, silently, until
        it says that there are no more.
        """
        self.share(parallel)
        none: dict[str, Any] | None = None
        with StudyProgress(1, Console(quiet=True)) as progress:
            while (told := parallel.agree(none)) is not None:
                if self._spread is not None and self._spread.take_part(told):
                    continue
                runs = [self.plan.named(name) for name in told["runs"]]
                with self._opened(runs[0], bank_layout(runs[0], self.plan) if told["bank"] else None) as bank:
                    self._train_with(
                        runs, progress, bank, told["compiled"], sharing(parallel, told["mode"], self.shards_teacher)
                    )

    @contextlib.contextmanager
    def _opened(self, run: PlannedRun, layout: BankLayout | None) -> Iterator[TeacherBank | None]:
        if layout is None:
            yield None
            return
        with contextlib.closing(self.open_bank(run, layout)) as bank:
            yield bank

    def _train_with(
        self,
        runs: Sequence[PlannedRun],
        progress: StudyProgress,
        bank: TeacherBank | None,
        compiled: bool,
        parallel: Parallel,
    ) -> None:
        first, context = runs[0], self.context
        device = CPU if self.shards_teacher and first.is_as_given else context.device  # no other may hold it
        place = CPU if parallel.shards_teacher else device
        teacher = load_teacher(context, first.teacher, place) if first.teacher is not None else None
        folders, runtime, data = [run.folder for run in runs], self.spec.runtime, context.training_data(first)
        every_s, at_once = runtime.checkpoint_seconds, runtime.micro_batch_size
        train(folders, data, teacher, device, progress, every_s, bank, compiled, parallel, at_once)

    def train_teachers(self, progress: StudyProgress) -> None:
        """Train the teachers that are not done, as `execute` does. Raises VicinalError where that fails."""
        open_study_folder(self.out, self.spec.name)
        tidy(self.out)
        for run in self.plan.teachers:
            if not run.folder.is_done:
                self.run_job(Job((run.folder.path.name,), frozenset()), progress)


def run_job(spec: StudySpec, out: Path, runs: Sequence[str], progress: StudyProgress) -> None:
    """Train some runs of a study, by the names of their folders, in whatever process this is.

    Raises UsageError where a name is not one of the study's runs.
    """
    study = Study(spec, out)
    known = {run.folder.path.name for run in study.plan.unique_runs}
    for name in runs:
        if name not in known:
            raise UsageError(f"{spec.name} has no run {name}; it has {', '.join(sorted(known)[:6])}, ...")
    open_study_folder(out, spec.name)
    study.run_job(Job(tuple(runs), frozenset()), progress)


def execute(
    study: Study,
    command: str,
    executor: Executor | None = None,
    progress: StudyProgress | None = None,
    trackers: Trackers | None = None,
) -> StudyResults:
    """Train what is not done, predict with every network, measure, and write results.json. Returns what it holds.

    Args:
        command: that gives this study, as results.json states it.
        executor: that runs the jobs; default: as runtime.workers and runtime.executor say.
        progress: that a person sees; default: on stderr.
        trackers: told of every epoch in this process, and of the results.

    Raises VicinalError where training fails; what was finished stays and the same command continues.
    """
    started = time.monotonic()
    executor = executor or executor_of(study, study.spec.runtime, study.crew)
    with hold(study.out):
        check_banks(study.plan, study.bank_root)
        open_study_folder(study.out, study.spec.name)
        tidy(study.out)
        forget_failures(study.out)
        study.write_jobs()
        write_lists(study.out, study.context.data)
        unique = study.plan.unique_runs
        to_do = [run for run in unique if not run.folder.is_done]
        with progress or StudyProgress(sum(run.images for run in to_do)) as shown:
            if trackers is not None:
                shown.listen(trackers.epoch)
            shown.number([run.folder.path.name for group in study.groups for run in group])
            _say_beforehand(study, len(unique) - len(to_do), shown)
            found: dict[Path, Predictions] = {}

            def do(job: Job, progress: StudyProgress) -> None:
                found.update(study.run_job(job, progress))

            executor.run(study.jobs, do, shown)
            for run in unique:
                if not run.folder.is_done:
                    raise VicinalError(
                        f"the executor did not train {run.folder.path.name}; it has to run every job, each after those that it needs "
                        "(vicinal.study.in_order)"
                    )
            # A job that ran in another process left its predictions on the disk.
            found |= {
                run.folder.path: study.predictions.of(run, shown) for run in unique if run.folder.path not in found
            }
            found |= study.predictions.of_scaled_teachers(found) | study.predictions.of_ensembles(found)
            derived = [*study.plan.scaled_teachers, *study.plan.ensembles]
            optional = study.predictions.optional([*unique, *derived], found, shown)
        earlier_s = sum(run.folder.summary()["training_s"] for run in unique if run not in to_do)
        costs = study.estimate.deployment_costs
        measured = {place: study.measured_of(place, own) for place, own in found.items()}
        value, deviations = build_results(
            study.context, study.plan, study.predictions, measured, optional, command, costs
        )
        if not study.crew.is_this_process:
            value["environment"]["threads"] = study.crew.threads  # that its networks were trained on
        value["wall_time_s"] = round(_wall_time_s(study.out, time.monotonic() - started, earlier_s, bool(to_do)), 1)
        value["measures"]["resamples_sha256"] = write_resamples(study.out, deviations)
        results = StudyResults.model_validate(value)
        write_results(study.out, results)
        entries = [*value["teachers"], *value["students"]]
        describe_networks(study.plan, entries)
    for entry in entries:
        if trackers is not None and entry["run"] is not None:
            trackers.results(entry["run"], study.plan.named(entry["run"]).spec.model_dump(mode="json"), entry)
    return results


def _say_beforehand(study: Study, done: int, progress: StudyProgress) -> None:
    for note in study.notes:
        progress.say(f"note: {note}")
    if study.spec.runtime.shard_teacher and not study.shards_teacher:
        progress.say("note: runtime.shard_teacher: this is one process, which holds each teacher whole")
    if done:
        progress.say(f"{done} of {len(study.plan.unique_runs)} runs are done already")
    for key, notes in study.context.network_notes.items():
        for note in notes:
            progress.say(f"{key}: {note}")


def _wall_time_s(out: Path, now_s: float, earlier_s: float, trained: bool) -> float:
    """Seconds that the study took: this command's and those of the trainings that were done before it.

    A command that only measures again leaves the longer time that results.json has from before.
    """
    path = out / RESULTS_FILE
    with contextlib.suppress(DamagedError, TypeError):
        if not trained and path.exists():
            return max(float(read_sealed_json(path).get("wall_time_s", 0.0)), now_s)
    return now_s + earlier_s
