"""A sentence of the report, and the numbers that it quotes, each with the place where it stands in the tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from vicinal.claims import Number, infer
from vicinal.report.comparisons import Compared
from vicinal.report.rows import Results, Row, mean_and_spread

Verdict = Literal["yes", "no", "undecided", "fact"]
WORDS: dict[Verdict, str] = {"yes": "Yes", "no": "No", "undecided": "Undecided", "fact": "Measured"}


@dataclass(frozen=True)
class Quote:
    """A number as shown, and where it comes from: a line of a table and its column."""

    shown: str
    value: float  # in the table's unit, times `factor`
    table: str  # summary, between or comparisons
    first: str  # network
    second: str  # the other network, or the teacher that it is held against
    quantity: str
    statistic: str  # mean (over seeds), value, lower, upper, difference, p_value or smallest_detectable
    factor: float = 1.0


@dataclass(frozen=True)
class Finding:
    """One sentence or two, the question they answer and the answer."""

    question: str
    verdict: Verdict
    text: str
    quotes: tuple[Quote, ...] = ()
    of_networks: bool = False  # one seed: the answer is about these networks, not about the arms that made them

    @property
    def word(self) -> str:
        """The answer as shown."""
        return WORDS[self.verdict] + (", these networks" if self.of_networks and self.verdict in ("yes", "no") else "")


@dataclass
class Quotes:
    """Says numbers, and keeps what it said."""

    results: Results
    said: list[Quote] = field(default_factory=list)

    def mean(self, row: Row, key: str, digits: int = 3, percent: bool = False) -> str:
        """The mean over seeds of a scalar, as in summary.csv; its callers know that there is one."""
        found = mean_and_spread(row.values(key))
        assert found is not None
        shown = self.value(row, key, found[0], digits, 100.0 if percent else 1.0)
        return f"{shown}\u00a0%" if percent else shown

    def value(self, row: Row, column: str, mean: float, digits: int = 3, factor: float = 1.0) -> str:
        """The mean over seeds of a column of summary.csv, times a factor."""
        shown = f"{factor * mean:.{digits}f}"
        self.said.append(Quote(shown, factor * mean, "summary", row.name, "", column, "mean", factor))
        return shown

    def between(self, row: Row, teacher: str, quantity: str, number: Number, signed: bool = False) -> str:
        """A figure between images with its interval, as in between.csv."""

        def text(value: float, statistic: str) -> str:
            shown = f"{value:{'+' if signed else ''}.3f}".replace("-", "−")
            self.said.append(Quote(shown, value, "between", row.name, teacher, quantity, statistic))
            return shown

        value, found = text(number.value, "value"), infer(number)
        if found is None:
            return value
        low, high = (
            text(bound, statistic) for bound, statistic in zip(found.interval, ("lower", "upper"), strict=True)
        )
        return f"{value} ({low} to {high})"

    def difference(self, found: Compared) -> str:
        """A difference with interval and p, as in comparisons.csv."""
        names = (found.first.name, found.second.name, f"{found.key}|{found.key_second}")
        self.said += [
            Quote(shown, value, "comparisons", *names, statistic) for shown, value, statistic in found.quoted()
        ]
        return found.text

    def detectable(self, found: Compared) -> str:
        """The smallest difference that would have been found; nothing where it is not known."""
        shown = found.detectable_text
        if shown and found.inference is not None:
            names = (found.first.name, found.second.name, f"{found.key}|{found.key_second}")
            number = shown.split()[0]
            self.said.append(Quote(number, found.inference.detectable, "comparisons", *names, "smallest_detectable"))
        return shown

    def finding(self, question: str, verdict: Verdict, text: str) -> Finding:
        """A finding of all that was said."""
        one_seed = len(self.results.seeds) == 1
        return Finding(question, verdict, text, tuple(self.said), one_seed)


SCALE_WORDS = "an effect of confidence scale"


def scale_sentence(raw: Verdict, scaled: Verdict) -> str:
    """What it means that the answers as measured and after temperature scaling differ; nothing where they agree."""
    if raw == scaled or raw == "undecided":
        return ""
    return f" So the answer as measured {'is' if scaled != 'undecided' else 'may be'} {SCALE_WORDS}."
