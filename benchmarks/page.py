"""docs/benchmarks.md, written from the stored JSON alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.figure import draw
from benchmarks.results import BenchmarkResult, CaseResult, EntrantResult, Spread, read_results
from benchmarks.targets import TARGETS, Verdict, judge
from benchmarks.words import HEADINGS, HOW, METHOD
from vicinal.errors import UsageError
from vicinal.workspace import write_atomically

ORDER = ("throughput", "sweep", "curve", "loaders", "banks", "scaling", "quickstart", "gpu")


def write_page(results: Path, page: Path) -> Path:
    """Write the page and, beside it in a folder of its name, the figures. Raises UsageError where nothing was measured."""
    found = read_results(results)
    if not found:
        raise UsageError(f"no results in {results}; measure first: python -m benchmarks")
    figures = page.with_suffix("")
    for name, result in found.items():
        if any(case.entrants for case in result.cases):
            write_atomically(figures / f"{name}.svg", draw(result))
    write_atomically(page, compose_page(found, figures.name))
    return page


def compose_page(found: Mapping[str, BenchmarkResult], figures: str) -> str:
    """The page as Markdown."""
    verdicts = [judge(target, found) for target in TARGETS]
    parts = ["# Benchmarks", *_opening(found, verdicts), "## Targets", _target_table(verdicts)]
    for name in ORDER:
        if name in found:
            parts += _section(found[name], figures)
    parts += ["## Machines", "\n".join(_machine(found[name]) for name in ORDER if name in found)]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _opening(found: Mapping[str, BenchmarkResult], verdicts: list[Verdict]) -> Iterable[str]:
    met = sum(v.met is True for v in verdicts)
    missed = sum(v.met is False for v in verdicts)
    if any(result.quick for result in found.values()):
        yield "**Some of these figures come from a try of the code (`--quick`) and mean nothing.**"
    yield (
        "Written by `python -m benchmarks page` from `benchmarks/results/*.json`; measure again with `make bench` or "
        f"`python -m benchmarks`. Of {len(verdicts)} targets {met} are met, {missed} are missed and "
        f"{len(verdicts) - met - missed} were not measured."
    )
    yield METHOD


def _target_table(verdicts: list[Verdict]) -> str:
    rows = [(v.target.benchmark, v.target.case, v.target.what, v.target.aim, v.sentence) for v in verdicts]
    return _table(("Benchmark", "Case", "What", "Target", "Result"), rows)


def _section(result: BenchmarkResult, figures: str) -> Iterable[str]:
    name = result.benchmark
    yield f"## {HEADINGS[name]}"
    yield HOW[name]
    if any(case.entrants for case in result.cases):
        yield f"![{HEADINGS[name]}: throughput against the reference]({figures}/{name}.svg)"
    for case in result.cases:
        yield f"### {case.title}"
        if case.entrants:
            yield _entrant_table(case)
            yield "\n".join(f"- Left out: {e.title}: {e.left_out}." for e in case.entrants if e.left_out)
        if case.rows:
            yield _scaling_table(case)
        yield _figures(case)
    proofs = list(dict.fromkeys(proof for case in result.cases for proof in case.proofs))
    if proofs:
        yield "Proved in the same run:\n\n" + "\n".join(f"- {proof}" for proof in proofs)


def _entrant_table(case: CaseResult) -> str:
    against = [name for name in dict.fromkeys(("floor", case.reference)) if case.timed(name) is not None]
    titles = {e.name: e.title for e in case.entrants}
    head = ("Entrant", f"{case.unit}/s", *(f"over {titles[name]}" for name in against))
    rows = []
    for entrant in case.entrants:
        if entrant.seconds:
            ratios = [case.ratio(entrant.name, name) for name in against]
            rows.append((_named(entrant), f"{entrant.units_per_s.median:,.0f}", *(_spread(r) for r in ratios)))
    return _table(head, rows)


def _named(entrant: EntrantResult) -> str:
    return f"{entrant.title} ({entrant.note})" if entrant.note else entrant.title


def _spread(ratio: Spread | None) -> str:
    return "–" if ratio is None else f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"


def _scaling_table(case: CaseResult) -> str:
    head = ("Grows", "Size", "Seconds", "Over the size before", "Peak memory, MiB", "Grown, MiB")
    return _table(head, [_scaling_row(row) for row in case.rows])


def _scaling_row(row: Mapping[str, Any]) -> tuple[str, ...]:
    ratio = f"{row['seconds_ratio']:.2f}" if "seconds_ratio" in row else ""
    return (
        str(row["title"]),
        f"{row['size']:,}",
        f"{row['seconds']:.2f}",
        ratio,
        f"{row['peak_mib']:,.0f}",
        f"{row['grown_mib']:,.0f}",
    )


def _figures(case: CaseResult) -> str:
    lines = []
    for name, value in case.figures.items():
        shown = f"{100 * value:.2f} %" if "_share" in name else f"{value:.3g}"
        lines.append(f"- {name.replace('_', ' ')}: {shown}")
    return "\n".join(lines)


def _machine(result: BenchmarkResult) -> str:
    e = result.environment
    parts = (
        f"{e['processor']}, {e['cores']} cores, {e['threads']} threads, {e['memory_gib']} GiB, device {e['device']}",
        ", ".join(f"{name} {e[name]}" for name in ("python", "torch", "torchvision", "timm", "numpy")),
        str(e["platform"]),
        f"{result.rounds} rounds of turns of at least {result.turn_s:g} s, load average {e['load_average_1min']} at the end",
        f"`{result.command}`, {result.created}",
    )
    return f"- **{result.benchmark}**: {'; '.join(parts)}"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    titles = list(head)
    lines = [titles, ["---"] * len(titles), *(list(row) for row in rows)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
