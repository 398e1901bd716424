"""The folder of one run: what defines it, its log, checkpoint, weights, and its network's stored answers."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vicinal.config import RunSpec
from vicinal.errors import UsageError
from vicinal.workspace.checksums import (
    DamagedError,
    file_sha256,
    read_sealed_json,
    write_sealed_json,
)
from vicinal.workspace.files import cannot_write, write_atomically

_SUMMARY_KEYS = {"training_s", "fingerprint", "weights_sha256", "log"}


class RunFolder:
    """The folder of one run."""

    def __init__(self, study_folder: Path, spec: RunSpec) -> None:
        self.path = study_folder / "runs" / spec.folder
        self.spec = spec
        self._examined: tuple[Any, str | None] | None = None  # the files' marks, and what was found of them

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
    def network(self) -> Path:
        """What the weights mean, for whoever takes them elsewhere."""
        return self.path / "network.json"

    @property
    def done(self) -> Path:
        """The mark of a finished run: its summary, its log again, and the checksum of its weights."""
        return self.path / "done.json"

    @property
    def is_done(self) -> bool:
        """Whether the run is finished and its weights are those that it finished with, to the byte."""
        return self.done.exists() and self.weights.exists() and self.damage is None

    @property
    def damage(self) -> str | None:
        """One line about a finished run that has to be trained again, since its mark or its weights are damaged; else None.

        Both files are read whole, once for a process while neither changes.
        """
        if not self.done.exists() or not self.weights.exists():
            return None
        marks = [_mark(self.done), _mark(self.weights)]
        if self._examined is None or self._examined[0] != marks:
            self._examined = marks, self._examine()
        return self._examined[1]

    def _examine(self) -> str | None:
        try:
            summary = self.summary()
        except UsageError as error:
            return str(error)
        try:
            whole = file_sha256(self.weights) == summary["weights_sha256"]
        except OSError as error:
            return f"{self.weights} cannot be read ({error.strerror}); the run is trained again"
        return None if whole else f"{self.weights} is damaged (its checksum does not fit); the run is trained again"

    def stored(self, kind: str, fingerprint: str, suffix: str = "safetensors") -> Path:
        """Where the trained network's answers of a kind are kept."""
        return self.path / f"{kind}-{fingerprint}.{suffix}"

    def open(self) -> None:
        """Make the folder and say in it what defines the run."""
        self._mend_spec()

    def finish(self, summary: dict[str, Any], log: Sequence[dict[str, Any]]) -> None:
        """Mark the run as done; the checkpoint has served, and answers stored before were another network's.

        The mark holds the log, too, so that no line of it can be lost unseen. Raises VicinalError where it cannot be written.
        """
        for answers in self.path.glob("*-*.*"):
            answers.unlink()
        known = {"fingerprint": self.spec.fingerprint(), "weights_sha256": file_sha256(self.weights), "log": list(log)}
        write_sealed_json(self.done, {**summary, **known})
        self.checkpoint.unlink(missing_ok=True)

    def mend(self) -> list[str]:
        """Write again what of a finished run rests on its mark, where that is damaged; a line about each."""
        if not self.is_done:
            return []
        lines = [self._mend_spec()] if (self.path / "spec.json").exists() else []
        text = _lines(self.summary()["log"])
        if _content(self.log) != text.encode():
            write_atomically(self.log, text)
            lines.append(f"{self.log} is damaged; it is written again from {self.done.name}")
        try:
            if self.network.exists():
                read_sealed_json(self.network)
        except DamagedError:
            self.network.unlink()
            lines.append(f"{self.network} is damaged; it is written again when the network is measured")
        return [line for line in lines if line]

    def _mend_spec(self) -> str:
        """Make spec.json say what defines the run; a line where it was damaged. An older version's lacks keys, and is whole."""
        path = self.path / "spec.json"
        try:
            whole = not path.exists() or bool(read_sealed_json(path))
        except DamagedError:
            whole = False
        _write_where_other(path, self.spec.model_dump(mode="json"))
        return "" if whole else f"{path} is damaged; it is written again"

    def describe(self, meaning: Mapping[str, Any]) -> None:
        """Write `network.json`, unless it says that already. Raises VicinalError where it cannot be written."""
        _write_where_other(self.network, {**meaning, "weights_sha256": self.summary()["weights_sha256"]})

    def summary(self) -> dict[str, Any]:
        """What the mark of a finished run holds. Raises UsageError where that is damaged or another run's."""
        try:
            value = read_sealed_json(self.done)
        except DamagedError as error:
            raise UsageError(f"{error}; the run is trained again") from None
        if not value.keys() >= _SUMMARY_KEYS or value["fingerprint"] != self.spec.fingerprint():
            raise UsageError(f"{self.done} is of another run or version; the run is trained again")
        return value

    def read_log(self) -> list[dict[str, Any]]:
        """The log's lines for people; a last line cut by a kill is left out."""
        entries = []
        for line in (_content(self.log) or b"").decode("utf-8", "replace").splitlines():
            try:
                entries.append(json.loads(line))
            except ValueError:
                break
        return entries

    def write_log(self, entries: Sequence[dict[str, Any]]) -> None:
        """Make the log what a checkpoint says that it was. Raises VicinalError where it cannot be written."""
        write_atomically(self.log, _lines(entries))

    def append_log(self, entry: dict[str, Any]) -> None:
        try:
            with self.log.open("a", encoding="utf-8") as file:
                file.write(_lines([entry]))
        except OSError as error:
            raise cannot_write(self.log, error) from None


def _lines(entries: Sequence[dict[str, Any]]) -> str:
    return "".join(json.dumps(entry) + "\n" for entry in entries)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _mark(path: Path) -> tuple[int, ...] | None:
    """What changes with a file's content, as far as the file system tells."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _write_where_other(path: Path, value: Mapping[str, Any]) -> bool:
    """Write a sealed JSON file where it does not hold a value already, and say whether it was written."""
    wanted = json.loads(json.dumps(value))
    with contextlib.suppress(DamagedError):
        if read_sealed_json(path) == wanted:
            return False
    write_sealed_json(path, wanted)
    return True
