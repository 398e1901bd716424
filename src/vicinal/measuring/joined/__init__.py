"""Finished studies side by side: what differed before, and what it changed, with paired intervals; as a page, JSON and tables."""

from vicinal.measuring.joined.join import join_studies
from vicinal.measuring.joined.page import (
    check_joined_folder,
    default_joined_folder,
    joined_table,
    joined_text,
    write_joined,
)

__all__ = [
    "check_joined_folder",
    "default_joined_folder",
    "join_studies",
    "joined_table",
    "joined_text",
    "write_joined",
]
