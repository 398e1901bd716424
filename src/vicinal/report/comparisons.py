"""Two rows compared: the one place that sentences, the recommendation and the tables take a difference from, so that a page gives one
answer to a question."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from vicinal.claims import Effect, Inference, Unit, infer, p_value_text
from vicinal.report.evidence import compare_rows
from vicinal.report.rows import SCALED, Results, Row

LEAST_P = 0.001  # of `p_value_text`, which says no more of smaller ones
# What is compared: key of results.json, with unit and factor. Not ECE: noise biases a difference of two of them.
QUANTITIES: dict[str, tuple[Unit, float]] = {
    "accuracy": ("points", 100.0),
    "nll": ("nats", 1.0),
    "nll" + SCALED: ("nats", 1.0),
    "brier": ("Brier", 1.0),
    "brier" + SCALED: ("Brier", 1.0),
}


@dataclass(frozen=True)
class Compared:
    """A figure of one row less that of another."""

    first: Row
    second: Row
    key: str  # of the first one
    key_second: str
    sign: int  # +1 the first one's is larger, -1 the second one's, 0 undecided
    effect: Effect
    inference: Inference | None

    @property
    def text(self) -> str:
        """The difference, its interval and p: +1.34 points (+0.40 to +2.28), p = 0.008."""
        if self.inference is None:
            return f"{self.effect.text}, without an error: one seed, and no interval was stored"
        return f"{self.effect.text}, {p_value_text(self.inference.p_value())}"

    @property
    def detectable_text(self) -> str:
        """The smallest difference that runs like these show in four of five cases; nothing where there is none, or it is not known."""
        if self.inference is None or not self.inference.could_be_found:
            return ""
        return Effect(self.inference.detectable, self.effect.unit).text.removeprefix("+")

    def quoted(self) -> list[tuple[str, float, str]]:
        """The numbers of `text` as shown, what they are exactly, and the columns of comparisons.csv that have them."""
        exact = [(self.effect.value, "difference")]
        if self.inference is not None:
            low, high = self.inference.interval
            exact += [(low, "lower"), (high, "upper")]
            if (p_value := self.inference.p_value()) >= LEAST_P:
                exact.append((p_value, "p_value"))
        shown = re.findall(r"[+−]?\d+\.\d+", self.text)
        return [(text, value, column) for text, (value, column) in zip(shown, exact, strict=False)]


@lru_cache(maxsize=4096)
def compared(results: Results, first: Row, second: Row, key: str, key_second: str | None = None) -> Compared | None:
    """Two rows compared; None where one has no such figure."""
    unit, factor = QUANTITIES[key]
    other = key_second or key
    if not first.values(key) or not second.values(other):
        return None
    found = compare_rows(results, first, second, key, other, factor)
    return Compared(
        first, second, key, other, found.sign, Effect.of(found.difference, unit), infer(found.difference)
    )  # fmt: skip
