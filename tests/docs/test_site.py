"""The docs site builds without a warning and with nothing from outside, and its reference has every key of a study file."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vicinal.config import study_file_schema

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("material", reason="mkdocs-material is not installed (pip install '.[docs]')")
    pytest.importorskip("mkdocstrings")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_of_the_repository_is_on_it(site: Path):
    for page in (REPOSITORY / "docs").glob("*.md"):
        assert (site / f"{page.stem}.html").is_file(), page.name


def test_no_page_fetches_anything_from_elsewhere(site: Path):
    for page in site.rglob("*.html"):
        fetched = re.findall(r"<(?:script|img|iframe)[^>]+src=\"(https?:[^\"]+)", page.read_text(encoding="utf-8"))
        styles = re.findall(
            r"<link[^>]+rel=\"stylesheet\"[^>]+href=\"(https?:[^\"]+)", page.read_text(encoding="utf-8")
        )
        assert not fetched + styles, page


def test_the_reference_has_every_key_of_every_part(site: Path):
    page = (site / "reference" / "study-file.html").read_text(encoding="utf-8")
    schema = study_file_schema()
    shapes = [schema, *schema["$defs"].values()]
    shapes += [part for shape in shapes for part in shape.get("anyOf", ())]
    for shape in shapes:
        for key in shape.get("properties", {}):
            assert f"<td><code>{key}</code></td>" in page, key


def test_every_link_inside_it_leads_somewhere(site: Path):
    missing = set()
    for page in site.rglob("*.html"):
        for target in re.findall(r"<a [^>]*href=\"([^\"#]+)", page.read_text(encoding="utf-8")):
            if "://" not in target and not target.startswith(("mailto:", "/")):
                path = (page.parent / target).resolve()
                if not path.exists():
                    missing.add(f"{page.name}: {target}")
    assert not missing


def test_the_notebook_runs_from_top_to_bottom(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("pandas")
    import matplotlib

    matplotlib.use("Agg")
    cells = json.loads((REPOSITORY / "examples" / "measure_a_classifier.ipynb").read_text(encoding="utf-8"))["cells"]
    names: dict[str, Any] = {"__name__": "notebook"}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), "a cell", "exec"), names)
    numbers = names["measured"].numbers
    assert numbers["confidence"] > numbers["accuracy"] + 0.05  # what its words say
    assert numbers["fitted_temperature"] > 1
    half = names["half"]
    assert half.loc["dominance", False] > 1 > half.loc["dominance", True]
