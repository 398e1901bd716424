"""Parquet in the Hugging Face image layout: an image column of encoded bytes and a column of whole-number labels."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vicinal.config import DataSpec
from vicinal.data.formats import SUFFIXES
from vicinal.data.sources.unpacked import Unpacked
from vicinal.data.types import ROLES, Item, Role, Source, Split, contents_in_files
from vicinal.errors import UsageError
from vicinal.workspace import ContentHashes

IMAGE_COLUMNS = ("img", "image")
LABEL_COLUMN = "label"
_MOST_NUMBERED = 100_000  # classes without names of a source that nothing is trained on
_ROWS_AT_ONCE = 64  # images held at once; a file of kilobytes can hold one image a million times
_UNREADABLE = (pa.ArrowException, OSError, ValueError, KeyError, MemoryError)  # what readers of damaged files raise
_NAME = re.compile(r"(train|test|validation|valid|val)(?:[-_.].*)?\.parquet")
_ROLE = re.compile(r"(train|test|validation|valid|val)")  # of a folder
_SHARD = re.compile(r"-(\d+)-of-(\d+)\.(?:parquet|tar)$")


def parquet_files(root: Path) -> list[Path]:
    """The Parquet files of a folder; or else of its subfolder data/, of its split folders, or of those of its one other folder.

    The last two are how the hub's own conversion has them: default/train/0000.parquet. Sorted; empty if there are none.
    """
    for folder in (root, root / "data"):
        if files := _in_folder(folder):
            return files
    folders = sorted(f for f in root.iterdir() if f.is_dir() and not f.name.startswith("."))
    for parents in ([root], folders if len(folders) == 1 else []):
        found = [f for parent in parents for f in sorted(parent.iterdir()) if f.is_dir() and _ROLE.fullmatch(f.name)]
        if files := [file for folder in found for file in _in_folder(folder)]:
            return files
    return []


def _in_folder(folder: Path) -> list[Path]:
    return sorted(f for f in folder.glob("*.parquet") if not f.name.startswith(".") and f.is_file())


def is_parquet(source: str) -> bool:
    """Whether `data.source` is a Parquet file or a folder of them; a table beside class folders makes no folder of Parquet."""
    path = Path(source).expanduser()
    if not path.is_dir():
        return path.suffix == ".parquet" and path.is_file()
    files = parquet_files(path)
    return bool(files) and (any(_role(file) for file in files) or not _has_class_folders(path))


def _role(file: Path) -> re.Match[str] | None:
    return _NAME.fullmatch(file.name) or _ROLE.fullmatch(file.parent.name)


def _has_class_folders(root: Path) -> bool:
    with contextlib.suppress(OSError):
        return any(p.name.lower().endswith(SUFFIXES) for f in root.iterdir() if f.is_dir() for p in f.iterdir())
    return False


def find_parquet(spec: DataSpec) -> Source:
    """The images of one Parquet file or of a folder of them (see `parquet_files`), unread.

    Labels are whole numbers or words. Class names come from the schema's `huggingface` metadata, else they are the labels
    themselves: the words in their order as text, or the numbers.
    Raises UsageError for files, columns or labels that cannot be used.
    """
    path = Path(spec.source).expanduser()
    by_role, notes = _files_by_role(path)
    schemas = {file: _schema(file) for files in by_role.values() for file in files}
    first = next(by_role[role][0] for role in ROLES if role in by_role)
    image, label = _columns(schemas[first], first, spec.image_column, spec.label_column)
    for file, schema in schemas.items():
        for column in (image, label):
            if schema.names.count(column) != 1:
                listed = f"its columns: {', '.join(schema.names)}"
                if column not in schema.names:
                    raise UsageError(f"{file} has no column {column!r}, which {first} has; {listed}")
                raise UsageError(
                    f"{file} has {schema.names.count(column)} columns {column!r}: rename all but one; {listed}"
                )
        if _names(schema, label) != _names(schemas[first], label):
            raise UsageError(
                f"{file} and {first} name the classes of {label!r} differently: give files of one data set"
            )
    values = {role: [_read_labels(file, label) for file in files] for role, files in by_role.items()}
    names, order = _names(schemas[first], label), "source"
    if any(part.dtype == object for parts in values.values() for part in parts):
        names, order = _named_by_words(values, first, label), "text"
    splits: dict[Role, Split] = {role: _split(path, files, image, values[role]) for role, files in by_role.items()}
    unfit = None
    if "train" not in by_role:
        unfit = f"{path} holds Parquet files but none named train*.parquet: rename it, or give one file as data.source"
    if names is None:
        labels = {role: split.labels for role, split in splits.items()}
        names, too_many = _numbered(labels, f"{label!r} of {path}")
        unfit = unfit or too_many
    own_name = _info(schemas[first]).get("dataset_name")
    at = path.resolve()
    name = f"{at.parent.name}/{at.stem}" if at.is_file() else at.name
    if isinstance(own_name, str) and own_name:
        name = own_name[:200]
    return Source(f"{name} (Parquet)", names, splits, notes, order, unfit_for_training=unfit)


def _named_by_words(values: Mapping[Role, list[NDArray[Any]]], file: Path, label: str) -> tuple[str, ...]:
    """The words that labels are, sorted; the labels become their positions."""
    parts = [part for of_role in values.values() for part in of_role]
    if any(part.dtype != object for part in parts):
        raise UsageError(
            f"some files beside {file} have words in {label!r} and some have numbers: give files of one data set"
        )
    words = sorted({word for part in parts for word in part.tolist()})
    place = {word: i for i, word in enumerate(words)}
    for of_role in values.values():
        of_role[:] = [np.array([place[word] for word in part.tolist()], dtype=np.int64) for part in of_role]
    return tuple(words)


def _numbered(labels: Mapping[Role, NDArray[np.int64]], where: str) -> tuple[tuple[str, ...], str | None]:
    largest = max(int(part.max()) for part in labels.values())
    return numbered_classes(largest, len(labels["train"]) if "train" in labels else 0, where)


def numbered_classes(largest: int, train_images: int, where: str) -> tuple[tuple[str, ...], str | None]:
    """Names for classes 0 to `largest` that have none, and why no classifier can be trained on so many, where that is so.

    Raises UsageError for more than any classifier has: a number in a file never decides how much memory is taken.
    """
    unfit = None
    if largest >= train_images:
        unfit = (
            f"the label {largest} in {where} is no class number: {train_images:,} training images cannot show classes 0 to {largest}; "
            "number the classes from 0 without gaps, or give their names as labels"
        )
        if largest >= _MOST_NUMBERED:
            raise UsageError(unfit)
    return tuple(str(i) for i in range(1 + largest)), unfit


def _files_by_role(path: Path) -> tuple[dict[Role, list[Path]], tuple[str, ...]]:
    if path.is_file():
        return {"train": [path]}, ()
    by_role: dict[Role, list[Path]] = {}
    for file in parquet_files(path):
        match = _role(file)
        if match is None:
            continue
        role: Role = "train" if match[1] == "train" else "test" if match[1] == "test" else "validation"
        by_role.setdefault(role, []).append(file)
    if not by_role:
        raise UsageError(
            f"{path} holds Parquet files but none named train*.parquet: rename it, or give one file as data.source"
        )
    for files in by_role.values():
        check_shards(files)
    unused = sorted(os.path.relpath(file, path) for file in _all_below(path) if not _is_used(file, by_role))
    more = f" and {len(unused) - 5:,} more" if len(unused) > 5 else ""
    return by_role, tuple([f"Parquet files that were not used: {', '.join(unused[:5])}{more}."] * bool(unused))


def _is_used(file: Path, by_role: Mapping[Role, list[Path]]) -> bool:
    return any(file in files for files in by_role.values())


def _all_below(root: Path) -> Iterator[Path]:
    """Whatever is called Parquet, at any depth. Raises UsageError for a link to nowhere: a split would be missing."""
    for folder, inner, names in os.walk(root):
        inner[:] = [name for name in inner if not name.startswith(".")]
        for path in (Path(folder, name) for name in names):
            if path.suffix.lower() == ".parquet" and not path.name.startswith("."):
                if not path.exists():
                    raise UsageError(
                        f"{path} is a link to nowhere ({path.readlink()}): mount what it points to, or remove it"
                    )
                yield path


def check_shards(files: list[Path]) -> None:
    """A missing shard would be a smaller data set without a word."""
    shards = [_SHARD.search(f.name) for f in files]
    if not any(shards):
        return
    numbers = [(int(s[1]), int(s[2])) for s in shards if s is not None]
    total = numbers[0][1]
    if len(numbers) != len(files) or total != len(files) or sorted(numbers) != [(i, total) for i in range(len(files))]:
        found = ", ".join(f.name for f in files[:5])
        raise UsageError(f"{files[0].parent} should hold {total} shards of one split but holds {found}: complete them")


def _schema(file: Path) -> Any:
    try:
        schema = pq.read_schema(file)
        rows = pq.read_metadata(file).num_rows
    except _UNREADABLE as error:
        raise UsageError(
            f"{file} cannot be read as Parquet ({' '.join(str(error).split())}): repair or replace it"
        ) from None
    if rows == 0:
        raise UsageError(f"{file} holds no rows: replace it or give other files")
    return schema


def _info(schema: Any) -> dict[str, Any]:
    """The `info` of the Hugging Face metadata, empty if there is none."""
    try:
        info = json.loads((schema.metadata or {})[b"huggingface"])["info"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    return info if isinstance(info, dict) else {}


def _names(schema: Any, label: str) -> tuple[str, ...] | None:
    features = _info(schema).get("features")
    feature = features.get(label) if isinstance(features, dict) else None
    names = feature.get("names") if isinstance(feature, dict) else None
    return tuple(str(n) for n in names) if isinstance(names, list) and names else None


def _holds_images(kind: Any) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _is_binary(field.type) for field in kind)
    return _is_binary(kind)


def _is_binary(kind: Any) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _holds_words(kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _columns(schema: Any, file: Path, image: str | None, label: str | None) -> tuple[str, str]:
    """The image and the label column: those asked for, the usual ones, or the only ones that fit."""
    kinds = {field.name: field.type for field in schema}
    listed = f"its columns: {', '.join(f'{n} ({_short(k)})' for n, k in kinds.items())}"
    for key, column in (("image_column", image), ("label_column", label)):
        if column is not None and column not in kinds:
            raise UsageError(f"data.{key}={column}: {file} has no such column; {listed}")
    image = image or usual_column([n for n, k in kinds.items() if _holds_images(k)], IMAGE_COLUMNS)
    label = label or usual_column([n for n, k in kinds.items() if pa.types.is_integer(k)], (LABEL_COLUMN,))
    label = label or (LABEL_COLUMN if LABEL_COLUMN in kinds else None)
    image = image or next((name for name in IMAGE_COLUMNS if name in kinds and name != label), None)
    if image is None:
        raise UsageError(f"{file} has no column img or image: say which one with data.image_column=NAME; {listed}")
    if label is None:
        raise UsageError(f"{file} has no column label: say which one with data.label_column=NAME; {listed}")
    if not _holds_images(kinds[image]):
        raise UsageError(
            f"the image column {image!r} of {file} holds {_short(kinds[image])}, not encoded images; {listed}"
        )
    if not pa.types.is_integer(kinds[label]) and not _holds_words(kinds[label]):
        raise UsageError(
            f"the label column {label!r} of {file} holds {_short(kinds[label])}, not whole numbers or words; {listed}"
        )
    return image, label


def usual_column(fitting: list[str], usual: tuple[str, ...]) -> str | None:
    """The one fitting column with a usual name, else the only fitting one, else None."""
    known = [name for name in usual if name in fitting]
    for names in (known, fitting):
        if len(names) == 1:
            return names[0]
    return None


def _short(kind: Any) -> str:
    return "struct" if pa.types.is_struct(kind) else str(kind)


def _split(root: Path, files: list[Path], image: str, labels: list[NDArray[np.int64]]) -> Split:
    def items(index: NDArray[np.int64]) -> Iterator[Item]:
        start = 0
        for file in files:
            # A few rows at a time, so that neither a large source nor a row group that swells lies in memory as a whole.
            with pq.ParquetFile(file) as parquet:
                row = 0
                for group in range(parquet.num_row_groups):
                    rows = parquet.metadata.row_group(group).num_rows
                    low, high = np.searchsorted(index, (start + row, start + row + rows))
                    if low < high:
                        wanted = index[low:high] - (start + row)
                        yield from _read_images(parquet, file, group, image, wanted, row)
                    row += rows
                start += row

    starts = np.cumsum([0, *map(len, labels)])
    unpacked = Unpacked(
        files, starts, lambda file: _all_images(file, image), lambda file: _size(file, image), image, items
    )

    def contents(index: NDArray[np.int64]) -> ContentHashes:
        part = np.searchsorted(starts, index, side="right") - 1
        places = [(image, row) for row in (index - starts[part]).tolist()]
        return contents_in_files(files, part, places, lambda: items(index))

    def place(position: int) -> str:
        part = int(np.searchsorted(starts, position, side="right")) - 1
        return f"{os.path.relpath(files[part], root if root.is_dir() else root.parent)}#{position - starts[part]}"

    return Split(np.concatenate(labels), items, contents, place, unpacked.items)


def _all_images(file: Path, image: str) -> Iterator[list[bytes]]:
    """The encoded images of a file, some rows at a time; a row without one holds no bytes."""
    with pq.ParquetFile(file) as parquet:
        for group in range(parquet.num_row_groups):
            rows = np.arange(parquet.metadata.row_group(group).num_rows)
            images = _read_images(parquet, file, group, image, rows, 0) if len(rows) else iter(())
            while some := [bytes(data) for data, _ in itertools.islice(images, _ROWS_AT_ONCE)]:
                yield some


def _size(file: Path, image: str) -> int:
    """Bytes that the images of a file take, a little more than less."""
    metadata = pq.read_metadata(file)
    columns = [
        metadata.row_group(g).column(c) for g in range(metadata.num_row_groups) for c in range(metadata.num_columns)
    ]
    return sum(c.total_uncompressed_size for c in columns if c.path_in_schema in (image, f"{image}.bytes"))


def _read_images(
    parquet: Any, file: Path, group: int, image: str, wanted: NDArray[np.int64], first_row: int
) -> Iterator[Item]:
    is_struct = pa.types.is_struct(parquet.schema_arrow.field(image).type)
    columns, start = [f"{image}.bytes" if is_struct else image], 0
    try:
        for batch in parquet.iter_batches(_ROWS_AT_ONCE, row_groups=[group], columns=columns):
            low, high = np.searchsorted(wanted, (start, start + batch.num_rows))
            if low < high:
                column = batch.column(0)
                values = pc.struct_field(column, "bytes") if is_struct else column
                for row in wanted[low:high].tolist():
                    yield values[row - start].as_py() or b"", f"{file}, row {row + first_row} (from 0)"
            if high == len(wanted):
                return
            start += batch.num_rows
    except _UNREADABLE as error:
        raise UsageError(
            f"{file} cannot be read as Parquet ({' '.join(str(error).split())}): repair or replace it"
        ) from None
    raise UsageError(f"{file} cannot be read as Parquet (it has fewer rows than it says): repair or replace it")


def _read_labels(file: Path, label: str) -> NDArray[Any]:
    """int64 (n,), or words as objects (n,)."""
    try:
        column = pq.read_table(file, columns=[label]).column(label)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        nulls = np.flatnonzero(column.is_null().to_numpy()) if column.null_count else np.empty(0, np.int64)
        values = column.to_numpy() if pa.types.is_integer(column.type) else np.array(column.to_pylist(), dtype=object)
    except _UNREADABLE as error:
        raise UsageError(
            f"{file} cannot be read as Parquet ({' '.join(str(error).split())}): repair or replace it"
        ) from None
    if len(nulls):
        raise UsageError(f"{file}, row {nulls[0]} (from 0) has no value in {label!r}: give it a label or remove it")
    if values.dtype == object:
        return values
    if values.dtype == np.uint64 and len(values) and int(values.max()) > np.iinfo(np.int64).max:
        raise UsageError(f"{file}: {label!r} holds {values.max()}, which is no class number: number the classes from 0")
    return values.astype(np.int64)
