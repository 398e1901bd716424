"""What is refused before anything is spent: networks, measures and banks that do not fit the data or what is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vicinal.config import MeasuresSpec, NetworkSpec
from vicinal.distillation import objective_needs, objective_terms
from vicinal.errors import UsageError, one_line
from vicinal.inputs import vicinity_of
from vicinal.networks import (
    Classifier,
    TimmClassifier,
    build_classifier,
    check_writable,
    forward_flops,
    try_training,
)
from vicinal.study.context import StudyContext
from vicinal.study.groups import banks_of_study
from vicinal.study.plan import StudyPlan
from vicinal.training import check_optimizer, check_parts


@dataclass(frozen=True)
class CheckedNetwork:
    """A network of a study that was built and has answered an image."""

    network: Classifier
    parameters: int
    forward_flops: int  # of one image


def check_spec(context: StudyContext) -> None:
    """UsageError for a key of the study that this data, or this process, cannot have."""
    spec = context.spec
    _check_measures(spec.measures, context)
    top_k, classes = spec.answers.top_k, context.classes
    if top_k is not None and top_k >= classes:
        raise UsageError(
            f"answers.top_k: {top_k} of {classes} classes leaves nothing out; leave it out, or give fewer than {classes}"
        )
    for key, network in spec.networks().items():
        if network.epochs:
            check_optimizer(network.optimizer, key)
    objectives = [(f"arms.{arm.name}", arm.objectives()) for arm in spec.arms]
    objectives += [(f"teachers.{name}", (teacher.objective(),)) for name, teacher in spec.teachers.items()]
    for path, own in objectives:
        try:
            for objective in own:
                vicinity_of(objective.mixing)
                objective_terms(objective)
        except UsageError as error:
            raise UsageError(f"{path}.{error}") from None


def _check_measures(measures: MeasuresSpec, context: StudyContext) -> None:
    known = context.data.class_names
    for name in (measures.representation.classes if measures.representation else None) or ():
        if name not in known:
            raise UsageError(
                f"measures.representation.classes: {context.data.name} has no class {name!r}; it has "
                f"{', '.join(known[:12])}{', ...' if len(known) > 12 else ''}"
            )


def check_networks(context: StudyContext) -> dict[str, CheckedNetwork]:
    """Every network of the study, built once and by its dotted path. Raises UsageError for what does not fit."""
    with torch.random.fork_rng(devices=[]):  # initial weights draw numbers, which the caller's generator need not lack
        checked = {key: _check_network(context, key, network) for key, network in context.spec.networks().items()}
    _check_features(context, {key: found.network for key, found in checked.items()})
    return checked


def _check_features(context: StudyContext, networks: Mapping[str, Classifier]) -> None:
    """UsageError where a term of a loss wants features of a network that keeps its own head inside."""
    spec = context.spec
    wanted: dict[str, str] = {}  # by the network's dotted path, the arm
    for arm in spec.arms:
        needs = {need for objective in arm.objectives() for need in objective_needs(objective)}
        bases = [spec.teacher_variants[name].base for name in arm.teachers or spec.teacher_variants]
        if "teacher_features" in needs and (together := [base for base in bases if base in spec.ensembles]):
            raise UsageError(
                f"arms.{arm.name}: a term of the loss wants features, and {together[0]} is an ensemble, which has none of its own: "
                "name single teachers in its 'teachers', or leave the term out"
            )
        of_teachers = [f"teachers.{base}" for base in bases] if "teacher_features" in needs else []
        wanted |= dict.fromkeys([*of_teachers, *(["student"] if "features" in needs or of_teachers else [])], arm.name)
    for key, arm_name in wanted.items():
        if networks[key].last_linear is None:
            raise UsageError(
                f"arms.{arm_name}: a term of the loss wants features, and {key} ({spec.networks()[key].model}) keeps its own head "
                "inside: use head: linear, or leave the term out"
            )


def _check_network(context: StudyContext, key: str, spec: NetworkSpec) -> CheckedNetwork:
    try:
        network = build_classifier(spec, context.classes, context.channels, context.data.class_names)
    except UsageError as error:
        raise UsageError(f"{key}: {error}") from None
    try:
        images = context.training_images(spec)
    except UsageError as error:
        raise UsageError(f"{key}.train_images: {error}") from None
    pixels = context.seen_pixels(spec, images, 1)
    try:
        flops = forward_flops(network, pixels)
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise UsageError(
            f"{key}: {spec.model} cannot take images of {pixels.shape[-1]} px ({reason}); set {key}.image_size or data.image_size"
            ", or model_args: {img_size: SIDE} where the model takes that"
        ) from None
    try:
        check_writable(network)
    except UsageError as error:
        raise UsageError(f"{key}: {spec.model}: {error}") from None
    if spec.epochs:
        check_parts(network, spec.batch_size, context.spec.runtime.micro_batch_size, f"{key} ({spec.model})")
        _check_training(key, spec, network, context.training_pixels(spec, images, 1))
    return CheckedNetwork(network, network.parameter_count, flops)


def _check_training(key: str, spec: NetworkSpec, network: TimmClassifier, pixels: Tensor) -> None:
    """UsageError where a network cannot take a step of its training, which would show only after others were trained."""
    try:
        try_training(network, pixels)
    except Exception as error:
        reason = one_line(error, 160)
        raise UsageError(f"{key}: {spec.model} cannot be trained here ({reason}); use another model") from None


def check_banks(plan: StudyPlan, root: Path) -> None:
    """UsageError where a bank is there and the teacher that it was made with is not."""
    if not plan.spec.runtime.bank_gb:
        return
    for run, layout in banks_of_study(plan).values():
        assert run.teacher is not None
        for teacher in [one.folder for one in run.teacher.networks]:
            # A damaged one is trained again, to the same weights.
            if (root / layout.fingerprint).exists() and not teacher.is_done and teacher.damage is None:
                raise UsageError(
                    f"{root / layout.fingerprint} holds answers of {teacher.spec.name}, which is not trained here: bring "
                    f"{teacher.path.name} from where the bank was made into {plan.out / 'runs'}, or delete the bank's folder"
                )
