"""The six corruptions of test images: made here for any images, or read from the published files."""

from vicinal.data.corruptions.make import SIDES_PX, STRENGTHS_OF, Strengths, corrupt, strengths_for
from vicinal.data.corruptions.published import published_corruptions

__all__ = ["SIDES_PX", "STRENGTHS_OF", "Strengths", "corrupt", "published_corruptions", "strengths_for"]
