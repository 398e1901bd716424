"""The paper's tables, audit and claims as text for a terminal and as plain data."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vicinal.claims import VERDICTS, Judgement, Verdict, judge, judge_all
from vicinal.config import CORRUPTIONS
from vicinal.paper.audit import audit, table7_label
from vicinal.paper.finding import KIND_WORDS, Finding
from vicinal.paper.tables import DATA_SETS, TEACHERS, entries, paper_evidence, printed_numbers
from vicinal.version import __version__

if TYPE_CHECKING:
    from rich.console import Console

CITATION = "Beyond Dark Knowledge: Mixup-Based Distillation for Reliable Predictions, arXiv:2606.12171v1, CC BY 4.0"
MARKS = {"impossible": "‡", "repeated": "§"}
MARK_NOTE = "‡ an ECE that the row's accuracy and confidence rule out; § a row that repeats another one's numbers."


PRINTED_RULE = (
    "Judged for every teacher, temperature, λ or severity that the claim speaks of, by the printed digits alone: holds as printed "
    "where each does, fails as printed where one fails and rounding cannot hide it, open as printed otherwise. The tables give one run "
    "each and no spread, so this says nothing beyond their digits; a study judges the same claims with error rates."
)


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper as printed; `marks`: the sign of what the audit found, by row."""

    number: int
    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    marks: dict[str, str] = field(default_factory=dict)


def paper_tables(findings: Sequence[Finding]) -> list[PaperTable]:
    """Tables 1 to 7 with the printed digits."""
    content = printed_numbers()
    tables: list[tuple[int, str, tuple[str, ...], tuple[tuple[str, ...], ...]]] = []
    columns = {1: ("Accuracy %", "Confidence %", "ECE")}
    titles = {1: "Temperature, CIFAR-100", 2: "CIFAR-10", 3: "CIFAR-100", 4: "ImageNet"}
    for position, title in titles.items():
        rows = tuple((entry.row, *entry.text) for entry in entries() if entry.table == position)
        tables.append((position, title, ("", *columns.get(position, ("Accuracy", "Confidence", "ECE"))), rows))
    nonlinearity, alignment = content["table5_nonlinearity_cifar100"], content["table6_alignment_cifar100"]
    tables.append((5, "Non-linearity of the teachers, CIFAR-100", ("", "Mean NL", "Peak NL", "ECE"),
                   tuple((label, *(cell.text for cell in nonlinearity[name])) for name, label in TEACHERS.items())))  # fmt: skip
    tables.append((6, "Linearity gain and alignment, CIFAR-100", ("", "Peak Δ_lin", "KL real", "KL mixed", "Difference"),
                   tuple((label, *(cell.text for cell in alignment[name])) for name, label in TEACHERS.items())))  # fmt: skip
    corrupted = content["table7_corruption_cifar100_pct"]
    tables.append((7, "Accuracy % on corrupted images, severities 1 to 5, CIFAR-100", ("", "1", "2", "3", "4", "5"),
                   tuple((table7_label(name, corruption), *(cell.text for cell in corrupted[name][corruption]))
                         for name in ("baseline", *TEACHERS) for corruption in CORRUPTIONS)))  # fmt: skip
    marks: dict[int, dict[str, str]] = {}
    for finding in findings:
        for table, row in finding.rows if finding.kind in MARKS else ():
            marks.setdefault(table, {})[row] = MARKS[finding.kind]
    return [PaperTable(number, title, head, rows, marks.get(number, {})) for number, title, head, rows in tables]


@dataclass(frozen=True)
class Shown:
    """Everything that `vicinal paper` shows."""

    tables: list[PaperTable]
    findings: list[Finding]
    judgements: list[Judgement]  # over all three data sets
    by_data: dict[str, list[Judgement]]  # the same on each data set alone


def everything() -> Shown:
    """The paper's tables, what the audit finds in them, and its claims judged on them."""
    findings, evidence = audit(), paper_evidence()
    judgements = judge_all(*evidence.values())
    by_data = {data: [judge(judgement.claim, evidence[data]) for judgement in judgements] for data in DATA_SETS}
    return Shown(paper_tables(findings), findings, judgements, by_data)


def paper_as_json(shown: Shown) -> str:
    """All of it as JSON: the numbers as in the package's results.yaml, the audit, and the claims with every case."""
    content: dict[str, Any] = {
        "source": {"paper": CITATION, "licence": "CC BY 4.0", "written_by": f"vicinal {__version__}"},
        "numbers": {key: value for key, value in printed_numbers().items() if key != "source"},
        "audit": [finding.as_data() for finding in shown.findings],
        "rule": PRINTED_RULE,
        "claims": [
            {
                **claim_words(judgement),
                **judgement.as_data(),
                "by_data": {data: shown.by_data[data][position].as_data() for data in DATA_SETS},
            }
            for position, judgement in enumerate(shown.judgements)
        ],
    }
    return json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def claim_words(judgement: Judgement) -> dict[str, str]:
    """What a claim says, where, and how it is judged."""
    claim = judgement.claim
    return {
        "key": claim.key,
        "sentence": claim.sentence,
        "where": claim.where,
        "statistic": claim.statistic,
        "rule": claim.rule,
    }


def counted(judgements: Iterable[Judgement]) -> str:
    """5 hold as printed, 11 fail as printed, 1 no data."""
    verdicts = [judgement.verdict for judgement in judgements]
    return ", ".join(f"{verdicts.count(verdict)} {_counted(verdict)}" for verdict in VERDICTS if verdict in verdicts)


def _counted(verdict: Verdict) -> str:
    """A verdict behind a number: 5 hold as printed."""
    return str(verdict).replace("holds", "hold").replace("fails", "fail")


def print_everything(shown: Shown, console: Console) -> None:
    """Tables, audit and claims on a rich console."""
    from rich.markup import escape
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    console.print(f"{CITATION}\n", markup=False)
    for paper_table in shown.tables:
        table = Table(title=f"Table {paper_table.number}. {paper_table.title}", title_justify="left", box=None)
        for position, heading in enumerate(paper_table.head):
            table.add_column(heading, justify="right" if position else "left", no_wrap=True)
        for row in paper_table.rows:
            mark = paper_table.marks.get(row[0], "")
            table.add_row(f"{row[0]} {mark}".strip(), *(cell or "–" for cell in row[1:]))
        console.print(table, "")
    console.print(f"{MARK_NOTE}\n", markup=False)
    console.print(
        f"[bold]What the numbers cannot be, and where they disagree[/bold] ({len(shown.findings)} findings)\n"
    )
    for kind, words in KIND_WORDS.items():
        found = [finding for finding in shown.findings if finding.kind == kind]
        if found:
            console.print(f"[bold]{escape(words)}[/bold]")
            for finding in found:
                bullet = Table.grid(padding=(0, 1))
                bullet.add_row("-", Text(finding.sentence))
                console.print(Padding(bullet, (0, 0, 0, 1)))
            console.print()
    console.print(f"[bold]The paper's claims, judged on its own tables[/bold] ({counted(shown.judgements)})\n")
    console.print(f"{PRINTED_RULE}\n", markup=False)
    table = Table(box=None, padding=(0, 2, 1, 0))
    table.add_column("Claim", ratio=5)
    table.add_column("Verdict", no_wrap=True)
    table.add_column("Least effect", no_wrap=True)
    table.add_column("Detail", ratio=8)
    for judgement in shown.judgements:
        sentence = Text(judgement.claim.sentence).append(f" {judgement.claim.where}", style="dim")
        effect = judgement.effect.text if judgement.effect else "–"
        table.add_row(
            sentence, Text(judgement.verdict, style=VERDICT_STYLES[judgement.verdict]), effect, Text(judgement.detail)
        )
    console.print(table)


VERDICT_STYLES = {
    "holds as printed": "green",
    "fails as printed": "bold red",
    "open as printed": "yellow",
    "no data": "dim",
}
