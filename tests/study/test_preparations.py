"""Every network sees images as it was made for, as by timm's own transform of the originals; from every source, in memory and lazy."""

from __future__ import annotations

import argparse
import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from timm.data import create_transform, resolve_data_config

from tiny_studies import merged
from vicinal.config import PreparationSpec, StudySpec
from vicinal.errors import UsageError
from vicinal.evaluation import predict
from vicinal.networks import build_classifier, load_classifier, preparation_stated, read_weights_file
from vicinal.study import Study
from vicinal.study.context import StudyContext

CLASSES = ("ant", "bee", "cat")
# timm's train.py keeps its arguments; the last two are files of weights alone, of which timm's config of the name says what they need.
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "bicubic": ("test_resnet", {"img_size": 48, "crop_pct": 0.875, "interpolation": "bicubic"}),
    "bilinear": (
        "test_efficientnet",
        {"img_size": 64, "crop_pct": 0.95, "interpolation": "bilinear", "mean": [0.5], "std": [0.5]},
    ),
    "squash": (
        "test_efficientnet",
        {"input_size": [3, 40, 40], "crop_pct": 1.0, "crop_mode": "squash", "interpolation": "bicubic"},
    ),
    "border": ("test_resnet", {"img_size": 56, "crop_pct": 0.9, "crop_mode": "border", "interpolation": "bilinear"}),
    "by_name": ("test_efficientnet", {}),
}


def photograph(seed: int) -> Image.Image:
    """A smooth colour image of a size and shape of its own, with noise on it."""
    generator = np.random.default_rng(seed)
    size = tuple(int(side) for side in generator.integers(70, 180, 2))
    small = Image.fromarray(generator.integers(0, 255, (5, 5, 3), dtype=np.uint8)).resize(
        size, Image.Resampling.BICUBIC
    )
    noise = generator.integers(-12, 12, (size[1], size[0], 3))
    return Image.fromarray((np.asarray(small).astype(int) + noise).clip(0, 255).astype(np.uint8))


def jpeg(seed: int) -> bytes:
    buffer = io.BytesIO()
    photograph(seed).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs as a folder, Parquet and shards, and the weights of four models as people have them."""
    root = tmp_path_factory.mktemp("made")
    (root / "parquet").mkdir()
    (root / "shards").mkdir()
    for s, split in enumerate(("train", "test")):
        items = [(label, n, jpeg(1000 * s + 10 * label + n)) for label in range(3) for n in range(5)]
        for label, n, data in items:
            path = root / "folder" / split / CLASSES[label] / f"{n}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        table = pa.table(
            {"image": [{"bytes": d, "path": None} for *_, d in items], "label": [label for label, *_ in items]}
        )
        pq.write_table(table, root / "parquet" / f"{split}-00000-of-00001.parquet")
        with tarfile.open(root / "shards" / f"{split}-000000.tar", "w") as tar:
            for label, n, data in items:
                for ending, content in (("jpg", data), ("cls", str(label).encode())):
                    info = tarfile.TarInfo(f"{label}_{n}.{ending}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
    (root / "shards" / "classnames.txt").write_text("\n".join(CLASSES))
    torch.manual_seed(5)
    for name, (model, args) in MODELS.items():
        weights = timm.create_model(model, num_classes=3).state_dict()
        if args:
            torch.save(
                {"arch": model, "state_dict": weights, "args": argparse.Namespace(model=model, **args)},
                root / f"{name}.pth.tar",
            )
        else:
            save_file(weights, root / f"{name}.safetensors")
    return root


def weights_of(made: Path, name: str) -> str:
    return str(next(made.glob(f"{name}.*")))


def teacher(made: Path, name: str, **changes: Any) -> dict[str, Any]:
    normalised = {"mean": [0.5], "std": [0.5]} if "mean" in MODELS[name][1] else {}
    return (
        {
            "model": MODELS[name][0],
            "weights": weights_of(made, name),
            "head": "keep",
            "epochs": 0,
            "check_classes": False,
        }
        | normalised
        | changes
    )


def study(made: Path, source: str = "folder", teachers: Any = None, **data: Any) -> StudySpec:
    values = {
        "name": "x",
        "data": {"source": str(made / source), "validation": 0.2, "image_size": 32, **data},
        "teachers": teachers or {name: teacher(made, name) for name in MODELS},
        "measures": {"vicinity": {"pairs": 4, "lam_points": 3}, "bootstrap_resamples": 100},
        "runtime": {"device": "cpu"},
    }
    return StudySpec.model_validate(values)


def by_timm(made: Path, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """(15, C, side, side) uint8 and (15, 3) logits of the folder's test images, without a line of vicinal."""
    model_name, args = MODELS[name]
    file = torch.load(weights_of(made, name), weights_only=False) if args else None
    model = timm.create_model(model_name, num_classes=3)
    if file is None:
        model = timm.create_model(
            model_name,
            num_classes=3,
            pretrained=True,
            pretrained_cfg_overlay={"file": weights_of(made, name), "num_classes": 3},
        )
    else:
        model.load_state_dict(file["state_dict"])
    config = resolve_data_config(args, model=model)
    transforms = [create_transform(**config, is_training=False, normalize=normalize) for normalize in (False, True)]
    images = [Image.open(path).convert("RGB") for path in sorted((made / "folder" / "test").rglob("*.jpg"))]
    pixels, inputs = (torch.stack([transform(image) for image in images]) for transform in transforms)
    with torch.inference_mode():
        return pixels, model.eval()(inputs)


@pytest.mark.parametrize("lazy", [False, True], ids=["memory", "lazy"])
@pytest.mark.parametrize("source", ["folder", "parquet", "shards"])
def test_kept_classifiers_answer_as_through_timms_own_transform(made: Path, source: str, lazy: bool):
    context = StudyContext.load(study(made, source, lazy=lazy))
    assert tuple(context.data.train.images.shape[1:]) == (32, 32, 3)
    for name, network_spec in context.spec.teachers.items():
        wanted, logits = by_timm(made, name)
        preparation = context.preparation(network_spec)
        seen = context.data.test.as_seen(preparation.view).images[:]
        assert torch.equal(seen.permute(0, 3, 1, 2), wanted), name
        network = build_classifier(network_spec, 3, 3, CLASSES)
        answers = predict(network, context.data.test, preparation, torch.device("cpu"))
        assert torch.equal(answers.argmax(1), logits.argmax(1))
        assert float((answers.softmax(1) - logits.softmax(1)).abs().sum(1).mean()) / 2 < 1e-5
    assert sum("sees test images as" in note for note in context.notes) == len(MODELS)


def test_the_same_training_images_are_seen_in_memory_and_lazy(made: Path):
    held, lazy = (StudyContext.load(study(made, lazy=choice)) for choice in (False, True))
    view = held.preparation(held.spec.teachers["border"]).view
    order = torch.tensor([3, 0, 3, 7])
    assert torch.equal(held.data.train.as_seen(view).images[order], lazy.data.train.as_seen(view).images[order])
    assert torch.equal(held.data.train.as_seen(view).images[order], held.data.train.as_seen(view).images[order])


def test_who_sees_what(made: Path):
    """A kept classifier keeps its preparation whatever size a study states; what is trained here sees what it was trained on."""

    def seen(changes: dict[str, Any], **data: Any) -> Any:
        context = StudyContext.load(study(made, teachers={"a": teacher(made, "bicubic", **changes)}, **data))
        return context.spec.teachers["a"].preparation, context

    own = PreparationSpec(image_size=48, crop_pct=0.875, interpolation="bicubic")
    assert seen({})[0] == own
    assert seen({"preparation": "data"})[0] == "data"
    larger = seen({"image_size": 64})[0]
    assert (larger.image_size, larger.resize_side, larger.interpolation) == (64, 73, "bicubic")
    trained = {"head": "linear", "epochs": 1}
    assert seen(trained)[0] is None
    assert seen(trained | {"preparation": "model"})[0] == own
    assert seen({"augment": {"crop": "resize", "resize": 36}})[0] is None  # the study's own crop of test images
    assert seen({"weights": None, **trained})[0] is None
    stated = PreparationSpec(image_size=40, crop_mode="squash")
    assert seen({"preparation": stated.model_dump()})[0] == stated
    # Nobody states a size and the images have many: the weights do.
    preparation, context = seen(trained, image_size=None)
    assert (preparation, context.spec.data.image_size) == (own, 48)
    assert context.data.train.images.shape[1] == 48
    assert "data.image_size is 48 px, which the weights of teachers.a are for" in " ".join(context.notes)
    with pytest.raises(UsageError, match=r"images differ in size: .* give data\.image_size"):
        seen({"weights": None, **trained}, image_size=None)
    with pytest.raises(UsageError, match=r"teachers\.a\.preparation: model: neither the weights nor timm"):
        seen({"model": "vicinal_resnet8", "weights": None, "preparation": "model", **trained})
    with pytest.raises(ValueError, match="give one of them"):
        study(made, teachers={"a": teacher(made, "bicubic", image_size=64, preparation=stated.model_dump())})


def test_small_squares_that_are_kept_as_they_are_are_not_enlarged_for_a_name(image_folder: Path, made: Path):
    """A file of weights alone is of whatever images the study has, if these are a data set of one small size."""
    values = merged(
        study(made).model_dump(mode="json", exclude_defaults=True),
        {"data.source": str(image_folder), "data.image_size": 12},
    )
    for name, expected in (("by_name", None), ("bicubic", 48)):
        teachers = {"a": teacher(made, name)}
        context = StudyContext.load(StudySpec.model_validate(values | {"teachers": teachers}))
        found = context.spec.teachers["a"].preparation
        assert (found and found.image_size) == expected


def test_a_study_of_two_preparations(made: Path, tmp_path: Path):
    """Teacher and student each see their own of one decoded image; pairs are mixed after it; what is saved says how it is prepared."""
    spec = study(made, teachers={"a": teacher(made, "squash")}, image_size=None).model_dump(
        mode="json", exclude_defaults=True
    )
    values = merged(
        spec,
        {
            "arms": ["kd"],
            "student": {"model": "test_resnet", "weights": weights_of(made, "bicubic"), "epochs": 1, "batch_size": 6},
        },
    )
    values["measures"] |= {"corruptions": {"names": ["pixelate"]}, "representation": {}}
    opened = Study(StudySpec.model_validate(values), tmp_path / "out")
    from vicinal.study import execute

    results = execute(opened, "")
    sides = {run.spec.name: opened.context.preparation(run.spec.network).view.side for run in opened.plan.unique_runs}
    assert set(sides.values()) == {40, 48}
    assert results.data.image_size == 48
    folders = {run.spec.role: run.folder for run in opened.plan.unique_runs}
    for role, side in (("teacher", 40), ("student", 48)):
        meaning = read_weights_file(folders[role].weights).meaning
        assert meaning.preparation.image_size == side
    student = opened.plan.students[0].spec.network.model_copy(
        update={
            "weights": str(folders["student"].weights),
            "head": "keep",
            "epochs": 0,
            "preparation": None,
            "image_size": None,
        }
    )
    stated = preparation_stated(student)
    assert stated.by_weights
    assert stated.preparation.resize_side == 54
    wanted = opened.context.preparation(opened.plan.students[0].spec.network).view
    assert load_classifier(str(folders["student"].path)).preparation.view.text == wanted.text
    again = Study(StudySpec.model_validate(values), tmp_path / "out")
    assert all(again.predictions.exist(run) for run in again.plan.unique_runs)
    assert StudySpec.model_validate(results.spec)  # a study file itself
