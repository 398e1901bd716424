"""One way from encoded images to uint8 arrays, for every source: Pillow in threads, one pass, nothing read twice.

Shapes: n images read, (H, W, C) an image.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from vicinal.data.formats import FORMATS_HERE
from vicinal.data.types import Item, Split, digests_of
from vicinal.data.views import Fit, View, canvas_view, centre_square, kept_share
from vicinal.errors import UsageError, VicinalError, one_line
from vicinal.workspace import SlowWork, available_memory

MEMORY_SHARE = 0.6  # of the free memory that images may take; the rest is for training
MOST_PIXELS = 178_956_970  # of one image, Pillow's own limit: above it a file of kilobytes can ask for gigabytes
BACKGROUND = (255, 255, 255)  # what is seen through transparent pixels
_BAND = 1 << 22  # px that are put on the background together
_NAMED = 10  # broken images that a message names
_TASK = 32  # images per task: enough that handing out tasks costs nothing
_SMALL = 64 * 64  # px; up to here reading an image is mostly Python, and threads waiting for each other double the time
_GREY = ("1", "L")
_SMALL_SIDE = (
    64  # px; square images of one size up to it are a data set's own form (CIFAR, Tiny ImageNet) and no photographs
)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ON_THEIR_SIDES = tuple(turn for stated, turn in _TURNS.items() if stated >= 5)
Shrink = Callable[
    [tuple[int, int]], int
]  # of an upright image's (height, width): 1, 2, 4 or 8, that its sides are divided by


class BrokenImageError(UsageError):
    """An image that cannot be read; its message says which and why."""


class _ColourFound(Exception):  # noqa: N818 - a signal, caught in this module
    """An image has colours where all before it were grey."""


class _AnotherSize(Exception):  # noqa: N818 - a signal, caught in this module
    """An image has another size than the small square ones before it."""


class SizeNeededError(UsageError):
    """Images have different sizes, or are read when needed, and nobody has said to which side they are brought."""


# The views wanted of images: where those are small squares of one size that stay as they are, their side is given, else None.
ViewsOf = Callable[[int | None], Sequence[View]]


@dataclass(frozen=True)
class Storage:
    """What becomes of an image that is read: the pixels that training cuts from, and views of the same original.

    `side` is the side in px that the shorter side is resized to (`fit` crop), both (squash) or the longer one (pad); None keeps images
    as they are. Square images of one size below it are kept as they are, too: enlarging them is left to the device, where it costs
    no memory.
    """

    side: int | None
    fit: Fit = "crop"
    views: ViewsOf = lambda _: ()


# Images to read: a split, sorted positions in it, and whether views of them are wanted.
Part = tuple[Split, NDArray[np.int64], bool]


@dataclass
class DecodedPart:
    """The images of one part: pixels uint8 (n, H, W, C), their SHA-256 (n, 32), and which of those asked for they are, bool.

    `seen` are the same images through views, and `kept` the share of each one's area that its stored pixels show.
    """

    pixels: NDArray[np.uint8]
    digests: NDArray[np.uint8]
    readable: NDArray[np.bool_]
    seen: dict[View, NDArray[np.uint8]] = field(default_factory=dict)
    kept: NDArray[np.float32] = field(default_factory=lambda: np.ones(0, np.float32))


@dataclass
class Decoded:
    """All parts, with what is to be said of them. `own_side`: of small square images that were kept as they are."""

    parts: list[DecodedPart]
    broken: list[BrokenImageError] = field(default_factory=list)
    transparent: int = 0  # images that the background was seen through
    own_side: int | None = None


@dataclass(frozen=True)
class _Form:
    """What one pass over the images makes of each: (H, W, C), and views."""

    shape: tuple[int, int, int]
    storage: Storage
    views: tuple[View, ...] = ()
    alike: bool = False  # all images are taken to have this size by themselves


def decode_splits(parts: Sequence[Part], storage: Storage, skip_broken: bool, progress: SlowWork) -> Decoded:
    """Read the images at the given sorted positions of each split, each once, and of those parts that say so keep the views, too.

    This is the one place where images become pixels in memory. EXIF orientation turns the pixels; transparent ones show a white
    background. C is 1 if all images are grey, else 3 (RGB). Resizing is Pillow's, which looks at all pixels that it shrinks.

    Raises UsageError that names the images which cannot be read, unless they are skipped; SizeNeededError for sizes that differ;
    UsageError for more images than memory can hold, and where no image can be read.
    """
    broken: list[BrokenImageError] = []
    first_image = _first_readable(parts, broken)
    if first_image is None:
        raise UsageError(broken_sentence(broken))
    own, side, alike = (first_image.height, first_image.width), storage.side, True
    size = own if side is None or (own[0] == own[1] < side) else (side, side)
    channels = 1 if first_image.mode in _GREY else 3
    small = first_image.width * first_image.height <= _SMALL
    workers = 1 if small else min(16, os.cpu_count() or 1)
    while True:
        own_side = own[0] if alike and size == own and own[0] == own[1] <= _SMALL_SIDE else None
        form = _Form((*size, channels), storage, tuple(dict.fromkeys(storage.views(own_side))), own_side is not None)
        try:
            decoded = _decode_all(parts, form, workers, progress)
            break
        except _ColourFound:
            channels = 3
        except _AnotherSize:
            assert side is not None
            size, alike = (side, side), False
        progress.restart()
    if decoded.broken and not skip_broken:
        raise UsageError(broken_sentence(decoded.broken))
    decoded.own_side = own_side
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
    """How one image that is read when it is asked for becomes pixels: through a view, or by default as a study stores it."""

    side: int
    view: View | None = None
    channels: int = 3

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.side, self.side, self.channels)

    def read(self, data: Path | bytes | NDArray[np.uint8], where: str) -> NDArray[np.uint8]:
        """uint8 (H, W, C). Raises UsageError for an image that cannot be read."""
        try:
            return _pixels(data, where, _Form(self.shape, Storage(self.side)), self.view).pixels
        except BrokenImageError as error:
            raise met_in_reading(error) from None


def met_in_reading(error: BrokenImageError) -> UsageError:
    """What is said of an image that turns out to be broken while a study runs."""
    return UsageError(f"{error}: repair or remove it, and give the same command again")


@dataclass
class Headers:
    """What the headers of images say: which are broken, by their place, and what share of its area a centre square of each keeps."""

    broken: dict[int, BrokenImageError]
    kept: NDArray[np.float32]  # of those that are not


def read_headers(split: Split, positions: NDArray[np.int64], progress: SlowWork) -> Headers:
    """Look whether the images at `positions` (n,) begin like some, and are no larger than any may be.

    Nothing is decoded; what lies inside larger files is not looked at.
    """
    broken: dict[int, BrokenImageError] = {}
    kept = np.full(len(positions), np.nan, np.float32)

    def look(items: list[Item], start: int) -> None:
        for position, (data, where) in enumerate(items, start):
            assert isinstance(data, Path)  # as the first is
            try:
                with _opened(data, where) as image:
                    kept[position] = kept_share(image.size)
            except BrokenImageError as error:
                broken[position] = error
        progress.advance(len(items))

    first = next(split.items(positions[:1]), None)
    if first is not None and isinstance(first[0], Path):
        _do_all(split.items(positions), look, min(16, os.cpu_count() or 1))
    return Headers(dict(sorted(broken.items())), kept[np.isfinite(kept)])


def _first_readable(parts: Sequence[Part], broken: list[BrokenImageError]) -> Image.Image | None:
    for split, index, _ in parts:
        for data, where in split.items(index):
            try:
                return _of_8_bits(_open(data, where), where)
            except BrokenImageError as error:
                broken.append(error)
    return None


def decode_views(
    part: Part, views: Sequence[View], like: DecodedPart, own_side: int | None, storage: Storage, progress: SlowWork
) -> dict[View, NDArray[np.uint8]] | None:
    """Views of a part that was decoded before, into `like` and with this `own_side`; None where it no longer becomes that."""
    height, width, channels = like.pixels.shape[1:]
    form = _Form((height, width, channels), storage, tuple(views), own_side is not None)
    try:
        found = _decode_one(part[0], part[1], form, min(16, os.cpu_count() or 1), Decoded([]), progress)
    except (_ColourFound, _AnotherSize, SizeNeededError):
        return None
    same = np.array_equal(found.readable, like.readable) and np.array_equal(found.digests, like.digests)
    return found.seen if same else None


def check_memory(count: int, shape: tuple[int, int, int], seen: int, views: Sequence[View]) -> None:
    """UsageError for more images than memory can hold: `count` of them stored as (H, W, C), and `seen` of those through views."""
    height, width, channels = shape
    of_views = seen * channels * sum(view.side**2 for view in views)
    needed, available = count * height * width * channels + of_views, available_memory()
    if available is not None and needed > MEMORY_SHARE * available:
        more = f" and {seen} of them as {len(views)} networks see them" if of_views else ""
        raise UsageError(
            f"{count} images of {width} x {height} x {channels}{more} need {needed / 1e9:.1f} GB of memory, and of "
            f"{available / 1e9:.1f} GB free may take {MEMORY_SHARE:.0%}: lower data.image_size or data.train_images"
        )


def _decode_all(parts: Sequence[Part], form: _Form, workers: int, progress: SlowWork) -> Decoded:
    count, seen = sum(len(index) for _, index, _ in parts), sum(len(index) for _, index, wanted in parts if wanted)
    check_memory(count, form.shape, seen, form.views)
    decoded = Decoded([])
    for split, index, wanted in parts:
        own = form if wanted else replace(form, views=())
        decoded.parts.append(_decode_one(split, index, own, workers, decoded, progress))
    return decoded


def _decode_one(
    split: Split, index: NDArray[np.int64], form: _Form, workers: int, decoded: Decoded, progress: SlowWork
) -> DecodedPart:
    images = np.empty((len(index), *form.shape), dtype=np.uint8)
    seen = {view: np.empty((len(index), view.side, view.side, form.shape[2]), dtype=np.uint8) for view in form.views}
    digests = np.empty((len(index), 32), dtype=np.uint8)
    kept = np.ones(len(index), dtype=np.float32)
    readable = np.ones(len(index), dtype=np.bool_)
    broken: dict[int, BrokenImageError] = {}
    transparent = np.zeros(len(index), dtype=np.bool_)

    def work(items: list[Item], start: int) -> None:
        for position, (data, where) in enumerate(items, start):
            try:
                found = _pixels(data, where, form)
            except BrokenImageError as error:
                broken[position], readable[position] = error, False
                continue
            images[position], transparent[position], kept[position] = found.pixels, found.transparent, found.kept
            digests[position] = digests_of([found.pixels.data])
            for view, pixels in found.seen.items():
                seen[view][position] = pixels
        progress.advance(len(items))

    _do_all(split.items(index), work, workers)
    decoded.broken += [broken[position] for position in sorted(broken)]
    decoded.transparent += int(transparent.sum())
    if broken:
        images, digests, kept = images[readable], digests[readable], kept[readable]
        seen = {view: pixels[readable] for view, pixels in seen.items()}
    return DecodedPart(images, digests, readable, seen, kept)


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
        with Image.open(io.BytesIO(data) if isinstance(data, bytes) else data, formats=tuple(FORMATS_HERE)) as image:
            if image.width * image.height > MOST_PIXELS:
                raise OSError(f"{image.width} x {image.height} px are more than {MOST_PIXELS:,}")
            yield image
    except (MemoryError, BrokenImageError):
        raise
    except Image.DecompressionBombError:
        raise BrokenImageError(f"{where} cannot be read as an image (it has more than {MOST_PIXELS:,} px)") from None
    except Exception as error:  # decoders of broken files raise anything: OSError, SyntaxError, struct.error, ...
        reason = "no known image format" if isinstance(error, UnidentifiedImageError) else one_line(error, None)
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


def _open(data: Path | bytes | NDArray[np.uint8], where: str, shrink: Shrink | None = None) -> Image.Image:
    """The image, fully read and turned upright."""
    if isinstance(data, np.ndarray):
        return Image.fromarray(data)
    with _opened(data, where) as image:
        if shrink is not None and image.format in ("JPEG", "MPO"):
            width, height = image.size[::-1] if _turn_of(image) in ON_THEIR_SIDES else image.size
            by = shrink((height, width))
            image.draft(None, (image.width // by, image.height // by))
        image.load()
        turn = _turn_of(image)
        return image if turn is None else image.transpose(turn)


def _turn_of(image: Image.Image) -> Image.Transpose | None:
    """How pixels are turned as EXIF says; metadata that cannot be read turns nothing, and none is written back."""
    with contextlib.suppress(Exception):  # readers of broken metadata raise anything, too
        return _TURNS.get(int(image.getexif().get(ExifTags.Base.Orientation) or 1))
    return None


def turn_stated(data: Path | bytes, where: str) -> Image.Transpose | None:
    """How the pixels of an encoded image are to be turned, by its header alone. Raises BrokenImageError."""
    with _opened(data, where) as image:
        return _turn_of(image)


@dataclass(frozen=True)
class _Pixels:
    """What was made of an image: contiguous uint8 (H, W, C), the same through views, and what is to be said of it."""

    pixels: NDArray[np.uint8]
    seen: dict[View, NDArray[np.uint8]]
    transparent: bool
    kept: float


def _pixels(data: Path | bytes | NDArray[np.uint8], where: str, form: _Form, only: View | None = None) -> _Pixels:
    """The image in a form, or through one view alone."""
    try:
        return _seen(_open(data, where), where, form, only)
    except MemoryError:
        raise VicinalError(f"{where}: memory ran out while it was read: make it smaller or remove it") from None


def _seen(image: Image.Image, where: str, form: _Form, only: View | None) -> _Pixels:
    image, transparent = _on_background(_of_8_bits(image, where))
    channels = form.shape[2]
    if channels == 1 and image.mode not in _GREY:
        raise _ColourFound
    target = "L" if channels == 1 else "RGB"
    if image.mode != target:
        image = image.convert(target)
    if only is not None:
        return _Pixels(only.array(image), {}, transparent, 1.0)
    stored, kept = _stored(image, where, form)
    return _Pixels(stored, {view: view.array(image) for view in form.views}, transparent, kept)


def _stored(image: Image.Image, where: str, form: _Form) -> tuple[NDArray[np.uint8], float]:
    """The pixels that training cuts from, and the share of the original's area that they show."""
    (height, width, _), side, kept = form.shape, form.storage.side, 1.0
    if side is not None and (height < side or form.alike):  # small images kept as they are, while they are alike
        if (image.height, image.width) != (height, width):
            raise _AnotherSize
    elif side is not None:
        view = canvas_view(side, form.storage.fit)
        kept = kept_share(image.size) if view is None else 1.0
        image = centre_square(image, side) if view is None else view.see(image)
    if (image.height, image.width) != (height, width):
        raise SizeNeededError(
            f"images differ in size: {where} is {image.width} x {image.height}, the first is {width} x {height}; "
            "give data.image_size=SIDE to resize them all (for example data.image_size=64)"
        )
    return np.asarray(image).reshape(form.shape), kept


def _of_8_bits(image: Image.Image, where: str) -> Image.Image:
    """The image; BrokenImageError where Pillow's conversion to 8 bits would clip it at 255: a picture nearly all white."""
    if image.mode.startswith(("I", "F")):
        raise BrokenImageError(f"{where} has more than 8 bits per channel (mode {image.mode}; convert it to 8 bits)")
    return image


def whole_image(
    data: Path | bytes | NDArray[np.uint8], where: str, channels: int, shrink: Shrink | None = None
) -> Image.Image:
    """One image as it is, upright and on the background: grey where `channels` is 1, else RGB. Raises BrokenImageError.

    With `shrink` a JPEG is decoded at the part of its sides that this says of its upright (height, width).
    """
    image, _ = _on_background(_of_8_bits(_open(data, where, shrink), where))
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
