"""`Classifier`: anything with pixels in [0, 1] in and logits out; a timm backbone with a head, or whatever a user brings.

Shapes: B samples, (C, H, W) an image, K classes, D features. Normalisation lives inside the network, so that a teacher and a
student fed one mixed image each see it as they were trained to.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from vicinal.config import NetworkSpec, PreparationSpec
from vicinal.inputs import Preparation, resize

HEAD_START_STD = 1e-3  # of a new classifier's weights: logits start near 0, so a short fine-tuning keeps its features
BOTTLENECK_UNITS = 256


class Classifier(nn.Module):
    """A network as every room uses it: (B, C, H, W) float32 pixels in [0, 1] to (B, K) logits. Made by `of` or `build_classifier`.

    Args:
        preparation: how a stored image becomes its input; None where whoever calls it says so (in a study, the study does).
        class_names: what its K logits stand for, in their order; None where the data's order is taken for granted.
    """

    def __init__(self, preparation: Preparation | None = None, class_names: Sequence[str] | None = None) -> None:
        super().__init__()
        self.preparation = preparation
        self.class_names = None if class_names is None else tuple(class_names)
        self.own_preparation: PreparationSpec | None = None  # as its weights or its model state it, from the originals
        self.notes: tuple[str, ...] = ()  # what was decided in its making, a sentence each
        self.classes_are_guessed = False  # its logits are taken to be the data's classes in the data's order

    @staticmethod
    def of(
        network: nn.Module | Callable[[Tensor], Any],
        preparation: Preparation | None = None,
        class_names: Sequence[str] | None = None,
        *,
        features: Callable[[Tensor], Any] | None = None,
    ) -> Classifier:
        """Any network as a `Classifier`, so that it can be measured or teach.

        A module takes part as modules do: it is moved, frozen, put into eval mode, its batch norms are fused. A plain function
        is called as it is, on the device its pixels lie on, and has no parameters: it cannot be a student.

        Args:
            network: (B, C, H, W) float32 pixels in [0, 1] to (B, K) logits, a tensor or an array; it normalises them itself.
            preparation, class_names: as the class has them.
            features: (B, C, H, W) pixels to (B, D), what its last linear layer sees; default: those of a classifier, else none.

        Raises:
            TypeError: what is given cannot be called.
        """
        if not callable(network):
            raise TypeError(f"a network is a module or a function of pixels, not {type(network).__name__}")
        if features is None and isinstance(network, Classifier):
            features = network.features
        return WrappedClassifier(network, preparation, class_names, features)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, C, H, W) pixels in [0, 1] to (B, K) logits."""
        raise NotImplementedError

    def features(self, pixels: Tensor) -> Tensor:
        """(B, D) features that the last linear layer sees. Raises ValueError where the network does not give any."""
        raise NotImplementedError

    @property
    def last_linear(self) -> nn.Linear | None:
        """The layer that makes logits of `features`; None where that is not known, or no single linear one."""
        return None

    @property
    def parameter_count(self) -> int:
        """Number of parameters; of a network that is made from a file and not trained here, the values in the file."""
        inside = sum(getattr(module, "value_count", 0) for module in self.modules())
        return inside + sum(p.numel() for p in self.parameters())

    @property
    def stored_value_count(self) -> int:
        """Number of values stored: parameters and batch-norm statistics, as the paper counts them."""
        counted = [self.parameter_count]
        statistics = (b.numel() for name, b in self.named_buffers() if name.endswith(("running_mean", "running_var")))
        return sum(counted) + sum(statistics)


class WrappedClassifier(Classifier):
    """A module or a function that was not made here: what `Classifier.of` gives."""

    def __init__(
        self,
        network: nn.Module | Callable[[Tensor], Any],
        preparation: Preparation | None = None,
        class_names: Sequence[str] | None = None,
        features: Callable[[Tensor], Any] | None = None,
    ) -> None:
        super().__init__(preparation, class_names)
        self.network, self._features = network, features

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, C, H, W) pixels in [0, 1] to (B, K) logits. Raises ValueError for an answer of another shape."""
        logits = torch.as_tensor(self.network(pixels), device=pixels.device)
        if logits.dim() != 2 or len(logits) != len(pixels) or not logits.is_floating_point():
            raise ValueError(
                f"a network answers {len(pixels)} images with ({len(pixels)}, K) logits, not {logits.dtype} {tuple(logits.shape)}"
            )
        if self.class_names is not None and logits.shape[1] != len(self.class_names):
            raise ValueError(f"the network gives {logits.shape[1]} logits for {len(self.class_names)} class names")
        return logits

    def features(self, pixels: Tensor) -> Tensor:
        """(B, D) features, from the function that was given for them. Raises ValueError where none was."""
        if self._features is None:
            raise ValueError("this network gives no features: pass Classifier.of(..., features=...)")
        return torch.as_tensor(self._features(pixels), device=pixels.device)


class TimmClassifier(Classifier):
    """A timm backbone with a head: (B, C, H, W) pixels in [0, 1] to (B, K) logits. Made by `build_classifier`.

    Args:
        backbone: pixels, normalised, to (B, D) pooled features.
        head: (B, D) to (B, K).
        mean, std: normalisation, one number for each channel.
        image_size: side that the input is resized to; None takes it as given.
        spec: that it was made by, with what its weights say filled in.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        image_size: int | None = None,
        spec: NetworkSpec | None = None,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.backbone, self.head, self.image_size = backbone, head, image_size
        self.images_of_batch: int | None = None  # in training, where the pixels are one process's part of the batch
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, C, H, W) pixels in [0, 1] to (B, K) logits."""
        with _running_statistics(self) if self.training and self._is_single(pixels) else contextlib.nullcontext():
            return cast(Tensor, self.head(self._pooled(pixels)))

    def _is_single(self, pixels: Tensor) -> bool:
        return (len(pixels) if self.images_of_batch is None else self.images_of_batch) == 1

    def features(self, pixels: Tensor) -> Tensor:
        """(B, D') features that the last linear layer sees: behind the bottleneck where the head has one."""
        if isinstance(self.backbone, WholeModel) and not self.backbone.features_only:
            return self.backbone.features(self._normalised(pixels))
        pooled = self._pooled(pixels)
        return cast(Tensor, self.head[:-1](pooled)) if isinstance(self.head, nn.Sequential) else pooled

    @property
    def last_linear(self) -> nn.Linear | None:
        """The layer that makes logits of `features`; None where the network keeps a head of its own inside."""
        last = self.head[-1] if isinstance(self.head, nn.Sequential) else self.head
        return last if isinstance(last, nn.Linear) else None

    def _pooled(self, pixels: Tensor) -> Tensor:
        return cast(Tensor, self.backbone(self._normalised(pixels)))

    def _normalised(self, pixels: Tensor) -> Tensor:
        return (resize(pixels, self.image_size) - self.mean) / self.std


class WholeModel(nn.Module):
    """A timm model that is no stack of features and one linear layer: (B, C, H, W) to (B, K) logits, or to (B, D) features.

    A model of several heads answers with their mean, as timm's own do in eval mode.

    Args:
        features_only: answer with the features before the classifier, which has been taken out.
    """

    def __init__(self, model: nn.Module, features_only: bool = False) -> None:
        super().__init__()
        self.model, self.features_only = model, features_only

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) normalised pixels to (B, K) logits, or (B, D) features."""
        return self.features(x) if self.features_only else _one_row_each(self.model(x))

    def features(self, x: Tensor) -> Tensor:
        """(B, D) pooled features. Raises ValueError where the model does not give any."""
        model = cast(Any, self.model)
        if not hasattr(model, "forward_features") or not hasattr(model, "forward_head"):
            raise ValueError(f"{type(model).__name__} gives no features: it has no forward_features and forward_head")
        return _one_row_each(model.forward_head(model.forward_features(x), pre_logits=True))


def _one_row_each(answer: Any) -> Tensor:
    """(B, K) of what a model answers: a tensor, or several that are averaged; maps of one pixel lose it."""
    if isinstance(answer, tuple | list):
        answer = torch.stack(list(answer)).mean(0)
    return cast(Tensor, answer.flatten(1))


@contextlib.contextmanager
def features_of_passes(network: Classifier) -> Iterator[list[Tensor]]:
    """(B, D) features of every forward pass within it, in a list that grows: what a pass for its logits computes anyway.

    Raises ValueError where the network has no `last_linear`.
    """
    last, seen = network.last_linear, list[Tensor]()
    if last is None:
        raise ValueError("this network gives no features beside its logits: its head is no linear layer apart")
    hook = last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        yield seen
    finally:
        hook.remove()


@contextlib.contextmanager
def evaluating(network: Any) -> Iterator[None]:
    """A network in eval mode for a moment: every part of it goes back to the mode it was in.

    Dropout and the batches of train mode would give other answers at each call and move the running statistics. The modules of a
    plain function are those that it is a method of, that it was made with (functools.partial), that it closes over or names, and
    those in the attributes, lists and dicts of these.
    """
    modules = [part for module in _modules_of(network) for part in module.modules() if part.training]
    for module in modules:
        module.training = False
    try:
        yield
    finally:
        for module in modules:
            module.training = True


def _modules_of(network: Any, depth: int = 4) -> list[nn.Module]:
    if isinstance(network, nn.Module):
        hidden = network.network if isinstance(network, WrappedClassifier) else None
        behind = [] if isinstance(hidden, nn.Module) else [hidden]
        return [network, *(module for part in behind for module in _modules_of(part, depth))]
    if not depth:
        return []
    return [module for part in _behind(network) for module in _modules_of(part, depth - 1)]


def _behind(function: Any) -> list[Any]:
    """What a callable that is no module may call: what it was made with, belongs to, closes over, names or keeps in attributes."""
    if isinstance(function, functools.partial):
        return [function.func, *function.args, *function.keywords.values()]
    if isinstance(function, dict):
        return list(itertools.islice(function.values(), 1000))
    if isinstance(function, list | tuple):
        return list(function[:1000])
    if isinstance(function, types.MethodType):
        return [function.__self__, function.__func__]
    if not isinstance(function, types.FunctionType):
        # An object of a class of one's own; modules of Python, classes and numbers hold no network of this one.
        return [] if isinstance(function, types.ModuleType | type) else list(getattr(function, "__dict__", {}).values())
    named = [function.__globals__[name] for name in function.__code__.co_names if name in function.__globals__]
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # an empty cell
            named.append(cell.cell_contents)
    return [*named, *(function.__defaults__ or ())]


def bottleneck_head(features: int, classes: int) -> nn.Sequential:
    """The paper's student head: Linear to 256 without bias, BatchNorm, ReLU, Dropout 0.3, Linear (authors' repository)."""
    return nn.Sequential(
        nn.Linear(features, BOTTLENECK_UNITS, bias=False),
        nn.BatchNorm1d(BOTTLENECK_UNITS),
        nn.ReLU(inplace=True),
        nn.Dropout(0.3),
        new_classifier(BOTTLENECK_UNITS, classes),
    )


@contextlib.contextmanager
def _running_statistics(network: nn.Module) -> Iterator[None]:
    """Batch norms answer by their running statistics: a batch of one image, the odd one at an epoch's end, has none."""
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]
    for norm in norms:
        norm.eval()
    try:
        yield
    finally:
        for norm in norms:
            norm.train()


def new_classifier(features: int, classes: int) -> nn.Linear:
    """A linear layer from D to K whose logits start near 0."""
    linear = nn.Linear(features, classes)
    nn.init.trunc_normal_(linear.weight, std=HEAD_START_STD)
    nn.init.zeros_(linear.bias)
    return linear
