"""The trained networks of a study's finished runs, loaded and described."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from vicinal.errors import UsageError, VicinalError
from vicinal.networks import (
    FUSING_IMAGES,
    Classifier,
    Ensemble,
    fused,
    read_weights,
    read_weights_file,
    rebuilt_classifier,
)
from vicinal.study.context import StudyContext
from vicinal.study.plan import PlannedRun, StudyPlan


def load_teacher(context: StudyContext, run: PlannedRun, device: torch.device | None = None) -> Classifier:
    """The trained network of a teacher, or an ensemble of several, as `load_network`."""
    networks = [load_network(context, one, device) for one in run.networks]
    return Ensemble(networks) if run.members else networks[0]


def load_network(context: StudyContext, run: PlannedRun, device: torch.device | None = None) -> Classifier:
    """The trained network of a finished run, on a device, by default the study's.

    Raises VicinalError where its weights cannot be used.
    """
    try:
        saved = read_weights(run.folder.weights)
        with torch.random.fork_rng(devices=[]):  # weights are drawn and at once replaced
            network = rebuilt_classifier(run.spec.network, saved, context.classes, context.channels)
    except (UsageError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise VicinalError(
            f"{run.folder.weights} cannot be used ({reason}); delete the folder {run.folder.path} and give the command again"
        ) from None
    network = network.to(device or context.device)
    network.class_names = context.data.class_names
    return network.to(memory_format=torch.channels_last) if run.spec.network.channels_last else network


def inference_network(context: StudyContext, run: PlannedRun, device: torch.device | None = None) -> Classifier:
    """The trained network of a finished run as it predicts fastest: frozen, batch norms fused; on a device as `load_network`."""
    pixels = context.seen_pixels(run.spec.network, context.data.test, FUSING_IMAGES)
    return fused(load_network(context, run, device), pixels.to(device or context.device))


def describe_networks(plan: StudyPlan, entries: Sequence[Mapping[str, Any]]) -> None:
    """Write beside every run's weights what they mean, for whoever takes them elsewhere (`network.json`).

    What the weights file says of itself (classes in the order of the logits, side and crop of the images, model), mean and deviation
    of the pixels, and the temperature fitted on validation images, which is known only once the network was measured.

    Args:
        entries: of results.json, each with the name of its `run`; an ensemble has none.
    """
    folders = {run.folder.path.name: run.folder for run in plan.unique_runs}
    # A network that is a teacher at several scales is described as it is, by the entry of scale 1 where there is one.
    last_plain = sorted(entries, key=lambda entry: entry.get("logit_scale", 1.0) == 1)
    by_run: dict[str, Mapping[str, Any]] = {entry["run"]: entry for entry in last_plain if entry["run"] is not None}
    for name, entry in by_run.items():
        folder = folders[name]
        file, fitted = read_weights_file(folder.weights), entry["fitted_temperature"]
        value: dict[str, Any] = {
            **file.meaning.values(),
            **{key: file.tensors[key].flatten().tolist() for key in ("mean", "std") if key in file.tensors},
            "fitted_temperature": None if fitted is None else fitted / entry.get("logit_scale", 1.0),
            "no_fitted_temperature": entry["no_fitted_temperature"],
        }
        folder.describe(value)
