"""Where images come from: a table of kinds of sources, as uint8 tensors or lazily read, with stratified, seeded splits; corruptions."""

from vicinal.data.corruptions import corrupt, published_corruptions
from vicinal.data.load import load_data
from vicinal.data.splits import stratified_subset
from vicinal.data.types import ImageData, Images, ImageSet

__all__ = [
    "ImageData",
    "ImageSet",
    "Images",
    "corrupt",
    "load_data",
    "published_corruptions",
    "stratified_subset",
]
