"""What studies ask of trained networks beyond the core measures: corrupted images, features of a few classes, other data.

Each answer is stored once beside the network it came from and asked for again only where what defines it has changed.
Shapes: N test images, K classes, D features, S = 5 severities.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from vicinal.data import ImageData, ImageSet, load_data, stratified_subset
from vicinal.data.corruptions import SEVERITIES, corrupt, published_corruptions
from vicinal.errors import UsageError
from vicinal.metrics.representation import draw_images, represent
from vicinal.models import Classifier
from vicinal.progress import StudyProgress
from vicinal.specs import CorruptionsSpec, DataSpec, NetworkSpec, RepresentationSpec, fingerprint
from vicinal.store import RunFolder, write_atomically, write_json
from vicinal.train import EVALUATION_BATCH, predict
from vicinal.vicinity import evaluation_pixels

IMAGES_AT_ONCE = 2000  # test images that are corrupted together: bounds memory, changes no result


@dataclass(frozen=True)
class Trained:
    """A trained network of a study, loaded when it is asked."""

    folder: RunFolder
    spec: NetworkSpec
    load: Callable[[], Classifier]


@dataclass(frozen=True)
class Questions:
    """What all networks of a study are asked with."""

    data: ImageData
    image_size: int | None
    device: torch.device
    progress: StudyProgress


# --- corruptions ------------------------------------------------------------------------------------------------------


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

    def images(self, name: str, severity: int) -> Iterator[Tensor]:
        """(n, H, W, C) uint8 parts of the set under one corruption, in order."""
        if self.spec.published is not None:
            opened = published_corruptions(self.spec.published, None, self.spec.names)
        for start in range(0, len(self.test), IMAGES_AT_ONCE):
            stop = min(start + IMAGES_AT_ONCE, len(self.test))
            if self.spec.published is not None:
                yield opened.images(name, severity, start, stop)
            else:
                yield corrupt(self.test.images[start:stop], name, severity, self.spec.seed, offset=start)

    def fingerprint(self, name: str, network: NetworkSpec, image_size: int | None) -> str:
        """Of everything that decides the answers to one corruption, beside the network's weights."""
        where = None
        if self.spec.published is not None:
            where = (Path(self.spec.published).expanduser() / f"{name}.npy").stat().st_size
        value = {"name": name, "seed": self.spec.seed, "test": self.test.content_hash(), "published_bytes": where}
        return fingerprint({**value, **_preparation(network, image_size)})


def ask_corrupted(
    runs: Mapping[Path, Trained], corrupted: CorruptedSet, questions: Questions
) -> dict[Path, dict[str, Tensor]]:
    """(S, N, K) float16 logits of every network under every corruption, by the run's folder and the corruption.

    Every corrupted image is made once and shown to all networks that lack answers to it.
    """
    answers: dict[Path, dict[str, Tensor]] = {path: {} for path in runs}
    networks: dict[Path, Classifier] = {}
    for name in corrupted.spec.names:
        missing = {}
        for path, run in runs.items():
            file = run.folder.stored(f"corrupted-{name}", corrupted.fingerprint(name, run.spec, questions.image_size))
            stored = _load(file, ("logits",))
            if stored is None:
                missing[path] = file
            else:
                answers[path][name] = stored["logits"]
        if not missing:
            continue
        asking = questions.progress.asking(
            f"{name}, {len(missing)} network{'s' * (len(missing) > 1)}",
            len(missing) * len(SEVERITIES) * len(corrupted.test),
        )
        parts: dict[Path, list[Tensor]] = {path: [] for path in missing}
        for severity in SEVERITIES:
            for images in corrupted.images(name, severity):
                shown = ImageSet(images, torch.zeros(len(images), dtype=torch.int64))
                for path in missing:
                    if path not in networks:
                        networks[path] = runs[path].load()
                    spec = runs[path].spec
                    logits = predict(
                        networks[path], shown, spec, questions.image_size, questions.device, asking.advance
                    )
                    parts[path].append(logits.half())
        for path, file in missing.items():
            logits = torch.cat(parts[path]).view(len(SEVERITIES), len(corrupted.test), -1)
            write_atomically(file, save({"logits": logits}))
            answers[path][name] = logits
        asking.finish(f"asked at {len(SEVERITIES)} severities")
    return answers


# --- features ---------------------------------------------------------------------------------------------------------


def ask_represented(
    runs: Mapping[Path, Trained], spec: RepresentationSpec, classes: Sequence[str], questions: Questions
) -> dict[Path, dict[str, Any]]:
    """The entry "representation" of every network, by the run's folder: features of the same test images of `classes`."""
    data = questions.data
    wanted = [data.class_names.index(name) for name in classes]
    where = draw_images(data.test.labels, wanted, spec.images_per_class, spec.seed)
    shown = data.test.subset(where)
    entries: dict[Path, dict[str, Any]] = {}
    asking = None
    for path, run in runs.items():
        value = {"classes": list(classes), "seed": spec.seed, "images": shown.content_hash()}
        key = fingerprint({**value, **_preparation(run.spec, questions.image_size)})
        file, picture = run.folder.stored("features", key), run.folder.stored("representation", key, "json")
        stored, entry = _load(file, ("features", "labels")), _read_entry(picture)
        if stored is None or entry is None:
            asking = asking or questions.progress.asking("features", len(runs) * len(shown))
            features = _features(run.load(), shown, run.spec, questions)
            write_atomically(file, save({"features": features, "labels": shown.labels}))
            entry = represent(features, shown.labels, data.class_names, classes, None, spec.seed)
            write_json(picture, entry)
        if asking is not None:
            asking.advance(len(shown))
        entries[path] = entry
    if asking is not None:
        asking.finish(f"features of {len(shown)} test images, clustered and pictured")
    return entries


@torch.inference_mode()
def _features(network: Classifier, images: ImageSet, spec: NetworkSpec, questions: Questions) -> Tensor:
    """(N, D) float32 penultimate features in eval mode."""
    network.eval()
    parts = images.images.split(EVALUATION_BATCH)
    pixels = (evaluation_pixels(part.to(questions.device), spec.augment, questions.image_size) for part in parts)
    return torch.cat([network.features(x).float().cpu() for x in pixels]).contiguous()


# --- another data set -------------------------------------------------------------------------------------------------


def load_other(spec: DataSpec, data: ImageData, image_size: int | None) -> ImageData:
    """The other data set, whose test images are shown; UsageError where its images cannot be shown to these networks."""
    height, width, channels = data.train.images.shape[1:]
    if spec.image_size is None:
        spec = spec.model_copy(update={"image_size": image_size or min(height, width)})
    other = load_data(spec)
    shape = other.test.images.shape[1:]
    if shape[2] != channels:
        raise UsageError(
            f"measures.ood: {other.name} has {shape[2]} channel(s) and {data.name} {channels}; give other images"
        )
    return other


def ask_other(runs: Mapping[Path, Trained], other: ImageData, questions: Questions) -> dict[Path, Tensor]:
    """(M, K) float32 logits of every network on the other data set's test images, by the run's folder."""
    answers: dict[Path, Tensor] = {}
    height, width = questions.data.train.images.shape[1:3]
    side = questions.image_size or min(height, width)
    asking = None
    for path, run in runs.items():
        key = fingerprint({"images": other.test.content_hash(), **_preparation(run.spec, side)})
        file = run.folder.stored("other", key)
        stored = _load(file, ("logits",))
        if stored is None:
            asking = asking or questions.progress.asking(other.name, len(runs) * len(other.test))
            logits = predict(run.load(), other.test, run.spec, side, questions.device, asking.advance)
            write_atomically(file, save({"logits": logits.contiguous()}))
            stored = {"logits": logits}
        answers[path] = stored["logits"]
    if asking is not None:
        asking.finish(f"asked on {len(other.test)} images of another data set")
    return answers


# --- stored answers ---------------------------------------------------------------------------------------------------


def _preparation(network: NetworkSpec, image_size: int | None) -> dict[str, Any]:
    """How a network's images are prepared at test time."""
    return {"augment": network.augment.model_dump(mode="json"), "image_size": image_size}


def _load(path: Path, names: tuple[str, ...]) -> dict[str, Tensor] | None:
    """The tensors of a stored answer; None where it is missing, damaged or not finite, so that it is asked for again."""
    if not path.exists():
        return None
    try:
        stored = load_file(path)
    except SafetensorError:
        return None
    whole = all(name in stored and bool(stored[name].isfinite().all()) for name in names)
    return stored if whole else None


def _read_entry(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
