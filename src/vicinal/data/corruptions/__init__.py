"""The six corruptions of test images: made here for any images, or read from the published files."""

from vicinal.data.corruptions.make import corrupt
from vicinal.data.corruptions.published import published_corruptions

__all__ = ["corrupt", "published_corruptions"]
