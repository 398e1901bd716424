"""`vicinal paper`: what it prints and writes, and its errors."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from vicinal.claims import CLAIMS
from vicinal.paper import everything

HEAVY = ("torch", "torchvision", "timm", "torchmetrics", "matplotlib", "scipy.stats", "sklearn", "pyarrow", "PIL")


def test_prints_tables_audit_and_claims(vicinal):
    answer = vicinal("paper")
    assert answer.code == 0
    assert answer.err == ""
    for number in range(1, 8):
        assert f"Table {number}. " in answer.out
    words = " ".join(answer.out.split())
    for finding in everything().findings:
        assert " ".join(finding.sentence.split()) in words
    assert re.search(r"Mixup classic ‡ +81\.05 +91\.2 +0\.048", answer.out)
    assert re.search(r"ViT-B/16, pixelate § +81\.42 +70\.66 +63\.64", answer.out)
    assert "8 hold as printed, 17 fail as printed, 2 open as printed, 4 no data" in answer.out
    assert max(map(len, answer.out.splitlines())) <= 121  # a combining tilde is a character of no width
    assert "\x1b" not in answer.out


def test_imports_nothing_heavy(tmp_path: Path):
    script = (
        "import sys\nfrom vicinal.cli import main\n"
        f"code = main(['paper', '--json', {str(tmp_path / 'a.json')!r}, '--html', {str(tmp_path / 'a.html')!r}])\n"
        f"print('HEAVY', [m for m in {HEAVY!r} if m in sys.modules])\nsys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "HEAVY []" in done.stdout


def test_json_holds_everything(vicinal, tmp_path: Path):
    file = tmp_path / "new" / "folders" / "paper.json"
    answer = vicinal("paper", "--json", str(file))
    assert answer.code == 0
    assert answer.out.splitlines()[-1] == f"data: {file}"
    data = json.loads(file.read_text(encoding="utf-8"))
    assert [claim["key"] for claim in data["claims"]] == [claim.key for claim in CLAIMS]
    assert set(data["claims"][0]["by_data"]) == {"cifar10", "cifar100", "imagenet"}
    for claim in data["claims"]:
        assert claim["holds"] + claim["fails"] + claim["undecided"] == len(claim["cases"])
    assert data["numbers"]["table3_cifar100"]["baseline"] == [0.8105, 0.9527, 0.1421]
    assert [finding["kind"] for finding in data["audit"]].count("impossible") == 3
    assert "CC BY 4.0" in data["source"]["licence"]


def test_the_page_opens_offline_and_holds_everything(vicinal, tmp_path: Path):
    file = tmp_path / "paper.html"
    assert vicinal("paper", "--html", str(file)).code == 0
    html = file.read_text(encoding="utf-8")
    assert html.startswith("<!DOCTYPE html>")
    assert html.rstrip().endswith("</html>")
    assert not re.search(r"<(script|link|img|iframe|object)\b|@import|url\((?!#)", html)
    assert "prefers-color-scheme: dark" in html
    assert "https://creativecommons.org/licenses/by/4.0/" in html
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert html.count('<th scope="row">') == len(CLAIMS) + sum(len(table.rows) for table in everything().tables)
    assert "None" not in html
    assert "bound method" not in html
    by_data = [judged.verdict for there in everything().by_data.values() for judged in there]
    for words in ("holds", "fails", "open"):  # by data set, in short
        assert html.count(f"<td>{words}</td>") == by_data.count(f"{words} as printed") > 0
    effects = [j.effect.subject for j in everything().judgements if j.effect is not None and j.effect.subject]
    assert all(f"<small>{subject}</small>" in html for subject in effects)


def test_both_files_at_once(vicinal, tmp_path: Path):
    one, two = tmp_path / "a.json", tmp_path / "a.html"
    answer = vicinal("paper", "--json", str(one), "--html", str(two))
    assert answer.out.splitlines()[-2:] == [f"data: {one}", f"page: {two}"]
    assert one.is_file()
    assert two.is_file()


@pytest.mark.parametrize("option", ["--json", "--html"])
def test_files_that_cannot_be_written(vicinal, tmp_path: Path, option: str):
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    below = tmp_path / "file" / "paper"
    answer = vicinal("paper", option, str(below))
    assert (answer.code, answer.out) == (1, "")
    assert len(answer.err.strip().splitlines()) == 1
    assert answer.err.startswith("vicinal: ")
    assert str(below) in answer.err
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("option", ["--json", "--html"])
def test_a_folder_is_no_file(vicinal, tmp_path: Path, option: str):
    answer = vicinal("paper", option, str(tmp_path))
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == f"vicinal: {option} {tmp_path} is a folder; give the name of a file\n"


def test_two_contents_do_not_fit_one_file(vicinal, tmp_path: Path):
    file = tmp_path / "both"
    answer = vicinal("paper", "--json", str(file), "--html", str(file))
    assert (answer.code, answer.out) == (2, "")
    assert "give them different files" in answer.err
    assert not file.exists()


@pytest.mark.parametrize("arguments", [["quickstart"], ["--json"], ["--pdf", "x"]])
def test_arguments_that_are_not_understood(vicinal, arguments: list[str]):
    answer = vicinal("paper", *arguments)
    assert answer.code == 2
    assert len(answer.err.strip().splitlines()) == 1


def test_the_packaged_text_carries_its_licence():
    import vicinal.paper

    folder = Path(vicinal.paper.__file__).parent
    head = (folder / "results.yaml").read_text(encoding="utf-8")[:600]
    assert "CC BY 4.0" in head
    assert "José Medina" in head
    assert "CC BY 4.0" in (folder / "text.yaml").read_text(encoding="utf-8")
