"""`python -m benchmarks.formats`: encoded images read in random order from where data may lie; MDS and litdata, too, where installed.

Nothing is decoded: it is about where a format puts its bytes. One thread; an epoch of each in turn.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.photographs import write_photographs
from vicinal.config import DataSpec
from vicinal.data.find import find_source

BATCH_SIZE = 50
Read = Callable[[NDArray[np.int64]], int]  # positions of a batch to the bytes that were read


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.formats", description=__doc__)
    parser.add_argument("--images", type=int, default=1200)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="vicinal-bench-") as place:
        root = Path(place)
        os.environ["XDG_CACHE_HOME"] = str(root / "cache")
        write_photographs(root, options.images)
        readers = {"vicinal, " + kind: _own(root / kind) for kind in ("folder", "parquet", "shards")}
        for name, write in (("MosaicML Streaming (MDS)", _mds), ("litdata", _litdata)):
            with suppress(ImportError):
                readers[name] = write(root)
        speeds: dict[str, list[float]] = {name: [] for name in readers}
        for seed in range(options.rounds + 1):  # the first opens files
            order = np.random.default_rng(seed).permutation(options.images)
            for name, read in readers.items():
                start = time.perf_counter()
                total = sum(read(order[at : at + BATCH_SIZE]) for at in range(0, len(order), BATCH_SIZE))
                speeds[name].append(len(order) / (time.perf_counter() - start))
                assert total > 10_000 * len(order), name
    print("| from | images a second (median) | of the folder's speed, round by round |\n|---|---|---|")
    folder = speeds["vicinal, folder"][1:]
    for name, all_of in speeds.items():
        own = all_of[1:]
        ratios = [a / b for a, b in zip(own, folder, strict=True)]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"| {name} | {statistics.median(own):,.0f} | {spread} |")


def _own(folder: Path) -> Read:
    split = find_source(DataSpec(source=str(folder))).splits["train"]
    items = split.scattered or split.items  # as lazy data reads them: positions in ascending order
    return lambda index: sum(len(_bytes(item)) for item, _ in items(np.sort(index)))


def _bytes(item: Any) -> bytes:
    return item.read_bytes() if isinstance(item, Path) else bytes(item)


def _encoded(root: Path) -> Iterator[dict[str, Any]]:
    for path in sorted((root / "folder/train").glob("*/*.jpg"), key=lambda path: path.name):
        yield {"image": path.read_bytes(), "label": int(path.parent.name)}


def _mds(root: Path) -> Read:
    from streaming import MDSWriter, StreamingDataset

    out = str(root / "mds")
    with MDSWriter(out=out, columns={"image": "bytes", "label": "int"}) as writer:
        for sample in _encoded(root):
            writer.write(sample)
    data = StreamingDataset(local=out, remote=None, shuffle=False, batch_size=BATCH_SIZE)
    return lambda index: sum(len(data[int(i)]["image"]) for i in index)


def _litdata(root: Path) -> Read:
    from litdata import StreamingDataset
    from litdata.streaming.writer import BinaryWriter

    out = root / "litdata"
    out.mkdir()
    writer = BinaryWriter(str(out), chunk_bytes="64MB")
    for number, sample in enumerate(_encoded(root)):
        writer.add_item(number, sample)
    writer.done()
    writer.merge()
    data = StreamingDataset(str(out))
    return lambda index: sum(len(data[int(i)]["image"]) for i in index)


if __name__ == "__main__":
    main()
