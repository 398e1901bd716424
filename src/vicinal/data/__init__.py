"""Where images come from: five kinds of sources, as uint8 tensors or read when needed, with stratified, seeded splits."""

from vicinal.data.corruptions.make import Strengths, corrupt
from vicinal.data.corruptions.published import published_corruptions
from vicinal.data.load import SOURCES_HELP, load_data
from vicinal.data.sources.embedded import FASHION_CLASSES, FILE_NAME, TEST_PER_CLASS, TRAIN_PER_CLASS
from vicinal.data.sources.named import read_idx
from vicinal.data.splits import stratified_split, stratified_subset
from vicinal.data.types import ImageData, Images, ImageSet

__all__ = [
    "FASHION_CLASSES",
    "FILE_NAME",
    "SOURCES_HELP",
    "TEST_PER_CLASS",
    "TRAIN_PER_CLASS",
    "ImageData",
    "ImageSet",
    "Images",
    "Strengths",
    "corrupt",
    "load_data",
    "published_corruptions",
    "read_idx",
    "stratified_split",
    "stratified_subset",
]
