"""A table of images: CSV, TSV or JSONL with a path, a label and perhaps a split in each line; also Hugging Face's `imagefolder`.

Paths are relative to the table. An `imagefolder` is a folder with metadata.csv or metadata.jsonl, in itself or in its split folders.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vicinal.config import DataSpec
from vicinal.data.class_order import natural_key
from vicinal.data.decode import BrokenImageError, broken_sentence
from vicinal.data.formats import SUFFIXES
from vicinal.data.sources.folders import SPLIT_FOLDERS, shown_path
from vicinal.data.types import ROLES, Item, Role, Source, Split, Unreadable
from vicinal.errors import UsageError
from vicinal.workspace import ContentHashes, content_hashes_of

PATH_COLUMNS = (
    "path",
    "file_name",
    "filename",
    "filepath",
    "file_path",
    "file",
    "image",
    "image_path",
    "img",
    "img_path",
)
LABEL_COLUMNS = ("label", "class", "category", "class_name", "label_name", "target")
SPLIT_COLUMNS = ("split", "subset", "partition", "set")
METADATA = ("metadata.csv", "metadata.jsonl")
_TABLES, _LINES = (".csv", ".tsv"), (".jsonl", ".ndjson")
_DELIMITERS = (",", ";", "\t", "|")
_SPLITS: dict[str, Role] = {**SPLIT_FOLDERS, "dev": "validation"}
_NAMED = 3  # wrong lines that a message names


@dataclass(frozen=True)
class _Row:
    """A line of a table: where it stands, the image, its label and its split."""

    where: str
    path: Path
    label: str
    role: Role


def is_manifest(source: str) -> bool:
    """Whether `data.source` is a table of images, by its ending."""
    path = Path(source).expanduser()
    return path.suffix.lower() in (*_TABLES, *_LINES) and path.is_file()


def find_manifest(spec: DataSpec) -> Source:
    """The images that a CSV, TSV or JSONL file lists, unread.

    Columns go by their usual names in any case of letters, or by data.image_column and data.label_column. Without a column of
    splits all images are training images, which validation and test images are cut from. Labels are names of classes, sorted as
    text, or whole numbers, sorted by value.

    Raises UsageError that names the line for whatever cannot be used.
    """
    file = Path(spec.source).expanduser()
    rows = _rows(file, spec, None)
    return _source(f"{file.resolve().parent.name}/{file.stem} (manifest)", file.parent, rows, spec)


def is_imagefolder(source: str) -> bool:
    """Whether `data.source` is a folder with metadata that has labels; else class folders say more."""
    root = Path(source).expanduser()
    files = [file for file, _ in _metadata(root)] if root.is_dir() else []
    if not files:
        return False
    try:
        columns = _columns_of(files[0])
    except UsageError:
        return True  # so that the reader says what is wrong with it
    return _usual(columns, PATH_COLUMNS) is not None and (
        _usual(columns, LABEL_COLUMNS) is not None or not _has_class_folders(root)
    )


def find_imagefolder(spec: DataSpec) -> Source:
    """The images that the metadata of a Hugging Face `imagefolder` list, unread. Raises UsageError that names the line."""
    root = Path(spec.source).expanduser()
    rows = [row for file, role in _metadata(root) for row in _rows(file, spec, role)]
    return _source(f"{root.resolve().name} (imagefolder)", root, rows, spec)


def _metadata(root: Path) -> list[tuple[Path, Role | None]]:
    """The metadata of a folder, or those of its split folders with the split."""
    for name in METADATA:
        if (root / name).is_file():
            return [(root / name, None)]
    try:
        folders = sorted(f for f in root.iterdir() if f.name.lower() in SPLIT_FOLDERS and f.is_dir())
    except OSError:
        return []
    return [(f / name, SPLIT_FOLDERS[f.name.lower()]) for f in folders for name in METADATA if (f / name).is_file()]


def _has_class_folders(root: Path) -> bool:
    inner = [root, *(f for f in root.iterdir() if f.name.lower() in SPLIT_FOLDERS and f.is_dir())]
    folders = [f for parent in inner for f in parent.iterdir() if f.is_dir() and not f.name.startswith(".")]
    folders = [f for f in folders if f not in inner]
    return len({f.name for f in folders}) > 1 and any(
        p.name.lower().endswith(SUFFIXES) for f in folders for p in f.iterdir()
    )


def _rows(file: Path, spec: DataSpec, role: Role | None) -> list[_Row]:
    """The lines of a table. Raises UsageError for wrong ones, all counted and the first named."""
    columns, lines = _read(file)
    path_column = _chosen(file, columns, "image_column", spec.image_column, PATH_COLUMNS)
    label_column = _chosen(file, columns, "label_column", spec.label_column, LABEL_COLUMNS)
    split_column = None if role else _usual(columns, SPLIT_COLUMNS)
    rows, wrong = [], list[str]()
    for number, values in lines:
        where = f"{file}, line {number}"
        try:
            path = _text(values, path_column)
            if re.match(r"[a-z][a-z0-9+.-]+://", path, re.IGNORECASE):
                raise ValueError(f"{path} is an address, not a file: download it first")
            own = role or _role(values, split_column)
            rows.append(_Row(where, _place(file.parent, path), _label(values, label_column), own))
        except ValueError as error:
            wrong.append(f"line {number}: {error}")
    if wrong:
        more = f" and {len(wrong) - _NAMED:,} more lines" if len(wrong) > _NAMED else ""
        raise UsageError(f"{file}: {'; '.join(wrong[:_NAMED])}{more}: correct or remove them")
    if not rows:
        raise UsageError(f"{file} lists no images: add lines with {path_column} and {label_column}")
    return rows


def _read(file: Path) -> tuple[list[str], Iterator[tuple[int, Mapping[str, Any]]]]:
    """The columns of a table, and its lines with their numbers (from 1); blank ones are left out."""
    text = _decoded(file)
    if file.suffix.lower() in _LINES:
        found = list(_json_lines(file, text))
        columns = list(dict.fromkeys(key for _, values in found for key in values))
        return columns, iter(found)
    lines = io.StringIO(text, newline="")
    header = ""
    while not header.strip():
        header = lines.readline()
        if not header:
            raise UsageError(f"{file} is empty: give a table with the columns path and label")
    before = text[: lines.tell()].count("\n")
    delimiter = "\t" if file.suffix.lower() == ".tsv" else _delimiter(header)
    columns = [name.strip() for name in next(csv.reader([header], delimiter=delimiter))]
    twice = next((name for name in columns if name and columns.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"{file} has two columns {twice!r}: rename one")
    return columns, _table_lines(file, csv.reader(lines, delimiter=delimiter, strict=True), columns, before)


def _table_lines(
    file: Path, reader: Any, columns: Sequence[str], before: int
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    number = before + 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                if len(cells) > len(columns) and any(cell.strip() for cell in cells[len(columns) :]):
                    raise UsageError(
                        f"{file}, line {number} has {len(cells)} cells for {len(columns)} columns ({', '.join(columns)}): put values "
                        "that hold the delimiter in quotes"
                    )
                yield number, dict(zip(columns, cells, strict=False))
            number = before + 1 + reader.line_num
    except csv.Error as error:
        raise UsageError(f"{file}, line {number} cannot be read ({error}): correct it") from None


def _json_lines(file: Path, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            raise UsageError(f"{file}, line {number} is not JSON: give one object in each line") from None
        if not isinstance(values, dict):
            raise UsageError(
                f'{file}, line {number} is no JSON object: give one in each line, as {{"path": …, "label": …}}'
            )
        yield number, values


def _decoded(file: Path) -> str:
    data = file.read_bytes()
    utf_16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if utf_16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{file}, line {line} is not text in UTF-8: save the table as that") from None


def _delimiter(header: str) -> str:
    """The one by which the first line names a path and a label; else the one that parts most."""
    parted = {d: [name.strip() for name in next(csv.reader([header], delimiter=d))] for d in _DELIMITERS}

    def fits(delimiter: str) -> tuple[int, int]:
        names = parted[delimiter]
        return sum(_usual(names, usual) is not None for usual in (PATH_COLUMNS, LABEL_COLUMNS)), len(names)

    return max(_DELIMITERS, key=fits)


def _columns_of(file: Path) -> list[str]:
    return _read(file)[0]


def _usual(columns: Sequence[str], usual: Sequence[str]) -> str | None:
    by_name = {name.lower(): name for name in reversed(columns)}
    return next((by_name[name] for name in usual if name in by_name), None)


def _chosen(file: Path, columns: Sequence[str], key: str, asked: str | None, usual: Sequence[str]) -> str:
    listed = f"its columns: {', '.join(columns[:12])}"
    if asked is not None and asked not in columns:
        raise UsageError(f"data.{key}={asked}: {file} has no such column; {listed}")
    found = asked or _usual(columns, usual)
    if found is None:
        raise UsageError(
            f"{file} has no column {' or '.join(usual[:4])}: name it in the first line, or say which one with data.{key}=NAME; {listed}"
        )
    return found


def _text(values: Mapping[str, Any], column: str) -> str:
    value = values.get(column)
    if value is None or (isinstance(value, str) and not value.strip()):
        raise ValueError(f"has no {column}")
    if not isinstance(value, str):
        raise ValueError(f"{column} is {json.dumps(value)[:60]}, not text")
    return value.strip()


def _label(values: Mapping[str, Any], column: str) -> str:
    value = values.get(column)
    if isinstance(value, bool | list | dict):
        raise ValueError(f"{column} is {json.dumps(value)[:60]}, neither a name nor a whole number")
    if isinstance(value, float):
        if not value.is_integer():
            raise ValueError(f"{column} is {value}, neither a name nor a whole number")
        value = int(value)
    return unicodedata.normalize("NFC", _text({column: str(value)} if value is not None else {}, column))


def _role(values: Mapping[str, Any], column: str | None) -> Role:
    if column is None:
        return "train"
    word = _text(values, column)
    if word.lower() not in _SPLITS:
        raise ValueError(f"{column} is {word!r}, which is none of train, validation (val, valid, dev) and test")
    return _SPLITS[word.lower()]


def _place(folder: Path, path: str) -> Path:
    """The file that a path of a table means; as Windows writes it, where that is the one that is there."""
    place = folder / path
    if "\\" in path and not place.exists():
        return folder / path.replace("\\", "/")
    return place


def _source(name: str, root: Path, rows: Sequence[_Row], spec: DataSpec) -> Source:
    kept, broken, left_out = [], list[BrokenImageError](), list[Unreadable]()
    for row in rows:
        if row.path.is_file():
            kept.append(row)
        else:
            reason = "a folder" if row.path.is_dir() else "no such file" if not row.path.exists() else "no regular file"
            left_out.append(Unreadable(shown_path(Path(os.path.relpath(row.path, root))), reason))
            broken.append(BrokenImageError(f"{row.path} ({row.where}) cannot be read as an image ({reason})"))
    if broken and (spec.on_error == "raise" or not kept):
        raise UsageError(broken_sentence(broken))
    labels = {row.label for row in rows}
    numbers = all(label.isdecimal() for label in labels)
    classes = sorted(labels, key=natural_key if numbers else str)
    place = {label: i for i, label in enumerate(classes)}
    by_role = {role: [row for row in kept if row.role == role] for role in ROLES}
    splits = {role: _split(root, of_role, place) for role, of_role in by_role.items() if of_role}
    notes: tuple[str, ...] = ()
    if broken:
        shown = "; ".join(map(str, broken[:3]))
        notes = (f"Left out by data.on_error=skip: {len(broken):,} lines, for example {shown}.",)
    unfit = None
    if "train" not in splits:
        unfit = f"{name} lists no training images: give some lines the split train"
    return Source(name, tuple(classes), splits, notes, "source" if numbers else "text", tuple(left_out), unfit)


def _split(root: Path, rows: Sequence[_Row], place: Mapping[str, int]) -> Split:
    paths = [row.path for row in rows]

    def items(index: NDArray[np.int64]) -> Iterator[Item]:
        return ((paths[i], str(paths[i])) for i in index)

    def contents(index: NDArray[np.int64]) -> ContentHashes:
        return content_hashes_of([paths[i] for i in index])

    def named(position: int) -> str:
        return shown_path(Path(os.path.relpath(paths[position], root)))

    return Split(np.array([place[row.label] for row in rows], dtype=np.int64), items, contents, named)
