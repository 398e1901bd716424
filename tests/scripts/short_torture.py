"""The torture in its short form, and that it would notice: a table with nothing wrong, and faults where there are some."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from scripts import torture as module
from scripts.torture import Answer, Budget, Part, Torture, damages, judge, kills, table


@pytest.fixture(scope="module")
def torture(tmp_path_factory: pytest.TempPathFactory) -> Torture:
    made = Torture(tmp_path_factory.mktemp("torture"), random.Random(0))
    made.prepare()
    return made


@pytest.fixture
def part() -> Part:
    return Part("some", "what is tried")


def test_a_study_killed_at_a_random_moment(torture: Torture, part: Part, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "KILLS", 2)
    kills(torture, part, Budget(20))
    assert part.tried
    assert part.faults == []


@pytest.mark.parametrize(
    ("kind", "how"), [("weights of the teacher", "bit"), ("corrupted answers", "zeroed"), ("the pilot", "half")]
)
def test_damage_is_repaired_with_a_line(torture: Torture, part: Part, kind: str, how: str):
    out = torture.copy()
    path = sorted(out.glob(module.KINDS[kind]))[0]
    content = path.read_bytes()
    path.write_bytes(damages(content, random.Random(1))[how])
    judge(torture, part, out, path, content, kind, how)
    assert part.counts == {"repaired with a line": 1}
    assert part.faults == []


def test_what_is_silent_or_other_is_wrong(torture: Torture, part: Part, monkeypatch: pytest.MonkeyPatch):
    out = torture.copy()
    path = next(out.glob("runs/teacher-*/weights.safetensors"))
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"x")
    for answer in (Answer(0, "", ""), Answer(1, "", "Traceback (most recent call last)"), Answer(1, "", "vicinal: no")):
        monkeypatch.setattr(Torture, "run", lambda *_, answer=answer: answer)
        judge(torture, part, out, path, content, "weights", "bit")
    assert len(part.faults) == 3
    assert "other weights" in part.faults[0]
    assert "| some | what is tried | 3 |  | 3 |" in table([part], 60)


def test_every_kind_of_file_is_there_to_be_damaged(torture: Torture):
    for kind, pattern in module.KINDS.items():
        assert list(torture.whole.glob(pattern)), kind
    known = {path for pattern in module.KINDS.values() for path in torture.whole.glob(pattern)}
    for path in torture.whole.rglob("*"):
        shown = path.relative_to(torture.whole).parts[0] in ("tables", "figures", "paper", "report.html")
        assert path.is_dir() or path in known or shown or path.name == ".lock", f"{path} is no kind that is damaged"


def test_copies_are_of_the_undisturbed_folder(torture: Torture):
    out = torture.copy()
    assert torture.unequal(out) == ""
    shutil.rmtree(next(out.glob("runs/student-*")))
    assert torture.unequal(out) == "other weights"


def test_the_script_is_a_command(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        module.main(["--parts", "kill,nothing"])
    assert "no part nothing" in capsys.readouterr().err
    assert (Path(module.__file__).with_suffix(".sh")).stat().st_mode & 0o100
