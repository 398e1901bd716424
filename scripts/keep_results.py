"""Keep what a study's report says beside the code: its tables, sentences and figures, and a page made of nothing else.

    python scripts/keep_results.py RUN_FOLDER docs/results/NAME

Copies what a reader wants of RUN_FOLDER's report, drops what an earlier call kept there, and writes README.md from the copies.
Nothing on that page is written by hand, so that no sentence outlives the numbers it was about.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from html import unescape
from pathlib import Path

TABLES = (
    "run.md",
    "ship.md",
    "ship.csv",
    "findings.md",
    "findings.csv",
    "summary.md",
    "summary.csv",
    "claims.md",
    "claims.csv",
    "comparisons.csv",
    "calibration.md",
    "calibration.csv",
    "between.md",
    "between.csv",
    "budgets.md",
    "budgets.csv",
    "budget_comparisons.csv",
    "optional.md",
    "optional.csv",
)
FIGURES = (
    "confidence_accuracy",
    "vicinal_curves",
    "linearity_gain",
    "scaled_curves",
    "alignment",
    "pareto",
    "budgets",
)
# Of the paper's, those that do not repeat the report's own.
PAPER = ("table1.md", "table7.md", "figure6.svg", "figure7.svg", "figure8.svg", "figure9.svg")
MARK = "<!-- Written by scripts/keep_results.py from the files beside it. Do not edit: a test compares. -->"


def keep(run: Path, folder: Path) -> Path:
    """Copy the kept files of a run's report into a folder and write its page; returns the page's path.

    Raises FileNotFoundError where the run has no report.
    """
    wanted = [run / "tables" / name for name in TABLES]
    wanted += [run / "figures" / f"{name}.svg" for name in FIGURES]
    wanted += [run / "paper" / name for name in PAPER]
    if not (run / "tables" / "run.md").is_file():
        raise FileNotFoundError(f"{run} has no report of this version: write it with `vicinal report {run}`")
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.suffix in (".md", ".csv", ".svg", ".png"):
            path.unlink()
    for path in wanted:
        if path.is_file():
            shutil.copyfile(path, folder / path.name)
    run_words = folder / "run.md"
    run_words.write_text(without_folders(run_words.read_text(encoding="utf-8")), encoding="utf-8")
    page = folder / "README.md"
    page.write_text(page_of(folder), encoding="utf-8")
    return page


def without_folders(text: str) -> str:
    """Text with absolute paths as their last part: a machine's folders say nothing to a reader."""
    return re.sub(r"(?<=[=\s'])/(?:[^/\s']+/)+", "", text)


def page_of(folder: Path) -> str:
    """README.md of a folder of kept files, from those files alone."""

    def text(name: str) -> str:
        path = folder / name
        return path.read_text(encoding="utf-8").strip() if path.is_file() else ""

    sections = [
        ("Whether to ship", text("ship.md")),
        ("What came out", text("findings.md")),
        ("Teachers and arms", text("summary.md")),
        ("Calibration above its noise", text("calibration.md")),
        ("Between images", text("between.md")),
        ("Over the images seen", text("budgets.md")),
        ("Optional measures", text("optional.md")),
        ("Figures", "\n\n".join(_figures(folder))),
        ("The paper's claims, judged on these runs", text("claims.md")),
        ("The paper's tables from these runs", "\n\n".join(filter(None, map(text, ("table1.md", "table7.md"))))),
    ]  # fmt: skip
    title, _, run = text("run.md").partition("\n")
    parts = [title, MARK, run.strip()]
    parts += [f"## {heading}\n\n{body}" for heading, body in sections if body]
    tables = sorted(path.name for path in folder.glob("*.csv"))
    parts.append(f"Full precision, by seed: {', '.join(f'[{name}]({name})' for name in tables)}.")
    return "\n\n".join(parts) + "\n"


def _figures(folder: Path) -> list[str]:
    """Each figure with its caption, which is its title inside the file; the report's own first, in its order."""
    order = [f"{name}.svg" for name in FIGURES]
    paths = sorted(
        folder.glob("*.svg"), key=lambda path: (order.index(path.name) if path.name in order else len(order), path.name)
    )
    shown = []
    for path in paths:
        title = re.search(r"<title>(.*?)</title>", path.read_text(encoding="utf-8"), re.DOTALL)
        heading, _, caption = unescape(title[1] if title else path.stem).partition(". ")
        alternative = re.sub(r"[\[\]]", "", heading)
        shown.append(f"![{alternative}]({path.name})\n\n*{heading}.* {caption}".strip())
    return shown


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("run", type=Path, metavar="RUN_FOLDER")
    parser.add_argument("folder", type=Path, metavar="KEPT_FOLDER")
    arguments = parser.parse_args()
    try:
        print(f"wrote {keep(arguments.run, arguments.folder)}")
    except FileNotFoundError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
