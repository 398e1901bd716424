"""The kinds of sources and which of them `data.source` means; what a source must have to be trained or measured on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vicinal.config import DataSpec
from vicinal.data.sources import (
    KNOWN,
    find_embedded,
    find_folders,
    find_hub,
    find_imagefolder,
    find_in_python,
    find_manifest,
    find_named,
    find_parquet,
    find_shards,
    is_imagefolder,
    is_manifest,
    is_parquet,
    is_shards,
)
from vicinal.data.types import Source
from vicinal.errors import UsageError


@dataclass(frozen=True)
class SourceKind:
    """A kind of source: how a user writes it, when `data.source` means it, its reader, and the options that only some take."""

    name: str
    written: str
    means: Callable[[str], bool]
    find: Callable[[DataSpec], Source]
    options: tuple[str, ...] = ()


def _under(prefix: str) -> Callable[[str], bool]:
    return lambda source: source.startswith(prefix)


COLUMNS = ("image_column", "label_column")
# The first kind that a source means reads it: to add one, write a reader in sources/ and a line here.
KINDS: tuple[SourceKind, ...] = (
    SourceKind("embedded/", "embedded/fashion-mnist", _under("embedded/"), find_embedded),
    SourceKind("torch/", ", ".join(f"torch/{name}" for name in KNOWN), _under("torch/"), find_named, ("root",)),
    SourceKind("hfds/", "hfds/OWNER/NAME", _under("hfds/"), find_hub, COLUMNS),
    SourceKind("python/", "python/NAME (what vicinal.data_of gives)", _under("python/"), find_in_python),
    SourceKind("Parquet", "Parquet (a file or a folder)", is_parquet, find_parquet, COLUMNS),
    SourceKind(
        "manifest",
        "a CSV, TSV or JSONL file with the columns path and label (and split)",
        is_manifest,
        find_manifest,
        COLUMNS,
    ),
    SourceKind("WebDataset", "a folder of WebDataset shards (train*.tar, val*.tar, test*.tar)", is_shards, find_shards),
    SourceKind(
        "imagefolder", "a folder with metadata.csv or metadata.jsonl", is_imagefolder, find_imagefolder, COLUMNS
    ),
    SourceKind(
        "class folder",
        "a folder of class folders (or of train/, val/, test/ with class folders)",
        lambda source: Path(source).expanduser().is_dir(),
        find_folders,
    ),
)
SOURCES_HELP = ", ".join(kind.written for kind in KINDS[:-1]) + f", or {KINDS[-1].written}"


def find_source(spec: DataSpec) -> Source:
    """The source that `data.source` means, images unread. Raises UsageError where it means none or cannot be read."""
    kind = next((kind for kind in KINDS if kind.means(spec.source)), None)
    if kind is None and Path(spec.source).expanduser().is_file():
        raise UsageError(
            f"data.source={spec.source} is a file, but neither .parquet nor .csv, .tsv, .jsonl: allowed are {SOURCES_HELP}"
        )
    if kind is None:
        raise UsageError(
            f"data.source={spec.source}: no such folder or file, and no known name; allowed are {SOURCES_HELP}"
        )
    for option in dict.fromkeys(option for each in KINDS for option in each.options):
        if getattr(spec, option) is not None and option not in kind.options:
            takers = " and ".join(each.name for each in KINDS if option in each.options)
            raise UsageError(f"data.{option} goes with {takers} sources, not with {spec.source}: leave it out")
    try:
        return kind.find(spec)
    except OSError as error:
        raise UsageError(f"cannot read {spec.source} ({error}): check the path and its permissions") from None


def check_trainable(source: Source, path: str) -> None:
    """UsageError for a source that a classifier can be measured on, at most.

    Networks and people know classes by their names. Told before anything is done with them: a file can name millions.
    """
    if source.unfit_for_training is not None:
        measure = (
            "" if "train" in source.splits else f"; vicinal measure MODEL {path} measures a classifier on these images"
        )
        raise UsageError(source.unfit_for_training + measure)
    names, images = source.class_names, len(source.splits["train"].labels)
    if len(names) > images:
        raise UsageError(
            f"{source.name} names {len(names):,} classes and has {images:,} training images: every class needs one, so add images "
            "or name the classes of these alone"
        )
    check_names(source)


def check_names(source: Source) -> None:
    """UsageError for two classes of one name."""
    if len(set(source.class_names)) < len(source.class_names):
        twice = next(name for name, count in Counter(source.class_names).items() if count > 1)
        raise UsageError(f"{source.name} names two classes {twice[:100]!r}: give every class a name of its own")


def check_labels(source: Source, *, for_training: bool) -> None:
    """UsageError for labels that are no class and, where networks are to be trained, for a class that none can be learned of."""
    classes = len(source.class_names)
    if classes < 2:
        raise UsageError(f"{source.name} has one class: a classifier needs at least two")
    for role, split in source.splits.items():
        wrong = np.flatnonzero((split.labels < 0) | (split.labels >= classes))
        if len(wrong):
            raise UsageError(
                f"{source.name}: image {wrong[0]} (from 0) of the {role} split has label {split.labels[wrong[0]]}, "
                f"but labels are 0 to {classes - 1}: correct or remove it"
            )
    if not for_training:
        return
    counts = np.bincount(source.splits["train"].labels, minlength=classes)
    if not counts.all():
        name = source.class_names[int(np.argmin(counts))]
        raise UsageError(
            f"{source.name}: class {name!r} has no training image: add some, or number the classes without it"
        )
