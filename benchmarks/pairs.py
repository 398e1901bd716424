"""The teachers, students and images that are timed: random weights and synthetic images in memory, since neither changes a time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar, cast

import timm
import torch
from torch import Tensor, nn

import vicinal.networks  # noqa: F401  (registers the two built-in networks with timm)
from vicinal.config import AugmentSpec, NetworkSpec
from vicinal.data import ImageSet
from vicinal.inputs import resize, to_float
from vicinal.networks import TimmClassifier, build_classifier

Network = TypeVar("Network", bound=nn.Module)
TEMPERATURE = 2.0
LOGIT_SPREAD = 2.0  # standard deviation of a teacher's logits over images
SETTLING_IMAGES = 32
ENDLESS_EPOCHS = 100_000  # a loop that is timed must not end; the most that a study may have


@dataclass(frozen=True)
class Pair:
    """A teacher, a student and what they are shown."""

    name: str
    teacher: str
    student: str
    side_px: int
    channels: int
    batch: int
    images: int  # a multiple of the batch: every step has a whole one
    classes: int = 10

    @property
    def title(self) -> str:
        return f"{self.teacher} → {self.student}, {self.side_px} px, B = {self.batch}"

    def spec(self, model: str) -> NetworkSpec:
        augment = AugmentSpec(crop="pad", pad=4, flip=True)
        return NetworkSpec(model=model, epochs=ENDLESS_EPOCHS, batch_size=self.batch, augment=augment)

    def teacher_network(self) -> TimmClassifier:
        """The product's teacher: random weights, statistics of its images, and answers that differ between them."""
        network = self._network(self.teacher, 0)
        head = cast(nn.Linear, network.head)
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)
            nn.init.normal_(head.weight)
            pixels = self._pixels()
            settle(network, pixels)
            logits = network(pixels)
            head.weight.mul_(LOGIT_SPREAD / logits.std(0).mean())
            head.bias.sub_(network(pixels).mean(0))
        return network

    def _pixels(self) -> Tensor:
        images = self.data().images
        assert isinstance(images, Tensor)
        return to_float(images[:SETTLING_IMAGES])

    def student_network(self, seed: int = 1) -> TimmClassifier:
        """The product's student at its start."""
        return self._network(self.student, seed)

    def _network(self, model: str, seed: int) -> TimmClassifier:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return build_classifier(self.spec(model), self.classes, self.channels)

    def plain_teacher(self) -> nn.Module:
        """The same architecture as users of timm have it: contiguous, with timm's own head; frozen."""
        network = self._timm_network(self.teacher, 0)
        settle(network, self._pixels() - 0.5)
        return network.requires_grad_(False)

    def plain_student(self) -> nn.Module:
        """The student as users of timm have it."""
        return self._timm_network(self.student, 1).train()

    def _timm_network(self, model: str, seed: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network: nn.Module = timm.create_model(model, num_classes=self.classes, in_chans=self.channels)
            return network

    def normalisation(self, model: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of a model's pixels in [0, 1], one for each channel."""
        cfg = self._network(model, 0)
        return tuple(cfg.mean.flatten().tolist()), tuple(cfg.std.flatten().tolist())

    def data(self) -> ImageSet:
        """Patches of colour under noise: pure noise would look alike to any network."""
        return _images(self)


@lru_cache(maxsize=1)
def _images(pair: Pair) -> ImageSet:
    generator = torch.Generator().manual_seed(0)
    images = torch.empty(pair.images, pair.side_px, pair.side_px, pair.channels, dtype=torch.uint8)
    for part in images.split(500):  # little at a time: peak memory is one of the things measured
        patches = torch.rand(len(part), pair.channels, 4, 4, generator=generator)
        noise = torch.rand(len(part), pair.channels, pair.side_px, pair.side_px, generator=generator)
        part.copy_((0.7 * resize(patches, pair.side_px) + 0.3 * noise).mul(255).permute(0, 2, 3, 1))
    return ImageSet(images, torch.randint(0, pair.classes, (pair.images,), generator=generator))


@torch.no_grad()
def settle(network: nn.Module, pixels: Tensor) -> None:
    """Give batch norms the statistics of some images; at their start the answers of a deep network vanish or explode."""
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = None  # a plain average
    network.train()
    network(pixels)
    network.eval()


PAIRS = {
    pair.name: pair
    for pair in (
        Pair("tiny", "vicinal_resnet8", "vicinal_mobilenet", 28, 1, batch=100, images=2000),
        Pair("lite", "tf_efficientnet_lite2", "tf_efficientnet_lite0", 64, 3, batch=100, images=1000),
        Pair("convnext", "convnext_tiny", "mobilenetv2_100", 96, 3, batch=50, images=500),
    )
}
GPU_PAIRS = {
    pair.name: pair
    for pair in (
        Pair("resnet50", "convnext_large", "resnet50", 224, 3, batch=200, images=1000, classes=100),
        Pair("mobilenetv2", "convnext_large", "mobilenetv2_100", 224, 3, batch=200, images=1000, classes=100),
    )
}


def channels_last(network: Network) -> Network:
    """The network itself, its filters laid out for channels-last images."""
    network.to(memory_format=torch.channels_last)
    return network
