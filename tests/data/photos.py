"""Pictures with the spectrum of photographs, and what people do to photographs before they file them twice."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageEnhance


def photo(seed: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """Noise whose amplitude falls with its frequency, as in photographs; unlike every other seed's."""
    generator = np.random.default_rng(seed)
    width, height = size
    frequency = np.hypot(np.fft.fftfreq(height)[:, None] * height, np.fft.fftfreq(width)[None] * width)
    channels = []
    for _ in range(3):
        phases = np.fft.fft2(generator.standard_normal((height, width)))
        values = np.fft.ifft2(phases / np.maximum(frequency, 1) ** 1.2).real
        channels.append((values - values.min()) / np.ptp(values) * 255)
    return Image.fromarray(np.stack(channels, -1).astype(np.uint8))


def saved_again(image: Image.Image, quality: int = 50) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(io.BytesIO(file.getvalue())).convert("RGB")


def cut(image: Image.Image, share: float) -> Image.Image:
    """Without `share` of its width and height, half of it on each side."""
    dx, dy = round(image.width * share / 2), round(image.height * share / 2)
    return image.crop((dx, dy, image.width - dx, image.height - dy))


CHANGES = {
    "saved again": saved_again,
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2)),
    "cut by 3 %": lambda image: cut(image, 0.03),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "all of it": lambda image: ImageEnhance.Brightness(saved_again(cut(image, 0.03))).enhance(1.1),
}
