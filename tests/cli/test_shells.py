"""Every command that a page, a study's comment or a help text shows runs as it stands in bash and in zsh, which expands more."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PAGES = [*sorted((REPOSITORY / "docs").rglob("*.md")), REPOSITORY / "CONTRIBUTING.md", REPOSITORY / "README.md"]
STUDIES = [
    *sorted((REPOSITORY / "src/vicinal/studies").glob("*.yaml")),
    *sorted((REPOSITORY / "examples").glob("*.yaml")),
]
GLOB = re.compile(r"[][{}?*]")  # what zsh takes for a pattern: without a file of that name, nothing is run at all
FENCE = re.compile(r"^ *```(?:sh|bash|console|shell)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\s*(?:\$ |[A-Z_]+=\S+ )*((?:vicinal|python3?|pip|uv|make) .*)$", re.MULTILINE)


def commands(text: str) -> list[str]:
    """The commands of a shell's text: one a line, without comments, continued lines joined."""
    return [re.sub(r"\s#.*$", "", line).strip() for line in COMMAND.findall(text.replace("\\\n", " "))]


def in_page(text: str) -> list[str]:
    spans = re.findall(r"`(vicinal [^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return [*commands("\n".join(FENCE.findall(text))), *spans]


def in_study(text: str) -> list[str]:
    whole = re.sub(r"\\\n# *", " ", text)
    return re.findall(r"#.*?\b(vicinal (?:run|plan) [^\n`]+)", whole)


def documented() -> dict[str, list[str]]:
    from vicinal.cli.main import _EXAMPLES

    found = {str(page.relative_to(REPOSITORY)): in_page(page.read_text(encoding="utf-8")) for page in PAGES}
    found |= {study.name: in_study(study.read_text(encoding="utf-8")) for study in STUDIES}
    return found | {"vicinal --help": commands(_EXAMPLES)}


def unquoted(command: str) -> str:
    """What is left of a command without its quoted parts."""
    return re.sub(r"""'[^']*'|"[^"]*"|\\.""", "", command)


def test_no_documented_command_has_a_pattern_without_quotes():
    found = documented()
    assert len(found["vicinal --help"]) >= 7
    assert found["quickstart.yaml"]
    assert sum(map(len, found.values())) > 20
    wrong = [f"{where}: {line}" for where, lines in found.items() for line in lines if GLOB.search(unquoted(line))]
    assert not wrong, "\n".join(wrong)


def test_the_check_sees_patterns():
    page = (
        "text `vicinal plan q seeds=[0]` and\n```sh\nvicinal run q \\\n  a={}  # [no]\nvicinal run q 'a={}'\nls\n```\n"
    )
    assert [bool(GLOB.search(unquoted(line))) for line in in_page(page)] == [True, False, True]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_documented_commands_run_in_zsh(tmp_path: Path):
    lines = [line for found in documented().values() for line in found if line.startswith("vicinal")]
    plain = [line for line in lines if not re.search(r"[|&;<>…]", unquoted(line))]
    assert len(plain) > 10
    text = "\n".join(["setopt err_exit", 'vicinal() { print -r -- "ran $#" }', *plain])
    done = subprocess.run(["zsh", "-f", "-c", text], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("ran ") == len(plain)
    refused = subprocess.run(["zsh", "-f", "-c", "echo seeds=[0,1,2]"], cwd=tmp_path, capture_output=True, text=True)
    assert "no matches found" in refused.stderr  # what this test is about
