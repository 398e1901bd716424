"""A study file in the making: values by dotted key, each with its reason in one comment line above it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import yaml

from vicinal.config import StudySpec, apply_override, parse_study
from vicinal.workspace import printable

ASKED = "as asked on the command line"


class Sheet:
    """Values of a study with their reasons, in the order in which they were put."""

    def __init__(self, head: Iterable[str] = ()) -> None:
        self.head = list(head)
        self.values: dict[str, Any] = {}
        self.reasons: dict[str, str] = {}
        self._fixed: set[str] = set()

    def put(self, key: str, value: Any, reason: str = "") -> None:
        """State a value, unless the user has given one: a key below or above it that was asked for stays."""
        if self.is_fixed(key):
            return
        *parents, last = key.split(".")
        here = self.values
        for part in parents:
            here = here.setdefault(part, {})
        here[last] = value
        if reason:
            self.reasons[key] = reason

    def override(self, overrides: Sequence[str]) -> None:
        """Lay KEY=VALUE over the values; what was so asked for is no longer decided. Raises UsageError for one that is none."""
        for text in overrides:
            apply_override(self.values, text)
            key = text.partition("=")[0]
            self._fixed.add(key)
            self.reasons[key] = ASKED

    def is_fixed(self, key: str) -> bool:
        """Whether the user has given this key, a part of it, or what holds it."""
        return any(f"{key}.".startswith(f"{given}.") or f"{given}.".startswith(f"{key}.") for given in self._fixed)

    def spec(self, origin: str = "the study") -> StudySpec:
        """The study that the values are. Raises UsageError where they are none."""
        return parse_study(yaml.safe_load(yaml.safe_dump(self.values)), origin)

    def text(self) -> str:
        """As a file that `vicinal run` takes."""
        head = [f"# {printable(line)}".rstrip() for line in self.head]
        return "\n".join([*head, *self._lines(self.values, "", 0)]) + "\n"

    def _lines(self, values: dict[str, Any], above: str, depth: int) -> list[str]:
        lines, indent = [], "  " * depth
        for name, value in values.items():
            key = f"{above}{name}"
            if depth == 0:
                lines.append("")
            if key in self.reasons:
                lines.append(f"{indent}# {printable(self.reasons[key])}")
            if isinstance(value, dict) and any(reason.startswith(f"{key}.") for reason in self.reasons):
                lines += [f"{indent}{_plain(name)}:", *self._lines(value, f"{key}.", depth + 1)]
            else:
                lines.append(f"{indent}{_plain(name)}: {_plain(value)}")
        return lines


def _plain(value: Any) -> str:
    """A value in one line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, width=1_000_000, allow_unicode=True, sort_keys=False)
    return text.removesuffix("...\n").strip()
