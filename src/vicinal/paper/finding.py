"""What the audit of the paper's numbers reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["impossible", "repeated", "disagreement", "fact"]
KIND_WORDS: dict[Kind, str] = {
    "impossible": "Impossible entries",
    "repeated": "Repeated rows",
    "disagreement": "Text, figures and tables that disagree",
    "fact": "What the tables say against the text",
}


@dataclass(frozen=True)
class Finding:
    """One thing that the audit found: a sentence, the table rows it is about, and its numbers."""

    key: str
    kind: Kind
    sentence: str
    rows: tuple[tuple[int, str], ...] = ()  # table number and row as shown
    data: Mapping[str, Any] = field(default_factory=dict)

    def as_data(self) -> dict[str, Any]:
        """As plain data."""
        rows = [{"table": table, "row": row} for table, row in self.rows]
        return {"key": self.key, "kind": self.kind, "sentence": self.sentence, "rows": rows, "numbers": dict(self.data)}
