"""The six corruptions of section 7.5: made here from seeds, or read from published files."""

from vicinal.data.corruptions.make import corrupt
from vicinal.data.corruptions.published import published_corruptions

__all__ = ["corrupt", "published_corruptions"]
