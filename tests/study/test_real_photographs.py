"""Real photographs and real weights: answers are those through timm's own transform. Skipped where these are not at hand."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import timm
import torch
from PIL import Image, ImageOps
from timm.data import create_transform, resolve_data_config

from shared_data import SHARED_DATA
from vicinal.config import DataSpec, PreparationSpec
from vicinal.data import View, load_test_images
from vicinal.evaluation import predict
from vicinal.networks import load_classifier

BICUBIC = PreparationSpec(image_size=64, crop_pct=0.875, interpolation="bicubic")
BORDER = PreparationSpec(image_size=64, crop_pct=0.9, crop_mode="border")


@pytest.fixture(scope="module")
def shared() -> Path:
    """Real photographs and ImageNet weights, which are no part of the repository."""
    if not (SHARED_DATA / "grocery-store" / "test.parquet").is_file() or not (SHARED_DATA / "weights").is_dir():
        pytest.skip("needs grocery-store/ and weights/: set VICINAL_SHARED_DATA to the folder that holds them")
    return SHARED_DATA


@pytest.mark.parametrize(
    ("model", "file"),
    [
        ("tf_efficientnet_lite0", "tf_efficientnet_lite0.in1k.fp16.safetensors"),
        ("tf_efficientnet_lite2", "tf_efficientnet_lite2.in1k.fp16.safetensors"),
        ("mobilenetv2_100", "mobilenetv2_100.tf2_in1k_mirrored.fp16.safetensors"),
    ],
)
def test_imagenet_networks_answer_photographs_as_in_timm(shared: Path, model: str, file: str):
    """What gave another answer to every fourth photograph: its own size and filter, whatever the study's images are stored at."""
    weights = str(shared / "weights" / file)
    network = load_classifier(f"{model}={weights}")
    view = network.preparation.view
    data = load_test_images(
        DataSpec(source=str(shared / "grocery-store"), test_images=81, image_size=64), views=[view]
    ).test.subset(torch.arange(0, 81, 5))
    answers = predict(network, data, network.preparation, torch.device("cpu")).softmax(1)
    timms = timm.create_model(model, pretrained=True, pretrained_cfg_overlay={"file": weights}).eval()
    transform = create_transform(**resolve_data_config({}, model=timms), is_training=False)
    table = pq.read_table(shared / "grocery-store" / "test.parquet")
    encoded = table.column("image" if "image" in table.column_names else "img").to_pylist()
    rows = [int(name.rpartition("#")[2]) for name in data.names]
    inputs = torch.stack([transform(Image.open(io.BytesIO(encoded[row]["bytes"])).convert("RGB")) for row in rows])
    with torch.inference_mode():
        wanted = timms(inputs).softmax(1)
    assert torch.equal(answers.argmax(1), wanted.argmax(1))
    assert float((answers - wanted).abs().sum(1).mean()) / 2 < 1e-4


def test_messy_photographs_are_seen_upright_as_timm_would_see_them(shared: Path):
    """EXIF turns, CMYK, MPO, palettes, GIF, TIFF, WebP; transparent ones, which timm shows otherwise, apart."""
    if not (shared / "messy").is_dir():
        pytest.skip("needs messy/: set VICINAL_SHARED_DATA to the folder that holds it")
    mean = (0.5, 0.4, 0.3)
    views = {View.of(spec, mean): spec for spec in (BICUBIC, BORDER)}
    data = load_test_images(DataSpec(source=str(shared / "messy"), on_error="skip"), views=tuple(views)).test
    compared = 0
    for at, name in enumerate(data.names):
        with Image.open(shared / "messy" / name) as image:
            if image.has_transparency_data:
                continue
            upright = ImageOps.exif_transpose(image).convert("RGB")
        for view, spec in views.items():
            transform = create_transform(
                (3, spec.image_size, spec.image_size),
                is_training=False,
                interpolation=spec.interpolation,
                crop_pct=spec.crop_pct,
                crop_mode=spec.crop_mode,
                mean=mean,
                normalize=False,
            )
            assert torch.equal(data.as_seen(view).images[at].permute(2, 0, 1), transform(upright)), name
            compared += 1
    assert compared > 60
