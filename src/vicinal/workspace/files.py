"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vicinal.errors import VicinalError


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader, or a process killed meanwhile, sees the old file or the new one and nothing between.

    Raises VicinalError where the disk is full or the folder cannot be written.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content

    def write(temporary: Path) -> None:
        temporary.write_bytes(data)

    write_file_atomically(path, write)


def write_file_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """`write_atomically` for a writer that wants a path of its own: `write` fills a temporary file, which then takes the name."""
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        made = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        handle = os.open(made, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)  # less the user's umask
        temporary, mode = made, os.fstat(handle).st_mode & 0o777
        os.close(handle)
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())  # the content must reach the disk before the name does
        temporary.chmod(mode)
        temporary.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from None
    except BaseException as error:
        stop = _stop_behind(error)
        if stop is not None:
            raise stop from None
        if _is_disk_error(error):
            raise cannot_write(path, error) from None
        raise
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _stop_behind(error: BaseException) -> KeyboardInterrupt | None:
    """The Ctrl-C or SIGTERM that cut a write: torch closes the file it could not finish and tells that as its own error."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__context__
    return cause


def _is_disk_error(error: BaseException) -> bool:
    """Whether a library's own exception (torch and safetensors wrap them) hides a failed write."""
    text = str(error)
    return any(
        word in text
        for word in ("No space left", "os error 28", "unexpected pos", "file write failed", "Disk quota", "basic_ios")
    )


def cannot_write(path: Path, error: BaseException) -> VicinalError:
    """The one line for a file that cannot be written: a full disk, or what the system says."""
    full = (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)) or _is_disk_error(error)
    if full:
        return VicinalError(
            f"the disk is full: could not write {path}; what was finished is kept, so free some space and give the same command again"
        )
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return VicinalError(f"cannot write {path}: {reason}; see to the permissions and to what lies in its way")


def write_json(path: Path, value: Any) -> None:
    write_atomically(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def clear_leftovers(folder: Path) -> None:
    """Remove temporary files that a killed process left in a folder and the folders in it."""
    for part in folder.rglob(".*.part"):
        part.unlink(missing_ok=True)
