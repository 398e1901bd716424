"""The trained networks of a study's finished runs."""

from __future__ import annotations

import torch

from vicinal.errors import UsageError, VicinalError
from vicinal.networks import FUSING_IMAGES, Classifier, build_classifier, fused, read_weights
from vicinal.study.context import StudyContext
from vicinal.study.plan import PlannedRun


def load_network(context: StudyContext, run: PlannedRun) -> Classifier:
    """The trained network of a finished run, on the study's device. Raises VicinalError where its weights cannot be used."""
    try:
        saved = read_weights(run.folder.weights)
        head = run.spec.network.head
        if head == "keep":
            head = "linear" if "head.weight" in saved else "bottleneck"
        plain = run.spec.network.model_copy(update={"weights": None, "epochs": 1, "head": head})
        with torch.random.fork_rng(devices=[]):  # weights are drawn and at once replaced
            network = build_classifier(plain, context.classes, context.channels)
        network.load_state_dict(saved)
    except (UsageError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise VicinalError(
            f"{run.folder.weights} cannot be used ({reason}); delete the folder {run.folder.path} and give the command again"
        ) from None
    network = network.to(context.device)
    return network.to(memory_format=torch.channels_last) if plain.channels_last else network


def inference_network(context: StudyContext, run: PlannedRun) -> Classifier:
    """The trained network of a finished run as it predicts fastest: frozen, batch norms fused."""
    pixels = context.preparation(run.spec.network).pixels(context.data.test.images[:FUSING_IMAGES])
    return fused(load_network(context, run), pixels.to(context.device))
