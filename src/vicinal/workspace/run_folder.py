"""The folder of one run: what defines it, its log, checkpoint, weights, and its network's stored answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vicinal.config import RunSpec
from vicinal.errors import UsageError
from vicinal.workspace.files import cannot_write, read_json, write_atomically, write_json


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
