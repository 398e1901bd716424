"""Finished studies, opened: what each found, and how far the images that they were measured on are the same."""

from __future__ import annotations

import contextlib
import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from vicinal.claims import listed
from vicinal.data import IMAGES_FILE
from vicinal.errors import UsageError
from vicinal.report import Results, load_results, told_in_a_line
from vicinal.results import RESULTS_FILE
from vicinal.workspace import STUDY_FILE, check_not_held, check_study_folder

NAMED = 4  # classes and images that a line names
Place = tuple[str, str]  # an image's place in its source, and its class


@dataclass(frozen=True, eq=False)  # as Results
class OpenStudy:
    """A study that has finished."""

    name: str
    folder: Path
    results: Results

    @property
    def spec(self) -> dict[str, Any]:
        """The study file, all defaults filled in."""
        found: dict[str, Any] = self.results.raw.get("spec") or {}
        return found

    @cached_property
    def places(self) -> dict[str, list[Place]]:
        """The images by split, in the order of their positions; empty where the study keeps no list of them."""
        found: dict[str, list[Place]] = {}
        with (
            contextlib.suppress(OSError, UnicodeDecodeError, csv.Error, KeyError),
            (self.folder / IMAGES_FILE).open(encoding="utf-8", newline="") as file,
        ):
            for row in csv.DictReader(file):
                found.setdefault(row["split"], []).append((row["path"], row["class"]))
        return found

    @property
    def stored_as(self) -> tuple[Any, ...]:
        """What its stored pixels are: those of two studies can be compared where this is the same."""
        data = self.results.data
        lazy = (self.spec.get("data") or {}).get("lazy")
        return str(data.get("image_shape")), data.get("stored_side"), (self.spec.get("data") or {}).get("fit"), lazy


@dataclass(frozen=True)
class SameImages:
    """How far the images of two studies are the same."""

    known_by: Literal["content", "place"]
    in_order: bool  # whether the test images stand in the same order
    resampled_alike: (
        bool  # whether both studies drew as many resamples, so that resample r is the same of the same images
    )
    pairs: Literal["training", "test"] | None  # whose pairs are the same
    notes: tuple[str, ...] = ()


def open_studies(folders: Sequence[Path]) -> list[OpenStudy]:
    """The studies of folders.

    Raises UsageError, in one line, for fewer than two, one given twice, and one that is no study, unfinished, damaged or older.
    """
    if len(folders) < 2:
        raise UsageError("compare takes two study folders or more: vicinal compare STUDY STUDY")
    seen: dict[Path, Path] = {}
    for folder in folders:
        if not folder.exists():
            raise UsageError(f"there is no folder {folder}")
        if not folder.is_dir():
            raise UsageError(f"{folder} is no study folder: studies are compared with studies alone")
        if folder.resolve() in seen:
            raise UsageError(f"{folder} is the same folder as {seen[folder.resolve()]}: give two studies")
        seen[folder.resolve()] = folder
    return [OpenStudy(name, folder, _results_of(folder)) for name, folder in zip(_names(folders), folders, strict=True)]


def _results_of(folder: Path) -> Results:
    if (folder / STUDY_FILE).exists():
        check_study_folder(folder)
    if not (folder / RESULTS_FILE).exists():
        check_not_held(folder, "compare it when it is done")
    with told_in_a_line(folder):
        return load_results(folder)


def _names(folders: Sequence[Path]) -> list[str]:
    """The last parts of the paths that tell them apart."""
    parts = [folder.resolve().parts for folder in folders]
    for count in range(1, max(map(len, parts)) + 1):
        names = ["/".join(own[-count:]) for own in parts]
        if len(set(names)) == len(names):
            break
    return names


def same_images(first: OpenStudy, other: OpenStudy) -> SameImages:
    """How the test images of two studies are known to be the same. Raises UsageError, with the way out, where they are not."""
    _check_classes(first, other)
    both = (first, other)
    a, b = (study.places.get("test", []) for study in both)
    data = [study.results.data for study in both]
    hashes = [own.get("test_hash") for own in data]
    comparable = first.stored_as == other.stored_as
    unchanged = data[0].get("content_hash") is not None and data[0].get("content_hash") == data[1].get("content_hash")
    if None not in hashes and hashes[0] == hashes[1]:
        return _same(both, "content", True)
    if unchanged and (a == b if a and b else _cut_alike(both)):
        return _same(both, "content", True)
    at_the_same_place = data[0].get("source") == data[1].get("source") and bool(a) and Counter(a) == Counter(b)
    if at_the_same_place and not (comparable and None not in hashes and a == b):
        return _same(both, "place", a == b)
    raise UsageError(_why_others(both, at_the_same_place))


def _check_classes(first: OpenStudy, other: OpenStudy) -> None:
    names = [set(study.results.data.get("class_names") or []) for study in (first, other)]
    if names[0] == names[1]:
        return
    told = []
    for k, study in enumerate((first, other)):
        more = sorted(names[k] - names[1 - k])
        if more:
            shown = listed([*more[:NAMED], *([f"{len(more) - NAMED} more"] if len(more) > NAMED else [])])
            told.append(f"{study.folder} alone has {shown}")
    raise UsageError(
        f"{first.folder} and {other.folder} have other classes ({'; '.join(told)}): only studies of the same classes are compared"
    )


def _cut_alike(studies: Sequence[OpenStudy]) -> bool:
    """Whether one source was cut in the same way, for studies that keep no list of their images."""
    keys = ("test", "split_seed", "test_images", "class_order", "validation", "train_images")
    cuts = [[(study.spec.get("data") or {}).get(key) for key in keys] for study in studies]
    counts = [study.results.images("test") for study in studies]
    return cuts[0] == cuts[1] and counts[0] == counts[1]


def _why_others(studies: Sequence[OpenStudy], same_places: bool) -> str:
    first, other = studies
    way_out = (
        "figures on other images cannot be set against each other: run one of them again on the other's test images"
    )
    if same_places:
        return f"{first.folder} and {other.folder} have test images at the same places with other pixels or labels; {way_out}"
    a, b = (Counter(study.places.get("test", [])) for study in studies)
    if a and b:
        lost, more = sum((a - b).values()), sum((b - a).values())
        count = (
            f"{lost:,} of the {sum(a.values()):,} of the first are not in the second, and {more:,} of the {sum(b.values()):,} of the "
            "second are not in the first"
        )
        if not lost and not more:
            sources = listed([str(study.results.data.get("source")) for study in studies])
            count = f"their {sum(a.values()):,} places are the same, in {sources}"
    else:
        count = f"{first.results.images('test'):,} and {other.results.images('test'):,}"
    return f"{first.folder} and {other.folder} have other test images ({count}); {way_out}"


def _same(studies: Sequence[OpenStudy], known_by: Literal["content", "place"], in_order: bool) -> SameImages:
    first, other = studies
    notes = []
    if known_by == "place":
        notes.append(
            f"{first.name} and {other.name} keep their images in other forms: the test images are known to be the same by their "
            "places in the source, not by their pixels."
        )
    resamples = [study.results.resamples for study in studies]
    drawn = [study.results.raw["measures"].get("bootstrap_resamples") for study in studies]
    if not in_order:
        notes.append("The test images stand in another order in both studies, so their differences are not paired.")
    elif None in resamples:
        without = listed([study.name for study in studies if study.results.resamples is None])
        notes.append(f"No resamples lie beside the results of {without}, so differences are not paired by image.")
    elif drawn[0] != drawn[1]:
        notes.append(
            f"{first.name} has {drawn[0]:,} resamples and {other.name} {drawn[1]:,}, so differences are not paired by image: give both "
            "the same measures.bootstrap_resamples."
        )
    pairs = _shared_pairs(studies, in_order)
    if pairs is None:
        notes.append("The two studies were asked about other pairs of images, so nothing at λ = 1/2 is compared.")
    return SameImages(known_by, in_order, drawn[0] == drawn[1], pairs, tuple(notes))


def _shared_pairs(studies: Sequence[OpenStudy], test_in_order: bool) -> Literal["training", "test"] | None:
    """Whose pairs are the same in both: those of training images first."""
    measures = [study.results.raw["measures"] for study in studies]
    asked = [(study.spec.get("measures") or {}).get("vicinity") or {} for study in studies]
    drawn = [(own.get("seed"), own.get("path") or "mixup") for own in asked]

    def alike(*keys: str) -> bool:
        return all(measures[0].get(key) is not None and measures[0][key] == measures[1].get(key) for key in keys)

    if drawn[0] != drawn[1]:
        return None
    if alike("pairs", "pair_images"):
        if alike("pair_images_hash"):
            return "training"
        unknown = any(own.get("pair_images_hash") is None for own in measures)
        if (unknown or studies[0].stored_as != studies[1].stored_as) and _same_training(studies):
            return "training"
    return "test" if test_in_order and alike("held_out_pairs", "held_out_pair_images") else None


def _same_training(studies: Sequence[OpenStudy]) -> bool:
    """Whether pairs are drawn from images at the same places, for studies whose pixels tell nothing."""
    parts = []
    for study in studies:
        network: dict[str, Any] = study.spec.get("student") or next(
            iter((study.spec.get("teachers") or {}).values()), {}
        )
        split_seed = (study.spec.get("data") or {}).get("split_seed")
        parts.append(
            (study.places.get("train"), network.get("train_images"), split_seed, study.results.data.get("source"))
        )
    return bool(parts[0][0]) and parts[0] == parts[1]
