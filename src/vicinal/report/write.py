"""The report: tables, figures and sentences from a study's `results.json`, as files and as one HTML page.

Reads stored numbers only; imports no torch.
"""

from __future__ import annotations

from pathlib import Path

from vicinal.report.figures import all_figures, information, over_images_seen, pareto, risk_coverage, scaled_curves
from vicinal.report.kept import findings_csv, findings_markdown, run_markdown
from vicinal.report.page import html_page
from vicinal.report.paper import (
    PaperPart,
    claims_csv,
    claims_markdown,
    own_files,
    paper_context,
    paper_figures,
    paper_files,
    paper_tables,
)
from vicinal.report.rows import Results, load_results, told_in_a_line
from vicinal.report.ship import ship_csv, ship_markdown
from vicinal.report.tables import (
    between_csv,
    between_markdown,
    budget_comparisons_csv,
    budgets_csv,
    budgets_markdown,
    calibration_csv,
    calibration_markdown,
    classes_csv,
    classes_markdown,
    comparisons_csv,
    images_csv,
    images_markdown,
    measures,
    optional_csv,
    optional_markdown,
    summary_csv,
    summary_markdown,
    versus_teacher_csv,
    vicinity_csv,
)
from vicinal.report.words import inert_markdown
from vicinal.workspace import write_atomically

# What a report may write or not, so that an earlier one's can go.
OPTIONAL = {
    "tables/optional.csv",
    "tables/optional.md",
    "tables/ship.csv",
    "tables/ship.md",
    "tables/images.csv",
    "tables/images.md",
    "tables/classes.csv",
    "tables/classes.md",
    "tables/budgets.csv",
    "tables/budgets.md",
    "tables/budget_comparisons.csv",
    *(f"figures/{name}.svg" for name in ("budgets", "scaled_curves", "pareto", "risk_coverage", "information")),
}


def write_report(folder: Path) -> Path:
    """Write `report.html`, `tables/`, `figures/` and `paper/` of a study folder from its `results.json`; returns the page's path.

    `paper/` holds the paper's tables and figures by their numbers, as far as the study has what they need.

    Raises UsageError, in one line, where `results.json` is missing, damaged, edited so that its parts do not fit together, or written
    under another schema.
    """
    with told_in_a_line(folder):
        return _write(folder, load_results(folder))


def _write(folder: Path, results: Results) -> Path:
    beyond = (
        over_images_seen(results),
        scaled_curves(results),
        pareto(results),
        risk_coverage(results),
        information(results),
    )
    figures = [figure for figure in (*all_figures(results), *beyond) if figure is not None]
    optional = measures(results)
    part = PaperPart(tuple(paper_tables(results)), tuple(paper_figures(results, folder)))
    where_measured = {
        "tables/calibration.csv": calibration_csv(results),
        "tables/calibration.md": calibration_markdown(results),
        "tables/ship.csv": ship_csv(results),
        "tables/ship.md": ship_markdown(results),
        "tables/images.csv": images_csv(results),
        "tables/images.md": images_markdown(results),
        "tables/classes.csv": classes_csv(results),
        "tables/classes.md": classes_markdown(results),
        "tables/budgets.csv": budgets_csv(results),
        "tables/budgets.md": budgets_markdown(results),
        "tables/budget_comparisons.csv": budget_comparisons_csv(results),
    }
    files = {
        "tables/summary.csv": summary_csv(results),
        "tables/summary.md": summary_markdown(results),
        "tables/vicinity.csv": vicinity_csv(results),
        "tables/between.csv": between_csv(results),
        "tables/between.md": between_markdown(results),
        "tables/claims.csv": claims_csv(results),
        "tables/comparisons.csv": comparisons_csv(results),
        "tables/claims.md": claims_markdown(results),
        "tables/findings.csv": findings_csv(results),
        "tables/findings.md": findings_markdown(results),
        "tables/run.md": run_markdown(results),
        **({"tables/versus_teacher.csv": versus_teacher_csv(results)} if results.students else {}),
        **(
            {
                "tables/optional.csv": optional_csv(results, optional),
                "tables/optional.md": optional_markdown(results, optional),
            }
            if optional
            else {}
        ),
        **{name: content for name, content in where_measured.items() if content is not None},
        **{f"figures/{figure.name}.svg": figure.file() for figure in figures},
        **paper_files(results, part),
    }
    page = html_page(results, figures, paper_context(part))
    for name, content in files.items():
        write_atomically(folder / name, inert_markdown(content) if name.endswith(".md") else content)
    for name in (own_files(part) | OPTIONAL) - files.keys():
        (folder / name).unlink(missing_ok=True)
    path = folder / "report.html"
    # Last, so that a page never stands beside older tables.
    write_atomically(path, page)
    return path
