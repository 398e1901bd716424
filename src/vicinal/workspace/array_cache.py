"""Arrays that took long to make, kept on this disk for the next command by a key that says all they depend on.

What was not used for longest is removed first. Nothing here is needed:
a file that is missing, damaged or cannot be written costs time and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from vicinal.errors import UsageError, VicinalError
from vicinal.workspace.checksums import DamagedError, SealedArrays, Streamed, write_sealed_arrays
from vicinal.workspace.content import cache_folder
from vicinal.workspace.format import format_bytes
from vicinal.workspace.lock import locked
from vicinal.workspace.terminal import say

PLACE, MOST_GB = "VICINAL_PIXEL_CACHE", "VICINAL_PIXEL_CACHE_GB"  # what the environment may say
DEFAULT_GB = 10.0
FREE_SHARE = 0.1  # of the disk's free space, that the folder may take where nobody says how much
_FORGOTTEN_S = 3600.0  # after which what a killed process was writing is removed
_told: set[str] = set()  # what was said in this process, once each


@dataclass(frozen=True)
class ArrayCache:
    """A folder of arrays, and the bytes that it may hold; None: `DEFAULT_GB`, and no more than `FREE_SHARE` of what is free."""

    folder: Path
    most_bytes: int | None = None
    what: str = "decoded images"  # as messages name what is kept

    @classmethod
    def here(cls) -> ArrayCache | None:
        """The one of this machine, `$XDG_CACHE_HOME/vicinal/pixels` or what the environment says; None where there is to be none.

        Raises UsageError for a size that is no number.
        """
        place, size = os.environ.get(PLACE, ""), os.environ.get(MOST_GB, "")
        if place.lower() == "off":
            return None
        most = None
        if size:
            try:
                most = int(float(size) * 1e9)
            except (ValueError, OverflowError):
                raise UsageError(f"{MOST_GB}={size} is no number of gigabytes: give one, as in {MOST_GB}=5") from None
        if place:
            with contextlib.suppress(RuntimeError):
                return cls(Path(place).expanduser(), most)
        home = cache_folder()
        return None if home is None else cls(home / "pixels", most)

    def of(self, what: str) -> ArrayCache:
        """The same folder, for something else than decoded images."""
        return replace(self, what=what)

    def has_room(self, size: int) -> bool:
        """Whether so many bytes in several files may be held at once; else that is said in a line, once."""
        most = self._limit()
        if size > most:
            self._tell_too_large(size, most)
        return size <= most

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Other processes that come here wait meanwhile, where the folder can be locked: what takes long is written by one."""
        with contextlib.ExitStack() as held:
            with contextlib.suppress(OSError, UsageError):
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                held.enter_context(locked(held.enter_context((self.folder / ".lock").open("w"))))
            yield

    @contextlib.contextmanager
    def read(self, key: str) -> Iterator[SealedArrays | None]:
        """The arrays of a key, or None; a damaged file is removed."""
        path = self._path(key)
        try:
            found = SealedArrays(path)
        except DamagedError:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            yield None
            return
        with contextlib.suppress(OSError):
            os.utime(path)  # when it was last used
        with found:
            yield found

    def holds(self, key: str) -> bool:
        return self._path(key).is_file()

    def write(self, key: str, arrays: Mapping[str, Streamed], metadata: Mapping[str, str]) -> None:
        """Keep arrays, if there is room for them; what is in the way of it is said in a line, once."""
        path, size = self._path(key), sum(array.nbytes for array in arrays.values())
        try:
            first = not any(self.folder.glob("*.safetensors"))
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            most = self._limit()
            if size > most:
                self._tell_too_large(size, most)
                return
            self._make_room(most - size)
            write_sealed_arrays(path, arrays, metadata)
        except OSError as error:
            self._tell(error.strerror or str(error))
        except VicinalError as error:
            reason = error.__context__
            self._tell((reason.strerror if isinstance(reason, OSError) else None) or "they cannot be written")
        else:
            if first:
                _say_once(
                    f"{self.what} are kept in {self.folder}, so that the next start is quick ({format_bytes(size)}; at most "
                    f"{format_bytes(most)}); it may be deleted at any time, and {PLACE}=off keeps none"
                )

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"

    def _limit(self) -> int:
        if self.most_bytes is not None:
            return self.most_bytes
        free = shutil.disk_usage(next(place for place in (self.folder, *self.folder.parents) if place.is_dir())).free
        return int(min(DEFAULT_GB * 1e9, FREE_SHARE * (free + sum(size for _, size, _ in self._files()))))

    def _files(self) -> list[tuple[float, int, Path]]:
        """When each file was last used, its size, its path; the least used first."""
        found = []
        for path in self.folder.glob("*.safetensors"):
            with contextlib.suppress(OSError):  # another process removed it
                status = path.stat()
                if len(path.stem) == 64:  # others than ours are left alone
                    found.append((status.st_mtime, status.st_size, path))
        return sorted(found)

    def _make_room(self, most: int) -> None:
        """Remove what was not used for longest, until the rest takes no more than so many bytes."""
        now = time.time()
        for path in self.folder.glob(".*.safetensors.*.part"):
            with contextlib.suppress(OSError):
                if now - path.stat().st_mtime > _FORGOTTEN_S:
                    path.unlink()
        files = self._files()
        held = sum(size for _, size, _ in files)
        for _, size, path in files:
            if held <= most:
                return
            path.unlink(missing_ok=True)
            held -= size

    def _tell_too_large(self, size: int, most: int) -> None:
        self._tell(f"{format_bytes(size)} are more than it may hold, {format_bytes(most)} ({MOST_GB} says how many)")

    def _tell(self, reason: str) -> None:
        _say_once(f"{self.what} are not kept in {self.folder} for the next start: {reason}")


def _say_once(text: str) -> None:
    if text not in _told:
        _told.add(text)
        with contextlib.suppress(OSError, ValueError):
            say(text, sys.stderr)
