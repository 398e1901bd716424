"""Explains the field's terms where they first stand on a page: a tooltip there, and a sentence below the section."""

from __future__ import annotations

import re
from typing import NamedTuple

from markupsafe import escape


class Term(NamedTuple):
    """A term, how it is found in HTML, and what it means."""

    shown: str
    pattern: str
    meaning: str


_LIN = r"(?:<sub>lin</sub>|_lin)"
TERMS = (
    Term("ECE", r"\bECE\b", "expected calibration error: how far confidence lies from accuracy, on average; 0 is best"),
    Term(
        "floor",
        r"\b(?:floor|noise alone)\b",
        "the ECE that a perfectly calibrated network of the same confidences shows by noise alone; an ECE near it says nothing",
    ),
    Term(
        "NLL",
        r"\bNLL\b",
        "negative log-likelihood of the true class: low where answers are right, and sure where they can be",
    ),
    Term(
        "nats",
        r"\bnats?\b",
        "the unit of information by natural logarithm; guessing among ten classes has 2.3 nats, certainty 0",
    ),
    Term(
        "Δ_lin",
        rf"Δ{_LIN}",
        "linearity gain: NL of the teacher less NL of the student; above 0 the student is the more linear",
    ),
    Term(
        "I_lin",
        rf"\bI{_LIN}",
        "linearity information: the entropy of two answers, mixed, less NL; below 0 nothing is left of what mixing would tell",
    ),
    Term(
        "NL",
        r"\bNL\b",
        "non-linearity: how far the answer to a mix of two images lies from the mix of the two answers; 0 is linear",
    ),
    Term("D", r"\bD(?=\(| &gt; 1)", "dominance: NL over H; above 1, mismatch outweighs the doubt in the answer"),
    Term("H", r"\bH(?=\()", "entropy of the answer to a mix of two images: 0 where the network is certain"),
    Term("KL", r"\bKL\b", "Kullback-Leibler divergence from the teacher’s answer to the student’s; 0 where they agree"),
)
_SKIPPED = "svg|pre|code|a|summary|nav|style|script|head|h1|h2|h3|thead"
_PARTS = re.compile(
    rf"(?P<skip><(?P<name>{_SKIPPED})\b[^>]*>.*?</(?P=name)>)"
    + "".join(f"|(?P<t{k}>{term.pattern})" for k, term in enumerate(TERMS))
    + r"|(?P<end></section>)|<[^>]*>",
    re.DOTALL,
)


def explained(html: str) -> str:
    """A page whose terms are explained where they first stand; text inside headings, links, code and figures stays as it is."""
    left, here = set(range(len(TERMS))), list[Term]()

    def part(found: re.Match[str]) -> str:
        if found["end"]:
            terms = " ".join(f"<b>{_typeset(term.shown)}</b>: {escape(term.meaning)}." for term in here)
            here.clear()
            return f'<p class="terms">{terms}</p>\n</section>' if terms else "</section>"
        number = next((k for k in left if found[f"t{k}"]), None)
        if number is None:
            return found[0]
        left.remove(number)
        here.append(TERMS[number])
        return f'<abbr title="{escape(TERMS[number].meaning)}">{found[0]}</abbr>'

    start = html.find("<main>")
    return html[:start] + _PARTS.sub(part, html[start:]) if start >= 0 else html


def _typeset(term: str) -> str:
    return term.replace("_lin", "<sub>lin</sub>")
