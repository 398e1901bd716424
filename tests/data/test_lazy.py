"""Images read when they are asked for are those in memory, from every source that has them."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from vicinal.config import UNIFORM_MIXING, AugmentSpec, DataSpec
from vicinal.data import ImageSet, load_data
from vicinal.data.lazy import LazyImages
from vicinal.errors import UsageError
from vicinal.inputs import ImagePipeline, Preparation, VicinalPlan

WNIDS = ("n01440764", "n02102040", "n03000684")

SIDE = 24


def photograph(seed: int) -> Image.Image:
    """A smooth colour image of a size of its own, as ImageNet has them."""
    generator = np.random.default_rng(seed)
    width, height = generator.integers(30, 60, 2)
    small = Image.fromarray(generator.integers(0, 255, (4, 4, 3), dtype=np.uint8))
    return small.resize((int(width), int(height)), Image.Resampling.BILINEAR)


def jpeg(seed: int) -> bytes:
    buffer = io.BytesIO()
    photograph(seed).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def images() -> dict[str, list[tuple[str, int, bytes]]]:
    """For each split: key, class, encoded image."""
    return {
        split: [
            (f"{split}_{label}_{n}", label, jpeg(1000 * s + 10 * label + n)) for label in range(3) for n in range(count)
        ]
        for s, (split, count) in enumerate((("train", 8), ("val", 4)))
    }


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same images as an ImageNet-shaped folder, Parquet and shards."""
    root = tmp_path_factory.mktemp("sources")
    for split, items in images().items():
        for key, label, data in items:
            path = root / "folder" / split / WNIDS[label] / f"{key}.JPEG"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        (root / "parquet").mkdir(exist_ok=True)
        table = pa.table(
            {"image": [{"bytes": d, "path": None} for _, _, d in items], "label": [label for _, label, _ in items]}
        )
        pq.write_table(table, root / "parquet" / f"{split}-00000-of-00001.parquet", row_group_size=5)
        (root / "shards").mkdir(exist_ok=True)
        (root / "shards" / "classnames.txt").write_text("\n".join(WNIDS))
        for shard, part in enumerate((items[::2], items[1::2])):
            with tarfile.open(root / "shards" / f"{split}-{shard:06}.tar", "w") as tar:
                for key, label, data in part:
                    paper_as_json = label == 1
                    text = json.dumps({"label": label}) if paper_as_json else str(label)
                    for ending, content in (("jpg", data), ("json" if paper_as_json else "cls", text.encode())):
                        info = tarfile.TarInfo(f"{key}.{ending}")
                        info.size = len(content)
                        tar.addfile(info, io.BytesIO(content))
    return {name: root / name for name in ("folder", "parquet", "shards")}


def spec(path: Path, **changes: object) -> DataSpec:
    return DataSpec(**{"source": str(path), "image_size": SIDE, "validation": 0.25, **changes})


@pytest.mark.parametrize("kind", ["folder", "parquet", "shards"])
def test_streamed_images_are_those_in_memory(sources, kind: str):
    held, streamed = (load_data(spec(sources[kind], lazy=s)) for s in (False, True))
    for of in ("train", "validation", "test"):
        a, b = getattr(held, of), getattr(streamed, of)
        assert isinstance(b.images, LazyImages)
        assert torch.equal(a.labels, b.labels)
        assert tuple(a.images.shape) == b.images.shape
        assert torch.equal(a.images, torch.cat(list(b.images.split(5))))
        order = torch.tensor([3, 0, 3, 2, 1])
        assert torch.equal(a.images[order], b.images[order])
        assert torch.equal(a.subset(order[1:]).images, b.subset(order[1:]).images[:])


def test_all_three_forms_hold_the_same_images(sources):
    sets = {kind: load_data(spec(path, lazy=True, validation=0)).train for kind, path in sources.items()}

    def fingerprints(images: ImageSet) -> set[tuple[int, bytes]]:
        return {(int(y), x.numpy().tobytes()) for x, y in zip(images.images[:], images.labels, strict=True)}

    assert fingerprints(sets["folder"]) == fingerprints(sets["parquet"]) == fingerprints(sets["shards"])

    def crops(images: ImageSet) -> set[tuple[int, bytes]]:
        boxes = torch.tensor([(2, 3, 15, 12)] * len(images))
        assert isinstance(images.images, LazyImages)
        read = images.images.start_crops(torch.arange(len(images)), boxes, 10)()
        return {(int(y), x.numpy().tobytes()) for x, y in zip(read, images.labels, strict=True)}

    assert crops(sets["folder"]) == crops(sets["parquet"]) == crops(sets["shards"])
    assert len(crops(sets["folder"])) == len(sets["folder"])
    assert load_data(spec(sources["shards"], lazy=True)).class_names == WNIDS


@pytest.mark.parametrize(
    "augment",
    [AugmentSpec(), AugmentSpec(crop="pad", pad=3, flip=True), AugmentSpec(crop="resize", resize=28, flip=True)],
    ids=["none", "pad", "resize"],
)
def test_batches_are_the_same_whether_streamed_or_in_memory(sources, augment: AugmentSpec):
    plan = VicinalPlan(18, 7, seed=3, mixing=UNIFORM_MIXING)
    made = []
    for lazy in (False, True):
        train = load_data(spec(sources["folder"], lazy=lazy)).train
        pipeline = ImagePipeline(train.images, train.labels, Preparation(augment, SIDE))
        made.append([batch for _, batch in pipeline.batches(plan.epoch(1, 1))])
    assert len(made[0]) == len(made[1]) == 2
    for a, b in zip(*made, strict=True):
        assert torch.equal(a.mixed, b.mixed)
        assert torch.equal(a.clean, b.clean)
        assert torch.equal(a.labels, b.labels)


def test_a_changed_file_changes_the_hash_and_the_place_does_not(sources, tmp_path: Path):
    copy = tmp_path / "folder"
    shutil.copytree(sources["folder"], copy)
    before = load_data(spec(sources["folder"], lazy=True))
    assert load_data(spec(copy, lazy=True)).content_hash == before.content_hash
    victim = next((copy / "train" / WNIDS[0]).iterdir())
    victim.write_bytes(jpeg(77_777))
    after = load_data(spec(copy, lazy=True))
    assert after.content_hash != before.content_hash
    assert after.test.content_hash() == before.test.content_hash()


def test_a_broken_image_is_named_when_it_is_met(sources, tmp_path: Path):
    copy = tmp_path / "folder"
    shutil.copytree(sources["folder"], copy)
    victim = next((copy / "train" / WNIDS[0]).iterdir())
    victim.write_bytes(victim.read_bytes()[:-80])  # its header is sound
    train = load_data(spec(copy, lazy=True, validation=0)).train
    pipeline = ImagePipeline(train.images, train.labels, Preparation(AugmentSpec(), SIDE))
    with pytest.raises(UsageError, match=victim.name):
        list(pipeline.batches(VicinalPlan(24, 5, seed=0).epoch(0)))


def test_what_cannot_be_streamed(sources, tmp_path: Path):
    with pytest.raises(UsageError, match=r"data\.image_size"):
        load_data(spec(sources["folder"], lazy=True, image_size=None))
    with pytest.raises(UsageError, match="WebDataset"):
        load_data(DataSpec(source="embedded/fashion-mnist", lazy=True, image_size=28))


def shard(path: Path, entries: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, content in entries.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize("kind", ["folder", "parquet", "shards"])
def test_other_bytes_under_the_same_name_and_size_are_other_images(sources, tmp_path: Path, kind: str):
    if kind not in sources:
        pytest.skip("no such source")
    copy = tmp_path / kind
    shutil.copytree(sources[kind], copy)
    before = load_data(spec(copy, lazy=True))
    again = load_data(spec(copy, lazy=True))
    assert again.content_hash == before.content_hash
    victim = next(
        p for p in sorted(copy.rglob("*")) if p.is_file() and p.suffix.lower() in (".jpeg", ".jpg", ".parquet", ".tar")
    )
    times, data = victim.stat(), bytearray(victim.read_bytes())
    data[600 if kind == "shards" else len(data) // 2] ^= 1  # in an image's bytes
    victim.write_bytes(data)
    os.utime(victim, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert load_data(spec(copy, lazy=True)).content_hash != before.content_hash


@pytest.mark.parametrize("kind", ["folder", "parquet", "shards"])
def test_leaks_between_splits_are_seen_in_lazy_sources_too(sources, tmp_path: Path, kind: str):
    """By the images' own bytes, whatever file they lie in; hashes that are remembered say the same."""
    copy = tmp_path / kind
    shutil.copytree(sources[kind], copy)
    if kind == "folder":
        shutil.copytree(copy / "train", copy / "test")
    for file in copy.glob("train-*"):
        shutil.copy(file, copy / file.name.replace("train", "test"))
    first, again = (load_data(spec(copy, lazy=True)) for _ in range(2))
    assert any(" test images are also training images (" in note for note in first.notes)
    assert (again.notes, again.content_hash) == (first.notes, first.content_hash)


def test_encoded_images_have_the_same_hashes_in_every_form(sources):
    data = [load_data(spec(path, lazy=True)) for path in sources.values()]
    assert len({frozenset(map(bytes, (*d.train.digests, *d.validation.digests, *d.test.digests))) for d in data}) == 1
