"""The kinds of sources, a file each: from a `DataSpec` to a `Source` whose images are not yet read."""

from vicinal.data.sources.embedded import find_embedded
from vicinal.data.sources.folders import find_folders
from vicinal.data.sources.hub import find_hub
from vicinal.data.sources.in_python import data_of, find_in_python
from vicinal.data.sources.manifest import find_imagefolder, find_manifest, is_imagefolder, is_manifest
from vicinal.data.sources.named import KNOWN, find_named
from vicinal.data.sources.parquet import find_parquet, is_parquet
from vicinal.data.sources.shards import find_shards, is_shards

__all__ = [
    "KNOWN",
    "data_of",
    "find_embedded",
    "find_folders",
    "find_hub",
    "find_imagefolder",
    "find_in_python",
    "find_manifest",
    "find_named",
    "find_parquet",
    "find_shards",
    "is_imagefolder",
    "is_manifest",
    "is_parquet",
    "is_shards",
]
