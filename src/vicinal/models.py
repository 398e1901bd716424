"""Teachers and students on timm: pixels in [0, 1] in, logits out, features before the classifier on request.

Shapes: B samples, C channels, K classes, D features. Normalisation lives inside the network, so that a teacher and a
student fed one mixed image each see it as they were trained to.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.layers import ConvNormAct
from timm.models import register_model
from torch import Tensor, nn

from vicinal.errors import UsageError
from vicinal.specs import NetworkSpec
from vicinal.vicinity import resize

_OWN_KEYS = {"mean", "std"}  # weights saved by vicinal hold their normalisation
_HUB_PREFIXES = ("hf-hub:", "hf_hub:")  # timm's names for anyone's model on the Hugging Face hub
_BUILT_IN = ("vicinal_resnet8", "vicinal_mobilenet")
HEAD_START_STD = 1e-3  # of a new classifier's weights: logits start near 0, so a short fine-tuning keeps its features
BOTTLENECK_UNITS = 256


class Classifier(nn.Module):
    """A timm backbone with a head: (B, C, H, W) pixels in [0, 1] to (B, K) logits.

    Args:
        backbone: pixels, normalised, to (B, D) pooled features.
        head: (B, D) to (B, K).
        mean, std: normalisation, one number for each channel.
        image_size: side that the input is resized to; None takes it as given.
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
    ) -> None:
        super().__init__()
        self.backbone, self.head, self.image_size = backbone, head, image_size
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        with _running_statistics(self) if self.training and len(pixels) == 1 else contextlib.nullcontext():
            return cast(Tensor, self.head(self._pooled(pixels)))

    def features(self, pixels: Tensor) -> Tensor:
        """(B, D') features that the last linear layer sees: behind the bottleneck where the head has one."""
        pooled = self._pooled(pixels)
        return cast(Tensor, self.head[:-1](pooled)) if isinstance(self.head, nn.Sequential) else pooled

    def _pooled(self, pixels: Tensor) -> Tensor:
        return cast(Tensor, self.backbone((resize(pixels, self.image_size) - self.mean) / self.std))

    @property
    def values(self) -> int:
        """Number of values stored: parameters and batch-norm statistics, as the paper counts them."""
        counted = (p.numel() for p in self.parameters())
        statistics = (b.numel() for name, b in self.named_buffers() if name.endswith(("running_mean", "running_var")))
        return sum(counted) + sum(statistics)


def bottleneck_head(features: int, classes: int) -> nn.Sequential:
    """The paper's student head: Linear to 256 without bias, BatchNorm, ReLU, Dropout 0.3, Linear (authors' repository)."""
    return nn.Sequential(
        nn.Linear(features, BOTTLENECK_UNITS, bias=False),
        nn.BatchNorm1d(BOTTLENECK_UNITS),
        nn.ReLU(inplace=True),
        nn.Dropout(0.3),
        _new_classifier(BOTTLENECK_UNITS, classes),
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


def _new_classifier(features: int, classes: int) -> nn.Linear:
    linear = nn.Linear(features, classes)
    nn.init.trunc_normal_(linear.weight, std=HEAD_START_STD)
    nn.init.zeros_(linear.bias)
    return linear


def build_classifier(spec: NetworkSpec, classes: int, channels: int) -> Classifier:
    """The network of a spec, in eval mode, with its weights loaded and a new head where it needs one.

    Args:
        classes: K of the data; channels: of its images, 1 or 3.

    Raises:
        UsageError: an unknown model, weights that are missing, damaged or do not fit, more classes in the data than in a kept
            head, or a normalisation that nobody states.
    """
    if not timm.is_model(spec.model) and not spec.model.startswith(_HUB_PREFIXES):
        close = difflib.get_close_matches(spec.model, timm.list_models(), n=3)
        hint = f"; close ones: {', '.join(close)}" if close else ""
        raise UsageError(f"no timm model is named {spec.model!r}{hint}")
    local = None if spec.weights is None or spec.weights == "hub" else Path(spec.weights)
    saved = read_weights(local) if local is not None else None
    own = saved is not None and saved.keys() >= _OWN_KEYS and any(name.startswith("head.") for name in saved)
    if spec.epochs == 0 and spec.head != "keep" and not own:
        raise UsageError(
            f"epochs: 0 would leave the new head of {spec.model} untrained; use head: keep, or epochs above 0"
        )
    backbone = _timm_model(spec, channels, None if own else saved)
    mean, std = _normalisation(spec, backbone, channels)
    if own and saved is not None:
        _fit_normalisation(spec, saved, mean, std, channels)
    head: nn.Module
    if spec.head == "keep" and not own:
        head = _kept_head(backbone, spec, classes)
        cast(Any, backbone).reset_classifier(0)
    else:
        cast(Any, backbone).reset_classifier(0)
        features = _feature_count(backbone, spec, channels)
        as_saved = spec.head == "keep" and saved is not None and "head.weight" not in saved
        head = (
            bottleneck_head(features, classes)
            if spec.head == "bottleneck" or as_saved
            else _new_classifier(features, classes)
        )
    network = Classifier(backbone, head, mean, std, spec.image_size)
    if own and saved is not None:
        _load_own_weights(network, saved, spec, classes)
    return network.eval()


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, or of a PyTorch file read with weights_only=True. Raises UsageError."""
    if not path.is_file():
        raise UsageError(f"no weights file {path}; give the path of a safetensors file, 'hub', or leave 'weights' out")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        value = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise UsageError(f"{path} is no readable safetensors file ({error}); get it again") from None
    except Exception as error:
        raise UsageError(
            f"{path} is no file of plain tensors ({type(error).__name__}); save the model's state_dict as safetensors"
        ) from None
    value = value.get("state_dict", value) if isinstance(value, dict) else value
    if not isinstance(value, dict) or not all(isinstance(t, Tensor) for t in value.values()):
        raise UsageError(f"{path} is no state_dict; save model.state_dict() as safetensors")
    return value


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _timm_model(spec: NetworkSpec, channels: int, saved: dict[str, Tensor] | None) -> nn.Module:
    try:
        if saved is not None:
            overlay: dict[str, Any] = {"file": spec.weights}
            held = _classes_held(spec, saved)
            if held is not None:  # as many as the file holds: timm would otherwise ask for the model's own number
                overlay["num_classes"] = held
                return timm.create_model(
                    spec.model, pretrained=True, in_chans=channels, num_classes=held, pretrained_cfg_overlay=overlay
                )
            return timm.create_model(spec.model, pretrained=True, in_chans=channels, pretrained_cfg_overlay=overlay)
        return timm.create_model(spec.model, pretrained=spec.weights == "hub", in_chans=channels)
    except RuntimeError as error:
        if saved is None and spec.weights != "hub":
            raise UsageError(f"timm cannot make {spec.model}: {_short(error)}") from None
        raise UsageError(f"the weights {spec.weights} do not fit {spec.model}: {_short(error)}") from None
    except (OSError, ValueError) as error:
        if spec.weights == "hub":
            raise UsageError(
                f"the hub's weights of {spec.model} cannot be had ({_short(error)}); or give a local safetensors file as 'weights'"
            ) from None
        raise UsageError(f"timm cannot make {spec.model}: {_short(error)}") from None


def _classes_held(spec: NetworkSpec, saved: dict[str, Tensor]) -> int | None:
    """The number of classes in a timm file, 0 without a classifier; None where the model does not name its classifier."""
    cfg = timm.get_pretrained_cfg(spec.model, allow_unregistered=True)
    name = getattr(cfg, "classifier", None) or ("head" if spec.model in _BUILT_IN else None)
    if not isinstance(name, str):
        return None
    weight = saved.get(f"{name}.weight")
    return 0 if weight is None else len(weight)


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _normalisation(
    spec: NetworkSpec, backbone: nn.Module, channels: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    cfg = getattr(backbone, "pretrained_cfg", None) or {}
    mean, std = spec.mean or cfg.get("mean"), spec.std or cfg.get("std")
    if not mean or not std:
        raise UsageError(f"nobody states the normalisation of {spec.model}: give its 'mean' and 'std' in the study")
    if (
        channels == 1 and len(mean) == 3
    ):  # timm sums a first layer's filters over colours: the mean colour keeps the scale
        mean, std = (sum(mean) / 3,), (sum(std) / 3,)
    if len(mean) == 1 and len(std) == 1:
        mean, std = tuple(mean) * channels, tuple(std) * channels
    if len(mean) != channels or len(std) != channels:
        raise UsageError(
            f"'mean' and 'std' of {spec.model} need {channels} numbers, one for each channel of the images"
        )
    return tuple(mean), tuple(std)


def _fit_normalisation(
    spec: NetworkSpec, saved: dict[str, Tensor], mean: tuple[float, ...], std: tuple[float, ...], channels: int
) -> None:
    """Weights saved by vicinal hold their normalisation; a study that states another is in error."""
    stated = torch.tensor([mean, std])
    held = torch.stack([saved["mean"].flatten(), saved["std"].flatten()])
    if held.shape[1] != channels:
        raise UsageError(f"{spec.weights} takes images of {held.shape[1]} channel(s), the data has {channels}")
    if spec.mean is not None and not torch.allclose(stated, held, atol=1e-4):
        raise UsageError(f"{spec.weights} was trained with mean and std {held.tolist()}; leave 'mean' and 'std' out")


def _kept_head(backbone: nn.Module, spec: NetworkSpec, classes: int) -> nn.Module:
    head = cast(Any, backbone).get_classifier()
    if not isinstance(head, nn.Linear):
        raise UsageError(f"head: keep needs a single linear classifier, which {spec.model} has not; use head: linear")
    _check_classes(spec, head.out_features, classes)
    return head


def _check_classes(spec: NetworkSpec, held: int, classes: int) -> None:
    if held != classes:
        raise UsageError(
            f"the head in {spec.weights} knows {held} classes and the data has {classes}: "
            "use head: linear with epochs above 0 to train a new head, or other weights"
        )


def _load_own_weights(network: Classifier, saved: dict[str, Tensor], spec: NetworkSpec, classes: int) -> None:
    state = dict(saved)
    if spec.head != "keep" and spec.epochs > 0:
        state = {name: t for name, t in state.items() if not name.startswith("head.")}
    else:
        last = max(name for name in state if name.startswith("head.") and name.endswith("weight"))
        _check_classes(spec, len(state[last]), classes)
    try:
        missing, unexpected = network.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise UsageError(f"the weights {spec.weights} do not fit {spec.model}: {_short(error)}") from None
    missing = [name for name in missing if not (name.startswith("head.") and spec.head != "keep" and spec.epochs > 0)]
    if missing or unexpected:
        name = (missing + unexpected)[0]
        raise UsageError(
            f"the weights {spec.weights} do not fit {spec.model} with head: {spec.head} (first difference: {name})"
        )


def _feature_count(backbone: nn.Module, spec: NetworkSpec, channels: int) -> int:
    """Width of the pooled features, asked of the network itself: some timm models widen `num_features` before pooling."""
    width = getattr(backbone, "head_hidden_size", None) or getattr(backbone, "num_features", None)
    if not isinstance(width, int):
        raise UsageError(
            f"{spec.model} does not say how many features it has, so it takes no new head (channels: {channels})"
        )
    return width


# --- the two small built-in networks ----------------------------------------------------------------------------------


class _BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNormAct(inputs, outputs, 3, stride=stride)
        self.conv2 = ConvNormAct(outputs, outputs, 3, apply_act=False)
        changed = stride != 1 or inputs != outputs
        self.shortcut = ConvNormAct(inputs, outputs, 1, stride=stride, apply_act=False) if changed else nn.Identity()
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.act(self.conv2(self.conv1(x)) + self.shortcut(x)))


class _InvertedResidual(nn.Module):
    """1x1 expansion, 3x3 depthwise, 1x1 projection, with a shortcut where shapes allow (Sandler et al. 2018)."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = ConvNormAct(inputs, hidden, 1)
        self.depthwise = ConvNormAct(hidden, hidden, 3, stride=stride, groups=hidden)
        self.project = ConvNormAct(hidden, outputs, 1, apply_act=False)
        self.has_shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = cast(Tensor, self.project(self.depthwise(self.expand(x))))
        return x + y if self.has_shortcut else y


class _SmallNetwork(nn.Module):
    """A stack of blocks, average pooling and a classifier, with timm's interface."""

    def __init__(self, blocks: nn.Sequential, features: int, num_classes: int) -> None:
        super().__init__()
        self.blocks, self.num_features, self.num_classes = blocks, features, num_classes
        self.head_hidden_size = features
        self.head: nn.Module = nn.Identity()
        self.reset_classifier(num_classes)

    def get_classifier(self) -> nn.Module:
        return self.head

    def reset_classifier(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.head = _new_classifier(self.num_features, num_classes) if num_classes > 0 else nn.Identity()

    def forward_features(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.blocks(x))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        pooled = x.mean((2, 3))
        return pooled if pre_logits else cast(Tensor, self.head(pooled))

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))


_FASHION_MNIST_CFG = {"mean": (0.286,), "std": (0.353,), "input_size": (1, 28, 28), "num_classes": 10}


def _small(blocks: nn.Sequential, features: int, kwargs: dict[str, Any]) -> nn.Module:
    if kwargs.pop("pretrained", False) and not (kwargs.get("pretrained_cfg_overlay") or {}).get("file"):
        raise ValueError("the built-in networks have none; leave 'weights' out to train from the start")
    overlay = kwargs.get("pretrained_cfg_overlay") or {}
    network = _SmallNetwork(blocks, features, kwargs.get("num_classes", 10))
    cfg = _FASHION_MNIST_CFG | overlay
    network.pretrained_cfg = network.default_cfg = cfg  # type: ignore[assignment]
    if overlay.get("file"):
        network.load_state_dict(read_weights(Path(overlay["file"])))
    return network


@register_model
def vicinal_resnet8(**kwargs: Any) -> nn.Module:
    """0.3 M parameter residual network for 28 px images: stride-2 stem and one basic block at 32, 64 and 128 channels."""
    stem = ConvNormAct(kwargs.get("in_chans", 1), 32, 3, stride=2)
    return _small(
        nn.Sequential(stem, _BasicBlock(32, 32, 1), _BasicBlock(32, 64, 2), _BasicBlock(64, 128, 2)), 128, kwargs
    )


@register_model
def vicinal_mobilenet(**kwargs: Any) -> nn.Module:
    """31 k parameter network of inverted residuals for 28 px images."""
    plan = [(16, 24, 2), (24, 24, 1), (24, 40, 2), (40, 40, 1)]
    blocks = [_InvertedResidual(i, o, stride, expansion=3) for i, o, stride in plan]
    stem = ConvNormAct(kwargs.get("in_chans", 1), 16, 3, stride=2)
    return _small(nn.Sequential(stem, *blocks, ConvNormAct(40, 128, 1)), 128, kwargs)
