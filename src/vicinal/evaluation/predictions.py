"""What every network predicts once: validation and test images, and pairs along λ.

Shapes: N images, P pairs, L values of λ, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vicinal.config import VicinitySpec, fingerprint
from vicinal.data import ImageData, ImageSet
from vicinal.evaluation.pairs import (
    PairLogits,
    draw_pairs,
    draw_same_class_pairs,
    pairs_of,
    path_centres,
    predict_pairs,
)
from vicinal.evaluation.predict import EVALUATION_BATCH, predict
from vicinal.evaluation.stored import load_stored, save_stored
from vicinal.functional import log_mean_prediction
from vicinal.inputs import Preparation
from vicinal.metrics import lam_grid
from vicinal.networks import Classifier

PAIRS_DRAWN = (
    "distinct, training and held-out, of one class apart"  # another word where the same spec draws other pairs
)

FEW_IMAGES = 30  # below which pairs are said to be of few images


@dataclass(frozen=True)
class PairAnswers:
    """A network's float32 logits on P pairs of images of one set."""

    i: Tensor  # (P, K) answers to the first image of each pair
    j: Tensor
    mixed: Tensor  # (P, L, K) answers to λ x_i + (1 − λ) x_j
    images: Tensor  # (P, 2) int64 positions of the two in their set
    labels: Tensor  # (P, 2) int64 classes; -1 where none are known

    def divided_by(self, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
        """float64 answers at a temperature, as `VicinalCurves.update` takes them."""
        i, j, mixed = (logits.double() / temperature for logits in (self.i, self.j, self.mixed))
        return i, j, mixed

    def times(self, scale: float) -> PairAnswers:
        """The answers of a network whose logits are `scale` times as large."""
        return replace(self, i=scale * self.i, j=scale * self.j, mixed=scale * self.mixed)

    @property
    def same_class(self) -> Tensor:
        """(P,) bool."""
        return self.labels[:, 0] == self.labels[:, 1]


PAIR_SETS = ("pair", "same_class_pair", "held_out_pair", "held_out_same_class_pair")


@dataclass(frozen=True)
class Predictions:
    """A network's float32 logits. With them every measure can be recomputed.

    Pairs: random ones of the images that pairs are drawn from, and ones of a single class beside them at λ = 0, 1/2 and 1; the same of
    test images (held out), where the first are others.
    """

    validation: Tensor  # (N, K)
    test: Tensor  # (N, K)
    validation_labels: Tensor  # (N,)
    test_labels: Tensor
    lam: Tensor  # (L,) float64
    pair: PairAnswers
    same_class_pair: PairAnswers | None = None
    held_out_pair: PairAnswers | None = None
    held_out_same_class_pair: PairAnswers | None = None

    def _tensors(self) -> dict[str, Tensor]:
        """Under the names that they are stored by: pair_i, pair_mixed, held_out_pair_i and so on."""
        found = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        for name in PAIR_SETS:
            answers = getattr(self, name)
            if answers is not None:
                found |= {f"{name}_{part}": value for part, value in vars(answers).items()}
        return found

    def save(self, path: Path, weights: str = "") -> None:
        """Keep them, by the SHA-256 of the network's weights. Raises VicinalError where they cannot be written."""
        save_stored(path, self._tensors(), weights)

    @classmethod
    def load(cls, path: Path, weights: str = "", say: Callable[[str], None] = lambda _: None) -> Predictions | None:
        """The stored answers; None as `load_stored` where they are to be asked for again, of which `say` is told."""
        plain = ("validation", "test", "validation_labels", "test_labels", "lam")
        parts = tuple(field.name for field in fields(PairAnswers))
        stored = load_stored(path, (*plain, *(f"pair_{part}" for part in parts)), weights, say)
        if stored is None:
            return None
        values: dict[str, Any] = {name: stored[name] for name in plain}
        values |= {
            name: PairAnswers(*(stored[f"{name}_{part}"] for part in parts))
            for name in PAIR_SETS
            if f"{name}_mixed" in stored
        }
        return cls(**values)

    def times(self, scale: float) -> Predictions:
        """The answers of a network whose logits are `scale` times as large."""
        pairs = {name: getattr(self, name) for name in PAIR_SETS}
        scaled = {name: answers.times(scale) for name, answers in pairs.items() if answers is not None}
        return replace(self, validation=scale * self.validation, test=scale * self.test, **scaled)

    @property
    def are_finite(self) -> bool:
        return all(bool(t.isfinite().all()) for t in self._tensors().values())


def mean_predictions(members: Sequence[Predictions]) -> Predictions:
    """What networks answer together, to the same images: the log of their mean probability, each mixed input through its own view."""

    def mean(logits: Sequence[Tensor]) -> Tensor:
        return log_mean_prediction(torch.stack(list(logits)))

    first, pairs = members[0], {}
    for name in PAIR_SETS:
        own = [answers for member in members if (answers := getattr(member, name)) is not None]
        if own:
            i, j, mixed = (mean([getattr(answers, part) for answers in own]) for part in ("i", "j", "mixed"))
            pairs[name] = replace(own[0], i=i, j=j, mixed=mixed)
    validation, test = (mean([getattr(member, part) for member in members]) for part in ("validation", "test"))
    return replace(first, validation=validation, test=test, **pairs)


@dataclass(frozen=True)
class PairSet:
    """Pairs that every network predicts."""

    source: ImageSet
    index: Tensor  # (P, 2) positions in it
    lam: Tensor  # (L,)


@dataclass(frozen=True)
class PredictionInputs:
    """The images that every network of a study predicts, so that all are compared on the same ones.

    Pairs are prepared in one way for all networks that see the stored images; validation and test images as each network's training
    prepared its own. A network with a view of the originals sees all of them through it (`seen_by`).
    """

    data: ImageData
    pair_images: ImageSet  # that pairs are drawn from
    pair_preparation: Preparation
    vicinity: VicinitySpec
    device: torch.device

    def seen_by(self, preparation: Preparation) -> PredictionInputs:
        """The same images, the same pairs, as a network sees them: through its own view, where it has one, mixed after it."""
        view = preparation.view
        if view is None:
            return self
        data = replace(self.data, validation=self.data.validation.as_seen(view), test=self.data.test.as_seen(view))
        return replace(self, data=data, pair_images=self.pair_images.as_seen(view), pair_preparation=preparation)

    @cached_property
    def pairs(self) -> dict[str, PairSet]:
        """The pairs by the names of `PAIR_SETS`.

        Held-out ones where pairs come from other images than the test images; of one class where classes are known.

        Raises UsageError for fewer than two images to draw from.
        """
        found, vicinity = {}, self.vicinity
        lam, half = lam_grid(vicinity.lam_points), lam_grid(3)
        sources = {"": self.pair_images}
        if self.pair_images is not self.data.test and len(self.data.test) > 1:
            sources["held_out_"] = self.data.test
        for prefix, images in sources.items():
            found[f"{prefix}pair"] = PairSet(images, torch.stack(draw_pairs(len(images), vicinity), 1), lam)
            if bool((images.labels >= 0).all()):
                same = draw_same_class_pairs(images.labels, vicinity)
                if len(same) > 1:
                    found[f"{prefix}same_class_pair"] = PairSet(images, same, half)
        return found

    @property
    def pair_counts(self) -> dict[str, int | None]:
        """How many random pairs of how many images are measured, as results.json has it."""
        found: dict[str, int | None] = {}
        for prefix in ("", "held_out_"):
            pairs = self.pairs.get(f"{prefix}pair")
            found[f"{prefix}pairs"] = None if pairs is None else len(pairs.index)
            found[f"{prefix}pair_images"] = None if pairs is None else len(pairs.index.unique())
        return found

    @property
    def pair_notes(self) -> list[str]:
        """What a reader should know of pairs of few images, a sentence each."""
        found = []
        for name, kind in (("pair", "training"), ("held_out_pair", "test")):
            if name not in self.pairs:
                continue
            images, pairs = len(self.pairs[name].source), len(self.pairs[name].index)
            if pairs < self.vicinity.pairs:
                found.append(
                    f"The {images:,} {kind} images make {pairs:,} distinct pairs, fewer than the {self.vicinity.pairs:,} asked for."
                )
            if images < FEW_IMAGES:
                found.append(
                    f"All pairs of {kind} images are of {images:,} images: what they say of others is in their wide intervals."
                )
        return found

    @property
    def count(self) -> int:
        """The images, clean and mixed, that `predict_all` passes through a network."""
        mixed = sum(len(pairs.index) * len(pairs.lam) for pairs in self.pairs.values())
        return mixed + len(self.data.validation) + len(self.data.test)

    @property
    def images(self) -> dict[str, str]:
        """Hashes of the images and of how they are prepared."""
        return {
            "test": self.data.test.content_hash(),
            "validation": self.data.validation.content_hash(),
            "pairs": self.pair_images.content_hash(),
            "preparation": self.pair_preparation.fingerprint(),
        }

    def fingerprint(self) -> str:
        """12 hex digits over all that decides a network's predictions, beside its weights."""
        vicinity = self.vicinity.model_dump(mode="json", exclude={"precision_nats"})  # only how many were chosen counts
        return fingerprint({**self.images, "vicinity": vicinity, "pairs_drawn": PAIRS_DRAWN})


def predict_all(
    network: Classifier,
    preparation: Preparation,
    inputs: PredictionInputs,
    advance: Callable[[int], None] = lambda _: None,
    batch_size: int = EVALUATION_BATCH,
) -> Predictions:
    """All that the measures need of a network, in eval mode, fp32.

    Args:
        preparation: of the network's own validation and test images.
        advance: told the number of images after each batch; `inputs.count` says how many there are in all.
        batch_size: of single images.
    """
    inputs = inputs.seen_by(preparation)
    data, device = inputs.data, inputs.device
    validation, test = (
        predict(network, part, preparation, device, advance, batch_size)
        if len(part)
        else torch.zeros(0, len(data.class_names))
        for part in (data.validation, data.test)
    )
    return Predictions(
        validation=validation,
        test=test,
        validation_labels=data.validation.labels,
        test_labels=data.test.labels,
        lam=inputs.pairs["pair"].lam,
        **{name: _predict_pairs(network, pairs, inputs, advance) for name, pairs in inputs.pairs.items()},
    )


def _predict_pairs(
    network: Classifier, pairs: PairSet, inputs: PredictionInputs, advance: Callable[[int], None]
) -> PairAnswers:
    answers: list[PairLogits] = []
    pixels = pairs_of(pairs.source, pairs.index, inputs.pair_preparation, len(pairs.lam), inputs.device)
    for answer in predict_pairs(network, pixels, pairs.lam, path_centres(len(pairs.index), inputs.vicinity)):
        answers.append(PairLogits(*(logits.cpu() for logits in answer)))
        advance(answer.logits_mixed.shape[0] * len(pairs.lam))
    i, j, mixed = (torch.cat(parts) for parts in zip(*answers, strict=True))
    return PairAnswers(i, j, mixed, pairs.index, pairs.source.labels[pairs.index])
