"""The command line as a user calls it: exit codes, one line for every mistake, help at once, plans that spend nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tiny_studies import Answer, write_images
from vicinal import __version__
from vicinal.cli.main import main
from vicinal.workspace import hold, write_json

HEAVY = ("torch", "torchvision", "timm", "torchmetrics", "matplotlib", "numpy", "pyarrow", "PIL")


@pytest.fixture(scope="module")
def small(smallest: dict[str, Any], study_file: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cli") / "out"
    assert main(["run", str(study_file(smallest)), "--out", str(out)]) == 0
    return out


def one_line(answer: Answer, code: int) -> str:
    """The single line of an error."""
    assert answer.code == code, answer.err
    lines = answer.err.strip().splitlines()
    assert len(lines) == 1, answer.err
    assert lines[0].startswith("vicinal: ")
    assert answer.out == ""
    return lines[0]


# --- help and usage errors, at once -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["run", "--help"], 0),
        (["studies"], 0),
        (["schema"], 0),
        (["schema", "results"], 0),
        (["schema", "paper"], 2),
        (["toy", "--help"], 0),
        (["toy", "--seed=-1"], 2),
        (["bank", "--help"], 0),
        (["bank"], 2),
        (["bank", "build", "--help"], 0),
        (["bank", "build", "quickstart", "--slice=2/2"], 2),
        (["bank", "verify", "nope"], 2),
        (["bank", "verify", "quickstart", "--out", "/no/such/folder"], 2),
        (["bank", "info", "/no/such/folder"], 2),
        ([], 2),
        (["train"], 2),
        (["run"], 2),
        (["run", "nope"], 2),
        (["run", "quickstart", "student.epoch=3"], 2),
        (["plan", "quickstart", "--sedes=3"], 2),
        (["report", "/no/such/folder"], 2),
    ],
)
def test_help_and_usage_errors_import_nothing_heavy(arguments: list[str], code: int):
    script = (
        "import sys\nfrom vicinal.cli import main\ntry:\n    code = main(sys.argv[1:])\n"
        "except SystemExit as stop:\n    code = stop.code or 0\n"
        f"print('HEAVY', [m for m in {HEAVY!r} if m in sys.modules])\nsys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert "HEAVY []" in done.stdout
    assert "Traceback" not in done.stderr


def test_version(vicinal):
    assert vicinal("--version").out == f"vicinal {__version__}\n"


def test_help_shows_every_verb_and_an_example(vicinal):
    text = vicinal("--help").out
    for word in ("run", "plan", "bank", "report", "studies", "schema", "vicinal run quickstart", "KEY"):
        assert word in text or word in vicinal("run", "--help").out


def test_studies_lists_quickstart(vicinal):
    answer = vicinal("studies")
    assert answer.code == 0
    assert re.search(r"^quickstart +\w", answer.out, re.MULTILINE)
    assert answer.err == ""


# --- mistakes ---------------------------------------------------------------------------------------------------------

MISTAKES = [
    (["foo=1"], "unknown key 'foo'"),
    (["student.epoch=3"], "did you mean 'epochs'"),
    (["student.epochs=abc"], "student.epochs"),
    (["epochs"], "epochs"),
    (["arms.nope.alpha=1"], "arms.nope"),
    (["arms=[unheard]"], "unheard"),
    (["arms.kd.gamma=1"], "unknown key 'arms.kd.gamma'"),
    (["arms=[baseline]", "arms.baseline.temperature=4"], "arms.baseline.temperature"),
    (["student.model=no_such_net"], "student: no timm model is named 'no_such_net'"),
    (["student.model=vit_tiny_patch16_224"], "student.image_size or data.image_size"),
    (["student.weights=nope.safetensors"], "nope.safetensors"),
    (["student.weights=hub"], "student"),
    (["student.mean=[0.5]"], "'mean' and 'std'"),
    (["data.source=/no/such/folder"], "/no/such/folder"),
    (["data.source=torch/nope"], "torch/cifar10"),
    (["data.source=embedded/nope"], "embedded/fashion-mnist"),
    (["data.train_images=2"], "data.train_images"),
    (["data.test_images=99999"], "data.test_images"),
    (["student.train_images=2"], "student.train_images"),
    (["student.train_images=99999"], "student.train_images"),
    (["teachers.one.train_images=99999"], "teachers.one.train_images"),
    (["selection=best_validation", "data.validation=0"], "data.validation"),
    (["arms=[]"], "arms"),
    (["seeds=true"], "true is not a value here"),
    (["name=" + "n" * 65], "name"),
    (["student=null"], "student"),
]


@pytest.mark.parametrize(("overrides", "words"), MISTAKES)
def test_a_mistake_is_one_line_and_makes_nothing(vicinal, smallest, study_file, tmp_path: Path, overrides, words: str):
    answer = vicinal("run", study_file(smallest), "--out", tmp_path / "out", *overrides)
    assert words in one_line(answer, 2)
    assert not (tmp_path / "out").exists()


def test_a_device_that_is_not_there(vicinal, smallest, study_file, tmp_path: Path):
    import torch

    missing = "cuda" if not torch.cuda.is_available() else "mps"
    answer = vicinal("plan", study_file(smallest), f"runtime.device={missing}")
    assert "runtime.device" in one_line(answer, 2)
    assert missing in answer.err


def make_empty(root: Path) -> None:
    root.mkdir()


def make_one_class(root: Path) -> None:
    write_images(root, 3, seed=1)
    shutil.rmtree(root / "north")
    shutil.rmtree(root / "east")


def make_class_of_one(root: Path) -> None:
    write_images(root, 6, seed=1)
    for file in sorted((root / "north").iterdir())[1:]:
        file.unlink()


def make_empty_class(root: Path) -> None:
    write_images(root, 6, seed=1)
    (root / "west").mkdir()


def make_unreadable(root: Path) -> None:
    write_images(root, 6, seed=1)
    (root / "north" / "002.png").write_bytes(b"no image")


def make_truncated(root: Path) -> None:
    write_images(root, 6, seed=1, side=48)
    file = root / "north" / "002.png"
    file.write_bytes(file.read_bytes()[:-400])


def make_sizes(root: Path) -> None:
    write_images(root, 6, seed=1)
    shutil.copy(
        write_images(root.parent / "large", 1, seed=2, side=24) / "north" / "000.png", root / "north" / "009.png"
    )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (make_empty, ["is empty"]),
        (make_one_class, ["one class", "south"]),
        (make_class_of_one, ["1 image of class 'north'", "add images or remove the class"]),
        (make_empty_class, ["west", "no images"]),
        (make_unreadable, ["north/002.png", "cannot be read"]),
        (make_truncated, ["north/002.png", "cannot be read"]),
        (make_sizes, ["differ in size", "data.image_size="]),
    ],
)
@pytest.mark.parametrize("verb", ["run", "plan"])
def test_images_that_cannot_be_used(vicinal, smallest, study_file, tmp_path: Path, make, words: list[str], verb: str):
    make(tmp_path / "images")
    file = study_file(smallest, {"data.source": str(tmp_path / "images"), "student.train_images": None})
    line = one_line(vicinal(verb, file, "--out", tmp_path / "out"), 2)
    for word in words:
        assert word in line
    assert not (tmp_path / "out").exists()


def make_file(out: Path, small: Path) -> None:
    out.write_text("mine")


def make_others(out: Path, small: Path) -> None:
    out.mkdir()
    (out / "thesis.tex").write_text("mine")


def make_another_study(out: Path, small: Path) -> None:
    out.mkdir()
    (out / "study.json").write_text(json.dumps({"schema": 2, "version": __version__, "study": "another"}))


def make_another_schema(out: Path, small: Path) -> None:
    shutil.copytree(small, out)
    (out / "study.json").write_text(json.dumps({"schema": 99, "version": "9.0", "study": "smallest"}))


def make_damaged_mark(out: Path, small: Path) -> None:
    shutil.copytree(small, out)
    (out / "study.json").write_text("{")


UNUSABLE = [make_file, make_others, make_another_study, make_another_schema]


def tree(folder: Path) -> dict[str, bytes]:
    files = [folder] if folder.is_file() else [p for p in folder.rglob("*") if p.is_file() and p.name != ".lock"]
    return {str(p): p.read_bytes() for p in files}


def test_a_damaged_mark_does_not_cost_the_folder(vicinal, smallest, study_file, tmp_path: Path, small: Path):
    out = tmp_path / "out"
    make_damaged_mark(out, small)
    answer = vicinal("run", study_file(smallest), "--out", out)
    assert answer.code == 0
    assert "study.json is damaged; it is written again" in answer.err
    assert "2 of 2 runs are done already" in answer.err
    assert (out / "study.json").read_bytes() == (small / "study.json").read_bytes()


@pytest.mark.parametrize("make", UNUSABLE)
@pytest.mark.parametrize("verb", ["run", "plan"])
def test_a_folder_that_is_not_ours_is_refused_and_left_as_it_is(
    vicinal, smallest, study_file, tmp_path: Path, small: Path, make, verb: str
):
    """`plan` says what `run` with the same arguments would do: where that refuses, so does the plan."""
    out = tmp_path / "out"
    make(out, small)
    before = tree(out)
    line = one_line(vicinal(verb, study_file(smallest), "--out", out), 2)
    assert str(out) in line
    assert tree(out) == before


@pytest.mark.parametrize("verb", [["run"], ["plan"], ["bank", "build"], ["bank", "verify"]])
def test_a_folder_whose_name_is_no_text(vicinal, smallest, study_file, tmp_path: Path, verb: list[str]):
    """Weights could be written there and never read."""
    out = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    assert "caf\\xe9 has bytes that are no UTF-8" in one_line(vicinal(*verb, study_file(smallest), "--out", out), 2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", [["run"], ["plan"], ["bank", "build"]])
def test_a_folder_that_may_not_be_written(vicinal, smallest, study_file, tmp_path: Path, monkeypatch, verb: list[str]):
    monkeypatch.setattr(os, "access", lambda *_: False)
    line = one_line(vicinal(*verb, study_file(smallest), "--out", tmp_path / "out"), 2)
    assert f"nothing may be written into {tmp_path}" in line


def test_a_toy_that_has_no_place_trains_nothing(vicinal, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "nothing may be written into" in one_line(vicinal("toy", "--out", tmp_path / "toy"), 2)


def test_a_study_file_whose_name_is_no_text(vicinal, smallest, study_file, tmp_path: Path):
    """Such a command is run, and its results say what it was in text."""
    file = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.yaml"))
    shutil.copy(study_file(smallest), file)
    assert vicinal("run", file, "student.epochs=1", "teachers.one.epochs=1", "--out", tmp_path / "out").code == 0
    assert "caf\\xe9.yaml" in json.loads((tmp_path / "out" / "results.json").read_text())["command"]
    name = os.fsdecode(b"images/caf\xe9")
    assert "U+DCE9" in one_line(vicinal("plan", file, f"data.source={name}"), 2)


@pytest.mark.parametrize(
    ("arguments", "shows"),
    [
        (["plan", "quickstart", "--sedes=3"], "vicinal plan --help"),
        (["bank", "build", "quickstart", "--sedes=3"], "vicinal bank build --help"),
        (["bank", "info"], "vicinal bank info --help"),
        (["toy", "--seed=x"], "vicinal toy --help"),
        (["studies", "x"], "vicinal studies --help"),
        (["paper", "\x1b[2J\n"], "vicinal paper --help"),
    ],
)
def test_what_is_not_understood_names_the_help_of_its_verb(vicinal, arguments: list[str], shows: str):
    line = one_line(vicinal(*arguments), 2)
    assert line.endswith(f"{shows} shows how")
    assert "\x1b" not in line


def test_report_while_the_study_runs(vicinal, tmp_path: Path):
    write_json(tmp_path / "study.json", {"schema": 2, "version": __version__, "study": "smallest"})
    with hold(tmp_path):
        line = one_line(vicinal("report", tmp_path), 2)
    assert "is held by process" in line
    assert "it writes the report itself" in line


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_a_place_where_no_folder_can_be_made(vicinal, smallest, study_file):
    assert "--out" in one_line(vicinal("run", study_file(smallest), "--out", "/proc/x"), 2)


def test_arguments_that_are_not_understood(vicinal):
    for arguments in (["train"], ["run"], ["report"], ["run", "quickstart", "--foo"], ["studies", "x=1"]):
        answer = vicinal(*arguments)
        assert answer.code == 2
        assert "Traceback" not in answer.err
        assert answer.last.startswith("vicinal")


# --- plan -------------------------------------------------------------------------------------------------------------


def test_plan_spends_nothing(vicinal, smallest, study_file, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = study_file(smallest)
    for extra in ([], ["--out", "somewhere"]):
        answer = vicinal("plan", file, *extra)
        assert answer.code == 0
        assert "2 of 2 runs to do" in answer.out
        assert "vicinal_resnet8" in answer.out
        assert "kd-T2-one" in answer.out
        assert "to do" in answer.out
        assert "…" not in answer.out  # a cut cell hides a number
        assert re.search(r"Estimated on \w+, from a few steps of each network: \d+:\d\d and \d\S* GB", answer.out)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "title", ["Does [mixup] help?", "On [/data] of ours", "a :smile: \\[b]", "Was [bold]$x$[/bold]"]
)
def test_a_title_is_no_markup(vicinal, smallest, study_file, tmp_path: Path, title: str):
    answer = vicinal("plan", study_file(smallest, {"title": title}), "--out", tmp_path / "o[b]")
    assert answer.code == 0
    assert answer.out.splitlines()[0].strip() == f"{title}: 2 runs in {tmp_path / 'o[b]'}"
    assert f"GB in {tmp_path / 'o[b]'}." in answer.out


def test_names_of_classes_and_folders_reach_no_terminal_raw(vicinal, smallest, study_file, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = write_images(tmp_path / "img[red]\x1b[31m", 20, seed=1)
    for old, new in (("east", "e\nast\x1b[2J"), ("north", "$n\u202eorth [bold]"), ("south", "猫<script>")):
        (root / old).rename(root / new)
    changes = {"data.source": root.name, "data.test": 0.2, "student.train_images": None, "title": "[/x] $a \x1b[31m"}
    file = study_file(smallest, {**changes, "measures.representation": {"classes": ["猫<script>", "nowhere"]}})
    line = one_line(vicinal("plan", file, "--out", "out"), 2)
    assert "$n\\u202eorth [bold], e\\nast\\x1b[2J, 猫<script>" in line
    for verb in ("plan", "run", "report"):
        answer = vicinal(verb, *([] if verb == "report" else [study_file(smallest, changes), "--out"]), "out")
        assert answer.code == 0
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", answer.out + answer.err)
    assert "<script>" not in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-", "| true", "2>&1 | true", ">/dev/full"])
@pytest.mark.parametrize("verb", ["studies", "run nope"])
def test_closed_streams_are_no_traceback(closed: str, verb: str):
    done = subprocess.run(
        f"{{ {sys.executable} -m vicinal.cli {verb}; echo status $? >&9; }} 9>&2 {closed}",
        shell=True,
        capture_output=True,
        text=True,
        executable="/bin/bash",
    )
    assert "Traceback" not in done.stderr + done.stdout
    assert f"status {2 if 'nope' in verb else 1 if 'full' in closed else 0}" in done.stderr


def test_plan_sees_what_is_done(vicinal, smallest, study_file, small: Path):
    before = tree(small)
    answer = vicinal("plan", study_file(smallest), "--out", small)
    assert "0 of 2 runs to do" in answer.out
    answer = vicinal("plan", study_file(smallest), "student.lr=2e-3", "--out", small, "seeds=[0,1]")
    assert "3 of 4 runs to do" in answer.out
    assert tree(small) == before


def test_overrides_may_stand_before_and_behind_out(vicinal, smallest, study_file, tmp_path: Path):
    answer = vicinal("plan", study_file(smallest), "seeds=[0,1]", "--out", tmp_path / "o", "arms=[baseline]")
    assert answer.code == 0
    assert "4 of 4 runs to do" in answer.out


# --- report -----------------------------------------------------------------------------------------------------------


def test_report_writes_again_what_was_deleted(vicinal, small: Path, tmp_path: Path):
    out = Path(shutil.copytree(small, tmp_path / "out"))
    (out / "report.html").unlink()
    shutil.rmtree(out / "tables")
    shutil.rmtree(out / "figures")
    answer = vicinal("report", out)
    assert answer.code == 0
    assert answer.out.endswith(f"\nreport: {out / 'report.html'}\n")
    assert "<html" in (out / "report.html").read_text()
    assert {p.name for p in (out / "tables").iterdir()} == {p.name for p in (small / "tables").iterdir()}
    assert {p.name for p in (out / "figures").iterdir()} == {p.name for p in (small / "figures").iterdir()}


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", "{}", '{"schema": 2}', '{"schema": 99}', '{"schema": 2, "students": 3}']
)
def test_report_of_damaged_results(vicinal, small: Path, tmp_path: Path, content: str):
    out = Path(shutil.copytree(small, tmp_path / "out"))
    (out / "results.json").write_text(content)
    assert "results.json" in one_line(vicinal("report", out), 2)


def test_report_of_no_study(vicinal, tmp_path: Path):
    for folder in (tmp_path, tmp_path / "nope"):
        assert str(folder) in one_line(vicinal("report", folder), 2)


# --- processes --------------------------------------------------------------------------------------------------------


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "vicinal.cli", *map(str, arguments)]


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


@pytest.mark.slow
def test_ctrl_c_then_a_second_process_then_kill_then_the_end(vicinal, smallest, study_file, tmp_path: Path):
    """One story: stopped by Ctrl-C, started again, a second process is told who holds the folder, killed, continued to the end."""
    out = tmp_path / "out"
    changes = {"teachers.one.epochs": 160, "teachers.one.batch_size": 6, "runtime.checkpoint_seconds": 0}
    file = study_file(smallest, changes)

    def steps() -> int:
        logs = list(out.glob("runs/*/log.jsonl"))
        return len(logs[0].read_text().splitlines()) if logs else 0

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            command("run", file, "--out", out),
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a suite in the background ignores it
        )

    process = start()
    wait_for(lambda: steps() >= 1)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert output == ""
    assert errors.strip().splitlines()[-1] == "vicinal: stopped; the same command continues from the last checkpoint"

    before = steps()
    process = start()
    try:
        wait_for(lambda: steps() > before)
        answer = vicinal("run", file, "--out", out)
        assert f"held by process {process.pid} " in one_line(answer, 2)
    finally:
        process.kill()
        _, errors = process.communicate()
    assert "one: continues" in errors

    answer = vicinal("run", file, "--out", out, "runtime.checkpoint_seconds=20")
    assert answer.code == 0
    assert "one: continues" in answer.err
    assert (out / "report.html").exists()
    assert not list(out.rglob("*.part"))


def test_without_a_terminal_progress_is_plain_lines_on_stderr(smallest, study_file, tmp_path: Path):
    out = tmp_path / "out"
    done = subprocess.run(command("run", study_file(smallest), "--out", out), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stderr + done.stdout
    assert "\r" not in done.stderr
    assert re.search(r"run 1 of 2, seed \d+, one: starts", done.stderr)
    assert "kd-T2-one: done in" in done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split()[:3] == ["network", "accuracy", "%"]
    assert lines[-1] == f"report: {out / 'report.html'}"
    assert any(line.startswith(("Fit to ship: ", "Not fit to ship: ", "Open: ", "Not confirmed: ")) for line in lines)
    assert len(lines) < 10


@pytest.mark.parametrize("arguments", [["studies"], ["paper"]])
def test_a_reader_that_goes_away_is_no_error(arguments: list[str]):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command(*arguments), stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert done.stderr == ""
    assert done.returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_output_that_cannot_be_written():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command("studies"), stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.stderr == "vicinal: the standard output: No space left on device\n"
    assert done.returncode == 1


@pytest.mark.slow
def test_a_batch_system_that_ends_it(smallest, study_file, tmp_path: Path):
    out = tmp_path / "out"
    file = study_file(smallest, {"teachers.one.epochs": 4000})
    process = subprocess.Popen(command("run", file, "--out", out), stderr=subprocess.PIPE, text=True)
    wait_for(lambda: list(out.glob("runs/*/log.jsonl")))
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    assert errors.strip().splitlines()[-1] == "vicinal: stopped; the same command continues from the last checkpoint"
