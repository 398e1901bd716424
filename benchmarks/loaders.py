"""Reading for training: JPEG files to mixed, normalised batches, against timm's and torchvision's loaders."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.harness import Entrant, Running, Settings, Talk, measure
from benchmarks.photographs import CLASSES, write_photographs
from benchmarks.proofs import ProofError
from benchmarks.results import CaseResult
from vicinal.config import UNIFORM_MIXING, AugmentSpec, DataSpec
from vicinal.data import load_data
from vicinal.inputs import ImagePipeline, Preparation, VicinalPlan
from vicinal.workspace import keep_freed_memory

WORKERS = 2
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Of an epoch's pixels: unmixed, their spread is above 0.8; not normalised, their mean is about 0.5 and their spread below 0.2.
LEAST_MEAN, MOST_MEAN = 0.0, 0.45
LEAST_SPREAD, MOST_SPREAD = 0.4, 0.78
PROOFS = (
    "An epoch of every entrant gave as many images as there are, in float32 at the side that networks see, and by their mean and "
    "their spread they are normalised and mixed.",
)


@dataclass(frozen=True)
class Task:
    """What is read."""

    images: int = 600  # an epoch is a turn: short enough that what else a machine does meets all alike
    batch: int = 50
    side_px: int = 224


QUICK = Task(images=40, batch=10, side_px=32)


def loaders(settings: Settings, talk: Talk) -> list[CaseResult]:
    """One case: the same photographs from class folders by all, from Parquet and shards by us. An epoch is a step."""
    task = QUICK if settings.quick else Task()
    caches = ("XDG_CACHE_HOME", "VICINAL_PIXEL_CACHE", "VICINAL_PIXEL_CACHE_GB")
    known = {name: os.environ.pop(name, None) for name in caches}
    with tempfile.TemporaryDirectory(prefix="vicinal-bench-") as folder:
        root = Path(folder)
        os.environ["XDG_CACHE_HOME"] = str(root / "cache")  # the user's keeps none of this
        try:
            settings.apart(lambda: write_photographs(root, task.images))
            results = measure("loaders", _entrants(root, task), settings, talk)
            ways = _ways(root, task)
            cpu = {name: settings.apart(partial(cpu_ms, make, task, settings.forked)) for name, _, _, make in ways}
        finally:
            os.environ.pop("XDG_CACHE_HOME", None)
            os.environ.update({name: value for name, value in known.items() if value is not None})
    title = f"{task.images:,} JPEG files of about 500 x 375 px at {task.side_px} px, B = {task.batch}"
    figures = {f"{name}_cpu_ms_per_image": value for name, value in cpu.items()}
    figures["cpu_ratio"] = min(cpu["timm"], cpu["timm_plain"]) / max(
        cpu[name] for name in ("folder", "parquet", "shards")
    )
    case = CaseResult(name="jpeg", title=title, unit="images", reference="timm", entrants=results, figures=figures)
    return [case.model_copy(update={"proofs": PROOFS})]


def cpu_ms(make: Callable[[], Epochs], task: Task, forked: bool) -> float:
    """Milliseconds of processors' time an image takes, workers included: what waits for others' work does not count."""
    epochs, taken = make(), []
    if epochs.keeps_memory and forked:
        keep_freed_memory()
    for _ in range(4):
        before = _cpu_s()
        for _ in epochs.batches():
            pass
        taken.append(_cpu_s() - before)
    epochs.close()
    return 1e3 * sorted(taken[1:])[1] / task.images  # the first also imports


def _cpu_s() -> float:
    """Of this process and its children, who are running."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")  # threads that read do not fork
    total = time.process_time()
    for pid in children.read_text().split() if children.is_file() else ():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


Way = tuple[str, str, str, Callable[[], "Epochs"]]  # name, title, note and what makes it


def _ways(root: Path, task: Task) -> tuple[Way, ...]:
    folder = root / "folder"
    return (
        (
            "timm",
            "timm's loader",
            "its prefetching loader, mixed in the workers",
            lambda: timm_epochs(folder, task, True),
        ),
        (
            "timm_plain",
            "timm's loader, plain",
            "mixed in the process that trains",
            lambda: timm_epochs(folder, task, False),
        ),
        ("torchvision", "torchvision's classes", "one λ a batch", lambda: torchvision_epochs(folder, task)),
        ("folder", "vicinal, class folders", "", lambda: our_epochs(folder, task)),
        ("parquet", "vicinal, Parquet", "", lambda: our_epochs(root / "parquet", task)),
        ("shards", "vicinal, tar shards", "", lambda: our_epochs(root / "shards", task)),
    )


def _entrants(root: Path, task: Task) -> list[Entrant]:
    return [
        Entrant(name, title, lambda make=make: running(make(), task), note, learns=False)  # type: ignore[misc]
        for name, title, note, make in _ways(root, task)
    ]


@dataclass
class Epochs:
    """A loader: every call goes through all images once."""

    batches: Callable[[], Iterator[Tensor]]
    close: Callable[[], None] = lambda: None
    keeps_memory: bool = False


def running(epochs: Epochs, task: Task) -> Running:
    """A step is an epoch from its start to its end, so that nothing is read between turns. Raises ProofError."""
    check(torch.cat(list(epochs.batches())), task)

    def steps() -> Iterator[int]:
        while True:
            yield sum(len(batch) for batch in epochs.batches())

    return Running(steps(), task.images, close=epochs.close, keeps_memory=epochs.keeps_memory)


def check(epoch: Tensor, task: Task) -> None:
    """Raises ProofError unless these are the mixed, normalised pixels of an epoch."""
    form = (task.images, 3, task.side_px, task.side_px)
    if tuple(epoch.shape) != form or epoch.dtype != torch.float32:
        raise ProofError(f"an epoch is {tuple(epoch.shape)} {epoch.dtype}, not {form} of float32")
    mean, spread = float(epoch.mean()), float(epoch.std())
    if not (LEAST_MEAN < mean < MOST_MEAN and LEAST_SPREAD < spread < MOST_SPREAD):
        raise ProofError(f"pixels have mean {mean:.2f} and spread {spread:.2f}: they are not normalised, or not mixed")


def our_epochs(source: Path, task: Task) -> Epochs:
    """What a study trains on with `data.lazy=true`."""
    spec = DataSpec(source=str(source), lazy=True, image_size=task.side_px, validation=0)
    train = load_data(spec).train
    pipeline = ImagePipeline(
        train.images, train.labels, Preparation(AugmentSpec(crop="random_resized", flip=True), task.side_px)
    )
    plan, epochs = VicinalPlan(len(train), task.batch, seed=0, mixing=UNIFORM_MIXING), count()
    mean, std = (torch.tensor(values).repeat(task.side_px) for values in (MEAN, STD))

    def batches() -> Iterator[Tensor]:
        for _, batch in pipeline.batches(plan.epoch(next(epochs))):
            rows = batch.mixed.permute(0, 2, 3, 1).view(len(batch.mixed), task.side_px, -1)
            rows.sub_(mean).div_(std)  # in place, as timm's, and along what lies side by side in memory
            yield batch.mixed

    return Epochs(batches, keeps_memory=True)


def timm_epochs(folder: Path, task: Task, prefetches: bool) -> Epochs:
    """timm's loader with its default workers' ways, two of them; a λ for each image, bilinear crops and no other change."""
    from timm.data import FastCollateMixup, Mixup, create_dataset, create_loader

    mixing = {"mixup_alpha": 1.0, "cutmix_alpha": 0.0, "mode": "elem", "label_smoothing": 0.0, "num_classes": CLASSES}
    loader = create_loader(
        create_dataset("", root=str(folder / "train"), split="train", is_training=True),
        input_size=(3, task.side_px, task.side_px),
        batch_size=task.batch,
        is_training=True,
        use_prefetcher=prefetches,
        hflip=0.5,
        color_jitter=None,  # type: ignore[arg-type]  # 0.0 would still draw numbers
        interpolation="bilinear",
        mean=MEAN,
        std=STD,
        num_workers=WORKERS,
        collate_fn=FastCollateMixup(**mixing) if prefetches else None,
        device=torch.device("cpu"),
    )
    mix = None if prefetches else Mixup(**mixing)

    def batches() -> Iterator[Tensor]:
        for pixels, labels in loader:
            yield pixels if mix is None else mix(pixels, labels)[0]

    return Epochs(batches, lambda: _end_workers(loader.loader if prefetches else loader))


def torchvision_epochs(folder: Path, task: Task) -> Epochs:
    """torchvision's own classes, as its reference scripts have them: Pillow crops, two workers, one λ for a batch (it has no other)."""
    from torch.utils.data import DataLoader, default_collate
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    changes = v2.Compose(
        [
            v2.RandomResizedCrop(task.side_px, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )
    mix = v2.MixUp(num_classes=CLASSES)
    loader: DataLoader[Any] = DataLoader(
        ImageFolder(folder / "train", changes),
        task.batch,
        shuffle=True,
        num_workers=WORKERS,
        persistent_workers=True,
        collate_fn=lambda items: mix(*default_collate(items)),
    )
    return Epochs(lambda: (pixels for pixels, _ in loader), lambda: _end_workers(loader))


def _end_workers(loader: Any) -> None:
    """Else they would notice only seconds later that this process is gone."""
    if loader._iterator is not None:
        loader._iterator._shutdown_workers()
