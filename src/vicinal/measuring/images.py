"""The images that classifiers are measured on: all that are given, read once for all of them, each classifier through its own view."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from vicinal.config import DataSpec
from vicinal.data import ImageData, ImageSet, load_test_images
from vicinal.errors import UsageError
from vicinal.measuring.subject import Subject


def data_spec(source: DataSpec | str | Path, **values: object) -> DataSpec:
    """A source as a study has it. Raises UsageError in one line for values that do not fit."""
    if isinstance(source, DataSpec):
        return source
    try:
        return DataSpec.model_validate({"source": str(source), **values})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise UsageError(f"{'.'.join(map(str, first['loc'])) or 'data'}: {first['msg']}") from None


def load_images(
    spec: DataSpec, subjects: Sequence[Subject], validation: DataSpec | None = None
) -> tuple[ImageData, DataSpec]:
    """Every image of a source as all subjects need it, with what a temperature is fitted on, and the spec that gave them.

    Args:
        validation: where validation images come from; None: the source's own validation split, where it has one beside a test split.

    Raises UsageError as `load_test_images`, and for validation images of other classes.
    """
    views = tuple(dict.fromkeys(s.preparation.view for s in subjects if s.preparation.view is not None))
    # Those with a view see originals, so that their sides decide nothing where another sees what is stored.
    of_stored = [s for s in subjects if s.preparation.view is None] or subjects
    sides = [side for s in of_stored if (side := s.side) is not None]
    if spec.image_size is None and sides:
        spec = spec.model_copy(update={"image_size": max(sides)})
    cut_from = [s.preparation.augment.resize or 0 for s in subjects if s.preparation.augment.crop == "resize"]
    stored = max([spec.image_size or 0, *cut_from]) or None
    data = _in_classes_of(
        subjects, lambda names: load_test_images(spec, class_names=names, stored_side=stored, views=views)
    )
    if validation is not None:
        shape = {"image_size": spec.image_size, "lazy": spec.lazy, "on_error": spec.on_error}
        other = load_test_images(
            validation.model_copy(update=shape), class_names=data.class_names, stored_side=stored, views=views
        )
        shared = set(map(bytes, other.test.digests)) & set(map(bytes, data.test.digests))
        notes = data.notes
        if shared:
            notes = (
                *notes,
                f"{len(shared):,} of the validation images are among those measured: scaled figures flatter.",
            )
        data = replace(data, validation=other.test, notes=notes)
    if not len(data.test):
        raise UsageError(f"{spec.source} holds no image to measure")
    return data, spec


def _in_classes_of(subjects: Sequence[Subject], load: Callable[[Sequence[str] | None], ImageData]) -> ImageData:
    """Images in their own classes; in a classifier's where they alone make no classification, as those of one class."""
    try:
        return load(None)
    except UsageError as error:
        names = next((s.classifier.class_names for s in subjects if s.classifier.class_names is not None), None)
        if names is None:
            raise
        try:
            return load(names)
        except UsageError:
            raise error from None


def seen_by(data: ImageData, subject: Subject) -> ImageData:
    """The same images as a subject is given them."""
    view = subject.preparation.view

    def seen(images: ImageSet) -> ImageSet:
        return images if view is None or not len(images) else images.as_seen(view)

    return replace(data, test=seen(data.test), validation=seen(data.validation))
