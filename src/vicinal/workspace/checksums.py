"""Checksums in the files that numbers rest on: put in when they are written, tested when they are read.

One SHA-256 over all that a file says, kept in the file itself, so that no kill can part the two:

- a safetensors file has it in its metadata, over the whole file with 64 zeros in the checksum's place;
- a JSON mapping has it as the key "sha256", over the other keys in canonical form, so that a layout of its own changes nothing;
- any other file has it as its last bytes, behind `_MARK`.
"""

from __future__ import annotations

import enum
import hashlib
import itertools
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

from vicinal.errors import VicinalError
from vicinal.workspace.files import write_atomically, write_file_atomically, write_json

KEY = "sha256"
_ZEROS = b"0" * 64
_MARK = b"\nsha256:"
_TRAILER_BYTES = len(_MARK) + 32
_CHUNK_BYTES = 2**20
_LONGEST_HEADER = 100_000_000  # bytes, safetensors' own limit


class DamagedError(VicinalError):
    """A file is not what was written: a flipped bit, a lost block, a cut end."""

    def __init__(self, path: Path, how: str = "its checksum does not fit") -> None:
        super().__init__(f"{path} is damaged ({how})")


class Seal(enum.Enum):
    """What a file's checksum says of it."""

    WHOLE = enum.auto()
    DAMAGED = enum.auto()
    ABSENT = enum.auto()  # another program's file, or an older version's


# --- safetensors ---


def sealed_safetensors(data: bytes, metadata: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a safetensors file with its checksum, and `metadata` in a fixed order, which safetensors itself does not keep."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    known = {**header.pop("__metadata__", {}), **(metadata or {}), KEY: _ZEROS.decode()}
    text = json.dumps({"__metadata__": dict(sorted(known.items())), **header}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    start = len(text).to_bytes(8, "little") + text
    digest = hashlib.sha256(start)
    digest.update(memoryview(data)[8 + length :])
    return start.replace(_in_header(_ZEROS), _in_header(digest.hexdigest().encode()), 1) + data[8 + length :]


@dataclass(frozen=True)
class Streamed:
    """An array as it is written: dtype in safetensors' words, shape, and its bytes in parts, from front to back."""

    dtype: str
    shape: tuple[int, ...]
    parts: Callable[[], Iterable[Any]]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * _ITEM_BYTES[self.dtype]


_ITEM_BYTES = {"U8": 1, "BOOL": 1, "F32": 4, "U64": 8, "I64": 8}


def write_sealed_arrays(path: Path, arrays: Mapping[str, Streamed], metadata: Mapping[str, str]) -> None:
    """A safetensors file with its checksum, whole or not at all, of arrays that are never copied as a whole.

    Raises VicinalError as `write_file_atomically`.
    """
    header: dict[str, Any] = {"__metadata__": {**metadata, KEY: _ZEROS.decode()}}
    end = 0
    for name, array in arrays.items():
        start, end = end, end + array.nbytes
        header[name] = {"dtype": array.dtype, "shape": array.shape, "data_offsets": (start, end)}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)

    def write(temporary: Path) -> None:
        digest = hashlib.sha256()
        with temporary.open("wb") as file:
            for part in itertools.chain(
                [len(text).to_bytes(8, "little"), text], *(array.parts() for array in arrays.values())
            ):
                data = memoryview(part)
                if data.nbytes:
                    file.write(data.cast("B"))
                    digest.update(data.cast("B"))
            if file.tell() != 8 + len(text) + end:
                raise ValueError(f"the arrays of {path} are not of the sizes that they are said to have")
            file.seek(8)
            file.write(text.replace(_in_header(_ZEROS), _in_header(digest.hexdigest().encode()), 1))

    write_file_atomically(path, write)


class SealedArrays:
    """A file that `write_sealed_arrays` wrote, tested as a whole, then read from front to back in the order of `shapes`.

    Raises DamagedError where it is missing or not what was written.
    """

    def __init__(self, path: Path) -> None:
        try:
            if safetensors_seal(path) is not Seal.WHOLE:
                raise DamagedError(path)
            self._file = path.open("rb")
        except OSError as error:
            raise DamagedError(path, type(error).__name__) from None
        length = int.from_bytes(self._file.read(8), "little")
        header = json.loads(self._file.read(length))
        self.metadata: dict[str, str] = header.pop("__metadata__")
        self.dtypes: dict[str, str] = {name: array["dtype"] for name, array in header.items()}
        self.shapes: dict[str, tuple[int, ...]] = {name: tuple(array["shape"]) for name, array in header.items()}
        self.places: dict[str, int] = {name: 8 + length + array["data_offsets"][0] for name, array in header.items()}
        self.path = path  # whose arrays begin at these `places`, in bytes

    def read_into(self, buffer: Any) -> None:
        """Fill a contiguous buffer with the bytes that follow."""
        view = memoryview(buffer)
        if view.nbytes and self._file.readinto(view.cast("B")) != view.nbytes:
            raise DamagedError(self.path, "it ends too early")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


def safetensors_seal(path: Path) -> Seal:
    """What the checksum of a safetensors file says. Raises OSError where it cannot be read."""
    with path.open("rb") as file:
        size = file.read(8)
        length = int.from_bytes(size, "little")
        if len(size) < 8 or length > min(_LONGEST_HEADER, path.stat().st_size):
            return Seal.DAMAGED
        text = file.read(length)
        try:
            known = json.loads(text).get("__metadata__", {}).get(KEY)
        except (ValueError, AttributeError, RecursionError):
            return Seal.DAMAGED
        if not isinstance(known, str):
            return Seal.ABSENT
        empty = text.replace(_in_header(known.encode("utf-8", "replace")), _in_header(_ZEROS), 1)
        digest = hashlib.sha256(size + empty)
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return Seal.WHOLE if digest.hexdigest() == known else Seal.DAMAGED


def _in_header(digest: bytes) -> bytes:
    return b'"%s":"%s"' % (KEY.encode(), digest)


# --- JSON ---


def sealed_mapping(value: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON mapping with its checksum."""
    plain = {key: part for key, part in value.items() if key != KEY}
    return {**plain, KEY: hashlib.sha256(_canonical(plain)).hexdigest()}


def mapping_seal(value: Mapping[str, Any]) -> Seal:
    """What the checksum of a JSON mapping says of it."""
    if KEY not in value:
        return Seal.ABSENT
    try:
        return Seal.WHOLE if sealed_mapping(value)[KEY] == value[KEY] else Seal.DAMAGED
    except (ValueError, RecursionError):  # NaN, which none of our files holds
        return Seal.DAMAGED


def write_sealed_json(path: Path, value: Mapping[str, Any]) -> None:
    """A JSON mapping and its checksum, whole or not at all. Raises VicinalError as `write_atomically`."""
    write_json(path, sealed_mapping(value))


def read_sealed_json(path: Path) -> dict[str, Any]:
    """The mapping of a file that `write_sealed_json` wrote, without its checksum.

    Raises DamagedError where it is missing, cannot be read, or is not what was written.
    """
    try:
        value = json.loads(path.read_bytes().decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedError(path, type(error).__name__) from None
    if not isinstance(value, dict) or mapping_seal(value) is not Seal.WHOLE:
        raise DamagedError(path)
    del value[KEY]
    return value


def _canonical(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


# --- other files ---


class _Hashing:
    """A file that is written from front to back and hashed on the way."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.digest, self.error = file, hashlib.sha256(), None

    error: OSError | None

    def write(self, data: Any) -> int:
        try:
            written = self._file.write(data)
        except OSError as error:  # which torch would put into words of its own
            self.error = error
            raise
        self.digest.update(data)
        return written

    def flush(self) -> None:
        self._file.flush()


def write_sealed_file(path: Path, write: Callable[[Any], object]) -> None:
    """A file of any form with its checksum behind it, whole or not at all: `write` writes into what it is given, front to back.

    Raises VicinalError as `write_file_atomically`.
    """

    def fill(temporary: Path) -> None:
        with temporary.open("wb") as file:
            hashing = _Hashing(file)
            try:
                write(hashing)
            except RuntimeError:
                raise hashing.error or RuntimeError(f"{path} could not be written") from None
            file.write(_MARK + hashing.digest.digest())

    write_file_atomically(path, fill)


def check_sealed_file(path: Path) -> None:
    """Raises DamagedError where a file is not what `write_sealed_file` wrote, OSError where it cannot be read."""
    left = path.stat().st_size - _TRAILER_BYTES
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while left > 0 and (chunk := file.read(min(_CHUNK_BYTES, left))):
            digest.update(chunk)
            left -= len(chunk)
        if left != 0 or file.read() != _MARK + digest.digest():
            raise DamagedError(path)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes as they are now, in hex, remembered nowhere. Raises OSError where it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_sealed_tensors(path: Path, data: bytes, metadata: Mapping[str, str] | None = None) -> None:
    """A safetensors file with `metadata` and its checksum, whole or not at all. Raises VicinalError as `write_atomically`."""
    write_atomically(path, sealed_safetensors(data, metadata))
