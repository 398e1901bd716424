"""From a `StudySpec` to runs, and from runs to results.json: skip what is done, continue what was killed, measure the rest."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch

from vicinal import __version__
from vicinal.config import SCHEMA, NetworkSpec, Objective, RunSpec, StudySpec, VicinitySpec, fingerprint
from vicinal.data import SEVERITIES, ImageData, ImageSet, load_data, stratified_subset
from vicinal.distillation import BankLayout, TeacherBank, objective_terms
from vicinal.errors import UsageError, VicinalError
from vicinal.evaluation import (
    CorruptedSet,
    EvaluationContext,
    Measured,
    PredictionInputs,
    Predictions,
    TrainedNetwork,
    load_other,
    measure_representation,
    pairs_needed,
    predict_all,
    predict_corrupted,
    predict_other,
)
from vicinal.inputs import ImagePipeline, Preparation
from vicinal.metrics import default_classes, mcnemar, measure_corruptions, ood_auroc
from vicinal.networks import (
    FUSING_IMAGES,
    Classifier,
    NetworkCost,
    build_classifier,
    compiling_pays,
    file_hash,
    forward_flops,
    fused,
    network_cost,
    read_weights,
)
from vicinal.training import TrainingData, run_images, train
from vicinal.workspace import (
    RunFolder,
    StudyProgress,
    clear_leftovers,
    environment,
    free_bytes,
    hold,
    keep_freed_memory,
    open_study_folder,
    read_json,
    write_json,
)

OPTIMIZED_VALUE_BYTES = 16  # a float32 weight, its gradient and two moments
_UNTRAINED = {"epochs": 1, "head": "linear"}  # turns a spec into one that needs no weights


@dataclass(frozen=True)
class PlannedRun:
    """A run of a study and its place in it."""

    spec: RunSpec
    folder: RunFolder
    teacher: PlannedRun | None  # whose answers it learns from
    label: dict[str, Any]  # what results.json calls it: name and seed, or arm, teacher, temperature and seed
    images: int  # that it passes through in training

    @property
    def network_key(self) -> str:
        """The dotted path of its network in the study."""
        return f"teachers.{self.spec.name}" if self.spec.role == "teacher" else "student"

    @property
    def status(self) -> str:
        if self.folder.is_done:
            return "done"
        return "to continue" if self.folder.checkpoint.exists() else "to do"


class Study:
    """A study, its data and its runs. Making one reads the data and checks every network, and trains nothing.

    Raises UsageError for whatever in the spec does not fit the data, before anything is spent.
    """

    def __init__(self, spec: StudySpec, out: Path) -> None:
        self.spec, self.out = spec, out
        self.device = _device(spec.runtime.device)
        if spec.runtime.threads is not None:
            torch.set_num_threads(spec.runtime.threads)
        if self.device.type == "cpu":
            keep_freed_memory()
        self.data: ImageData = load_data(spec.data)
        self._layouts: dict[Path, BankLayout] = {}
        self.parameters: dict[str, int] = {}
        self.forward_flops: dict[str, int] = {}  # of one image
        for path, network in spec.networks().items():
            self.parameters[path], self.forward_flops[path] = self._checked(path, network)
        for arm in spec.arms:
            for objective in arm.objectives():
                objective_terms(objective)
        self._check_measures()

    def _check_measures(self) -> None:
        """UsageError, before anything is spent, for a measure that this data cannot have."""
        measures = self.spec.measures
        top_k = self.spec.answers.top_k
        if top_k is not None and top_k >= self.classes:
            raise UsageError(
                f"answers.top_k: {top_k} of {self.classes} classes leaves nothing out; leave it out, or give fewer than {self.classes}"
            )
        self.corrupted = (
            CorruptedSet.of(measures.corruptions, self.data, self.spec.data.split_seed)
            if measures.corruptions
            else None
        )
        chosen = measures.representation.classes if measures.representation else None
        for name in chosen or ():
            if name not in self.data.class_names:
                raise UsageError(
                    f"measures.representation.classes: {self.data.name} has no class {name!r}; it has "
                    f"{', '.join(self.data.class_names[:12])}{', ...' if self.classes > 12 else ''}"
                )
        self.other = load_other(measures.ood, self.data, self.spec.data.image_size) if measures.ood else None

    @property
    def classes(self) -> int:
        return len(self.data.class_names)

    @property
    def channels(self) -> int:
        return int(self.data.train.images.shape[-1])

    def preparation(self, network: NetworkSpec) -> Preparation:
        """How a network's images are prepared."""
        return Preparation(network.augment, self.spec.data.image_size)

    @property
    def main_network(self) -> NetworkSpec:
        """The network whose training images and preparation every vicinal curve uses: the student's, if there is one."""
        return self.spec.student or next(iter(self.spec.teachers.values()))

    def training_images(self, network: NetworkSpec) -> ImageSet:
        """The training images of a network: all, or its class-balanced part."""
        if network.train_images is None:
            return self.data.train
        index = stratified_subset(self.data.train.labels, network.train_images, self.spec.data.split_seed)
        return self.data.train.subset(index)

    @cached_property
    def selection_images(self) -> ImageSet:
        """What is looked at while training: the test images only in the paper's own protocol."""
        return self.data.test if self.spec.selection == "paper_best_test" else self.data.validation

    @cached_property
    def runs(self) -> list[PlannedRun]:
        """Every run, teachers before their students."""
        return [run for seed in self.spec.seeds for run in self._runs_of_seed(seed)]

    def unique_runs(self) -> list[PlannedRun]:
        """The runs without those that several seeds share (one teacher for all seeds)."""
        return list({run.folder.path: run for run in self.runs}.values())

    def _runs_of_seed(self, seed: int) -> Iterable[PlannedRun]:
        spec = self.spec
        teacher_seed = seed if spec.teacher_seed is None else spec.teacher_seed
        teachers = {}
        for name, teacher in spec.teachers.items():
            label = {"name": name, "seed": teacher_seed}
            teachers[name] = self._planned("teacher", name, teacher, teacher.objective(), teacher_seed, None, label)
            yield teachers[name]
        for arm in spec.arms:
            for objective in arm.objectives():
                asked: list[str | None] = [*(arm.teachers or teachers)] if objective.uses_teacher else [None]
                for asked_name in asked:
                    temperature = objective.temperature if objective.uses_teacher else None
                    label = {"arm": arm.name, "teacher": asked_name, "temperature": temperature, "seed": seed}
                    parts = [
                        arm.name,
                        f"T{temperature:g}" if isinstance(temperature, float) else temperature,
                        asked_name,
                    ]
                    assert spec.student is not None  # held by StudySpec
                    yield self._planned(
                        "student",
                        "-".join(p for p in parts if p),
                        spec.student,
                        objective,
                        seed,
                        teachers.get(asked_name or ""),
                        label,
                    )

    def _planned(
        self,
        role: Any,
        name: str,
        network: NetworkSpec,
        objective: Objective,
        seed: int,
        teacher: PlannedRun | None,
        label: dict[str, Any],
    ) -> PlannedRun:
        path = f"teachers.{name}" if role == "teacher" else "student"
        images = self._hashes[path]
        data = {"train": images, "classes": list(self.data.class_names), "image_size": self.spec.data.image_size}
        if self.spec.selection != "last" or network.schedule == "plateau":
            data["selection_images"] = self.selection_images.content_hash()
        run = RunSpec(
            role=role,
            name=name,
            network=NetworkSpec(**{key: getattr(network, key) for key in NetworkSpec.model_fields}),
            objective=objective,
            seed=seed,
            given_input_seed=self.spec.input_seed if role == "student" and self.spec.input_seed != seed else None,
            data=data,
            weights_hash=self._weights_hash(network),
            teacher=teacher.spec.fingerprint() if teacher is not None else None,
            teacher_precision=self.spec.teachers[teacher.spec.name].inference_precision
            if teacher is not None
            else None,
            answers=self.spec.answers if teacher is not None and not self.spec.answers.is_exact else None,
            selection=self.spec.selection,
            validate_every_epochs=self.spec.validate_every_epochs,
        )
        count = network.train_images or len(self.data.train)
        return PlannedRun(run, RunFolder(self.out, run), teacher, label, run_images(run, count))

    @cached_property
    def _hashes(self) -> dict[str, str]:
        return {path: self.training_images(network).content_hash() for path, network in self.spec.networks().items()}

    def _weights_hash(self, network: NetworkSpec) -> str | None:
        return None if network.weights in (None, "hub") else file_hash(Path(str(network.weights)))

    def _checked(self, path: str, spec: NetworkSpec) -> tuple[int, int]:
        """Build the network and ask it an image, so that what does not fit fails now. Returns its parameters and FLOPs."""
        try:
            network = build_classifier(spec, self.classes, self.channels)
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from None
        try:
            images = self.training_images(spec)
        except UsageError as error:
            raise UsageError(f"{path}.train_images: {error}") from None
        pixels = self.preparation(spec).pixels(images.images[:1])
        try:
            flops = forward_flops(network, pixels)
        except Exception as error:
            side = pixels.shape[-1]
            reason = " ".join(str(error).split())[:160]
            raise UsageError(
                f"{path}: {spec.model} cannot take images of {side} px ({reason}); set {path}.image_size or data.image_size"
            ) from None
        return sum(p.numel() for p in network.parameters()), flops

    @cached_property
    def costs(self) -> dict[str, NetworkCost]:
        """What an image costs each network of the study on this device, by its dotted path; takes a few seconds each."""
        costs = {}
        for path, spec in self.spec.networks().items():
            network = build_classifier(
                spec.model_copy(update={"weights": None, **_UNTRAINED}), self.classes, self.channels
            )
            network = network.to(self.device).to(memory_format=torch.channels_last)
            images = self.training_images(spec).images[:1].to(self.device)
            costs[path] = network_cost(network, self.preparation(spec).pixels(images), spec.batch_size)
        return costs

    def estimated_s(self, run: PlannedRun) -> float:
        """Seconds that a run would take on this device, its measures included, and nothing for what is done."""
        own = self.costs[run.network_key]
        training = 0.0 if run.folder.is_done else run.images * (own.step_s + self._asking_s(run))
        measured = run.folder.stored("predictions", self.prediction_inputs.fingerprint()).exists()
        return training + (0.0 if measured else self.images_measured * own.ask_s)

    def _asking_s(self, run: PlannedRun) -> float:
        """Seconds that asking the teacher adds to an image of a run: nothing where another run asks or a bank answers."""
        if run.teacher is None or self._bank_exists(run):
            return 0.0
        group = next(group for group in self.groups() if run in group)
        bank = self.banks.get(run.folder.path)
        readers = [path for path, spec in self.banks.items() if bank and spec.fingerprint == bank.fingerprint]
        first = run is group[0] and (bank is None or run.folder.path == readers[0])
        return self.costs[run.teacher.network_key].ask_s if first else 0.0

    @property
    def images_measured(self) -> int:
        """The images, clean, mixed and corrupted, that every network is asked when it is measured."""
        count = self.prediction_inputs.count
        if self.corrupted is not None:
            count += len(SEVERITIES) * len(self.corrupted.spec.names) * len(self.corrupted.test)
        return count + (len(self.other.test) if self.other is not None else 0)

    def storage_bytes(self, run: PlannedRun) -> int:
        """Bytes that a finished run keeps: weights and stored answers."""
        images = self.prediction_inputs.count
        answers = 4 * images
        if self.corrupted is not None:
            answers += 2 * len(SEVERITIES) * len(self.corrupted.spec.names) * len(self.corrupted.test)
        return 4 * self.parameters[run.network_key] + answers * self.classes

    def load_network(self, run: PlannedRun) -> Classifier:
        """The trained network of a finished run, on the study's device."""
        plain = run.spec.network.model_copy(update={"weights": None, "epochs": 1, "head": self._head_of(run)})
        network = build_classifier(plain, self.classes, self.channels)
        try:
            network.load_state_dict(read_weights(run.folder.weights))
        except (UsageError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:160]
            raise VicinalError(
                f"{run.folder.weights} cannot be used ({reason}); delete the folder {run.folder.path} and give the command again"
            ) from None
        network = network.to(self.device)
        return network.to(memory_format=torch.channels_last) if plain.channels_last else network

    def asked_network(self, run: PlannedRun) -> Classifier:
        """The trained network of a finished run as it is fastest to ask: frozen, batch norms folded."""
        pixels = self.preparation(run.spec.network).pixels(self.data.test.images[:FUSING_IMAGES])
        return fused(self.load_network(run), pixels.to(self.device))

    def _head_of(self, run: PlannedRun) -> str:
        if run.spec.network.head != "keep":
            return run.spec.network.head
        return "linear" if "head.weight" in read_weights(run.folder.weights) else "bottleneck"

    # --- running and measuring ---

    def execute(self, command: str) -> dict[str, Any]:
        """Train what is not done, ask every network, measure, and write results.json. Returns its value.

        Raises VicinalError where training fails; what was finished stays and the same command continues.
        """
        started = time.monotonic()
        with hold(self.out):
            self.check_banks()
            open_study_folder(self.out, self.spec.name)
            clear_leftovers(self.out)
            unique = self.unique_runs()
            to_do = [run for run in unique if not run.folder.is_done]
            with StudyProgress(sum(run.images for run in to_do)) as progress:
                if len(to_do) < len(unique):
                    progress.say(f"{len(unique) - len(to_do)} of {len(unique)} runs are done already")
                predictions: dict[Path, Predictions] = {}
                for group in self.groups(with_done=True):
                    if not group[0].folder.is_done:
                        self._train(group, progress)
                    # Asked at once, so that a network that diverged is known before others learn from it.
                    predictions |= {run.folder.path: self._ask(run, progress) for run in group}
                further = self._ask_further(unique, predictions, progress)
            earlier = sum(run.folder.summary()["training_s"] for run in unique if run not in to_do)
            results = self._results(predictions, further, command)
            results["wall_time_s"] = round(self._wall_time_s(time.monotonic() - started, earlier, bool(to_do)), 1)
            write_json(self.out / "results.json", results)
        return results

    def _wall_time_s(self, now: float, earlier: float, trained: bool) -> float:
        """Seconds that the study took: this command's and those of the trainings that were done before it.

        A command that only measures again leaves the longer time that results.json has from before.
        """
        path = self.out / "results.json"
        with contextlib.suppress(UsageError, AttributeError, TypeError):
            if not trained and path.exists():
                return max(float(read_json(path).get("wall_time_s", 0.0)), now)
        return now + earlier

    def _train(self, group: list[PlannedRun], progress: StudyProgress) -> None:
        first = group[0]
        data = TrainingData(
            train=self.training_images(first.spec.network),
            selection_images=self.selection_images,
            classes=self.classes,
            preparation=self.preparation(first.spec.network),
        )
        teacher = self.load_network(first.teacher) if first.teacher is not None else None
        banked = self.banks.get(first.folder.path)
        bank = self.open_bank(first) if banked is not None else None
        folders, every = [run.folder for run in group], self.spec.runtime.checkpoint_seconds
        with contextlib.closing(bank) if bank is not None else contextlib.nullcontext():
            train(folders, data, teacher, self.device, progress, every, bank, self.compiles(first))

    def compiles(self, run: PlannedRun) -> bool:
        """Whether a run's network is called through torch.compile: where all trainings of its architecture together pay for it."""
        if self.spec.runtime.compile != "auto":
            return self.spec.runtime.compile == "always"
        images = sum(other.images for other in self.unique_runs() if other.network_key == run.network_key)
        return compiling_pays(3 * images * self.forward_flops[run.network_key], self.device)

    def groups(self, with_done: bool = False) -> list[list[PlannedRun]]:
        """The runs that are not done, in the order of their training; students whom one answer of their teacher serves stand together.

        Students stepped together prepare each batch once, ask once and write nothing, so this never costs more than reading a
        bank; as many are taken as memory holds with their optimizers. Runs that are done stand alone, if they are asked for.
        """
        together: dict[Any, list[PlannedRun]] = {}
        for run in self.unique_runs():
            if not run.folder.is_done and run.teacher is not None:
                objective, epochs = run.spec.objective, run.spec.network.epochs
                key: Any = self.bank_layout(run).fingerprint, epochs, str(objective.mixing), objective.target
                together.setdefault(key, []).append(run)
            elif with_done or not run.folder.is_done:
                together[run.folder.path] = [run]
        return [
            group[start : start + self.students_at_once]
            for group in together.values()
            for start in range(0, len(group), self.students_at_once)
        ]

    @cached_property
    def students_at_once(self) -> int:
        """Students stepped together: as asked for, or as many as take a quarter of free memory with their optimizers."""
        if self.spec.runtime.students_at_once is not None or self.spec.student is None:
            return self.spec.runtime.students_at_once or 1
        each = OPTIMIZED_VALUE_BYTES * self.parameters["student"]
        return max(1, int(free_bytes(self.device) / 4 / each))

    def _bank_exists(self, run: PlannedRun) -> bool:
        """Whether a bank that may be read is there; it costs no more disk, and serves a single run too."""
        return self.spec.runtime.bank_gb > 0 and (self.bank_root / self.bank_layout(run).fingerprint).exists()

    @cached_property
    def banks(self) -> dict[Path, BankLayout]:
        """The bank of every run to do, by run folder: one that is there, or one that several groups share, within the budget."""
        shared = Counter(
            self.bank_layout(group[0]).fingerprint for group in self.groups() if group[0].teacher is not None
        )
        left, taken = self.spec.runtime.bank_gb * 1e9, set()
        chosen: dict[Path, BankLayout] = {}
        for group in self.groups():
            if group[0].teacher is None:
                continue
            spec = self.bank_layout(group[0])
            if not self._bank_exists(group[0]) and spec.fingerprint not in taken:
                if shared[spec.fingerprint] < 2 or spec.bytes > left:
                    continue
                taken.add(spec.fingerprint)
                left -= spec.bytes
            chosen |= {run.folder.path: spec for run in group}
        return chosen

    def bank_layout(self, run: PlannedRun) -> BankLayout:
        """All that decides the teacher's answers along a run's plan. Not the device: a bank serves where there is no GPU, too."""
        assert run.teacher is not None
        if run.folder.path in self._layouts:
            return self._layouts[run.folder.path]
        network, objective = run.spec.network, run.spec.objective
        mixed = objective.mixing.mixes and objective.target != "linear"
        layout = self._layouts[run.folder.path] = BankLayout(
            inputs={
                "teacher": run.teacher.spec.fingerprint(),
                "precision": run.spec.teacher_precision,
                "input_kind": "mixed" if mixed else "clean",
                "seed": run.spec.input_seed,
                "mixing": objective.mixing.model_dump(mode="json") if mixed else None,
                "augment": network.augment.model_dump(mode="json"),
                "train": run.spec.data["train"],
                "image_size": self.spec.data.image_size,
            },
            epochs=min(network.epochs, network.repeat_inputs_after_epochs or network.epochs),
            images=network.train_images or len(self.data.train),
            batch_size=network.batch_size,
            classes=self.classes,
            answers=self.spec.answers,
            teacher=f"{run.teacher.spec.name}, seed {run.teacher.spec.seed}",
        )
        return layout

    @property
    def bank_root(self) -> Path:
        """The folder of all banks."""
        return self.out / "banks"

    def bankable(self) -> dict[str, tuple[PlannedRun, BankLayout]]:
        """Every bank that a student of this study could read, by fingerprint, with the first of those students."""
        found: dict[str, tuple[PlannedRun, BankLayout]] = {}
        for run in self.unique_runs():
            if run.teacher is not None and run.spec.network.epochs:
                layout = self.bank_layout(run)
                found.setdefault(layout.fingerprint, (run, layout))
        return found

    def open_bank(self, run: PlannedRun, create: bool = True) -> TeacherBank:
        """The bank of a student whose teacher is trained. Raises VicinalError where it was made with other weights."""
        assert run.teacher is not None
        weights = file_hash(run.teacher.folder.weights)
        return TeacherBank(self.bank_root, self.bank_layout(run), weights, self.device, create)

    def check_banks(self) -> None:
        """UsageError, before anything is spent, where a bank is there and the teacher that it was made with is not."""
        for run, layout in self.bankable().values() if self.spec.runtime.bank_gb else ():
            assert run.teacher is not None
            if (self.bank_root / layout.fingerprint).exists() and not run.teacher.folder.is_done:
                raise UsageError(
                    f"{self.bank_root / layout.fingerprint} holds answers of {run.teacher.spec.name}, which is not trained here: bring "
                    f"{run.teacher.folder.path.name} from where the bank was made into {self.out / 'runs'}, or delete the bank's folder"
                )

    def pipeline(self, run: PlannedRun) -> ImagePipeline:
        """What makes the batches of a run's training."""
        images = self.training_images(run.spec.network)
        return ImagePipeline(images.images, images.labels, self.preparation(run.spec.network), self.device)

    def train_teachers(self, progress: StudyProgress) -> None:
        """Train the teachers that are not done and ask each, as `execute` does. Raises VicinalError where that fails."""
        open_study_folder(self.out, self.spec.name)
        clear_leftovers(self.out)
        for run in self.unique_runs():
            if run.spec.role == "teacher" and not run.folder.is_done:
                self._train([run], progress)
                self._ask(run, progress)

    @property
    def prediction_inputs(self) -> PredictionInputs:
        """What every network predicts."""
        main = self.main_network
        return PredictionInputs(
            self.data, self.training_images(main), self.preparation(main), self.vicinity, self.device
        )

    @cached_property
    def prediction_images(self) -> dict[str, str]:
        """Hashes of the images that every network predicts."""
        main = self.main_network
        vicinity = self.spec.measures.vicinity
        return PredictionInputs(
            self.data, self.training_images(main), self.preparation(main), vicinity, self.device
        ).images

    # --- the pairs of the vicinal curves ---

    @property
    def _pilot(self) -> Path:
        """Where the outcome of the first teacher's pilot is kept."""
        measures = self.spec.measures
        value = {
            **self.prediction_images,
            "vicinity": measures.vicinity.model_dump(mode="json"),
            "confidence_level": measures.confidence_level,
        }
        return self.runs[0].folder.stored("pairs", fingerprint(value), "json")

    @property
    def _pairs_needed(self) -> int | None:
        """The pairs that the precision asked for needs; None where none is asked for, or before the pilot."""
        if self.spec.measures.vicinity.precision_nats is None or not self._pilot.exists():
            return None
        value = read_json(self._pilot)
        needed = value.get("needed") if isinstance(value, dict) else None
        return needed if isinstance(needed, int) else None

    @property
    def pairs_are_chosen(self) -> bool:
        """Whether it is known how many pairs are asked; before, the study's number is the most that they can be."""
        return self.spec.measures.vicinity.precision_nats is None or self._pairs_needed is not None

    @property
    def vicinity(self) -> VicinitySpec:
        """What is asked along λ: the study's pairs, or fewer where the precision it wants needs fewer."""
        stated, needed = self.spec.measures.vicinity, self._pairs_needed
        return stated if needed is None else stated.model_copy(update={"pairs": min(stated.pairs, needed)})

    def _choose_pairs(self, progress: StudyProgress) -> None:
        """The first teacher's pilot, once: every network is asked the same pairs."""
        if self.pairs_are_chosen:
            return
        main, measures, device = self.main_network, self.spec.measures, self.device
        images, prepared = self.training_images(main), self.preparation(main)
        network = self.asked_network(self.runs[0])
        needed = pairs_needed(network, images, prepared, measures.vicinity, measures.confidence_level, device)
        write_json(self._pilot, {"needed": needed})
        progress.say(f"a pilot asks for {needed:,} pairs; every network is asked {self.vicinity.pairs:,}")

    def _ask(self, run: PlannedRun, progress: StudyProgress) -> Predictions:
        self._choose_pairs(progress)
        path = run.folder.stored("predictions", self.prediction_inputs.fingerprint())
        stored = Predictions.load(path) if path.exists() else None
        if stored is not None:
            return stored
        asking = progress.inference(run.spec.name, self.prediction_inputs.count)
        predictions = predict_all(
            self.asked_network(run), self.preparation(run.spec.network), self.prediction_inputs, asking.advance
        )
        if not predictions.are_finite:
            raise VicinalError(
                f"{run.spec.name}: its answers are not finite, so its training diverged; try a lower lr for it"
            )
        predictions.save(path)
        asking.finish("asked on validation, test and mixed images")
        return predictions

    def _ask_further(
        self, runs: Sequence[PlannedRun], predictions: dict[Path, Predictions], progress: StudyProgress
    ) -> dict[Path, dict[str, Any]]:
        """The entries of results.json that rest on answers beyond the core ones, by run folder."""
        measures = self.spec.measures
        questions = EvaluationContext(self.data, self.device, progress)
        trained = {
            run.folder.path: TrainedNetwork(
                run.folder, self.preparation(run.spec.network), partial(self.asked_network, run)
            )
            for run in runs
        }
        entries: dict[Path, dict[str, Any]] = {path: {} for path in trained}
        if self.corrupted is not None:
            logits = predict_corrupted(trained, self.corrupted, questions)
            labels = self.corrupted.test.labels
            for run in runs:
                baseline = self._baseline_of(run)
                entries[run.folder.path]["corruptions"] = measure_corruptions(
                    logits[run.folder.path],
                    labels,
                    logits[baseline.folder.path] if baseline is not None else None,
                    measures.ece_bins,
                    measures.bootstrap_resamples,
                    measures.confidence_level,
                )
        if measures.representation is not None:
            classes = measures.representation.classes or self._confused_classes(predictions)
            for path, entry in measure_representation(trained, measures.representation, classes, questions).items():
                entries[path]["representation"] = entry
        if self.other is not None:
            name = (measures.ood.name if measures.ood else None) or self.other.name
            for path, answers in predict_other(trained, self.other, questions).items():
                entries[path]["ood_auroc"] = {name: ood_auroc(predictions[path].test, answers)}
        return entries

    def _baseline_of(self, run: PlannedRun) -> PlannedRun | None:
        """The baseline student of a student's seed, for students other than itself."""
        if run.spec.role == "teacher" or run.label["arm"] == "baseline":
            return None
        students = (r for r in self.runs if r.spec.role == "student" and r.spec.seed == run.spec.seed)
        return next((r for r in students if r.label["arm"] == "baseline"), None)

    def _confused_classes(self, predictions: dict[Path, Predictions]) -> list[str]:
        """The paper's five classes, or those that the first teacher confuses most, chosen on validation images if there are any."""
        first = predictions[self.runs[0].folder.path]
        chosen = first.validation, first.validation_labels
        if not len(first.validation):
            chosen = first.test, first.test_labels
        return default_classes(self.data.class_names, *chosen, count=min(5, self.classes))

    def _results(
        self, predictions: dict[Path, Predictions], further: dict[Path, dict[str, Any]], command: str
    ) -> dict[str, Any]:
        spec, data = self.spec, self.data
        teachers = {run.folder.path: run for run in self.runs if run.spec.role == "teacher"}
        measured = {
            run.folder.path: Measured(predictions[run.folder.path], spec.measures) for run in self.unique_runs()
        }
        students = []
        for run in self.runs:
            if run.spec.role == "student":
                seed_teachers = self._teachers_of(run)
                students.append(self._student_entry(run, measured, seed_teachers) | further[run.folder.path])
        return {
            "schema": SCHEMA,
            "study": spec.name,
            "title": spec.title or spec.name,
            "description": spec.description,
            "version": __version__,
            "command": command,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "environment": environment(self.device),
            "selection": spec.selection,
            "selection_images": ("test" if spec.selection == "paper_best_test" else "validation")
            if len(self.selection_images)
            else None,
            "data": {
                "name": spec.data.name or data.name,
                "source": data.source,
                "content_hash": data.content_hash,
                "class_names": list(data.class_names),
                "image_shape": list(data.train.images.shape[1:]),
                "image_size": spec.data.image_size,
                "train": len(data.train),
                "validation": len(data.validation),
                "test": len(data.test),
                "notes": list(data.notes),
            },
            "measures": {
                "ece_bins": spec.measures.ece_bins,
                "pairs": self.vicinity.pairs,
                "pairs_from": "student's training images" if spec.student is not None else "teacher's training images",
                "lam_points": spec.measures.vicinity.lam_points,
                "confidence_level": spec.measures.confidence_level,
                "bootstrap_resamples": spec.measures.bootstrap_resamples,
                "calibrated_on": "validation" if len(data.validation) else None,
            },
            "spec": spec.model_dump(mode="json"),
            "notes": self._notes(),
            "teachers": [
                {**run.label, **self._common(run), **measured[path].numbers(scale_free=False), **further[path]}
                for path, run in teachers.items()
            ],
            "students": students,
            "mcnemar": self._mutual_tests(measured),
        }

    def _notes(self) -> list[str]:
        """What was done otherwise than a reader expects."""
        stated, needed, notes = self.spec.measures.vicinity, self._pairs_needed, []
        if needed is not None:
            binds = needed > stated.pairs
            notes.append(
                f"NL to ± {stated.precision_nats:g} nats at every λ needs {needed:,} pairs by the first teacher's pilot"
                + (f", more than the {stated.pairs:,} allowed: its interval is wider than asked for." if binds else ".")
            )
        return notes + [
            f"{path}: the input stream repeats after {network.repeat_inputs_after_epochs:,} of {network.epochs:,} epochs, so each "
            "mixed image is seen several times: other sampling than fresh inputs every epoch."
            for path, network in self.spec.networks().items()
            if network.repeat_inputs_after_epochs is not None and network.repeat_inputs_after_epochs < network.epochs
        ]

    def _mutual_tests(self, measured: dict[Path, Measured]) -> list[dict[str, Any]]:
        """McNemar's test of every two students of a seed, as matrices over their positions in `students`."""
        students = [run for run in self.runs if run.spec.role == "student"]
        tests = []
        for seed in self.spec.seeds:
            positions = [k for k, run in enumerate(students) if run.spec.seed == seed]
            correct = [measured[students[k].folder.path].correct for k in positions]
            pairs = [[mcnemar(a, b) for b in correct] for a in correct]
            tests.append(
                {
                    "seed": seed,
                    "students": positions,
                    **{key: [[pair[key] for pair in row] for row in pairs] for key in ("only_first", "p_value")},
                }
            )
        return tests if students else []

    def _teachers_of(self, student: PlannedRun) -> dict[str, PlannedRun]:
        """The teachers of a student's seed, by name."""
        seed = student.spec.seed if self.spec.teacher_seed is None else self.spec.teacher_seed
        return {r.spec.name: r for r in self.runs if r.spec.role == "teacher" and r.spec.seed == seed}

    def _common(self, run: PlannedRun) -> dict[str, Any]:
        summary, network = run.folder.summary(), run.spec.network
        keys = ("parameters", "train_images", "selected_epoch", "training_s", "images_per_second", "teacher_precision")
        return {
            "run": run.spec.folder,
            "model": network.model,
            "head": network.head,
            "epochs": network.epochs,
            "objective": run.spec.objective.model_dump(mode="json"),
            "history": _history(run.folder.read_log()),
            **{key: summary[key] for key in keys},
        }

    def _student_entry(
        self, run: PlannedRun, measured: dict[Path, Measured], teachers: dict[str, PlannedRun]
    ) -> dict[str, Any]:
        student = measured[run.folder.path]
        against = {name: student.versus_teacher(measured[teacher.folder.path]) for name, teacher in teachers.items()}
        nothing = dict.fromkeys(("linearity_gain", "linearity_gain_interval", "alignment"))
        own = {k: v for k, v in against.get(run.label["teacher"] or "", nothing).items() if k != "information"}
        scale_free = run.spec.objective.temperature == "sigma" and run.spec.objective.alpha == 0
        baseline = self._baseline_of(run)
        other = measured[baseline.folder.path] if baseline is not None else None
        return {
            **run.label,
            **self._common(run),
            **student.numbers(scale_free),
            **own,
            "versus_teacher": against,
            "minus_baseline": student.minus_baseline(other) if other is not None else None,
            "mcnemar_versus_baseline": mcnemar(student.correct, other.correct) if other is not None else None,
        }


def _history(log: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Loss and selection accuracy along the epochs, without the head's warm-up."""
    epochs = [entry for entry in log if entry.get("phase") == "train" and "epoch" in entry]
    return {key: [entry.get(key) for entry in epochs] for key in ("epoch", "loss", "selection_accuracy")}


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    device = torch.device(name)
    if (device.type == "cuda" and not torch.cuda.is_available()) or (
        device.type == "mps" and not torch.backends.mps.is_available()
    ):
        raise UsageError(f"runtime.device: this machine has no {name}; use cpu or auto")
    return device
