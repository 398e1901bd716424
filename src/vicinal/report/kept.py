"""What a report says in words, as Markdown files of their own: how a study was run, and what came out."""

from __future__ import annotations

from vicinal.report.findings import findings, recommendation
from vicinal.report.page import rerun_facts, what_was_run, what_was_selected
from vicinal.report.rows import Results
from vicinal.report.tables import csv_text


def run_markdown(results: Results) -> str:
    """The study's title and description, the command, data, networks, seeds, machine, versions, and every choice on the way."""
    raw = results.raw
    parts = [f"# {raw.get('title') or raw['study']}"]
    if raw.get("description"):
        parts.append(str(raw["description"]))
    if raw.get("command"):
        parts.append(f"```sh\n{raw['command']}\n```")
    parts.append(" ".join(what_was_run(results)))
    parts.append("\n".join(f"- {name}: {text}" for name, text in rerun_facts(results)))
    parts.append("\n".join(f"- {line}" for line in what_was_selected(results)))
    return "\n\n".join(parts) + "\n"


def findings_markdown(results: Results) -> str:
    """The recommendation and every sentence of "What came out", each with the question that it answers and the answer."""
    lines = []
    advice = recommendation(results)
    if advice is not None:
        notes = " ".join(advice.notes)
        lines.append(f"- **Which student to take?** *{advice.word}.* {advice.text}{f' {notes}' if notes else ''}")
    lines += [f"- **{found.question}** *{found.word}.* {found.text}" for found in findings(results)]
    return "\n".join([*lines, "", results.selection_sentence]) + "\n"


def findings_csv(results: Results) -> str:
    """Every number that a sentence quotes, with the line of the table that it stands in, by the question that the sentence answers."""
    header = [
        "question",
        "answer",
        "selection",
        "shown",
        "value",
        "table",
        "first",
        "second",
        "quantity",
        "statistic",
        "factor",
    ]
    lines = [
        [one.question, one.word, results.selection, q.shown, q.value, q.table, q.first, q.second, q.quantity, q.statistic, q.factor]
        for one in findings(results)
        for q in one.quotes
    ]  # fmt: skip
    return csv_text(header, lines)
