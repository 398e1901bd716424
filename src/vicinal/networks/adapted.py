"""Any module with what timm's models have, so that heads, weights and preparation are one code for all.

Shapes: B samples, (C, H, W) an image, K classes, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from vicinal.config import NetworkSpec
from vicinal.errors import UsageError, one_line
from vicinal.networks.timm_models import without_company
from vicinal.networks.weights import check_kinds, first_difference

_SIDES = (224, 32, 28, 64, 96, 128, 256, 299, 384)  # px, tried where nothing says what a network takes
_INSIDE = "model."  # before the names of the adapted module's own tensors


class AdaptedModel(nn.Module):
    """A module that is not timm's: (B, C, H, W) normalised pixels to (B, K) logits, or to (B, D) features once its classifier is out.

    Its classifier is found by watching one image pass: the last linear or convolutional layer that gives K numbers. Grey images
    reach a network that takes colour as three equal channels.

    Args:
        cfg: what timm has as pretrained_cfg: mean, std, input_size, crop_pct, crop_mode, interpolation, label_names.
        channels: C that the module itself takes.
        file_bytes: of what the module is made from, kept with its weights so that they are enough to make it again.

    Raises:
        UsageError: it cannot be called with an image, or answers with something else than logits.
    """

    file_bytes: Tensor | None

    def __init__(
        self, model: nn.Module, cfg: Mapping[str, Any], what: str, channels: int = 3, file_bytes: bytes | None = None
    ) -> None:
        super().__init__()
        self.model, self.pretrained_cfg, self.in_chans = model, dict(cfg), channels
        kept = None if file_bytes is None else torch.frombuffer(bytearray(file_bytes), dtype=torch.uint8)
        self.register_buffer("file_bytes", kept)
        self.num_classes, self.classifier_name, self.num_features, self._is_apart = _examined(self, what)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, C, H, W) normalised pixels to (B, K) logits, or (B, D) features."""
        if pixels.shape[1] == 1 and self.in_chans == 3:
            pixels = pixels.expand(-1, 3, -1, -1)
        return logits_in(self.model(pixels))

    def get_classifier(self) -> nn.Module | None:
        """The linear layer whose (B, D) input and (B, K) output are the network's features and answer; None for other forms."""
        return self.model.get_submodule(self.classifier_name) if self._is_apart and self.classifier_name else None

    def reset_classifier(self, num_classes: int) -> None:
        """Leave the classifier out (0): what it was given then comes out."""
        if num_classes:
            raise ValueError("a new classifier is put behind a network, not into it")
        if self.classifier_name is not None:
            replace_module(self.model, self.classifier_name, nn.Identity())


def logits_in(answer: Any) -> Tensor:
    """(B, K) of what a module answers: a tensor, transformers' output, a mapping with logits, or the first of several."""
    if isinstance(answer, Mapping):
        answer = answer.get("logits", next(iter(answer.values()), None))
    elif getattr(answer, "logits", None) is not None:
        answer = answer.logits
    if isinstance(answer, tuple | list) and answer:
        answer = answer[0]
    is_map = isinstance(answer, Tensor) and answer.dim() > 2 and answer.shape[2:].numel() == 1  # of one pixel
    return cast(Tensor, answer.flatten(1) if is_map else answer)


def replace_module(network: nn.Module, name: str, module: nn.Module) -> None:
    """Put a module in the place of the one of a dotted name."""
    parent, _, last = name.rpartition(".")
    owner = network.get_submodule(parent)
    if isinstance(owner, nn.Sequential | nn.ModuleList):
        owner[int(last)] = module
    else:
        setattr(owner, last, module)


@torch.no_grad()
def _examined(adapted: AdaptedModel, what: str) -> tuple[int, str | None, int | None, bool]:
    """K; the classifier's name, its D, whether its output is the answer itself: None, None, False where there is none to take out."""
    modes = {module: module.training for module in adapted.modules()}
    adapted.eval()
    try:
        pixels, answer, calls = _passed(adapted, what)
        if not isinstance(answer, Tensor) or answer.dim() != 2 or not answer.is_floating_point() or answer.shape[1] < 2:
            said = f"{answer.dtype} {tuple(answer.shape)}" if isinstance(answer, Tensor) else type(answer).__name__
            raise UsageError(f"{what} answers an image with {said}, not with (1, K) logits of two or more classes")
        classes = answer.shape[1]
        for name, layer, given, made in reversed(calls):
            width = layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
            if made.shape[1 if isinstance(layer, nn.Conv2d) else -1] != classes:
                continue
            if [other for other, *_ in calls].count(name) != 1 or _is_shared(adapted.model, layer):
                break
            replace_module(adapted.model, name, nn.Identity())
            try:
                features = adapted(pixels)
                apart = bool(isinstance(layer, nn.Linear) and given.dim() == 2 and torch.equal(layer(features), answer))
            except Exception:  # what stands behind it takes K numbers alone
                break
            finally:
                replace_module(adapted.model, name, layer)
            if isinstance(features, Tensor) and features.shape == (1, width):
                return classes, name, width, apart
            break
        return classes, None, None, False
    finally:
        for module, mode in modes.items():
            module.training = mode


def _passed(adapted: AdaptedModel, what: str) -> tuple[Tensor, Any, list[tuple[str, Any, Tensor, Tensor]]]:
    """An image, the answer to it, and every linear and convolutional layer that it passed, with input and output."""
    calls: list[tuple[str, Any, Tensor, Tensor]] = []
    handles = []
    for name, module in adapted.model.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and name:

            def watch(module: nn.Module, given: Any, made: Any, name: str = name) -> None:
                if given and isinstance(given[0], Tensor) and isinstance(made, Tensor):
                    calls.append((name, module, given[0], made))

            handles.append(module.register_forward_hook(watch))
    stated = adapted.pretrained_cfg.get("input_size")
    failed: Exception | None = None
    try:
        for side in [stated[-1]] if stated else _SIDES:
            calls.clear()
            draw = torch.Generator().manual_seed(0)
            pixels = torch.rand(1, adapted.in_chans, side, side, generator=draw)
            try:
                return pixels, adapted(pixels), list(calls)
            except Exception as error:
                failed = failed or error
    finally:
        for handle in handles:
            handle.remove()
    assert failed is not None
    at = f"{stated[-1]} px" if stated else f"{_SIDES[0]} px"
    hint = "" if stated else "; state the side of its images as image_size, or as input_size in its pretrained_cfg"
    said = f"{type(failed).__name__}: {one_line(failed)}"
    raise UsageError(f"{what} cannot be called with an image of {at} ({said}){hint}") from None


def _is_shared(model: nn.Module, layer: Any) -> bool:
    """Whether a layer's weight is used elsewhere, too."""
    return sum(p is layer.weight for module in model.modules() for p in module.parameters(recurse=False)) > 1


def loaded(
    make: Callable[[int | None], AdaptedModel], spec: NetworkSpec, weights: Mapping[str, Tensor], notes: list[str]
) -> AdaptedModel:
    """A model with the weights of a file, of as many classes as these have.

    Args:
        make: an untrained model of so many classes; None: of its own number.

    Raises UsageError where they do not fit.
    """
    weights = {name: t for name, t in weights.items() if name != "file_bytes"}
    adapted = make(None)
    own = adapted.model.state_dict()
    if weights and all(name.startswith(_INSIDE) for name in weights) and not any(n.startswith(_INSIDE) for n in own):
        weights = {name.removeprefix(_INSIDE): t for name, t in weights.items()}
    name = adapted.classifier_name
    weights = without_company(spec, name, weights, notes)
    last = weights.get(f"{name}.weight") if name is not None else None
    if last is not None and len(last) != adapted.num_classes:
        adapted = make(len(last))
        own = adapted.model.state_dict()
    assert spec.weights is not None
    check_kinds(spec.weights, weights, own)
    lacks_head = name is not None and last is None
    missing = [n for n in own if n not in weights and not (lacks_head and n.startswith(f"{name}."))]
    counters = [n for n in missing if n.endswith("num_batches_tracked")]  # older files have none
    full = {**{n: own[n] for n in counters}, **weights}
    wanted = {n: t for n, t in own.items() if n in full or not (lacks_head and n.startswith(f"{name}."))}
    difference = first_difference(full, wanted)
    if difference is not None:
        raise UsageError(f"the weights {spec.weights} do not fit {spec.model} (first difference: {difference})")
    adapted.model.load_state_dict(full, strict=False)
    if lacks_head:
        if spec.head == "keep":
            raise UsageError(
                f"the weights {spec.weights} hold no classifier for head: keep; use head: linear with epochs above 0"
            )
        notes.append(f"{spec.model}: its weights hold no classifier ({name}), which a new head replaces.")
    return adapted


def close_names(name: str, known: Sequence[str]) -> str:
    """A hint at names that are spelled alike; empty where there are none."""
    import difflib

    close = difflib.get_close_matches(name, known, n=3)
    return f"; close ones: {', '.join(close)}" if close else ""
