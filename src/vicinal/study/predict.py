"""What every network of a study predicts: once, stored beside it, and predicted again only where what defines it has changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vicinal import metrics  # its classes are imported when they are named
from vicinal.config import SEVERITIES, VicinitySpec, fingerprint
from vicinal.data import stratified_subset
from vicinal.errors import UsageError, VicinalError
from vicinal.evaluation import (
    CorruptedSet,
    EvaluationContext,
    PredictionInputs,
    Predictions,
    TrainedNetwork,
    doubt_of_order,
    load_other,
    mean_predictions,
    measure_representation,
    pairs_needed,
    predict,
    predict_all,
    predict_corrupted,
    predict_other,
)
from vicinal.functional import log_mean_prediction
from vicinal.metrics import default_classes, ood_auroc
from vicinal.networks import Classifier
from vicinal.study.context import StudyContext
from vicinal.study.networks import inference_network
from vicinal.study.plan import PlannedRun, StudyPlan
from vicinal.workspace import DamagedError, StudyProgress, read_sealed_json, write_sealed_json

ORDER_IMAGES = 1000  # training images that the order of classes is checked on, where no validation images are


def _way_out(run: PlannedRun) -> str:
    """What to do about a network whose answers are not finite."""
    spec = run.spec.network
    if spec.epochs:
        return "its training diverged; try a lower lr for it"
    return (
        f"{spec.weights or spec.model} cannot be measured on these images: give its image_size, mean and std as it was trained with, "
        "or other weights"
    )


def _times(logits: Mapping[str, Tensor], scale: float) -> Mapping[str, Tensor]:
    """Logits by corruption, `scale` times as large; in float32, whose range holds them."""
    return logits if scale == 1 else {name: scale * own.float() for name, own in logits.items()}


def _mean(members: Sequence[Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
    """Logits by corruption of networks together."""
    return {name: log_mean_prediction(torch.stack([own[name] for own in members])) for name in members[0]}


class OptionalMeasures(NamedTuple):
    """What rests on predictions beyond the core ones, by `PlannedRun.place`."""

    entries: dict[Path, dict[str, Any]]  # of results.json
    deviations: dict[Path, dict[str, Tensor]]  # of resamples.npz


class StudyPredictions:
    """The predictions of a study's networks.

    Raises UsageError for corrupted images or another data set that cannot be had.
    """

    def __init__(self, context: StudyContext, plan: StudyPlan) -> None:
        self.context, self.plan = context, plan
        self.open_network: Callable[[PlannedRun], Classifier] = partial(inference_network, context)  # of a finished run
        measures, data = context.spec.measures, context.spec.data
        self.corrupted = (
            CorruptedSet.of(measures.corruptions, context.data, data.split_seed) if measures.corruptions else None
        )
        self._made: dict[VicinitySpec, PredictionInputs] = {}
        views = [view for network in context.spec.networks().values() if (view := context.preparation(network).view)]
        self.other = load_other(measures.ood, context.data, data.image_size, views) if measures.ood else None

    @property
    def inputs(self) -> PredictionInputs:
        """What every network predicts."""
        return self._inputs(self.vicinity)

    def _inputs(self, vicinity: VicinitySpec) -> PredictionInputs:
        if vicinity not in self._made:
            context, main = self.context, self.context.main_network
            images, preparation = context.training_images(main), replace(context.preparation(main), view=None)
            self._made[vicinity] = PredictionInputs(context.data, images, preparation, vicinity, context.device)
        return self._made[vicinity]

    @property
    def optional_count(self) -> int:
        """The images of the optional measures: corrupted ones and another data set's."""
        count = len(self.other.test) if self.other is not None else 0
        if self.corrupted is not None:
            count += len(SEVERITIES) * len(self.corrupted.spec.names) * len(self.corrupted.test)
        return count

    # --- the pairs of the vicinal curves ---

    @property
    def vicinity(self) -> VicinitySpec:
        """What is predicted along λ: the study's pairs, or fewer where the precision it wants needs fewer."""
        stated, needed = self.context.spec.measures.vicinity, self.pairs_needed
        return stated if needed is None else stated.model_copy(update={"pairs": min(stated.pairs, needed)})

    @property
    def pairs_are_chosen(self) -> bool:
        """Whether it is known how many pairs are predicted; before, the study's number is the most that they can be."""
        return self.context.spec.measures.vicinity.precision_nats is None or self.pairs_needed is not None

    @property
    def pairs_needed(self) -> int | None:
        """The pairs that the precision asked for needs; None where none is asked for, or before the pilot."""
        if self.context.spec.measures.vicinity.precision_nats is None or not self._pilot.exists():
            return None
        try:
            needed = read_sealed_json(self._pilot).get("needed")
        except DamagedError:
            return None
        return needed if isinstance(needed, int) else None

    @property
    def _pilot_inputs(self) -> PredictionInputs:
        """What the first teacher sees of the pairs that the study allows."""
        own = self.context.preparation(self.plan.runs[0].spec.network)
        return self._inputs(self.context.spec.measures.vicinity).seen_by(own)

    @property
    def _pilot(self) -> Path:
        """Where the outcome of the first teacher's pilot is kept."""
        measures = self.context.spec.measures
        value = {
            "inputs": self._pilot_inputs.fingerprint(),
            "vicinity": measures.vicinity.model_dump(mode="json"),
            "confidence_level": measures.confidence_level,
        }
        return self.plan.runs[0].folder.stored("pairs", fingerprint(value), "json")

    def choose_pairs(self, progress: StudyProgress) -> None:
        """The first teacher's pilot, once: every network predicts the same pairs."""
        if self.pairs_are_chosen:
            return
        context, measures = self.context, self.context.spec.measures
        if self._pilot.exists():
            progress.say(f"{self._pilot} is damaged (its checksum does not fit); the pilot is done again")
        inputs = self._pilot_inputs
        needed = pairs_needed(
            self.open_network(self.plan.runs[0]),
            inputs.pair_images,
            inputs.pair_preparation,
            measures.vicinity,
            measures.confidence_level,
            context.device,
        )
        write_sealed_json(self._pilot, {"needed": needed})
        progress.say(f"a pilot asks for {needed:,} pairs; every network predicts {self.vicinity.pairs:,}")

    # --- predictions ---

    def exist(self, run: PlannedRun) -> bool:
        """Whether a run's predictions are stored."""
        return self._path(run).exists()

    def _path(self, run: PlannedRun) -> Path:
        seen = self.inputs.seen_by(self.context.preparation(run.spec.network))
        return run.folder.stored("predictions", seen.fingerprint())

    def of(self, run: PlannedRun, progress: StudyProgress) -> Predictions:
        """A finished run's predictions, made now where they are not stored. Raises VicinalError where they are not finite."""
        self.choose_pairs(progress)
        path, weights = self._path(run), run.folder.summary()["weights_sha256"]
        stored = Predictions.load(path, weights, progress.say)
        if stored is not None:
            return stored
        title = progress.title(run.spec.name, run.spec.seed, [run.folder.path.name])
        bar = progress.inference(title, self.inputs.count)
        network, preparation = self.open_network(run), self.context.preparation(run.spec.network)
        predictions = predict_all(network, preparation, self.inputs, bar.advance)
        if not predictions.are_finite:
            raise VicinalError(f"{run.spec.name}: its answers are not finite, so {_way_out(run)}")
        self._check_class_order(run, network, predictions)
        predictions.save(path, weights)
        bar.finish("predicted validation, test and mixed images")
        return predictions

    def _check_class_order(self, run: PlannedRun, network: Classifier, predictions: Predictions) -> None:
        """UsageError where a classifier that is taken as it is seems to have its classes in another order than the data.

        Asked of the validation images; of training images where there are none.
        """
        context, spec = self.context, run.spec.network
        if run.network_key not in context.guessed_classes or spec.epochs or not spec.check_classes:
            return
        logits, labels, where = predictions.validation, predictions.validation_labels, "validation"
        if not len(labels):
            images = context.training_images(spec)
            if len(images) > max(ORDER_IMAGES, context.classes):
                count = max(ORDER_IMAGES, context.classes)
                images = images.subset(stratified_subset(images.labels, count, context.spec.data.split_seed))
            logits, labels = predict(network, images, context.preparation(spec), context.device), images.labels
            where = "training"
        doubt = doubt_of_order(logits, labels)
        if doubt is not None:
            raise UsageError(
                f"{run.network_key}: {spec.weights or spec.model} gets of the {where} images "
                f"{doubt.sentence(context.data.class_names)}; "
                f"{run.network_key}.check_classes: false goes on all the same"
            )

    def of_scaled_teachers(self, predictions: Mapping[Path, Predictions]) -> dict[Path, Predictions]:
        """What teachers answer at other scales of their logits than 1, by `PlannedRun.place`, from what their networks answer."""
        scaled = self.plan.scaled_teachers
        return {run.place: predictions[run.folder.path].times(run.logit_scale) for run in scaled}

    def of_ensembles(self, predictions: Mapping[Path, Predictions]) -> dict[Path, Predictions]:
        """What ensembles answer, by `PlannedRun.place`, from what their members answer."""
        return {
            run.place: mean_predictions([predictions[one.folder.path] for one in run.members])
            for run in self.plan.ensembles
        }

    def optional(
        self, runs: Sequence[PlannedRun], predictions: dict[Path, Predictions], progress: StudyProgress
    ) -> OptionalMeasures:
        """What rests on predictions beyond the core ones, by `PlannedRun.place`, as the predictions are given."""
        measures, context = self.context.spec.measures, self.context
        evaluation = EvaluationContext(context.data, context.device, progress)
        trained = {
            run.folder.path: TrainedNetwork(
                run.folder, context.preparation(run.spec.network), partial(self.open_network, run)
            )
            for run in runs
            if not run.members
        }
        entries: dict[Path, dict[str, Any]] = {run.place: {} for run in runs}
        deviations: dict[Path, dict[str, Tensor]] = {run.place: {} for run in runs}
        if self.corrupted is not None:
            logits = predict_corrupted(trained, self.corrupted, evaluation)
            for run in runs:
                baseline = self.plan.baseline_of(run)
                members = [logits[one.folder.path] for one in run.networks]
                own_logits = _mean(members) if run.members else _times(members[0], run.logit_scale)
                entries[run.place]["corruptions"] = metrics.measure_corruptions(
                    own_logits,
                    self.corrupted.test.labels,
                    logits[baseline.folder.path] if baseline is not None else None,
                    measures.ece_bins,
                    measures.bootstrap_resamples,
                    measures.confidence_level,
                )
                moved = metrics.corruption_deviations(
                    own_logits,
                    self.corrupted.test.labels,
                    measures.ece_bins,
                    measures.bootstrap_resamples,
                )
                deviations[run.place] = {
                    f"corruptions.{name}.{key}": values for name, own in moved.items() for key, values in own.items()
                }
        if measures.representation is not None:
            classes = measures.representation.classes or self._confused_classes(predictions)
            found = measure_representation(trained, measures, classes, evaluation)
            for run in runs:  # an ensemble has no features of its own
                entries[run.place]["representation"] = found.get(run.folder.path)
        if self.other is not None:
            name = (measures.ood.name if measures.ood else None) or self.other.name
            answers = predict_other(trained, self.other, evaluation)
            for run in runs:
                others = run.logit_scale * answers[run.networks[0].folder.path]
                if run.members:
                    others = log_mean_prediction(torch.stack([answers[one.folder.path] for one in run.members]))
                entries[run.place]["ood_auroc"] = {name: ood_auroc(predictions[run.place].test, others)}
        return OptionalMeasures(entries, deviations)

    def _confused_classes(self, predictions: dict[Path, Predictions]) -> list[str]:
        """The paper's five classes, or those that the first teacher confuses most, chosen on validation images if there are any."""
        first = predictions[self.plan.runs[0].folder.path]
        chosen = first.validation, first.validation_labels
        if not len(first.validation):
            chosen = first.test, first.test_labels
        return default_classes(self.context.data.class_names, *chosen, count=min(5, self.context.classes))
