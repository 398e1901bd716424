"""What a benchmark leaves behind: one JSON file, read again by the page and by nothing else. Imports no torch."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vicinal.errors import UsageError
from vicinal.workspace import write_atomically

RESULT_SCHEMA = 1


@dataclass(frozen=True)
class Spread:
    """A quantity over the rounds."""

    median: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values), len(values))


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class EntrantResult(_Value):
    """One entrant of a case: its turns, or why it was left out."""

    name: str
    title: str
    note: str = ""
    left_out: str | None = None
    steps_per_turn: int = 0
    units_per_step: int = 0
    seconds: tuple[float, ...] = ()  # of each turn, in the order of the rounds

    @property
    def units_per_s(self) -> Spread:
        units = self.steps_per_turn * self.units_per_step
        return Spread.of([units / seconds for seconds in self.seconds])


class CaseResult(_Value):
    """Entrants that took turns with one another."""

    name: str
    title: str
    unit: str = Field(description="what is counted: images, student images, pairs")
    reference: str = Field(description="the entrant that tables compare with")
    entrants: tuple[EntrantResult, ...] = ()
    figures: dict[str, float] = Field({}, description="further numbers, a unit in each name")
    rows: tuple[dict[str, Any], ...] = Field((), description="measured one by one, not in turns")
    proofs: tuple[str, ...] = Field((), description="what was proved of the turns, as sentences")

    def timed(self, name: str) -> EntrantResult | None:
        """The entrant of a name, where it was timed."""
        return next((e for e in self.entrants if e.name == name and e.seconds), None)

    def ratio(self, name: str, to: str) -> Spread | None:
        """Throughput of one entrant over another's, formed within each round; None where one of them was not timed."""
        one, other = self.timed(name), self.timed(to)
        if one is None or other is None:
            return None
        scale = one.steps_per_turn * one.units_per_step / (other.steps_per_turn * other.units_per_step)
        return Spread.of([scale * b / a for a, b in zip(one.seconds, other.seconds, strict=True)])


class BenchmarkResult(_Value):
    """Everything one benchmark measured, and on what."""

    schema_: int = Field(RESULT_SCHEMA, alias="schema")
    benchmark: str
    command: str
    created: str
    quick: bool = Field(description="a try of the code: its figures mean nothing")
    rounds: int
    turn_s: float
    environment: dict[str, str | int | float | None]
    cases: tuple[CaseResult, ...]

    def case(self, name: str) -> CaseResult | None:
        return next((case for case in self.cases if case.name == name), None)


def write_result(result: BenchmarkResult, folder: Path) -> Path:
    """FOLDER/<benchmark>.json, whole or not at all."""
    path = folder / f"{result.benchmark}.json"
    write_atomically(path, result.model_dump_json(indent=1, by_alias=True) + "\n")
    return path


def read_results(folder: Path) -> dict[str, BenchmarkResult]:
    """Every benchmark measured so far, by name. Raises UsageError for a file that is no result."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        try:
            result = BenchmarkResult.model_validate_json(path.read_text(encoding="utf-8"))
        except (ValidationError, ValueError):
            raise UsageError(
                f"{path} is no result of these benchmarks; measure again: python -m benchmarks --only {path.stem}"
            ) from None
        found[result.benchmark] = result
    return found
