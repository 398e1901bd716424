"""What there is to know of a folder of images, and of a teacher on it, before a study is written: what `vicinal check` tells.

Shapes: N images, (H, W, C) an image, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from vicinal.config import DataSpec
from vicinal.data import (
    ClassCount,
    ImageData,
    ImageSet,
    Sizes,
    class_counts,
    imbalance,
    imbalance_line,
    load_data,
    load_test_images,
    original_sizes,
    seen_images,
    trainability,
    write_csv,
    write_lists,
)
from vicinal.errors import UsageError
from vicinal.evaluation import doubt_of_order, predict
from vicinal.inputs import Preparation
from vicinal.networks import Classifier, load_classifier

CHECKED_SIDE = 224  # px that images of several sizes are compared at where nobody says
TEACHER_IMAGES = 500  # that a teacher is asked about
CLASSES_FILE = "classes.csv"


@dataclass(frozen=True)
class DataCheck:
    """What was found: facts, warnings (it can be used as it is, or by an option) and problems (it cannot)."""

    data: ImageData
    counts: tuple[ClassCount, ...]
    facts: tuple[str, ...]
    warnings: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def usable(self) -> bool:
        """Whether a study can be run on it, or, without training images, a classifier measured."""
        return not self.problems

    def write(self, folder: Path) -> None:
        """classes.csv, images.csv and, where there are any, unreadable.csv and near_duplicates.csv. Raises VicinalError."""
        rows = [(c.name, c.train, c.validation, c.test) for c in self.counts]
        write_csv(folder / CLASSES_FILE, ("class", "training", "validation", "test"), rows)
        write_lists(folder, self.data)


def check_data(spec: DataSpec, teacher: str | None = None) -> DataCheck:
    """Read all images and look at them; those that cannot be read are left out and listed, whatever `on_error` says.

    Args:
        teacher: a classifier, as `load_classifier` takes it, that is asked about up to `TEACHER_IMAGES` images.

    Raises UsageError for a source that cannot be read at all, and for a classifier that cannot be loaded.
    """
    spec = spec.model_copy(update={"on_error": "skip"})
    measured_only = trainability(spec)
    sizes = original_sizes(spec)
    data = _load(spec, sizes, measured_only is not None)
    network = load_classifier(teacher, channels=data.test.images.shape[-1]) if teacher is not None else None
    counts = class_counts(data)
    facts = [_split_fact(data), _class_fact(data), *_size_facts(spec, sizes, data)]
    warnings, problems = list[str](), list[str]()
    if measured_only is not None:
        warnings.insert(0, f"No study can be trained on it, and a classifier can be measured: {measured_only}.")
    if data.unreadable:
        warnings.append(
            f"{len(data.unreadable):,} images cannot be read: repair or remove them, or run with data.on_error=skip."
        )
    if data.near_duplicates is None:
        facts.append("Near-duplicates were not looked for: images are tiny, lazy or too many; identical ones were.")
    uneven = imbalance(counts)
    facts.append(
        f"Classes: the largest has {uneven.ratio:.3g} times the {uneven.of} images of the smallest ({uneven.largest.name}, "
        f"{uneven.smallest.name}); as even as {uneven.effective_classes:.1f} classes of one size."
    )
    if uneven.ratio >= 3:
        warnings.append(imbalance_line(uneven))
    if network is not None:
        told = _ask(network, str(teacher), spec, data)
        facts += told.facts
        warnings += told.warnings
        problems += told.problems
    return DataCheck(data, counts, tuple(facts), tuple(warnings), tuple(problems))


def _load(spec: DataSpec, sizes: Sizes | None, measured_only: bool) -> ImageData:
    load = load_test_images if measured_only else load_data
    try:
        return load(spec)
    except UsageError:
        if spec.image_size is not None or sizes is None or sizes.smallest == sizes.largest:
            raise
    return load(spec.model_copy(update={"image_size": CHECKED_SIDE}))


def _split_fact(data: ImageData) -> str:
    parts = (len(data.train), len(data.validation), len(data.test))
    return "{}: {:,} training, {:,} validation, {:,} test images, {} classes.".format(
        data.name, *parts, len(data.class_names)
    )


def _class_fact(data: ImageData) -> str:
    words = {"text": "sorted as text", "source": "as the source numbers them"}
    shown = ", ".join(f"{i} {name}" for i, name in enumerate(data.class_names[:8]))
    more = f", ... {len(data.class_names) - 1} {data.class_names[-1]}" if len(data.class_names) > 8 else ""
    return f"Class order ({words.get(data.class_order, data.class_order)}): {shown}{more}."


def _size_facts(spec: DataSpec, sizes: Sizes | None, data: ImageData) -> list[str]:
    height, width, channels = data.test.images.shape[1:]
    kind = "grey" if channels == 1 else "RGB"
    if sizes is None:
        return [f"An image becomes {width} x {height} px, {kind}."]
    texts = [f"{w} x {h}" for w, h in (sizes.smallest, sizes.median, sizes.largest)]
    found = f"Originals are {texts[0]} px"
    if texts[0] != texts[2]:
        found = f"Originals are {texts[0]} to {texts[2]} px, the median {texts[1]}"
    if spec.image_size is None and texts[0] != texts[2]:
        becomes = "a study needs data.image_size=SIDE, since they differ in size"
    else:
        becomes = f"an image becomes {width} x {height} px, {kind}"
    facts = [f"{found}; {becomes}."]
    if sizes.much_cut:
        facts.append(
            f"A centre square cuts away {sizes.median_cut:.0%} of the median image, and more than a quarter of "
            f"{sizes.much_cut:,} of {sizes.images:,}: what lies at their ends never reaches a network."
        )
    return facts


@dataclass(frozen=True)
class _Told:
    facts: list[str]
    warnings: list[str]
    problems: list[str]


def _ask(network: Classifier, teacher: str, spec: DataSpec, data: ImageData) -> _Told:
    """What a teacher says of these images."""
    told = _Told([f"{teacher}: {note}" for note in network.notes], [], [])
    preparation = network.preparation
    if preparation is not None and preparation.view is not None:
        told.facts.append(f"{teacher} sees images as: {preparation.view.text} px.")
    else:
        told.facts.append(f"{teacher} states no preparation: it is shown images as they are stored.")
    try:
        images, names = _shown(network, spec, data)
    except UsageError as error:
        told.problems.append(f"{teacher}: {error}")
        return told
    with torch.inference_mode():
        logits = predict(network, images, preparation or Preparation(image_size=spec.image_size), torch.device("cpu"))
    classes = logits.shape[1]
    if names is None and classes != len(data.class_names):
        told.problems.append(
            f"{teacher} has {classes} classes and names none of them, and the data has {len(data.class_names)}: give its class names, "
            "or a classifier of these classes"
        )
        return told
    accuracy = float((logits.argmax(1) == images.labels).double().mean())
    told.facts.append(f"{teacher} is right on {accuracy:.1%} of {len(images):,} images.")
    if names is not None:
        more = f" of its {classes}" if classes > len(data.class_names) else ""
        told.facts.append(
            f"{teacher} names its classes: the data's {len(data.class_names)}{more} were matched by name."
        )
    else:
        told.warnings.append(f"{teacher} does not name its classes: they are taken to stand in the data's order.")
    doubt = doubt_of_order(logits, images.labels) if classes == len(data.class_names) else None
    if doubt is not None:
        told.problems.append(f"{teacher}: {doubt.sentence(data.class_names)}")
    return told


def _shown(network: Classifier, spec: DataSpec, data: ImageData) -> tuple[ImageSet, tuple[str, ...] | None]:
    """Images for a classifier, class-balanced where only some are shown, with labels in its own classes where it names them."""
    few = spec.model_copy(
        update={"test_images": min(max(TEACHER_IMAGES, len(data.class_names)), len(data.test)), "lazy": False}
    )
    names = network.class_names
    if network.preparation is None or network.preparation.view is None:
        return load_test_images(few, class_names=names, stored_side=data.test.images.shape[1]).test, names
    return seen_images(few, network.preparation.view, class_names=names, channels=data.test.images.shape[-1]), names
