"""Small pictures of images, as a page embeds them: what the classifier saw.

Shapes: (H, W, C) an image, uint8.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import torch

from vicinal.data import ImageSet

SIDE = 112  # px of the longer side on the page
_QUALITY = 82


def thumbnails(images: ImageSet, positions: Sequence[int]) -> dict[int, str]:
    """data: URIs of the images at some positions, each once."""
    from PIL import Image

    found: dict[int, str] = {}
    wanted = sorted(set(positions))
    if not wanted:
        return found
    for position, pixels in zip(wanted, images.images[torch.tensor(wanted)], strict=True):
        array = pixels.cpu().numpy()
        picture = Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
        small = max(picture.size) < SIDE  # a pixel stays a square, and PNG keeps it sharp
        if not small:
            picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        out = io.BytesIO()
        if small:
            picture.save(out, "PNG", optimize=True)
        else:
            picture.save(out, "JPEG", quality=_QUALITY)
        kind = "png" if small else "jpeg"
        found[position] = f"data:image/{kind};base64,{base64.b64encode(out.getvalue()).decode()}"
    return found
