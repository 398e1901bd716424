"""One way from encoded images to uint8 arrays, for every source: Pillow in threads, one pass, nothing read twice.

Shapes: n images read, (H, W, C) an image.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import io
import logging
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError, features

from vicinal.data.types import Item, Split, digests_of
from vicinal.errors import UsageError, VicinalError
from vicinal.workspace import available_memory

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
MEMORY_SHARE = 0.6  # of the free memory that images may take; the rest is for training
MOST_PIXELS = 178_956_970  # of one image, Pillow's own limit: above it a file of kilobytes can ask for gigabytes
BACKGROUND = (255, 255, 255)  # what is seen through transparent pixels
_BAND = 1 << 22  # px that are put on the background together
_TALL = 8  # longer side over shorter; beyond it only the part that is kept is resized, else a strip of 1 x 65,000 px takes gigabytes
_NAMED = 10  # broken images that a message names
_TASK = 32  # images per task: enough that handing out tasks costs nothing
_SMALL = 64 * 64  # px; up to here reading an image is mostly Python, and threads waiting for each other double the time
_GREY = ("1", "L")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

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


_FORMATS_HERE = _formats_here()
SUFFIXES = tuple(ending for endings in _FORMATS_HERE.values() for ending in endings)
MISSING_SUFFIXES = tuple(e for name, es in _OPTIONAL_ENDINGS.items() if name not in _FORMATS_HERE for e in es)


class BrokenImageError(UsageError):
    """An image that cannot be read; its message says which and why."""


class _ColourFound(Exception):  # noqa: N818 - a signal, caught in this module
    """An image has colours where all before it were grey."""


class _AnotherSize(Exception):  # noqa: N818 - a signal, caught in this module
    """An image has another size than the small square ones before it."""


@dataclass
class DecodedPart:
    """The images of one part: pixels uint8 (n, H, W, C), their SHA-256 (n, 32), and which of those asked for they are, bool."""

    pixels: NDArray[np.uint8]
    digests: NDArray[np.uint8]
    readable: NDArray[np.bool_]


@dataclass
class Decoded:
    """All parts, with what is to be said of them."""

    parts: list[DecodedPart]
    broken: list[BrokenImageError] = field(default_factory=list)
    transparent: int = 0  # images that the background was seen through


def decode_splits(
    parts: Sequence[tuple[Split, NDArray[np.int64]]], image_size: int | None, skip_broken: bool = False
) -> Decoded:
    """Read the images at the given sorted positions of each split.

    With `image_size` the shorter side is resized to it (bilinear, antialiased) and the centre square is cut out; without, all
    images must have one size. Square images of one size below `image_size` are kept as they are: enlarging them is left to
    the device, where it costs no memory. EXIF orientation turns the pixels; transparent ones show a white background. C is 1 if
    all images are grey, else 3 (RGB).

    Raises UsageError that names the images which cannot be read, unless they are skipped; for sizes that differ, for more images
    than memory can hold, and where no image can be read.
    """
    broken: list[BrokenImageError] = []
    first_image = _first_readable(parts, broken)
    if first_image is None:
        raise UsageError(broken_sentence(broken))
    own = (first_image.height, first_image.width)
    size = own if image_size is None or (own[0] == own[1] < image_size) else (image_size, image_size)
    count = sum(len(index) for _, index in parts)
    channels = 1 if first_image.mode in _GREY else 3
    small = first_image.width * first_image.height <= _SMALL
    workers = 1 if small else min(16, os.cpu_count() or 1)
    while True:
        try:
            decoded = _decode_all(parts, image_size, count, (*size, channels), workers)
            break
        except _ColourFound:
            channels = 3
        except _AnotherSize:
            assert image_size is not None
            size = (image_size, image_size)
    if decoded.broken and not skip_broken:
        raise UsageError(broken_sentence(decoded.broken))
    return decoded


def broken_sentence(broken: Sequence[BrokenImageError]) -> str:
    """One line on all images that cannot be read, with the way out."""
    if len(broken) == 1:
        return f"{broken[0]}: repair or remove it, or go on without it by data.on_error=skip"
    more = f" and {len(broken) - _NAMED:,} more" if len(broken) > _NAMED else ""
    named = "; ".join(map(str, broken[:_NAMED]))
    listed = " (vicinal check DATA lists all)" if more else ""
    return (
        f"{len(broken):,} images cannot be used: {named}{more}{listed}: repair or remove them, or go on without them by "
        "data.on_error=skip"
    )


@dataclass(frozen=True)
class Reader:
    """How one image of a stream becomes pixels: decoded as RGB, the shorter side resized, the centre square cut out."""

    side: int

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.side, self.side, 3)

    def read(self, data: Path | bytes | NDArray[np.uint8], where: str) -> NDArray[np.uint8]:
        """uint8 (H, W, C). Raises UsageError for an image that cannot be read."""
        try:
            return _pixels(data, where, self.side, self.shape)[0]
        except BrokenImageError as error:
            raise UsageError(f"{error}: repair or remove it, and give the same command again") from None


def broken_headers(split: Split, positions: NDArray[np.int64]) -> dict[int, BrokenImageError]:
    """The images among `positions` (n,), by their place there, that do not even begin like one or are larger than any may be.

    Nothing is decoded; what lies inside larger files is not looked at.
    """
    broken: dict[int, BrokenImageError] = {}

    def look(items: list[Item], start: int) -> None:
        for position, (data, where) in enumerate(items, start):
            assert isinstance(data, Path)  # as the first is
            try:
                with _opened(data, where):
                    pass
            except BrokenImageError as error:
                broken[position] = error

    first = next(split.items(positions[:1]), None)
    if first is not None and isinstance(first[0], Path):
        _do_all(split.items(positions), look, min(16, os.cpu_count() or 1))
    return dict(sorted(broken.items()))


def _first_readable(
    parts: Sequence[tuple[Split, NDArray[np.int64]]], broken: list[BrokenImageError]
) -> Image.Image | None:
    for split, index in parts:
        for data, where in split.items(index):
            try:
                return _open(data, where)
            except BrokenImageError as error:
                broken.append(error)
    return None


def _decode_all(
    parts: Sequence[tuple[Split, NDArray[np.int64]]],
    image_size: int | None,
    count: int,
    shape: tuple[int, int, int],
    workers: int,
) -> Decoded:
    height, width, channels = shape
    needed, available = count * height * width * channels, available_memory()
    if available is not None and needed > MEMORY_SHARE * available:
        raise UsageError(
            f"{count} images of {width} x {height} x {channels} need {needed / 1e9:.1f} GB of memory, and of "
            f"{available / 1e9:.1f} GB free may take {MEMORY_SHARE:.0%}: lower data.image_size or data.train_images"
        )
    decoded = Decoded([])
    for split, index in parts:
        decoded.parts.append(_decode_one(split, index, image_size, shape, workers, decoded))
    return decoded


def _decode_one(
    split: Split,
    index: NDArray[np.int64],
    image_size: int | None,
    shape: tuple[int, int, int],
    workers: int,
    decoded: Decoded,
) -> DecodedPart:
    images = np.empty((len(index), *shape), dtype=np.uint8)
    digests = np.empty((len(index), 32), dtype=np.uint8)
    readable = np.ones(len(index), dtype=np.bool_)
    broken: dict[int, BrokenImageError] = {}
    transparent = np.zeros(len(index), dtype=np.bool_)

    def work(items: list[Item], start: int) -> None:
        for position, (data, where) in enumerate(items, start):
            try:
                pixels, transparent[position] = _pixels(data, where, image_size, shape)
            except BrokenImageError as error:
                broken[position], readable[position] = error, False
                continue
            images[position] = pixels
            digests[position] = digests_of([pixels.data])

    _do_all(split.items(index), work, workers)
    decoded.broken += [broken[position] for position in sorted(broken)]
    decoded.transparent += int(transparent.sum())
    if broken:
        images, digests = images[readable], digests[readable]
    return DecodedPart(images, digests, readable)


def _do_all(items: Iterator[Item], work: Callable[[list[Item], int], None], workers: int) -> None:
    """`work` on all items, in lists, each with the position of its first."""
    if workers == 1:
        for start, some in _tasks(items):
            work(some, start)
        return
    pool = ThreadPoolExecutor(workers)
    pending: deque[Future[None]] = deque()
    try:
        for start, some in _tasks(items):
            pending.append(pool.submit(work, some, start))
            if len(pending) > 4 * workers:  # bounds the encoded images held at once
                pending.popleft().result()
        while pending:
            pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _tasks(items: Iterator[Item]) -> Iterator[tuple[int, list[Item]]]:
    start = 0
    while task := list(islice(items, _TASK)):
        yield start, task
        start += len(task)


@contextlib.contextmanager
def _opened(data: Path | bytes, where: str) -> Iterator[Image.Image]:
    """The image by its header. Raises BrokenImageError for whatever goes wrong in reading it, inside the context too."""
    if isinstance(data, bytes) and not data:
        raise BrokenImageError(f"{where} cannot be read as an image (it holds no bytes)")
    try:
        # A FIFO under an image's name would wait for ever.
        if isinstance(data, Path) and not data.is_file():
            raise OSError("no regular file" if data.exists() else "no such file")
        with Image.open(io.BytesIO(data) if isinstance(data, bytes) else data, formats=tuple(_FORMATS_HERE)) as image:
            if image.width * image.height > MOST_PIXELS:
                raise OSError(f"{image.width} x {image.height} px are more than {MOST_PIXELS:,}")
            yield image
    except (MemoryError, BrokenImageError):
        raise
    except Image.DecompressionBombError:
        raise BrokenImageError(f"{where} cannot be read as an image (it has more than {MOST_PIXELS:,} px)") from None
    except Exception as error:  # decoders of broken files raise anything: OSError, SyntaxError, struct.error, ...
        reason = "no known image format" if isinstance(error, UnidentifiedImageError) else _one_line(error)
        raise BrokenImageError(f"{where} cannot be read as an image ({reason})") from None


def image_size(data: Path | bytes | NDArray[np.uint8], where: str) -> tuple[int, int]:
    """(width, height) as the header says. Raises BrokenImageError."""
    if isinstance(data, np.ndarray):
        return data.shape[1], data.shape[0]
    with _opened(data, where) as image:
        return image.size


def open_image(data: Path | bytes | NDArray[np.uint8], where: str) -> Image.Image:
    """The image, fully read and turned upright. Raises BrokenImageError."""
    return _open(data, where)


def _open(data: Path | bytes | NDArray[np.uint8], where: str) -> Image.Image:
    """The image, fully read and turned upright."""
    if isinstance(data, np.ndarray):
        return Image.fromarray(data)
    with _opened(data, where) as image:
        image.load()
        return _upright(image)


def _upright(image: Image.Image) -> Image.Image:
    """The pixels turned as EXIF says; metadata that cannot be read turns nothing, and none is written back."""
    turn = None
    with contextlib.suppress(Exception):  # readers of broken metadata raise anything, too
        turn = _TURNS.get(int(image.getexif().get(ExifTags.Base.Orientation) or 1))
    return image if turn is None else image.transpose(turn)


def _pixels(
    data: Path | bytes | NDArray[np.uint8], where: str, image_size: int | None, shape: tuple[int, int, int]
) -> tuple[NDArray[np.uint8], bool]:
    """The image as contiguous uint8 of `shape` (H, W, C), and whether the background is seen through it."""
    try:
        return _seen(_open(data, where), where, image_size, shape)
    except MemoryError:
        raise VicinalError(f"{where}: memory ran out while it was read: make it smaller or remove it") from None


def _seen(
    image: Image.Image, where: str, image_size: int | None, shape: tuple[int, int, int]
) -> tuple[NDArray[np.uint8], bool]:
    height, width, channels = shape
    image, transparent = _on_background(_of_8_bits(image, where))
    if channels == 1 and image.mode not in _GREY:
        raise _ColourFound
    target = "L" if channels == 1 else "RGB"
    if image.mode != target:
        image = image.convert(target)
    if image_size is not None and height < image_size:  # small images kept as they are, while they are alike
        if (image.height, image.width) != (height, width):
            raise _AnotherSize
    elif image_size is not None:
        image = _fit(image, image_size)
    if (image.height, image.width) != (height, width):
        raise UsageError(
            f"images differ in size: {where} is {image.width} x {image.height}, the first is {width} x {height}; "
            "give data.image_size=SIDE to resize them all (for example data.image_size=64)"
        )
    return np.asarray(image).reshape(shape), transparent


def _of_8_bits(image: Image.Image, where: str) -> Image.Image:
    """The image; BrokenImageError where Pillow's conversion to 8 bits would clip it at 255: a picture nearly all white."""
    if image.mode.startswith(("I", "F")):
        raise BrokenImageError(f"{where} has more than 8 bits per channel (mode {image.mode}; convert it to 8 bits)")
    return image


def whole_image(data: Path | bytes | NDArray[np.uint8], where: str, channels: int) -> Image.Image:
    """One image as it is, upright and on the background: grey where `channels` is 1, else RGB. Raises BrokenImageError."""
    image, _ = _on_background(_of_8_bits(_open(data, where), where))
    target = "L" if channels == 1 else "RGB"
    return image if image.mode == target else image.convert(target)


def _on_background(image: Image.Image) -> tuple[Image.Image, bool]:
    """What is seen of an image on `BACKGROUND`: the colour that a file keeps under transparent pixels is nothing to learn from."""
    if not image.has_transparency_data:
        return image, False
    grey = image.mode in ("L", "LA", "La", "1")
    seen, transparent = Image.new("L" if grey else "RGB", image.size), False
    rows = max(1, _BAND // image.width)
    for top in range(
        0, image.height, rows
    ):  # in bands: whole layers of a large image would need its memory three times
        layered = image.crop((0, top, image.width, min(top + rows, image.height))).convert("RGBA")
        if layered.getchannel("A").getextrema() != (255, 255):
            transparent = True
            layered = Image.alpha_composite(Image.new("RGBA", layered.size, (*BACKGROUND, 255)), layered)
        seen.paste(layered.convert(seen.mode), (0, top))
    return seen, transparent


def _fit(image: Image.Image, side: int) -> Image.Image:
    """Resize the shorter side to `side` px and cut out the centre square, by torchvision's arithmetic."""
    shorter, longer = min(image.size), max(image.size)
    if longer > _TALL * shorter:
        return _fit_strip(image, side)
    if shorter != side:
        width, height = (side if s == shorter else max(side, int(side * s / shorter)) for s in image.size)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((image.width - side) / 2), round((image.height - side) / 2)
    return image if image.size == (side, side) else image.crop((left, top, left + side, top + side))


def _fit_strip(image: Image.Image, side: int) -> Image.Image:
    """The same of a long strip, whose ends are cut off before it is enlarged."""
    shorter = min(image.size)
    left, top = (image.width - shorter) // 2, (image.height - shorter) // 2
    square = image.crop((left, top, left + shorter, top + shorter))
    return square if shorter == side else square.resize((side, side), Image.Resampling.BILINEAR)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
