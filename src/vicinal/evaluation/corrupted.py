"""Answers to corrupted test images, each image made once for all networks.

Shapes: N test images, K classes, S = 5 severities.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vicinal.config import SEVERITIES, CorruptionsSpec, fingerprint
from vicinal.data import (
    ImageData,
    ImageSet,
    Strengths,
    View,
    corrupt,
    published_corruptions,
    stratified_subset,
    strengths_for,
)
from vicinal.errors import UsageError
from vicinal.evaluation.predict import predict
from vicinal.evaluation.stored import EvaluationContext, TrainedNetwork, load_stored, save_stored
from vicinal.inputs import Preparation
from vicinal.networks import Classifier

HALVED = "float16, its answer alone at the top"  # another word where the same answers are kept otherwise
IMAGES_AT_ONCE = 2000  # test images that are corrupted together: bounds memory, changes no result


@dataclass(frozen=True)
class CorruptedSet:
    """The test images that are corrupted, and where their corrupted forms come from."""

    spec: CorruptionsSpec
    test: ImageSet  # clean, those that are corrupted

    @classmethod
    def of(cls, spec: CorruptionsSpec, data: ImageData, split_seed: int) -> CorruptedSet:
        """Raises UsageError for more images than there are, and for published files that do not fit the test images."""
        if spec.published is not None:
            published_corruptions(spec.published, data.test.labels, spec.names)
            return cls(spec, data.test)
        if spec.images is None:
            return cls(spec, data.test)
        try:
            index = stratified_subset(data.test.labels, spec.images, split_seed)
        except UsageError as error:
            raise UsageError(f"measures.corruptions.images={spec.images}: {error}") from None
        return cls(spec, data.test.subset(index))

    def images(self, name: str, severity: int, view: View | None = None) -> Iterator[Tensor]:
        """(n, H, W, C) uint8 parts of the set under one corruption, in order.

        With a `view` what a network sees is corrupted, as ImageNet-C corrupts what is cropped; published images, which are corrupted
        already, are seen through it.
        """
        if self.spec.published is not None:
            opened = published_corruptions(self.spec.published, None, self.spec.names)
        for start in range(0, len(self.test), IMAGES_AT_ONCE):
            stop = min(start + IMAGES_AT_ONCE, len(self.test))
            if self.spec.published is not None:
                published = opened.images(name, severity, start, stop)
                yield published if view is None else view.pixels(published)
            else:
                yield corrupt(self.test.as_seen(view).images[start:stop], name, severity, self.spec.seed, offset=start)

    @property
    def strengths(self) -> Strengths | None:
        """Whose strengths the stored images are corrupted with; None where they were published corrupted."""
        return self.strengths_seen(None)

    def strengths_seen(self, view: View | None) -> Strengths | None:
        """Whose strengths the images are corrupted with as a network sees them; None where they were published corrupted."""
        return None if self.spec.published is not None else strengths_for(*self.test.as_seen(view).images.shape[1:3])

    def fingerprint(self, name: str, preparation: Preparation) -> str:
        """Of everything that decides the answers to one corruption, beside the network's weights."""
        if self.spec.published is not None:
            made: dict[str, Any] = {
                "published": published_corruptions(self.spec.published, None, self.spec.names).content_hash(name)
            }
        else:
            made = {"seed": self.spec.seed, "strengths": self.strengths_seen(preparation.view)}
        value = {"name": name, "test": self.test.as_seen(preparation.view).content_hash(), **made}
        return fingerprint({**value, "preparation": preparation.fingerprint(), "kept": HALVED})


def predict_corrupted(
    runs: Mapping[Path, TrainedNetwork], corrupted: CorruptedSet, context: EvaluationContext
) -> dict[Path, dict[str, Tensor]]:
    """(S, N, K) logits of every network under every corruption, as `halved` keeps them, by the run's folder and the corruption.

    Every corrupted image is made once for all networks that see the originals alike, and shown to those that lack predictions of it.
    """
    answers: dict[Path, dict[str, Tensor]] = {path: {} for path in runs}
    networks: dict[Path, Classifier] = {}
    for name in corrupted.spec.names:
        missing = {}
        for path, run in runs.items():
            file = run.folder.stored(f"corrupted-{name}", corrupted.fingerprint(name, run.preparation))
            stored = load_stored(file, ("logits",), run.weights, context.progress.say)
            if stored is None:
                missing[path] = file
            else:
                answers[path][name] = stored["logits"]
        if not missing:
            continue
        bar = context.progress.inference(
            f"{name}, {len(missing)} network{'s' * (len(missing) > 1)}",
            len(missing) * len(SEVERITIES) * len(corrupted.test),
        )
        parts: dict[Path, list[Tensor]] = {path: [] for path in missing}
        for severity in SEVERITIES:
            for view in dict.fromkeys(runs[path].preparation.view for path in missing):
                seeing = [path for path in missing if runs[path].preparation.view == view]
                for images in corrupted.images(name, severity, view):
                    shown = ImageSet(images, torch.zeros(len(images), dtype=torch.int64), view=view)
                    for path in seeing:
                        if path not in networks:
                            networks[path] = runs[path].load()
                        logits = predict(networks[path], shown, runs[path].preparation, context.device, bar.advance)
                        parts[path].append(logits)
        for path, file in missing.items():
            logits = halved(torch.cat(parts[path])).view(len(SEVERITIES), len(corrupted.test), -1)
            save_stored(file, {"logits": logits}, runs[path].weights)
            answers[path][name] = logits
        bar.finish(f"predicted at {len(SEVERITIES)} severities")
    return answers


def halved(logits: Tensor) -> Tensor:
    """(B, K) float32 logits in float16, the answer alone at the top of every row: rounding ties it with the runner-up otherwise.

    Where it is tied it is raised to the next number of float16. float32 where a logit is beyond float16.
    """
    half, answers = logits.half(), logits.argmax(-1, keepdim=True)
    others = half.scatter(1, answers, -torch.inf).amax(-1, keepdim=True)
    top = half.gather(1, answers)
    above = torch.from_numpy(np.nextafter(others.numpy(), np.float16(np.inf)))
    half = half.scatter(1, answers, torch.where(top > others, top, above))
    return half if bool(half.isfinite().all()) else logits
