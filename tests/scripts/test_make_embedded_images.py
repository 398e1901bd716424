"""The embedded images are made from the published files by class alone."""

from pathlib import Path

import numpy as np
import pytest

from scripts.make_embedded_images import chosen_images, make
from vicinal.data.sources import embedded

DEBIAN = Path("/usr/share/datasets/fashion-mnist")


def test_the_script_takes_each_class_equally(tmp_path):
    labels = np.arange(50, dtype=np.uint8) % 10
    images = np.repeat(labels, 784)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01" + (50).to_bytes(4, "big") + labels.tobytes())
    sizes = b"".join(n.to_bytes(4, "big") for n in (50, 28, 28))
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03" + sizes + images.tobytes())
    chosen = np.frombuffer(chosen_images(tmp_path, "train", 3), dtype=np.uint8)
    assert chosen.reshape(30, 784)[:, 0].tolist() == np.repeat(np.arange(10), 3).tolist()


@pytest.mark.slow
@pytest.mark.skipif(not DEBIAN.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_the_script_makes_the_packaged_content():
    _, content_sha256 = make(DEBIAN)
    assert content_sha256 == embedded.CONTENT_SHA256
