"""The paper's claims, judged on a study's results: the same list, by the same rule, as `vicinal paper` runs on the paper's tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vicinal.claims import RULE, Judgement, Verdict, judge, judge_all
from vicinal.paper import DATA_SETS, VERDICT_CLASSES, paper_evidence
from vicinal.report.evidence import study_evidence
from vicinal.report.paper.match import paper_data_set
from vicinal.report.rows import Results
from vicinal.report.tables import csv_text, markdown_line


@dataclass(frozen=True)
class StudyClaim:
    """One claim as judged on a study, for tables and the page."""

    key: str
    claim: str
    where: str
    statistic: str
    rule: str
    verdict: Verdict
    effect: str  # of the whole, or of the case least in favour
    effect_subject: str
    detail: str
    paper: Verdict | None  # on the paper's tables of the same data set; None for other data


@dataclass(frozen=True)
class StudyClaims:
    """All claims as judged on a study: those it can answer, and those it has no data for."""

    rows: tuple[StudyClaim, ...]
    no_data: tuple[StudyClaim, ...]
    paper_data: str | None  # the paper's data set of that name, as shown
    rule: str = RULE

    @property
    def classes(self) -> dict[Verdict, str]:
        """The style of every verdict."""
        return VERDICT_CLASSES


def study_claims(results: Results) -> StudyClaims:
    """The paper's claims judged on a study's results, with the paper's own verdicts where it has the same data set."""
    judgements = judge_all(study_evidence(results))
    data = paper_data_set(results.data)
    rows = [_row(judgement, data) for judgement in judgements]
    with_data = tuple(row for row in rows if row.verdict != "no data")
    no_data = tuple(row for row in rows if row.verdict == "no data")
    return StudyClaims(with_data, no_data, None if data is None else DATA_SETS[data])


def _row(judgement: Judgement, data: str | None) -> StudyClaim:
    claim, effect = judgement.claim, judgement.effect
    of_paper = None if data is None else judge(claim, paper_evidence()[data]).verdict
    return StudyClaim(
        claim.key, claim.sentence, claim.where, claim.statistic, claim.rule, judgement.verdict,
        effect.text if effect else "", effect.subject if effect else "", judgement.detail, of_paper,
    )  # fmt: skip


# --- tables -----------------------------------------------------------------------------------------------------------

CSV_HEADER = (
    "claim", "where", "statistic", "rule", "verdict", "effect", "unit", "lower", "upper", "effect_subject", "p_value",
    "holds", "fails", "undecided", "paper_verdict", "selection", "detail",
)  # fmt: skip


def claims_csv(results: Results) -> str:
    """Every claim with its verdict, effect and counts, full precision, one claim a line."""
    data = paper_data_set(results.data)
    lines: list[list[Any]] = []
    for judgement in judge_all(study_evidence(results)):
        row, effect = _row(judgement, data), judgement.effect
        bounds = (effect.interval or (None, None)) if effect else (None, None)
        counts = [judgement.count(sign) for sign in (1, -1, 0)]
        size = (effect.value, effect.unit, *bounds) if effect else (None,) * 4
        words = (row.key, row.where, row.statistic, row.rule, row.verdict)
        p_value = effect.p_value if effect else None
        lines.append([*words, *size, row.effect_subject, p_value, *counts, row.paper, results.selection, row.detail])
    return csv_text(CSV_HEADER, lines)


def claims_markdown(results: Results) -> str:
    """The claims that the study can answer as a Markdown table, the others in a line below."""
    section = study_claims(results)
    head = [
        "Claim",
        "Where",
        "Verdict",
        *([f"Paper, {section.paper_data}"] if section.paper_data else []),
        "Least effect",
        "Detail",
    ]
    lines = [markdown_line(head), markdown_line(["---"] * len(head))]
    for row in section.rows:
        effect = f"{row.effect}{f', {row.effect_subject}' if row.effect_subject else ''}" if row.effect else "–"
        paper = [row.paper or "–"] if section.paper_data else []
        lines.append(markdown_line([row.claim, row.where, f"**{row.verdict}**", *paper, effect, row.detail]))
    notes = [results.selection_sentence, section.rule]
    if section.no_data:
        notes.append(
            "No data: "
            + "; ".join(
                f"{row.claim.rstrip('.')} ({row.detail[:1].lower()}{row.detail[1:].rstrip('.')})"
                for row in section.no_data
            )
            + "."
        )
    return "\n".join(lines) + "\n\n" + "\n\n".join(notes) + "\n"
