"""Draw test images under all 30 corruptions, to judge them by eye.

    python scripts/make_contact_sheet.py [SOURCE] [--image-size SIDE ...] [--images K ...] [--out FOLDER]

SOURCE is what `data.source` takes: a folder, Parquet, torch/..., embedded/fashion-mnist (the default). Each size gives one
file, FOLDER/NAME.png or FOLDER/NAME-SIDE.png; the images asked for stand below one another.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from vicinal.config import CORRUPTIONS, SEVERITIES, DataSpec
from vicinal.data import corrupt, load_data
from vicinal.errors import VicinalError


def contact_sheet(image: Tensor, seed: int = 0, *, tile: int = 112) -> Image.Image:
    """All 30 pictures of an image: a row for each corruption, the clean image first, then the five severities.

    Args:
        image: uint8 (H, W, 1 or 3). Each picture is enlarged by a whole number to about `tile` px, pixels left square.

    Returns:
        an RGB image.
    """
    height, width, _ = image.shape
    zoom = max(1, round(tile / max(height, width)))
    across, down, gap, margin, line = width * zoom, height * zoom, 4, 124, 20
    columns, rows = len(SEVERITIES) + 1, len(CORRUPTIONS)
    sheet = Image.new("RGB", (margin + columns * (across + gap), line + rows * (down + gap)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for column in range(columns):
        title = f"severity {column}" if column else "clean"
        draw.text((margin + column * (across + gap), 2), title, "black", font)
    for row, name in enumerate(CORRUPTIONS):
        top = line + row * (down + gap)
        draw.text((4, top + down // 2 - 8), name.replace("_", " "), "black", font)
        made = [corrupt(image[None], name, severity, seed)[0] for severity in SEVERITIES]
        for column, picture in enumerate([image, *made]):
            pixels = picture.cpu().expand(height, width, 3).contiguous().numpy()
            large = Image.fromarray(pixels).resize((across, down), Image.Resampling.NEAREST)
            sheet.paste(large, (margin + column * (across + gap), top))
    return sheet


def _enlarged(image: Tensor, side: int | None) -> Tensor:
    """Small images are kept at their own size when they are read, and enlarged here."""
    if side is None or min(image.shape[:2]) >= side:
        return image
    picture = Image.fromarray(image.expand(-1, -1, 3).contiguous().numpy())
    return torch.from_numpy(np.array(picture.resize((side, side), Image.Resampling.BILINEAR)))


def draw(source: str, image_size: int | None, positions: list[int], seed: int, out: Path) -> None:
    """Write one sheet of the test images at these positions."""
    images = load_data(DataSpec(source=source, image_size=image_size)).test.images
    sheets = [contact_sheet(_enlarged(images[k], image_size), seed) for k in positions]
    whole = Image.new("RGB", (sheets[0].width, sum(sheet.height for sheet in sheets)), "white")
    top = 0
    for sheet in sheets:
        whole.paste(sheet, (0, top))
        top += sheet.height
    out.parent.mkdir(parents=True, exist_ok=True)
    # A palette makes the file a third as large, and the eye sees no difference.
    whole.quantize(256, dither=Image.Dither.NONE).save(out, optimize=True)
    print(f"{out}: {whole.width} x {whole.height} px, {out.stat().st_size:,} bytes")


def main() -> None:
    """Draw a sheet for each size."""
    folder = Path(__file__).resolve().parents[1] / "docs" / "results" / "corruptions"
    parser = argparse.ArgumentParser(description="Draw test images under all 30 corruptions.")
    parser.add_argument("source", nargs="?", default="embedded/fashion-mnist")
    parser.add_argument("--image-size", type=int, nargs="*", default=[], help="sides in px; default: as the images are")
    parser.add_argument("--images", type=int, nargs="+", default=[0], help="positions in the test split; default: 0")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=folder)
    parser.add_argument("--name", help="of the files; default: the last part of SOURCE")
    arguments = parser.parse_args()
    name = arguments.name or Path(arguments.source).stem
    try:
        for side in arguments.image_size or [None]:
            out = arguments.out / (f"{name}-{side}.png" if side else f"{name}.png")
            draw(arguments.source, side, arguments.images, arguments.seed, out)
    except (VicinalError, IndexError) as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
