"""Runs of seconds on made-up images: what the tests of training train."""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import BatchNormAct2d
from torch import nn

from vicinal.config import ARMS, AugmentSpec, MixingSpec, NetworkSpec, Objective, RunSpec
from vicinal.data import ImageSet
from vicinal.inputs import Preparation
from vicinal.networks import build_classifier
from vicinal.training import TrainingData
from vicinal.workspace import RunFolder

CPU = torch.device("cpu")


def network(**changes: Any) -> NetworkSpec:
    values: dict[str, Any] = {"model": "vicinal_mobilenet", "epochs": 3, "batch_size": 16, "lr": 5e-3} | changes
    return NetworkSpec(**values)


def run_spec(objective: Objective = ARMS["baseline"], **changes: Any) -> RunSpec:
    values: dict[str, Any] = {
        "role": "student",
        "name": "run",
        "network": network(),
        "seed": 0,
        "data": {"train": "x"},
    } | changes
    return RunSpec(objective=objective, **values)


def training_data(train_set: ImageSet, images: ImageSet, run: RunSpec) -> TrainingData:
    return TrainingData(train_set, images.subset(torch.arange(40)), 4, Preparation(run.network.augment))


def a_teacher() -> Any:
    torch.manual_seed(9)
    teacher = build_classifier(network(model="vicinal_resnet8"), 4, 1)
    torch.nn.init.normal_(teacher.head.weight, std=0.5)
    return teacher


def without_batch_norms(network: Any) -> Any:
    """The same with group norms, which know one image at a time."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, torch.nn.BatchNorm2d):
                norm = torch.nn.GroupNorm(1, child.num_features)
                keeps_act = isinstance(child, BatchNormAct2d)
                setattr(module, name, torch.nn.Sequential(norm, child.drop, child.act) if keeps_act else norm)
    return network


def same_weights(a: RunFolder, b: RunFolder) -> bool:
    return a.weights.read_bytes() == b.weights.read_bytes()


# Numbers of every kind are drawn: dropout's from the generator of the run, the images' from the plan.
CHANGED = AugmentSpec(
    crop="random_resized", scale=(0.5, 1), flip=True, color_jitter={"brightness": 0.3}, erasing={"probability": 0.5}
)
SWEEP = [
    run_spec(
        Objective(alpha=alpha, temperature=temperature, mixing=MixingSpec()),
        name=f"T{temperature}",
        teacher="t",
        network=network(head="bottleneck", head_warmup_epochs=1, augment=CHANGED),
    )
    for temperature, alpha in ((1.0, 0.0), (4.0, 0.5), ("sigma", 0.0))
]


def own_share(network: nn.Module) -> float:
    """Which part of a network's parameters lies in this process."""
    from torch.distributed.tensor import DTensor

    own = sum((w.to_local() if isinstance(w, DTensor) else w).numel() for w in network.parameters())
    return own / sum(weights.numel() for weights in network.parameters())
