"""What the runs of a study share: its data, its device, and how images reach each of its networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from vicinal.config import NetworkSpec, StudySpec
from vicinal.data import ImageData, ImageSet, SizeNeededError, load_data, stratified_subset
from vicinal.errors import UsageError
from vicinal.inputs import ImagePipeline, Preparation
from vicinal.networks import Classifier, TimmClassifier, weights_hash
from vicinal.study.plan import DataFacts, PlannedRun
from vicinal.study.preparations import Preparations, stored_view, view_of
from vicinal.training import TrainingData
from vicinal.workspace import launched


@dataclass(frozen=True)
class StudyContext:
    """A study and its data on a device."""

    spec: StudySpec
    data: ImageData
    device: torch.device
    network_notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by a network's dotted path
    preparation_notes: tuple[str, ...] = ()  # on whose images are prepared how
    guessed_classes: frozenset[str] = frozenset()  # networks whose logits are taken to stand in the data's order

    @classmethod
    def load(cls, spec: StudySpec) -> StudyContext:
        """Read the data, each image once for all networks. Raises UsageError where it, or the device, cannot be used."""
        device = device_named(spec.runtime.device)  # first: a wrong device costs no reading
        preparations = Preparations(spec)
        try:
            data = load_data(spec.data, _stored_side(spec), preparations.views)
        except SizeNeededError:
            at_own_size = preparations.with_size()
            if at_own_size is None:
                raise
            preparations = at_own_size
            data = load_data(preparations.spec.data, _stored_side(preparations.spec), preparations.views)
        resolved = preparations.resolved(data.own_side)
        return cls(resolved, data, device, preparation_notes=tuple(preparations.notes(resolved)))

    def with_networks(self, built: Mapping[str, Classifier]) -> StudyContext:
        """With what the weights of its networks say of themselves filled into the study, by dotted path."""
        specs = {key: network.spec for key, network in built.items() if isinstance(network, TimmClassifier)}
        teachers = {name: specs.get(f"teachers.{name}", teacher) for name, teacher in self.spec.teachers.items()}
        changes = {"teachers": teachers, "student": specs.get("student", self.spec.student)}
        return replace(
            self,
            spec=self.spec.model_copy(update=changes),
            network_notes={key: network.notes for key, network in built.items()},
            guessed_classes=frozenset(key for key, network in built.items() if network.classes_are_guessed),
        )

    @property
    def classes(self) -> int:
        return len(self.data.class_names)

    @property
    def channels(self) -> int:
        return int(self.data.train.images.shape[-1])

    @property
    def main_network(self) -> NetworkSpec:
        """The network whose training images and preparation every vicinal curve uses: the student's, if there is one."""
        return self.spec.student or next(iter(self.spec.teachers.values()))

    @cached_property
    def selection_images(self) -> ImageSet:
        """What is looked at while training: the test images only in the paper's own protocol."""
        return self.data.test if self.spec.selection == "paper_best_test" else self.data.validation

    def preparation(self, network: NetworkSpec) -> Preparation:
        """How a network's images are prepared: those it is trained on, and through its view those that it is shown."""
        return Preparation(network.augment, self.spec.data.image_size, view_of(network))

    def seen_pixels(self, network: NetworkSpec, images: ImageSet, count: int) -> Tensor:
        """(count, C, H, W) pixels of the first images as a network sees them at test time, on the CPU."""
        preparation = self.preparation(network)
        return preparation.pixels(images.as_seen(preparation.view).images[:count])

    def training_pixels(self, network: NetworkSpec, images: ImageSet, count: int) -> Tensor:
        """(count, C, H, W) pixels of the first images of the size that it is trained on, on the CPU."""
        return replace(self.preparation(network), view=None).pixels(images.images[:count])

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What is to be said of the data, before anything is spent and beside every figure."""
        side, stored = self.spec.data.image_size, self.stored_side
        smaller = min(self.data.train.images.shape[1:3])
        other = [
            name
            for name, network in self.spec.networks().items()
            if stored is not None and side is not None and side < smaller == stored != _cut_from(network, side)
        ]
        resized = f"Images are kept at {stored} px, so these networks see them resized twice: {', '.join(other)}."
        return (*self.data.notes, *self.preparation_notes, *([resized] if other else []))

    @property
    def stored_side(self) -> int | None:
        """Side in px that the longest cut of any network is made from; None: the images' own."""
        return _stored_side(self.spec)

    def training_images(self, network: NetworkSpec) -> ImageSet:
        """The training images of a network: all, or its class-balanced part."""
        if network.train_images is None:
            return self.data.train
        if network.train_images not in self._parts:
            index = stratified_subset(self.data.train.labels, network.train_images, self.spec.data.split_seed)
            self._parts[network.train_images] = self.data.train.subset(index)
        return self._parts[network.train_images]

    @cached_property
    def _parts(self) -> dict[int, ImageSet]:
        return {}

    def training_data(self, run: PlannedRun) -> TrainingData:
        """What a run trains on and selects by."""
        network = run.spec.network
        images = self.training_images(network)
        shown_elsewhere = view_of(network)
        if shown_elsewhere is None and self._is_resized:
            shown_elsewhere = stored_view(network, self.spec.data)
        return TrainingData(
            images,
            self.selection_images,
            self.classes,
            self.preparation(network),
            self.data.class_names,
            shown_elsewhere,
        )

    @property
    def _is_resized(self) -> bool:
        """Whether the stored images were made from others; else they are the originals."""
        return self.stored_side is not None and self.data.own_side is None

    def pipeline(self, run: PlannedRun) -> ImagePipeline:
        """What makes the batches of a run's training."""
        images = self.training_images(run.spec.network)
        return ImagePipeline(images.images, images.labels, self.preparation(run.spec.network), self.device)

    def facts(self) -> DataFacts:
        """What of the data decides the runs."""
        networks = self.spec.networks()
        images = {key: self.training_images(network) for key, network in networks.items()}
        return DataFacts(
            class_names=self.data.class_names,
            train_images={key: len(found) for key, found in images.items()},
            train_hashes={key: found.content_hash() for key, found in images.items()},
            stored_side=self.stored_side,
            selection_hash=self.selection_images.content_hash(),
            seen_selection_hashes={
                key: self.selection_images.as_seen(view).content_hash()
                for key, network in networks.items()
                if (view := view_of(network)) is not None
            },
            weights_hashes={key: weights_hash(network) for key, network in networks.items()},
        )


def _cut_from(network: NetworkSpec, side: int) -> int:
    """Side in px that a network's images are resized to, before it crops `side` out of them."""
    return network.augment.resize or side


def _stored_side(spec: StudySpec) -> int | None:
    """The largest side that any network is to cut from: an image is resized once, from the original."""
    side = spec.data.image_size
    return None if side is None else max(side, *(_cut_from(network, side) for network in spec.networks().values()))


def device_named(name: str) -> torch.device:
    """The device of a study; UsageError where this machine does not have it."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    own = launched()
    if name == "cuda" and own.count > 1:  # each process of a machine has a GPU of its own
        name = f"cuda:{own.on_machine}"
    device = torch.device(name)
    if (device.type == "cuda" and not torch.cuda.is_available()) or (
        device.type == "mps" and not torch.backends.mps.is_available()
    ):
        raise UsageError(f"runtime.device: this machine has no {name}; use cpu or auto")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"runtime.device: this machine has {torch.cuda.device_count()} GPUs and no {name}; start as many processes as it has GPUs"
        )
    return device
