"""What a run trains on, and where it stands."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal

from torch import Tensor

from vicinal.config import Objective
from vicinal.data import ImageSet, View
from vicinal.inputs import Preparation, VicinalPlan


@dataclass(frozen=True)
class TrainingData:
    """What a run trains on and selects by."""

    train: ImageSet
    # Validation images; the test images only where the study asks for the paper's protocol; may be empty.
    selection_images: ImageSet
    classes: int
    preparation: Preparation  # of its images, in training as when they are looked at
    class_names: tuple[str, ...] | None = None  # K, in the order of the labels
    view: View | None = None  # how an original image becomes what the network sees, for whoever takes it elsewhere

    @property
    def seen_preparation(self) -> Preparation:
        """The preparation with the side that a network sees, also where that is the images' own, and the view of originals."""
        height, width = self.train.images.shape[1:3]
        own = height if height == width and self.preparation.augment.crop != "resize" else None
        return replace(self.preparation, image_size=self.preparation.image_size or own, view=self.view)


@dataclass
class State:
    """Where a run stands. What it holds is what a checkpoint holds, beside weights, optimizer and generators."""

    step: int = 0
    seconds: float = 0.0
    epoch_loss: float = 0.0  # sum over the images of this epoch
    epoch_images: int = 0
    best_accuracy: float = -1.0
    best_epoch: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    precision: str = ""  # of its own forward pass
    teacher_precision: str = ""
    lr_factor: float = 1.0  # of schedule: plateau
    plateau_best: float = -math.inf  # of what it watches, the larger the better: the accuracy, or minus the loss
    plateau_epochs: int = 0  # since there was a better one


@dataclass(frozen=True)
class Phase:
    """A stretch of training with one objective: the head alone first where asked for, then the whole network."""

    name: Literal["head_warmup", "train"]
    epochs: int
    objective: Objective
    plan: VicinalPlan

    @property
    def steps(self) -> int:
        """Of the whole phase."""
        return self.epochs * self.plan.batches

    def batch_images(self, position: int) -> int:
        """Of batch number `position` of an epoch, over all processes: the last one is as small as it comes."""
        return min(self.plan.batch_size, self.plan.images - position * self.plan.batch_size)
