"""A paper's table in LaTeX."""

from __future__ import annotations

import re
from collections.abc import Iterable

from vicinal.report.paper.table import WIDE, PaperTable, Quantity, Value, spread_text

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "σ": r"$\sigma$", "λ": r"$\lambda$", "Δ": r"$\Delta$", "†": r"$^\dagger$",
    "[": "{[}", "]": "{]}", "*": "{*}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",  # a row may begin with [ or *
    "−": "$-$", "±": r"$\pm$", "×": r"$\times$", "·": r"$\cdot$", "½": r"$\tfrac12$", "‖": r"$\Vert$", "–": "--", "’": "'",
    "“": "``", "”": "''", "→": r"$\to$", "…": r"\dots{}", "\u00a0": "~",
}  # fmt: skip


def latex_escape(text: str) -> str:
    """Text for LaTeX: special characters escaped, the symbols of this report as mathematics, indices as subscripts."""
    parts = re.split(r"\b(Δ|I|σ)_(lin|t)\b", text)
    escaped = "".join(_LATEX.get(character, character) for character in parts[0])
    for symbol, index, rest in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        symbol = {"Δ": r"\Delta", "σ": r"\sigma"}.get(symbol, symbol)
        escaped += rf"${symbol}_{{\mathrm{{{index}}}}}$"
        escaped += "".join(_LATEX.get(character, character) for character in rest)
    return escaped


def latex_line(cells: Iterable[str]) -> str:
    """A row of a table."""
    return " & ".join(cells) + r" \\"


def latex_number(text: str) -> str:
    """A number with a proper minus or plus."""
    return f"${text.replace('−', '-')}$" if text[0] in "+−" else text


def latex_cell(value: Value | None, column: Quantity) -> str:
    """A value with its marks and its spread over seeds, or the interval that stands in its place."""
    if value is None:
        return "--"
    text = latex_number(column.text(value.mean))
    if value.best:
        text = rf"\textbf{{{text}}}"
    if value.scale_free:
        text += r"$^\dagger$"
    if value.known is not None:
        return f"{text} {{\\scriptsize ({latex_escape(spread_text(value, column))})}}"
    spread = f" {{\\scriptsize $\\pm$ {value.spread:.{column.digits}f}}}" if value.spread is not None else ""
    return text + spread


def latex_paper(value: Value | None, column: Quantity) -> list[str]:
    """The paper’s value and the difference to it; two empty cells where there is none."""
    if value is None or value.paper is None or value.difference is None:
        return ["", ""]
    return [latex_number(column.text(value.paper)), latex_number(column.difference_text(value.difference))]


def latex(table: PaperTable) -> str:
    """A `table` of booktabs; the paper's values and the differences in columns or, of a wide table, lines of their own."""
    wide = len(table.shown) > WIDE
    beside = table.has_paper and not wide
    columns = [(column, beside and _has_paper(table, column)) for column in table.shown]
    spec = "l" * len(table.labels) + "".join("rrr" if paper else "r" for column, paper in columns)
    head = [latex_escape(label) for label in table.labels]
    for column, paper in columns:
        unit = f" ({latex_escape(column.unit)})" if column.unit else ""
        head += [column.latex + unit, *(("paper", r"$\Delta$") if paper else ())]
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{latex_escape(table.title)}.}}",
        rf"\label{{tab:{table.name}}}",
        rf"\begin{{tabular}}{{{spec}}}",
        r"\toprule",
        latex_line(head),
        r"\midrule",
    ]
    for position, row in enumerate(table.rows):
        if row.starts and position:
            lines.append(r"\midrule")
        cells = [latex_escape(label) for label in row.labels]
        for column, paper in columns:
            value = row.cells.get(column.key)
            cells.append(latex_cell(value, column))
            if paper:
                cells += latex_paper(value, column)
        lines.append(latex_line(cells))
        if table.has_paper and wide and any(value.paper is not None for value in row.cells.values()):
            pairs = [latex_paper(row.cells.get(column.key), column) for column in table.shown]
            start = [""] * (len(table.labels) - 1)
            lines.append(latex_line([*start, r"\quad paper", *(paper for paper, _ in pairs)]))
            lines.append(latex_line([*start, r"\quad $\Delta$", *(difference for _, difference in pairs)]))
    lines += [r"\bottomrule", r"\end{tabular}"]
    notes = [*table.notes, *table.setting, *table.missing_note()]
    if notes:
        lines.append(rf"\par\smallskip\footnotesize {latex_escape(' '.join(notes))}")
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _has_paper(table: PaperTable, column: Quantity) -> bool:
    return any((value := row.cells.get(column.key)) and value.paper is not None for row in table.rows)
