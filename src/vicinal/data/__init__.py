"""Where images come from: five kinds of sources, loaded to memory as uint8 tensors with stratified, seeded splits."""

from vicinal.data.load import SOURCES_HELP, load_data
from vicinal.data.splits import stratified_split, stratified_subset
from vicinal.data.values import ImageData, ImageSet

__all__ = ["SOURCES_HELP", "ImageData", "ImageSet", "load_data", "stratified_split", "stratified_subset"]
