"""The pages under docs/results say what the files beside them say, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up_results import SHAPES, make_results, write_results

from scripts.keep_results import MARK, keep, page_of
from vicinal.report import write_report

RESULTS = Path(__file__).parents[2] / "docs" / "results"
PAGES = [folder for folder in sorted(RESULTS.iterdir()) if (folder / "run.md").is_file()]


@pytest.mark.parametrize("folder", PAGES, ids=lambda folder: folder.name)
def test_a_page_is_what_its_files_make(folder):
    assert (folder / "README.md").read_text(encoding="utf-8") == page_of(folder)


@pytest.fixture(scope="module", params=["quickstart", "three_seeds", "teachers_only"])
def kept(request, tmp_path_factory):
    run = write_results(tmp_path_factory.mktemp("run"), make_results(**SHAPES[request.param]))
    write_report(run)
    folder = tmp_path_factory.mktemp("kept")
    (folder / "figure10.svg").write_text("of an earlier study")
    (folder / "notes.txt").write_text("mine")
    keep(run, folder)
    return run, folder


def test_a_page_holds_all_that_was_kept(kept):
    run, folder = kept
    page = (folder / "README.md").read_text(encoding="utf-8")
    assert page.startswith(f"# Mixup-based distillation on Fashion-MNIST\n\n{MARK}\n")
    for name in ("findings.md", "summary.md", "claims.md"):
        assert (run / "tables" / name).read_text(encoding="utf-8").strip() in page
    for path in folder.iterdir():
        if path.suffix in (".csv", ".svg"):
            assert f"]({path.name})" in page


def test_what_was_kept_before_goes_and_other_files_stay(kept):
    _, folder = kept
    assert not (folder / "figure10.svg").exists()
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_changed_sentence_is_seen(kept, tmp_path):
    _, folder = kept
    written = (folder / "README.md").read_text(encoding="utf-8")
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    sentences = (tmp_path / "findings.md").read_text(encoding="utf-8")
    (tmp_path / "findings.md").write_text(sentences.replace("Teacher", "Pupil"), encoding="utf-8")
    assert page_of(tmp_path) != written


def test_a_run_without_a_report_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="vicinal report"):
        keep(tmp_path, tmp_path / "kept")
