"""Whose preparation is whose: which networks of a study see test images as their weights state, and which as the study stores them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from vicinal.config import DataSpec, NetworkSpec, PreparationSpec, StudySpec
from vicinal.data import View
from vicinal.errors import UsageError
from vicinal.networks import StatedPreparation, border_fill, preparation_stated

Network = TypeVar("Network", bound=NetworkSpec)


@dataclass(frozen=True)
class Preparations:
    """What the weights of a study's networks state, and what follows from it.

    Args:
        size_is_chosen: `data.image_size` was not in the study and was taken from a network.
    """

    spec: StudySpec
    size_is_chosen: bool = False

    @cached_property
    def stated(self) -> Mapping[str, StatedPreparation]:
        """By a network's dotted path, of those that state one."""
        found = {key: preparation_stated(network) for key, network in self.spec.networks().items()}
        return {key: stated for key, stated in found.items() if stated is not None}

    def with_size(self) -> Preparations | None:
        """The study at the side that the student's weights are for, or the first teacher's that states one; None where none does."""
        for key in ("student", *(f"teachers.{name}" for name in self.spec.teachers)):
            if key in self.stated:
                side = self.stated[key].preparation.image_size
                data = self.spec.data.model_copy(update={"image_size": side})
                return Preparations(self.spec.model_copy(update={"data": data}), size_is_chosen=True)
        return None

    @property
    def size_note(self) -> str | None:
        """Where `data.image_size` comes from, if not from the study."""
        if not self.size_is_chosen:
            return None
        side = self.spec.data.image_size
        return f"data.image_size is {side} px, which the weights of {next(iter(self._by_need))} are for."

    @property
    def _by_need(self) -> list[str]:
        order = ("student", *(f"teachers.{name}" for name in self.spec.teachers))
        return [key for key in order if key in self.stated]

    def views(self, own_side: int | None) -> tuple[View, ...]:
        """That the networks have of the originals, where these are small squares of one size (`own_side`) or photographs (None)."""
        networks = self.resolved(own_side).networks().values()
        return tuple(dict.fromkeys(view for network in networks if (view := view_of(network)) is not None))

    def resolved(self, own_side: int | None) -> StudySpec:
        """The study with every network's preparation filled in, and the side that it sees where that is another than the data's."""
        teachers = {
            name: self._with_preparation(f"teachers.{name}", teacher, own_side)
            for name, teacher in self.spec.teachers.items()
        }
        student = self.spec.student
        if student is not None:
            student = self._with_preparation("student", student, own_side)
        return self.spec.model_copy(update={"teachers": teachers, "student": student})

    def _with_preparation(self, key: str, network: Network, own_side: int | None) -> Network:
        found = self._preparation(key, network, own_side)
        if found is None:
            return network
        if found.crop_mode == "border" and found.fill is None:
            found = found.model_copy(update={"fill": border_fill(network)})
        changes: dict[str, object] = {"preparation": found}
        if network.image_size is None and found.image_size != self.spec.data.image_size:
            changes["image_size"] = found.image_size  # of mixed images, too, which come at the data's side
        return network.model_copy(update=changes)

    def _preparation(self, key: str, network: NetworkSpec, own_side: int | None) -> PreparationSpec | None:
        wanted, stated = network.preparation, self.stated.get(key)
        if isinstance(wanted, PreparationSpec):
            return wanted
        if wanted == "data":
            return None
        if wanted == "model":
            if stated is None:
                raise UsageError(
                    f"{key}.preparation: model: neither the weights nor timm state how images of {network.model} are prepared; give it "
                    "as a mapping ({image_size: 224, crop_pct: 0.875, interpolation: bicubic}), or data"
                )
            return stated.preparation
        return stated.preparation if stated is not None and self._follows(network, stated, own_side) else None

    def _follows(self, network: NetworkSpec, stated: StatedPreparation, own_side: int | None) -> bool:
        """Whether a network is shown images as its weights state it, unless the study says otherwise.

        A classifier that is taken as it is: always, but for small squares where the name of its model alone states a size. One that is
        trained here sees what it was trained on: the data's side, if the study states it.
        """
        if network.augment.crop == "resize":  # the study's own crop of test images
            return False
        if network.epochs == 0:
            return stated.by_weights or own_side is None
        return self.size_is_chosen

    def notes(self, resolved: StudySpec) -> list[str]:
        """What is to be said of the preparations that no study file states."""
        found = [self.size_note] if self.size_note else []
        given = self.spec.networks()
        for key, network in resolved.networks().items():
            spec = network.preparation
            if isinstance(spec, PreparationSpec) and given[key].preparation in (None, "model"):
                whose = "its weights state" if self.stated[key].by_weights else f"timm states for {network.model}"
                found.append(
                    f"{key} sees test images as {whose}: {in_words(spec)}, made from the originals; {key}.preparation=data shows it "
                    "the study's own."
                )
        return found


def in_words(spec: PreparationSpec) -> str:
    """A preparation for people."""
    side, resize = spec.image_size, spec.resize_side
    cut = f", the centre {side} px" if resize != side else ""
    how = {"center": f"shorter side to {resize} px", "squash": f"both sides to {resize} px"}
    resized = how.get(spec.crop_mode, f"longer side to {resize} px with borders")
    square = ", the centre square" if spec.crop_mode == "center" and not cut else ""
    return f"{resized}, {spec.interpolation}{cut}{square}"


def view_of(network: NetworkSpec) -> View | None:
    """The view that a network of a resolved study has of original images; None where it sees the study's stored ones."""
    spec = network.preparation
    return View.of(spec, network.mean) if isinstance(spec, PreparationSpec) else None


def stored_view(network: NetworkSpec, data: DataSpec) -> View | None:
    """What a network that sees the stored images sees, as a view of the originals: for whoever takes it elsewhere."""
    if data.image_size is None:
        return None
    side = network.image_size or data.image_size
    resize = round((network.augment.resize or data.image_size) * side / data.image_size)
    if data.fit == "pad":
        return View(side, resize, "border", fill=(128,))
    return View(side, resize, "center" if data.fit == "crop" else "squash")
