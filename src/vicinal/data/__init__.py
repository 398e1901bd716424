"""Where images come from: a table of kinds of sources, as uint8 tensors or lazily read, with stratified, seeded splits; corruptions."""

from vicinal.data.corruptions import SIDES_PX, STRENGTHS_OF, Strengths, corrupt, published_corruptions, strengths_for
from vicinal.data.decode import BrokenImageError, SizeNeededError
from vicinal.data.formats import SUFFIXES
from vicinal.data.glance import Glance, glance
from vicinal.data.image_list import IMAGES_FILE, write_csv, write_image_list, write_lists
from vicinal.data.inspection import (
    ClassCount,
    Imbalance,
    Sizes,
    class_counts,
    count_lines,
    imbalance,
    imbalance_line,
    original_sizes,
    trainability,
)
from vicinal.data.load import load_data, load_test_images
from vicinal.data.originals import Original, Originals, find_originals, read_image
from vicinal.data.seen import seen_images
from vicinal.data.sources import data_of
from vicinal.data.splits import stratified_subset
from vicinal.data.types import CroppedImages, ImageData, Images, ImageSet
from vicinal.data.views import View

__all__ = [
    "IMAGES_FILE",
    "SIDES_PX",
    "STRENGTHS_OF",
    "SUFFIXES",
    "BrokenImageError",
    "ClassCount",
    "CroppedImages",
    "Glance",
    "ImageData",
    "ImageSet",
    "Images",
    "Imbalance",
    "Original",
    "Originals",
    "SizeNeededError",
    "Sizes",
    "Strengths",
    "View",
    "class_counts",
    "corrupt",
    "count_lines",
    "data_of",
    "find_originals",
    "glance",
    "imbalance",
    "imbalance_line",
    "load_data",
    "load_test_images",
    "original_sizes",
    "published_corruptions",
    "read_image",
    "seen_images",
    "stratified_subset",
    "strengths_for",
    "trainability",
    "write_csv",
    "write_image_list",
    "write_lists",
]
