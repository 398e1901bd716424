"""The completion script knows every verb and option, and a real shell takes it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable

import pytest

from tiny_studies import Answer


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_it_names_the_verbs_and_their_options(vicinal: Callable[..., Answer], shell: str):
    answer = vicinal("completion", shell)
    assert answer.code == 0
    assert answer.err == ""
    for word in ("run", "plan", "report", "bank", "completion", "out"):
        assert word in answer.out


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash on this machine")
def test_bash_completes_verbs_and_files_with_it(vicinal: Callable[..., Answer], tmp_path):
    script = tmp_path / "vicinal.bash"
    script.write_text(vicinal("completion", "bash").out, encoding="utf-8")
    (tmp_path / "my-study.yaml").touch()
    asks = """
source vicinal.bash
ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _shtab_vicinal; echo "${COMPREPLY[*]}"; }
ask vicinal re
ask vicinal run my-
ask vicinal run my-study.yaml --o
"""
    done = subprocess.run(["bash", "-c", asks], cwd=tmp_path, capture_output=True, text=True, check=True)
    verbs, files, options = done.stdout.splitlines()
    assert verbs.split() == ["report"]
    assert files.split() == ["my-study.yaml"]
    assert "--out" in options.split()
