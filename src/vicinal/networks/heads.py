"""Heads: the one a network brings, kept whatever its form, or a new one on the network's features.

Shapes: B samples, (C, H, W) an image, K classes, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from vicinal.config import NetworkSpec
from vicinal.errors import UsageError
from vicinal.networks.classifier import WholeModel, bottleneck_head, new_classifier


class ClassOrder(nn.Module):
    """The head of a network that keeps its own classifier inside: its (B, K) logits, in the order of the data's classes."""

    order: Tensor

    def __init__(self, classes: int, places: Sequence[int] | None = None) -> None:
        """Args: classes: that the network answers with; places: of its logits that are kept, in this order; None: all, as they are."""
        super().__init__()
        self.register_buffer("order", torch.arange(classes) if places is None else torch.tensor(list(places)))
        if len(self.order) != classes:  # said in saved weights only where some are left out
            self.register_buffer("held", torch.tensor(classes))

    @property
    def held_classes(self) -> int:
        """How many classes the network answers with."""
        return int(getattr(self, "held", len(self.order)))

    def forward(self, logits: Tensor) -> Tensor:
        """(B, H) logits of the network to (B, K). Raises ValueError for another H."""
        if logits.dim() != 2 or logits.shape[1] != self.held_classes:
            raise ValueError(
                f"it answers with {tuple(logits.shape)[1:]} numbers an image, and there are {self.held_classes} classes"
            )
        return logits.index_select(1, self.order)


def kept_head(spec: NetworkSpec, model: nn.Module, classes: int) -> tuple[nn.Module, nn.Module]:
    """A model as backbone and the head that it brings.

    A single linear layer becomes the head; a convolution, a pair, several layers, or what a model does not name stays inside it.
    """
    classifier = _classifier(model)
    named = (getattr(model, "pretrained_cfg", None) or {}).get("classifier")
    several = isinstance(named, tuple | list) and len(named) > 1  # VOLO adds what a second one says
    if isinstance(classifier, nn.Linear) and not several and hasattr(model, "reset_classifier"):
        check_class_count(spec, classifier.out_features, classes)
        cast(Any, model).reset_classifier(0)
        return model, classifier
    held = getattr(model, "num_classes", None)
    check_class_count(spec, held if isinstance(held, int) else classes, classes)
    if spec.head_warmup_epochs and spec.epochs:
        raise UsageError(f"head_warmup_epochs trains a head alone, and that of {spec.model} is not apart: leave it out")
    return WholeModel(model), ClassOrder(classes)


def new_head(spec: NetworkSpec, model: nn.Module, classes: int) -> tuple[nn.Module, nn.Module]:
    """A model without its classifier, and a new head on its features. Raises UsageError where it gives none."""
    if not hasattr(model, "reset_classifier"):
        raise UsageError(
            f"{spec.model} has no reset_classifier(0), by which timm's models leave their classifier out: it takes no new head; "
            "use head: keep"
        )
    many = isinstance(_classifier(model), nn.ModuleList)  # one for each branch, of its own width
    cast(Any, model).reset_classifier(0)
    width = getattr(model, "head_hidden_size", None) or getattr(model, "num_features", None)
    if not isinstance(width, int):
        raise UsageError(f"{spec.model} does not say how many features it has, so it takes no new head; use head: keep")
    backbone = WholeModel(model, features_only=True) if many else model
    return backbone, bottleneck_head(width, classes) if spec.head == "bottleneck" else new_classifier(width, classes)


def _classifier(model: nn.Module) -> Any:
    try:
        return cast(Any, model).get_classifier()
    except (AttributeError, NotImplementedError):
        return None


def reorder_classes(head: nn.Module, order: Sequence[int]) -> None:
    """Put the logits of a head into another order: its k-th becomes what was its order[k]-th."""
    index = torch.tensor(order)
    with torch.no_grad():
        if isinstance(head, ClassOrder):
            head.order.copy_(head.order[index])
            return
        last = cast(nn.Linear, head[-1] if isinstance(head, nn.Sequential) else head)
        last.weight.copy_(last.weight[index])
        if last.bias is not None:
            last.bias.copy_(last.bias[index])


def check_class_count(spec: NetworkSpec, held: int, classes: int) -> None:
    """Raises UsageError where a head that is kept has other classes than the data."""
    if held == 0:
        raise UsageError(
            f"the weights {spec.weights or spec.model} hold no classifier for head: keep; use head: linear with epochs above 0"
        )
    if held != classes:
        raise UsageError(
            f"the head in {spec.weights or spec.model} has {held} classes and the data has {classes}: "
            "use head: linear with epochs above 0 to train a new head, or other weights"
        )
