"""Text from outside reaches a terminal as text: no control code, no markup, no letter lost where the encoding has it."""

from __future__ import annotations

import io
import threading
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from vicinal.workspace import StudyProgress, printable, progress, say, shown_if_slow, told_if_slow

ANY_TEXT = st.text(st.characters(exclude_categories=()))  # surrogates, too: so Python holds a path that is no UTF-8
OBEYED = ("Cc", "Cs", "Zl", "Zp")
OVERRIDES = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\ufeff"


def has_codes(text: str) -> bool:
    return any(unicodedata.category(c) in OBEYED or c in OVERRIDES for c in text)


@given(ANY_TEXT)
def test_nothing_that_a_terminal_obeys_is_left(text: str):
    shown = printable(text)
    assert not has_codes(shown)
    assert printable(shown) == shown


@pytest.mark.parametrize("text", ["Fahrräder", "猫", "गाड़ियाँ", "می‌خواهم", "Ναι", "👩‍🔬", "[bold]x[/]", "a\\b", ""])
def test_letters_of_every_script_stay(text: str):
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\r\t", "a\\nb\\r\\t"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("\x00\x7f\x9b", "\\x00\\x7f\\x9b"),
        ("gnp\u202e.exe", "gnp\\u202e.exe"),
        ("caf\udce9", "caf\\xe9"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_what_a_terminal_would_obey_is_shown(text: str, shown: str):
    assert printable(text) == shown


@given(ANY_TEXT, st.sampled_from(["utf-8", "ascii", "latin-1"]))
def test_a_line_is_a_line_in_every_encoding(text: str, encoding: str):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, newline="")
    say(text, stream)
    stream.flush()
    line = raw.getvalue().decode(encoding)
    assert line.endswith("\n")
    assert not has_codes(line[:-1])


@given(ANY_TEXT)
def test_progress_takes_no_title_for_markup(text: str):
    out = io.StringIO()
    with StudyProgress(1, Console(file=out, soft_wrap=True, highlight=False)) as progress:
        progress.say(text)
        progress.run(text, 1, 0).finish("done")
    lines = [printable(text), f"{printable(text)}: starts", f"{printable(text)}: done"]
    assert [line.rstrip() for line in out.getvalue().split("\n")[:-1]] == [line.rstrip() for line in lines]


@pytest.mark.parametrize("text", ["[red]x[/red]", "[/data] of ours", ":smile: [b]", "\x1b[2J"])
def test_bars_take_no_title_for_markup(text: str):
    out = io.StringIO()
    with StudyProgress(4, Console(file=out, force_terminal=True, width=150, color_system=None)) as progress:
        run = progress.run(text, 4, 0)
        run.advance(2, 1, 2, 0.5)
        network = progress.inference(text, 2)
        network.advance(1)
        progress._bars.refresh()  # type: ignore[union-attr]
        network.finish("measured")
        run.finish("done")
    assert f"{printable(text)}: done" in out.getvalue()
    assert f"{printable(text)}: measuring" in out.getvalue()
    assert "\x1b[2J" not in out.getvalue()


def test_titles_say_which_run_of_how_many_and_its_seed():
    progress = StudyProgress(1, Console(quiet=True))
    assert progress.title("kd-T2-big", 3, ["student-kd"]) == "seed 3, kd-T2-big"
    progress.number([f"run-{k}" for k in range(20)])
    assert progress.title("kd-T2-big", 3, ["run-6"]) == "run 7 of 20, seed 3, kd-T2-big"
    together = ["run-8", "run-6", "run-7"]
    assert progress.title("kd-T2-big", 0, together) == "runs 7 to 9 of 20, seed 0, kd-T2-big and 2 more"


@pytest.mark.parametrize(("after_s", "said"), [(0.01, "loading 3 networks ...\n"), (60.0, "")])
def test_what_takes_long_is_told(capsys: pytest.CaptureFixture[str], after_s: float, said: str):
    with told_if_slow("loading 3 networks", after_s):
        time.sleep(0.2)
    assert capsys.readouterr().err == said


def told_by_slow_work(monkeypatch: pytest.MonkeyPatch, shown_after_s: float) -> None:
    """100 images by four threads, half of them done before anything may be shown."""
    monkeypatch.setattr(progress, "SHOWN_AFTER_SECONDS", shown_after_s)
    monkeypatch.setattr(progress, "PLAIN_LINE_SECONDS", 0.0)
    with shown_if_slow("reading 100 [b]images[/b]", 100) as work:
        work.advance(50)
        if shown_after_s < 1:
            work._timer.join()
        workers = [threading.Thread(target=lambda: [work.advance(1) for _ in range(10)]) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if work._bars is not None:
            work._bars.refresh()
        work.advance(10)


@pytest.mark.parametrize("shown_after_s", [0.01, 60.0])
def test_slow_work_is_told_in_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], shown_after_s: float
):
    told_by_slow_work(monkeypatch, shown_after_s)
    lines = capsys.readouterr().err.splitlines()
    if shown_after_s > 1:
        assert lines == []
        return
    assert lines[0] == "reading 100 [b]images[/b] ..."
    assert [line.split("  ")[0] for line in lines[1:41]] == [
        f"reading 100 [b]images[/b]: {done}/100" for done in range(51, 91)
    ]
    assert lines[-1].startswith("reading 100 [b]images[/b]: 100/100  ")
    assert lines[-1].endswith("0:00 left")


@pytest.mark.parametrize("within", [False, True])
def test_slow_work_has_a_bar_on_a_terminal_and_leaves_it_as_it_was(monkeypatch: pytest.MonkeyPatch, within: bool):
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=150, color_system=None, highlight=False)
    monkeypatch.setattr(progress, "Console", lambda **options: console)
    if within:  # one display of bars at a time
        with StudyProgress(4) as study:
            told_by_slow_work(monkeypatch, 0.01)
            assert study._bars is not None
            assert len(study._bars.tasks) == 1
    else:
        told_by_slow_work(monkeypatch, 0.01)
    assert "reading 100 [b]images[/b]" in out.getvalue()
    assert "90/100" in out.getvalue()
    assert progress._shown == []
