"""Which image formats are read here, by which decoders, without a word of theirs on odd metadata."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import logging
import platform
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import PIL
from PIL import Image, features

# Pillow's names of formats and the endings that files of them have. A closed list: Pillow also opens formats that start other
# programs (EPS), that any bytes pass for (TGA), or that hold no photographs.
_ENDINGS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "BMP": (".bmp",),
    "DIB": (".dib",),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "JPEG2000": (".jp2", ".j2k", ".jpf", ".jpx", ".jpc", ".j2c"),
    "QOI": (".qoi",),
}
_OPTIONAL_ENDINGS = {
    "AVIF": (".avif", ".avifs"),
    "HEIF": (".heic", ".heif", ".hif"),
}  # as Pillow, or a plugin, has them
_LIBRARIES = ("jpg", "libjpeg_turbo", "zlib", "libtiff", "webp", "jpg_2000", "avif")  # as Pillow names them

# What decoders say of odd metadata and of sizes is no user's concern: an image is read, or named as broken.
warnings.filterwarnings("ignore", module=r"PIL\.")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
logging.getLogger("PIL").addHandler(logging.NullHandler())  # else what it logs goes to the standard error


def _silence_libtiff() -> None:
    """libtiff writes what it thinks of damaged files to the standard error; an image is read, or named as broken by us."""
    with contextlib.suppress(OSError, AttributeError):
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")  # where Linux names what is loaded
        for path in {line.split(maxsplit=5)[5] for line in maps.splitlines() if "/libtiff" in line}:
            library = ctypes.CDLL(path)
            library.TIFFSetErrorHandler(None)
            library.TIFFSetWarningHandler(None)


_silence_libtiff()


def _formats_here() -> dict[str, tuple[str, ...]]:
    found = dict(_ENDINGS)
    if features.check("avif"):
        found["AVIF"] = _OPTIONAL_ENDINGS["AVIF"]
    with contextlib.suppress(ImportError):
        importlib.import_module("pillow_heif").register_heif_opener()
        found["HEIF"] = _OPTIONAL_ENDINGS["HEIF"]
    return found


FORMATS_HERE = _formats_here()
SUFFIXES = tuple(ending for endings in FORMATS_HERE.values() for ending in endings)
MISSING_SUFFIXES = tuple(e for name, es in _OPTIONAL_ENDINGS.items() if name not in FORMATS_HERE for e in es)


def decoders() -> tuple[str, ...]:
    """What beside our own code decides which pixels an image becomes: Pillow, the libraries behind it, a plugin, the processor."""
    found = [f"Pillow {PIL.__version__}", platform.machine()]
    found += [f"{name} {features.version(name)}" for name in _LIBRARIES]
    with contextlib.suppress(PackageNotFoundError):
        found.append(f"pillow-heif {version('pillow-heif')}")
    return tuple(found)
