"""`torch/NAME`: the published data sets that torchvision knows, from their original files, downloaded where missing.

CIFAR is read from its published binary version and the MNIST family from its idx files: torchvision's own readers
unpickle CIFAR's Python version, and nothing from outside is unpickled here.
"""

from __future__ import annotations

import contextlib
import gzip
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vicinal.config import DataSpec
from vicinal.data.sources.embedded import FASHION_CLASSES
from vicinal.data.types import Source, Split, split_of_arrays
from vicinal.errors import UsageError, one_line

DEFAULT_ROOT = "~/.cache/vicinal"
_CIFAR_URL = "https://www.cs.toronto.edu/~kriz/"


def find_named(spec: DataSpec) -> Source:
    """The data set torch/NAME from `spec.root` (default ~/.cache/vicinal), downloaded there if its files are missing.

    Raises UsageError for an unknown name, a failed download or files that are not what they should be.
    """
    name = spec.source.removeprefix("torch/")
    if name not in KNOWN:
        raise UsageError(f"torch/{name} is not known: use one of {', '.join(f'torch/{n}' for n in KNOWN)}")
    return KNOWN[name](Path(spec.root or DEFAULT_ROOT).expanduser())


@dataclass(frozen=True)
class _Cifar:
    """CIFAR's binary version: records of label bytes (the last one counts) and 3 x 32 x 32 pixel bytes."""

    name: str
    archive: str
    md5: str
    folder: str
    label_bytes: int
    train: tuple[str, ...]
    test: tuple[str, ...]
    class_names: str

    def __call__(self, root: Path) -> Source:
        files = (*self.train, *self.test, self.class_names)
        folder = _folder_with(files, (root / self.folder, root))
        if folder is None:
            hint = f"{self.folder}/ (the binary version, unpacked) or {self.archive}"
            _download(self.name, hint, _CIFAR_URL + self.archive, root, self.archive, self.md5)
            folder = _folder_with(files, (root / self.folder,))
        if folder is None:
            raise UsageError(
                f"{self.archive} in {root} does not hold {', '.join(files)}: remove it, to download it again"
            )
        lines = (folder / self.class_names).read_text(encoding="utf-8").splitlines()
        return Source(
            self.name,
            tuple(line.strip() for line in lines if line.strip()),
            {"train": self._split(folder, self.train), "test": self._split(folder, self.test)},
        )

    def _split(self, folder: Path, names: tuple[str, ...]) -> Split:
        record = self.label_bytes + 3 * 32 * 32
        parts: list[NDArray[np.uint8]] = []
        for name in names:
            values = np.fromfile(folder / name, dtype=np.uint8)
            if not len(values) or len(values) % record:
                raise UsageError(
                    f"{folder / name} is not a file of CIFAR's binary version (records of {record} bytes): replace it"
                )
            parts.append(values.reshape(-1, record))
        records = np.concatenate(parts)
        images = records[:, self.label_bytes :].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        labels = records[:, self.label_bytes - 1].astype(np.int64)
        return split_of_arrays(np.ascontiguousarray(images), labels, self.name)


@dataclass(frozen=True)
class _Idx:
    """The MNIST family: idx files, plain or gzipped, as torchvision lays them out or in `root` itself."""

    name: str
    dataset: str  # torchvision's class, which knows where the files are
    class_names: tuple[str, ...]

    def __call__(self, root: Path) -> Source:
        raw = root / self.dataset / "raw"
        names = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
        files = _idx_files(names, (raw, root))
        if files is None:
            from torchvision import datasets  # takes a second to import, and only a download needs it

            published = getattr(datasets, self.dataset)
            hint = f"{names[0]}.gz, {names[1]}.gz, {names[2]}.gz and {names[3]}.gz"
            for archive, md5 in published.resources:
                urls = [mirror + archive for mirror in published.mirrors]
                _download(self.name, hint, urls, raw, archive, md5)
            files = _idx_files(names, (raw,))
        if files is None:
            raise UsageError(
                f"the files of {self.name} in {raw} are not complete: remove the folder, to download them again"
            )
        return Source(self.name, self.class_names, {"train": self._split(*files[:2]), "test": self._split(*files[2:])})

    def _split(self, image_file: Path, label_file: Path) -> Split:
        images, labels = read_idx(image_file), read_idx(label_file)
        if images.ndim != 3 or labels.shape != images.shape[:1]:
            raise UsageError(f"{image_file} and {label_file} do not hold one label for each image: replace them")
        return split_of_arrays(images, labels.astype(np.int64), self.name)


def read_idx(file: Path) -> NDArray[np.uint8]:
    """The array of an idx file of unsigned bytes, plain or gzipped. Raises UsageError if it is damaged."""
    try:
        content = file.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        if content[:3] != b"\0\0\x08":
            raise ValueError("not an idx file of unsigned bytes")
        shape = np.frombuffer(content, dtype=">i4", count=content[3], offset=4).tolist()
        return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * content[3]).reshape(shape)
    except (OSError, EOFError, ValueError, IndexError, zlib.error) as error:
        raise UsageError(f"{file} is damaged ({error}): replace it") from None


def _folder_with(files: tuple[str, ...], folders: tuple[Path, ...]) -> Path | None:
    return next((folder for folder in folders if all((folder / file).is_file() for file in files)), None)


def _idx_files(names: list[str], folders: tuple[Path, ...]) -> list[Path] | None:
    for folder in folders:
        for suffix in ("", ".gz"):
            files = [folder / f"{name}{suffix}" for name in names]
            if all(file.is_file() for file in files):
                return files
    return None


def _download(name: str, hint: str, urls: str | list[str], folder: Path, archive: str, md5: str) -> None:
    """Fetch one archive, unless it is there, from the first URL that works; check its MD5 and unpack it."""
    from torchvision.datasets.utils import download_and_extract_archive

    urls = [urls] if isinstance(urls, str) else urls
    reason = ""
    for url in urls:
        try:
            with contextlib.redirect_stdout(sys.stderr):  # torchvision prints to where results go
                download_and_extract_archive(url, str(folder), filename=archive, md5=md5)
            return
        except (OSError, RuntimeError, ValueError, EOFError) as error:
            reason = one_line(error, None)
    raise UsageError(f"cannot download {name} ({reason}): give data.root=FOLDER that holds {hint}")


KNOWN: dict[str, Callable[[Path], Source]] = {
    "cifar10": _Cifar(
        name="CIFAR-10",
        archive="cifar-10-binary.tar.gz",
        md5="c32a1d4ab5d03f1284b67883e8d87530",
        folder="cifar-10-batches-bin",
        label_bytes=1,
        train=tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
        test=("test_batch.bin",),
        class_names="batches.meta.txt",
    ),
    "cifar100": _Cifar(
        name="CIFAR-100",
        archive="cifar-100-binary.tar.gz",
        md5="03b5dce01913d631647c71ecec9e9cb8",
        folder="cifar-100-binary",
        label_bytes=2,
        train=("train.bin",),
        test=("test.bin",),
        class_names="fine_label_names.txt",
    ),
    "fashion-mnist": _Idx("Fashion-MNIST", "FashionMNIST", FASHION_CLASSES),
    "mnist": _Idx("MNIST", "MNIST", tuple("0123456789")),
}
