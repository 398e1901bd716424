"""`hfds/OWNER/NAME`: a data set of the Hugging Face hub, through the optional package `datasets`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vicinal.config import DataSpec
from vicinal.data.sources.parquet import IMAGE_COLUMNS, LABEL_COLUMN, usual_column
from vicinal.data.types import ROLES, Item, Role, Source, Split, digests_of
from vicinal.errors import UsageError, one_line
from vicinal.workspace import ContentHashes, content_hashes_of

_SPLITS: dict[str, Role] = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
}


def find_hub(spec: DataSpec) -> Source:
    """The splits of the data set hfds/OWNER/NAME, images unread. No code of the data set is run.

    Raises UsageError if `datasets` is not installed, the data set cannot be loaded, or its columns do not fit.
    """
    name = spec.source.removeprefix("hfds/")
    if not name:
        raise UsageError("data.source=hfds/ names no data set: give hfds/OWNER/NAME, for example hfds/uoft-cs/cifar100")
    try:
        import datasets
    except ImportError:
        raise UsageError(f'hfds/{name} needs the package datasets: pip install "vicinal[hfds]"') from None
    try:
        found = datasets.load_dataset(name)
    except Exception as error:  # the library raises many kinds: connection, missing repository, scripts it refuses
        reason = one_line(error, None)
        raise UsageError(f"cannot load hfds/{name} ({reason}): check the name and the connection") from None
    by_role: dict[Role, Any] = {}
    for split, rows in found.items():
        role = _SPLITS.get(split)
        if role is not None and role not in by_role:
            by_role[role] = rows
    lacks_train = f"hfds/{name} has no split train; it has {', '.join(found)}: give another data set"
    if not by_role:
        raise UsageError(lacks_train)
    features = next(by_role[role] for role in ROLES if role in by_role).features
    image, label = _columns(name, features, datasets, spec.image_column, spec.label_column)
    unused = [split for split, rows in found.items() if not any(rows is used for used in by_role.values())]
    return Source(
        name,
        tuple(str(n) for n in features[label].names),
        {role: _split(f"hfds/{name} {role}", rows, image, label, datasets) for role, rows in by_role.items()},
        tuple([f"Splits that were not used: {', '.join(unused)}."] * bool(unused)),
        unfit_for_training=None if "train" in by_role else lacks_train,
    )


def _columns(name: str, features: Any, datasets: Any, image: str | None, label: str | None) -> tuple[str, str]:
    listed = f"its columns: {', '.join(f'{n} ({type(f).__name__})' for n, f in features.items())}"
    wanted = (
        ("image_column", image, datasets.Image, IMAGE_COLUMNS),
        ("label_column", label, datasets.ClassLabel, (LABEL_COLUMN,)),
    )
    chosen: list[str] = []
    for key, column, kind, usual in wanted:
        fitting = [n for n, feature in features.items() if isinstance(feature, kind)]
        picked = column or usual_column(fitting, usual)
        if picked is None:
            raise UsageError(f"hfds/{name}: say which column to use with data.{key}=NAME; {listed}")
        if picked not in fitting:
            raise UsageError(f"data.{key}={picked}: hfds/{name} has no such column of kind {kind.__name__}; {listed}")
        chosen.append(picked)
    return chosen[0], chosen[1]


def _split(name: str, rows: Any, image: str, label: str, datasets: Any) -> Split:
    encoded = rows.select_columns([image]).cast_column(image, datasets.Image(decode=False))

    def items(index: NDArray[np.int64]) -> Iterator[Item]:
        for i, row in zip(index.tolist(), encoded.select(index.tolist()), strict=True):
            value = row[image]
            if value is None or (value["bytes"] is None and value["path"] is None):
                raise UsageError(f"{name}, row {i} (from 0) has no image in {image!r}: use another data set")
            yield value["bytes"] if value["bytes"] is not None else Path(value["path"]), f"{name}, row {i} (from 0)"

    labels = rows[label][:]
    if any(value is None for value in labels):
        raise UsageError(f"{name} has rows without a value in {label!r}: use another column or data set")

    def contents(index: NDArray[np.int64]) -> ContentHashes:
        if not rows.cache_files:  # the library keeps them in memory
            found = (data.read_bytes() if isinstance(data, Path) else bytes(data) for data, _ in items(index))
            return ContentHashes(tuple(map(bytes, digests_of(found))), 0)
        files = content_hashes_of([Path(part["filename"]) for part in rows.cache_files])  # that the library loaded
        others = sum(isinstance(feature, datasets.Image) for feature in rows.features.values()) > 1
        whole = b"".join(files.digests) + image.encode() * others
        return ContentHashes(tuple(map(bytes, digests_of(whole + str(i).encode() for i in index))), files.remembered)

    return Split(np.asarray(labels, dtype=np.int64), items, contents)
