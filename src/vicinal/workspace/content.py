"""What a file holds, as a hash: read once, remembered by what the file system says of the file, so that a second run costs nothing."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from vicinal.workspace.checksums import file_sha256

# A file that changed this lately could change again within one tick of the file system's clock, unseen: it is not remembered.
SETTLED_S = 2.0
_PART = 512  # files that are looked up and hashed at a time
_TABLE = """CREATE TABLE IF NOT EXISTS content (
    path BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER, ctime_ns INTEGER, inode BLOB, sha256 BLOB)"""
_TABLE_OF_FINDINGS = """CREATE TABLE IF NOT EXISTS findings (
    path BLOB, purpose TEXT, size INTEGER, mtime_ns INTEGER, ctime_ns INTEGER, inode BLOB, sha256 BLOB, value BLOB,
    PRIMARY KEY (path, purpose))"""
_TABLE_OF_PARTS = "CREATE TABLE IF NOT EXISTS parts (key BLOB PRIMARY KEY, sha256 BLOB)"


@dataclass(frozen=True)
class ContentHashes:
    """The SHA-256 of files, in the order they were asked for, and how many of them were remembered instead of read."""

    digests: tuple[bytes, ...]
    remembered: int


def cache_folder() -> Path | None:
    """Where this machine's measurements and hashes are remembered, `$XDG_CACHE_HOME/vicinal`; None where there is no home."""
    given = os.environ.get("XDG_CACHE_HOME")
    if given:
        return Path(given) / "vicinal"
    try:
        return Path.home() / ".cache" / "vicinal"
    except RuntimeError:
        return None


def content_hash_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex. Raises OSError where it cannot be read."""
    return content_hashes_of([path]).digests[0].hex()


def content_hashes_of(paths: Sequence[Path]) -> ContentHashes:
    """SHA-256 of the bytes of many files, read in threads.

    A file is not read again while its path, size, mtime, ctime (both in ns) and inode are those it was hashed with. What is
    remembered lies in `content.sqlite` of `cache_folder`; where that cannot be read or written, every file is read.
    Raises OSError for a file that cannot be read.
    """
    digests: list[bytes] = []
    remembered = 0
    with _memory() as memory, ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        for start in range(0, len(paths), _PART):
            part = [path.absolute() for path in paths[start : start + _PART]]
            marks = [_mark(path) for path in part]
            known = [_recall(memory, path, mark) for path, mark in zip(part, marks, strict=True)]
            found = list(
                pool.map(lambda path, old: bytes.fromhex(file_sha256(path)) if old is None else old, part, known)
            )
            new = [
                (os.fsencode(path), *mark, digest)
                for path, mark, old, digest in zip(part, marks, known, found, strict=True)
                if old is None and _is_settled(mark) and _mark(path) == mark
            ]
            _remember(memory, new)
            digests += found
            remembered += sum(old is not None for old in known)
    return ContentHashes(tuple(digests), remembered)


def hashes_of_parts(key: bytes, count: int, parts: Callable[[], Iterable[bytes]]) -> bytes:
    """SHA-256 of each of `count` parts of files, 32 bytes each, one after the other; remembered under a key.

    Args:
        key: that changes when the files or the choice of parts do.
        parts: reads them; called where nothing is remembered.
    """
    with _memory() as memory:
        if memory is not None:
            with contextlib.suppress(sqlite3.Error):
                row = memory.execute("SELECT sha256 FROM parts WHERE key = ?", (key,)).fetchone()
                if row is not None and isinstance(row[0], bytes) and len(row[0]) == 32 * count:
                    return row[0]
        found = b"".join(hashlib.sha256(part).digest() for part in parts())
        if memory is not None:
            with contextlib.suppress(sqlite3.Error), memory:
                memory.execute("INSERT OR REPLACE INTO parts VALUES (?, ?)", (key, found))
    return found


def findings_in(paths: Sequence[Path], purpose: str, look: Callable[[Path], bytes]) -> Iterator[bytes]:
    """What `look` finds in each of many files, remembered like their hashes: while nothing that the file system says of one changes.

    Args:
        purpose: that tells this look from others, and from older versions of itself.

    Raises OSError for a file that is not there, and whatever `look` raises.
    """
    with _memory() as memory:
        for path in map(Path.absolute, paths):
            mark = _mark(path)
            value = _recall_finding(memory, path, purpose, mark)
            if value is None:
                value = look(path)
                if memory is not None and _is_settled(mark) and _mark(path) == mark:
                    row = (os.fsencode(path), purpose, *mark, hashlib.sha256(value).digest(), value)
                    with contextlib.suppress(sqlite3.Error), memory:
                        memory.execute("INSERT OR REPLACE INTO findings VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
            yield value


def _recall_finding(memory: sqlite3.Connection | None, path: Path, purpose: str, mark: _Mark) -> bytes | None:
    if memory is None:
        return None
    with contextlib.suppress(sqlite3.Error):
        row = memory.execute(
            "SELECT size, mtime_ns, ctime_ns, inode, sha256, value FROM findings WHERE path = ? AND purpose = ?",
            (os.fsencode(path), purpose),
        ).fetchone()
        if row is not None and tuple(row[:4]) == mark and isinstance(row[5], bytes):
            return row[5] if hashlib.sha256(row[5]).digest() == row[4] else None
    return None


_Mark = tuple[int, int, int, bytes]  # size, mtime and ctime in ns, device and inode


def _mark(path: Path) -> _Mark:
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, f"{found.st_dev}:{found.st_ino}".encode()


def _is_settled(mark: _Mark) -> bool:
    return time.time() - max(mark[1], mark[2]) / 1e9 > SETTLED_S


@contextlib.contextmanager
def _memory() -> Iterator[sqlite3.Connection | None]:
    """The data base, or None where there is none to be had."""
    connection = None
    folder = cache_folder()
    if folder is not None:
        with contextlib.suppress(OSError, sqlite3.Error):
            folder.mkdir(parents=True, exist_ok=True)
            connection = _open(folder / "content.sqlite")
    try:
        yield connection
    finally:
        if connection is not None:
            connection.close()


def _open(file: Path) -> sqlite3.Connection:
    """The data base; a damaged one is begun anew, since all in it can be had again."""
    for attempt in (1, 2):
        connection = sqlite3.connect(file, timeout=1.0)
        try:
            connection.execute("PRAGMA synchronous=OFF")
            connection.execute(_TABLE)
            connection.execute(_TABLE_OF_PARTS)
            connection.execute(_TABLE_OF_FINDINGS)
            connection.execute("SELECT path, size, mtime_ns, ctime_ns, inode, sha256 FROM content LIMIT 1").fetchall()
            return connection
        except sqlite3.OperationalError:  # locked, or not to be written
            connection.close()
            raise
        except sqlite3.DatabaseError:
            connection.close()
            if attempt == 2:
                raise
            file.unlink()
    raise AssertionError


def _recall(memory: sqlite3.Connection | None, path: Path, mark: _Mark) -> bytes | None:
    if memory is None:
        return None
    with contextlib.suppress(sqlite3.Error):
        row = memory.execute(
            "SELECT size, mtime_ns, ctime_ns, inode, sha256 FROM content WHERE path = ?", (os.fsencode(path),)
        ).fetchone()
        if row is not None and tuple(row[:4]) == mark and isinstance(row[4], bytes) and len(row[4]) == 32:
            return row[4]
    return None


def _remember(memory: sqlite3.Connection | None, rows: Sequence[tuple[bytes | int, ...]]) -> None:
    if memory is not None and rows:
        with contextlib.suppress(sqlite3.Error), memory:
            memory.executemany("INSERT OR REPLACE INTO content VALUES (?, ?, ?, ?, ?, ?)", rows)
