"""Study and run folders: files that appear whole or not at all, logs, and one holder at a time.

OUT/study.json               what the folder is for, written first
OUT/runs/<run>/spec.json     what defines the run
               log.jsonl     a line for each epoch
               checkpoint.pt while it trains
               weights.safetensors, done.json   when it is done
               predictions-<fingerprint>.safetensors   its logits, which every measure is computed from; and further answers
OUT/banks/<fingerprint>/      teachers' answers along a plan, read by every arm that shares it; may be deleted
OUT/results.json, report.html, tables/, figures/
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from vicinal import __version__
from vicinal.errors import UsageError, VicinalError
from vicinal.specs import SCHEMA, RunSpec

STUDY_FILE = "study.json"
LOCK_FILE = ".lock"


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
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
        temporary = Path(name)
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())  # the content must reach the disk before the name does
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from None
    except BaseException as error:
        if _is_disk_error(error):
            raise cannot_write(path, error) from None
        raise
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _is_disk_error(error: BaseException) -> bool:
    """Whether a library's own exception (torch and safetensors wrap them) hides a failed write."""
    text = str(error)
    return any(
        word in text for word in ("No space left", "os error 28", "unexpected pos", "file write failed", "Disk quota")
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


def read_json(path: Path) -> Any:
    """The JSON value of a file; UsageError where it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path} is not there") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read ({error}); delete it and give the command again") from None


def clear_leftovers(folder: Path) -> None:
    """Remove temporary files that a killed process left in a folder and the folders in it."""
    for part in folder.rglob(".*.part"):
        part.unlink(missing_ok=True)


# --- the study folder -------------------------------------------------------------------------------------------------


def open_study_folder(folder: Path, study: str) -> None:
    """Make a study folder or check that this one is the same study's and of this schema. Raises UsageError otherwise."""
    check_out_folder(folder, study)
    if not (folder / STUDY_FILE).exists():
        write_json(folder / STUDY_FILE, {"schema": SCHEMA, "version": __version__, "study": study})


def check_out_folder(folder: Path, study: str) -> None:
    """UsageError where a study cannot have this folder: it is no folder, or holds something else. Changes nothing."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file; choose a folder with --out")
    if not (folder / STUDY_FILE).exists():
        others = [p.name for p in folder.iterdir() if p.name != LOCK_FILE]
        if others:
            raise UsageError(
                f"{folder} holds other files ({others[0]}, ...) and no study; choose an empty folder with --out"
            )
        return
    check_study_folder(folder)
    held = read_json(folder / STUDY_FILE).get("study")
    if held != study:
        raise UsageError(f"{folder} holds the study {held!r}, not {study!r}; choose another folder with --out")


def check_study_folder(folder: Path) -> None:
    """UsageError where the folder is no study folder or was written in another schema."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder; vicinal run STUDY --out {folder} makes one")
    mark_file = folder / STUDY_FILE
    if not mark_file.exists():
        raise UsageError(f"{folder} holds no study (no {STUDY_FILE}); vicinal run STUDY --out DIR makes one")
    try:
        mark = json.loads(mark_file.read_text(encoding="utf-8"))
        schema, version = mark["schema"], mark["version"]
    except (OSError, ValueError, TypeError, KeyError):
        raise UsageError(
            f"{mark_file} is damaged, so nobody knows whose folder it is; choose another with --out"
        ) from None
    if schema != SCHEMA:
        raise UsageError(
            f"{folder} was written by vicinal {version} (schema {schema}); this is vicinal {__version__} (schema {SCHEMA}): "
            f"use that version for it, or another folder with --out"
        )


@contextlib.contextmanager
def hold(folder: Path, shared: bool = False) -> Iterator[None]:
    """Hold a study folder for this process; a second process gets a UsageError that says who holds it.

    `shared` is for processes that work in it side by side and keep others out. The lock is the kernel's, so it ends with the
    process, however that ends.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK_FILE).open("a+", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot use {folder}: {error.strerror}; choose another folder with --out") from None
    with file:
        _lock(file, folder, shared)
        file.truncate(0)
        started = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        file.write(f"process {os.getpid()} on {socket.gethostname()} since {started}")
        file.flush()
        yield


def check_not_held(folder: Path) -> None:
    """UsageError where another process holds the folder now: the early word of what `hold` makes sure of."""
    held = folder / LOCK_FILE
    with contextlib.suppress(OSError), held.open(encoding="utf-8") as file:
        _lock(file, folder)


def _lock(file: TextIO, folder: Path, shared: bool = False) -> None:
    """Take the kernel's lock on an open file, until it is closed."""
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        holder = file.read().strip() or "another process"
        raise UsageError(f"{folder} is held by {holder}; wait for it, or choose another folder with --out") from None


# --- run folders ------------------------------------------------------------------------------------------------------


class RunFolder:
    """The folder of one run."""

    def __init__(self, study_folder: Path, spec: RunSpec) -> None:
        self.path = study_folder / "runs" / spec.folder
        self.spec = spec

    @property
    def log(self) -> Path:
        return self.path / "log.jsonl"

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.pt"

    @property
    def weights(self) -> Path:
        return self.path / "weights.safetensors"

    @property
    def is_done(self) -> bool:
        return (self.path / "done.json").exists() and self.weights.exists()

    def stored(self, kind: str, fingerprint: str, suffix: str = "safetensors") -> Path:
        """Where the trained network's answers of a kind are kept."""
        return self.path / f"{kind}-{fingerprint}.{suffix}"

    def open(self) -> None:
        """Make the folder and say in it what defines the run."""
        if not (self.path / "spec.json").exists():
            write_json(self.path / "spec.json", self.spec.model_dump(mode="json"))

    def finish(self, summary: dict[str, Any]) -> None:
        """Mark the run as done; the checkpoint has served, and answers stored before were another network's."""
        for answers in self.path.glob("*-*.*"):
            answers.unlink()
        write_json(self.path / "done.json", summary)
        self.checkpoint.unlink(missing_ok=True)

    def summary(self) -> dict[str, Any]:
        value = read_json(self.path / "done.json")
        if not isinstance(value, dict) or "training_s" not in value:
            raise UsageError(f"{self.path / 'done.json'} is damaged; delete it and give the command again")
        return value

    def read_log(self) -> list[dict[str, Any]]:
        """The log's lines; a last line cut by a kill is left out."""
        if not self.log.exists():
            return []
        entries = []
        for line in self.log.read_text(encoding="utf-8").splitlines():
            try:
                entries.append(json.loads(line))
            except ValueError:
                break
        return entries

    def rewind_log(self, step: int) -> None:
        """Drop what was logged after the checkpoint that a run continues from."""
        kept = [entry for entry in self.read_log() if entry["step"] <= step]
        write_atomically(self.log, "".join(json.dumps(entry) + "\n" for entry in kept))

    def append_log(self, entry: dict[str, Any]) -> None:
        try:
            with self.log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise cannot_write(self.log, error) from None
