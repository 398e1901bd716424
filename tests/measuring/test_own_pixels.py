"""Each classifier is measured on its own pixels, made from the originals: timm's by timm's transform, whoever is measured beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_data_config
from timm.models._hub import save_for_hf

from vicinal.config import MeasuresSpec
from vicinal.inputs import Preparation
from vicinal.measuring import MeasuringOptions, SourceMeasurement, measure_named
from vicinal.networks import Classifier

CLASSES = ("ant", "bee", "cat")
SIZES = ((150, 90), (71, 133), (40, 52), (200, 64), (96, 96), (333, 250))
FAST = MeasuresSpec(bootstrap_resamples=100)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs of mixed sizes, some of them smaller than what the network sees."""
    root, generator = tmp_path_factory.mktemp("mixed"), np.random.default_rng(0)
    for name in CLASSES:
        (root / name).mkdir()
        for k, size in enumerate(SIZES):
            small = Image.fromarray(generator.integers(0, 255, (7, 7, 3), dtype=np.uint8))
            small.resize(size, Image.Resampling.BICUBIC).save(root / name / f"{k}.jpg", quality=90)
    return root


@pytest.fixture(scope="module", params=[("bicubic", 0.875, 48), ("bilinear", 1.0, 64)], ids=lambda p: p[0])
def model(request: pytest.FixtureRequest, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as timm writes it, whose answers spread over the classes: logits of mean 0 and deviation 1."""
    filter_, crop, side = request.param
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=3)
    network.pretrained_cfg = network.pretrained_cfg | {
        "input_size": (3, side, side),
        "test_input_size": None,
        "crop_pct": crop,
        "interpolation": filter_,
    }
    folder = tmp_path_factory.mktemp("timm") / filter_
    config = {"label_names": list(CLASSES)}
    save_for_hf(network, str(folder), model_config=config, safe_serialization=True)
    deviation, mean = torch.std_mean(by_timm(folder, photos), 0)
    head = network.get_classifier()
    with torch.no_grad():
        head.bias.sub_(mean).div_(deviation)
        head.weight.div_(deviation[:, None])
    save_for_hf(network, str(folder), model_config=config, safe_serialization=True)
    return folder


def by_timm(folder: Path, photos: Path) -> torch.Tensor:
    """(N, K) of all photographs, in the order of their paths."""
    network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    transform = create_transform(**resolve_data_config({}, model=network), is_training=False)
    paths = sorted(photos.glob("*/*.jpg"))
    with torch.inference_mode():
        return network(torch.stack([transform(Image.open(path).convert("RGB")) for path in paths]))


def logits_of(found: SourceMeasurement, k: int = 0) -> torch.Tensor:
    names = found.data.test.names
    return found.subjects[k].logits[torch.tensor(sorted(range(len(names)), key=lambda n: names[n]))]


@pytest.mark.parametrize("lazy", [False, True])
def test_a_timm_model_has_the_answers_of_timms_transform(model, photos, lazy):
    found = measure_named([str(model)], photos, MeasuringOptions(pairs=0, measures=FAST, lazy=lazy))
    wanted, labels = by_timm(model, photos), torch.arange(3).repeat_interleave(len(SIZES))
    assert len(wanted.argmax(-1).unique()) == 3
    torch.testing.assert_close(logits_of(found), wanted, atol=1e-5, rtol=1e-5)
    assert found.numbers["accuracy"] == float((wanted.argmax(-1) == labels).double().mean())


def test_who_is_measured_beside_it_changes_nobodys_pixels(model, photos):
    def mean(pixels: torch.Tensor) -> torch.Tensor:
        return pixels.mean((2, 3)) + pixels[:, :, 10, 10]

    other = Classifier.of(mean, Preparation(image_size=24), CLASSES)
    options = MeasuringOptions(pairs=6, measures=FAST)
    both = measure_named([other, str(model)], photos, options)
    torch.testing.assert_close(logits_of(both, 1), by_timm(model, photos), atol=1e-5, rtol=1e-5)
    assert torch.equal(logits_of(both), logits_of(measure_named([other], photos, options)))
    alone = measure_named([str(model)], photos, options)
    assert both.results.models[1].vicinity == alone.results.models[0].vicinity
