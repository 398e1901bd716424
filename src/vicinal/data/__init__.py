"""Where images come from: a table of kinds of sources, as uint8 tensors or lazily read, with stratified, seeded splits; corruptions."""

from vicinal.data.corruptions import SIDES_PX, STRENGTHS_OF, Strengths, corrupt, published_corruptions, strengths_for
from vicinal.data.load import load_data
from vicinal.data.splits import stratified_subset
from vicinal.data.types import ImageData, Images, ImageSet
from vicinal.data.views import View

__all__ = [
    "SIDES_PX",
    "STRENGTHS_OF",
    "ImageData",
    "ImageSet",
    "Images",
    "Strengths",
    "View",
    "corrupt",
    "load_data",
    "published_corruptions",
    "stratified_subset",
    "strengths_for",
]
