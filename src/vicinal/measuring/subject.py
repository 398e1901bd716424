"""A classifier that is to be measured: what it is called, how its images are prepared, and which of its logits stand for which class.

Shapes: B images, K logits, D classes of the data.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from vicinal.errors import UsageError
from vicinal.functional import look_like_probabilities
from vicinal.inputs import Preparation
from vicinal.networks import Classifier, evaluating, load_classifier

_SHOWN = 8  # names of classes in a message
_LUMINANCE = (0.299, 0.587, 0.114)  # as Pillow turns colours grey


@dataclass(frozen=True)
class Subject:
    """A classifier with its name on the page, and how images are prepared for it."""

    name: str
    model: str  # as it was asked for
    weights: str | None
    classifier: Classifier
    preparation: Preparation
    notes: tuple[str, ...] = ()
    channels: int | None = None  # that it takes; None: nobody says

    def taking(self, channels: int) -> Subject:
        """The subject on images of so many channels: grey is repeated for a network of colours, colours are weighed for one of grey."""
        if self.channels in (None, channels):
            return self
        note = "Its images are grey here, and are given to it as three equal channels."
        if channels == 3:
            note = "It takes grey images, and is given the luminance of these."
        names = self.classifier.class_names
        adapted = Classifier.of(_Channels(self.classifier, channels), self.preparation, names)
        return replace(self, classifier=adapted, notes=(*self.notes, note), channels=channels)

    def giving_logits(self, pixels: Tensor) -> Subject:
        """The subject with the logarithms of its answers where these are probabilities: logits of the same probabilities.

        Args:
            pixels: (B, C, H, W) as it gets them; of one image alone nothing is concluded, since two logits are that by chance.
        """
        if len(pixels) < 2:
            return self
        with evaluating(self.classifier), torch.inference_mode():
            answers = self.classifier(pixels)
        if not look_like_probabilities(answers):
            return self
        note = "It answers with probabilities: their logarithms are its logits."
        converted = Classifier.of(_Logarithms(self.classifier), self.preparation, self.classifier.class_names)
        return replace(self, classifier=converted, notes=(*self.notes, note))

    @property
    def side(self) -> int | None:
        """Side in px of the images that it is given; None: as they are."""
        return self.preparation.view.side if self.preparation.view is not None else self.preparation.image_size

    @property
    def preparation_words(self) -> str:
        """How an image becomes its input."""
        view, augment = self.preparation.view, self.preparation.augment
        if view is not None:
            ways = {
                "center": f"the shorter side resized to {view.resize} px, the centre cropped",
                "squash": f"both sides resized to {view.resize} px",
                "border": f"the longer side resized to {view.resize} px, the rest filled",
            }
            return f"{view.side} x {view.side} px: {ways[view.mode]} ({view.interpolation})"
        if self.side is None:
            return "as the images are stored"
        if augment.crop == "resize" and augment.resize:
            return f"{self.side} x {self.side} px: the shorter side resized to {augment.resize} px, the centre cropped (bilinear)"
        return f"{self.side} x {self.side} px: the shorter side resized to that, the centre cropped (bilinear)"

    def answering(self, names: Sequence[str], only: bool, pixels: Tensor) -> tuple[Subject, tuple[str, ...]]:
        """The subject with its logits in the order of the data's classes, and what they stand for: these, then its further classes.

        Args:
            names: (D,) of the data.
            only: leave its further classes out, so that it chooses among the data's alone.
            pixels: (1, C, H, W) of an image as it gets them, by which its logits are counted.

        Raises UsageError where it does not have the data's classes.
        """
        held = self.classifier.class_names
        if held is None:
            return self, self._nameless(names, pixels)
        order = class_order(self.name, held, names)
        further = [] if only else [k for k in range(len(held)) if k not in set(order)]
        everything = [*order, *further]
        notes = list(self.notes)
        if order != list(range(len(order))):
            notes.append("Its classes stand in another order than the data's: matched by name.")
        left = len(held) - len(names)
        if left > 0:
            notes.append(
                f"It has {left:,} classes that the data does not have: "
                + (
                    "left out, so that it chooses among the data's."
                    if only
                    else "answers of them count as wrong (see --classes data)."
                )
            )
        chosen = self.classifier
        if everything != list(range(len(held))):
            chosen = Classifier.of(_Chosen(self.classifier, torch.tensor(everything)), self.preparation)
        found = replace(self, classifier=chosen, notes=tuple(notes))
        return found, (*names, *(held[k] for k in further))

    def _nameless(self, names: Sequence[str], pixels: Tensor) -> tuple[str, ...]:
        """Its classes are taken to be the data's, where it has as many."""
        with evaluating(self.classifier), torch.inference_mode():
            logits = int(self.classifier(pixels).shape[-1])
        if logits != len(names):
            raise UsageError(
                f"{self.name} answers with {logits:,} numbers and says no class names, and the data has {len(names):,} classes "
                f"({_listed(names)}): name its classes by --class-names FILE, a line each in the order of its logits"
            )
        return tuple(names)


class _Channels(nn.Module):
    """A network on images of another number of channels than its own: (B, C, H, W) to (B, K)."""

    def __init__(self, network: nn.Module, channels: int) -> None:
        super().__init__()
        self.network, self.channels = network, channels
        self.register_buffer("weights", torch.tensor(_LUMINANCE).view(1, 3, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        if self.channels == 1:
            return torch.as_tensor(self.network(pixels.expand(-1, 3, -1, -1)))
        return torch.as_tensor(self.network((pixels * self.get_buffer("weights")).sum(1, keepdim=True)))


class _Logarithms(nn.Module):
    """The logarithms of a network's probabilities: (B, C, H, W) to (B, K)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        # A probability that was rounded to 0 is at most the smallest number that float32 holds in full.
        return torch.as_tensor(self.network(pixels)).float().clamp(min=torch.finfo(torch.float32).tiny).log()


class _Chosen(nn.Module):
    """Some of a network's logits, in an order: (B, K) to (B, K')."""

    def __init__(self, network: nn.Module, index: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("index", index)

    def forward(self, pixels: Tensor) -> Tensor:
        return torch.as_tensor(self.network(pixels)).index_select(1, self.get_buffer("index"))


def subject_of(
    model: str | Classifier | Callable[[Tensor], Tensor],
    weights: str | None = None,
    class_names: Sequence[str] | None = None,
    name: str | None = None,
    device: torch.device | str = "cpu",
) -> Subject:
    """What is to be measured, from a name as `networks.load_classifier` takes it, or a network at hand.

    Raises UsageError for a model or weights that cannot be had.
    """
    if isinstance(model, str):
        classifier, channels = _loaded(model, weights, class_names, device)
        asked, called = model, name or _short(model)
    else:
        classifier = (model if isinstance(model, Classifier) else Classifier.of(model)).to(device)
        asked, called, channels = name or "classifier", name or "classifier", None
        if class_names is not None:
            classifier.class_names = tuple(class_names)
    side = getattr(classifier, "image_size", None)
    preparation = classifier.preparation or Preparation(image_size=side)
    return Subject(called, asked, weights, classifier, preparation, classifier.notes, channels)


def _loaded(
    model: str, weights: str | None, class_names: Sequence[str] | None, device: torch.device | str
) -> tuple[Classifier, int]:
    """A named classifier, for colours or, where its weights are of grey images, for grey."""
    try:
        return load_classifier(model, weights, class_names=class_names, device=device), 3
    except UsageError as error:
        try:
            return load_classifier(model, weights, class_names=class_names, channels=1, device=device), 1
        except UsageError:
            raise error from None


def _short(model: str) -> str:
    """A model's name in a table: NAME=FILE by its name, a path by its last parts, a run by its folder."""
    name, _, file = model.partition("=")
    if file and not Path(model).exists():
        return f"{name} ({Path(file).name})"
    path = Path(model.removeprefix("local-dir:"))
    if path.exists() or model.startswith("local-dir:"):
        return path.resolve().parent.name if path.name == "weights.safetensors" else path.resolve().name
    return model


def class_order(who: str, held: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Which of a classifier's K logits stands for each of D classes, by name; case and Unicode form alone do not tell two apart.

    Raises UsageError, with both lists, where a class is missing or two names cannot be told apart.
    """
    for form in (lambda name: name, _folded):
        places: dict[str, list[int]] = {}
        for k, name in enumerate(held):
            places.setdefault(form(name), []).append(k)
        found = [places.get(form(name), []) for name in wanted]
        if all(len(own) == 1 for own in found) and len({own[0] for own in found}) == len(wanted):
            return [own[0] for own in found]
    folded = {_folded(name) for name in held}
    missing = [name for name in wanted if _folded(name) not in folded]
    raise UsageError(
        f"{who} has the classes {_listed(held)}, and the data has {_listed(wanted)}: "
        + (f"it lacks {_listed(missing)}" if missing else "some of its names cannot be told apart")
        + "; rename the data's classes, or name the classifier's own by --class-names FILE, a line each in the order of its logits"
    )


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _listed(names: Sequence[str]) -> str:
    more = f", ... ({len(names):,} in all)" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
