"""The trained networks of a study's finished runs."""

from __future__ import annotations

import torch

from vicinal.errors import UsageError, VicinalError
from vicinal.networks import FUSING_IMAGES, Classifier, fused, read_weights, rebuilt_classifier
from vicinal.study.context import StudyContext
from vicinal.study.plan import PlannedRun


def load_network(context: StudyContext, run: PlannedRun) -> Classifier:
    """The trained network of a finished run, on the study's device. Raises VicinalError where its weights cannot be used."""
    try:
        saved = read_weights(run.folder.weights)
        with torch.random.fork_rng(devices=[]):  # weights are drawn and at once replaced
            network = rebuilt_classifier(run.spec.network, saved, context.classes, context.channels)
    except (UsageError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise VicinalError(
            f"{run.folder.weights} cannot be used ({reason}); delete the folder {run.folder.path} and give the command again"
        ) from None
    network = network.to(context.device)
    network.class_names = context.data.class_names
    return network.to(memory_format=torch.channels_last) if run.spec.network.channels_last else network


def inference_network(context: StudyContext, run: PlannedRun) -> Classifier:
    """The trained network of a finished run as it predicts fastest: frozen, batch norms fused."""
    pixels = context.preparation(run.spec.network).pixels(context.data.test.images[:FUSING_IMAGES])
    return fused(load_network(context, run), pixels.to(context.device))
