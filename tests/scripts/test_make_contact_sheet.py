"""The sheet of corruptions, picture by picture."""

import numpy as np
import pytest
import torch

from scripts.make_contact_sheet import contact_sheet
from vicinal.config import CORRUPTIONS
from vicinal.data import corrupt


@pytest.mark.parametrize(("side", "channels"), [(28, 1), (32, 3), (64, 3)])
def test_a_contact_sheet_shows_all_30_and_the_clean_image(side, channels):
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, channels))
    image = torch.from_numpy(pixels.astype(np.uint8))
    sheet = contact_sheet(image, seed=2)
    pixels = np.asarray(sheet)
    zoom = max(1, round(112 / side))
    assert sheet.mode == "RGB"
    assert pixels.shape == (20 + 6 * (side * zoom + 4), 124 + 6 * (side * zoom + 4), 3)
    for row, name in enumerate(CORRUPTIONS):
        for column in range(6):
            top, left = 20 + row * (side * zoom + 4), 124 + column * (side * zoom + 4)
            expected = image if column == 0 else corrupt(image[None], name, column, seed=2)[0]
            shown = pixels[top : top + side * zoom : zoom, left : left + side * zoom : zoom]
            assert (shown == expected.expand(side, side, 3).numpy()).all()
