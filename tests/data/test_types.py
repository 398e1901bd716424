"""What loading gives."""

import pytest
import torch

from vicinal.data import ImageSet


def test_image_sets_hold_one_form():
    images, labels = torch.zeros(4, 2, 2, 3, dtype=torch.uint8), torch.arange(4)
    part = ImageSet(images, labels).subset(torch.tensor([3, 1]))
    assert part.labels.tolist() == [3, 1]
    assert len(part) == 2
    assert len(ImageSet(images, labels).subset(labels > 0)) == 3
    for wrong_images, wrong_labels in ((images.float(), labels), (images, labels.int()), (images, labels[:3])):
        with pytest.raises(ValueError, match="are"):
            ImageSet(wrong_images, wrong_labels)
    with pytest.raises(ValueError, match="contiguous"):
        ImageSet(images.transpose(1, 2)[:, :, :1].transpose(1, 2), labels)
