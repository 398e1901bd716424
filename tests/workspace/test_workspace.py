"""Study folders: files whole or not at all, words for a full disk, one holder at a time, no foreign folder touched."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vicinal.config import ARMS, SCHEMA, NetworkSpec, RunSpec
from vicinal.errors import UsageError, VicinalError
from vicinal.workspace import (
    RunFolder,
    check_not_held,
    check_study_folder,
    clear_leftovers,
    hold,
    locked,
    open_study_folder,
    read_sealed_json,
    write_atomically,
    write_file_atomically,
    write_json,
    write_sealed_json,
)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


# --- whole or not at all ----------------------------------------------------------------------------------------------


def test_text_and_bytes_are_written_and_folders_made(tmp_path: Path):
    write_atomically(tmp_path / "a" / "b.txt", "λ")
    write_atomically(tmp_path / "a" / "c.bin", b"\x00\x01")
    assert (tmp_path / "a" / "b.txt").read_text(encoding="utf-8") == "λ"
    assert (tmp_path / "a" / "c.bin").read_bytes() == b"\x00\x01"
    assert names(tmp_path / "a") == ["b.txt", "c.bin"]
    assert (tmp_path / "a" / "b.txt").stat().st_mode & 0o777 == 0o644


class BoomError(Exception):
    pass


@pytest.mark.parametrize("error", [BoomError("torn"), KeyboardInterrupt(), MemoryError()])
def test_a_writer_that_fails_leaves_the_old_file(tmp_path: Path, error: BaseException):
    path = tmp_path / "file"
    path.write_text("old")

    def write(temporary: Path) -> None:
        temporary.write_text("half of the ne")
        assert path.read_text() == "old"
        raise error

    with pytest.raises(type(error)):
        write_file_atomically(path, write)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int):
    path = tmp_path / "results.json"
    path.write_text("old")

    def full(self: Path, data: bytes) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(VicinalError) as caught:
        write_json(path, {})
    message = str(caught.value)
    assert "the disk is full" in message
    assert str(path) in message
    assert "the same command again" in message
    assert caught.value.exit_code == 1
    assert "\n" not in message
    assert path.read_text() == "old"
    assert names(tmp_path) == ["results.json"]


def test_a_disk_that_fills_while_syncing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(VicinalError, match="the disk is full"):
        write_atomically(tmp_path / "x", "content")
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "text",
    ["PytorchStreamWriter failed writing file: file write failed", "Error: No space left on device (os error 28)"],
)
def test_a_full_disk_in_a_librarys_words(tmp_path: Path, text: str):
    def write(_: Path) -> None:
        raise RuntimeError(text)

    with pytest.raises(VicinalError, match="the disk is full"):
        write_file_atomically(tmp_path / "checkpoint.pt", write)


def test_a_librarys_other_errors_stay_what_they_are(tmp_path: Path):
    def write(_: Path) -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        write_file_atomically(tmp_path / "x", write)


def test_a_place_that_cannot_be_written(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(VicinalError, match="permissions"):
        write_atomically(tmp_path / "file" / "below.txt", "x")


def test_json_has_no_nan(tmp_path: Path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert names(tmp_path) == []


def test_leftovers_of_a_killed_process_are_cleared_and_nothing_else(tmp_path: Path):
    run = tmp_path / "runs" / "a"
    run.mkdir(parents=True)
    for kept in ("weights.safetensors", "my.part", ".hidden"):
        (run / kept).write_text("kept")
    (run / ".weights.safetensors.x1y2.part").write_text("half")
    (tmp_path / ".results.json.abc.part").write_text("half")
    clear_leftovers(tmp_path)
    assert names(run) == [".hidden", "my.part", "weights.safetensors"]
    assert names(tmp_path) == ["runs"]


# --- the study folder -------------------------------------------------------------------------------------------------


def test_a_new_folder_is_marked_and_opens_again(tmp_path: Path):
    out = tmp_path / "out"
    open_study_folder(out, "s")
    mark = json.loads((out / "study.json").read_text())
    assert mark["schema"] == SCHEMA
    assert mark["study"] == "s"
    assert mark["version"]
    open_study_folder(out, "s")
    check_study_folder(out)


def test_an_empty_folder_is_taken(tmp_path: Path):
    (tmp_path / ".lock").write_text("")
    open_study_folder(tmp_path, "s")


def test_a_foreign_folder_is_refused_and_left_alone(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(UsageError, match=r"thesis\.tex.*--out"):
        open_study_folder(tmp_path, "s")
    assert names(tmp_path) == ["thesis.tex"]


def test_another_studys_folder_is_refused(tmp_path: Path):
    open_study_folder(tmp_path, "first")
    with pytest.raises(UsageError, match=r"'first'.*'second'.*--out"):
        open_study_folder(tmp_path, "second")


def test_another_schema_is_refused_by_its_version(tmp_path: Path):
    (tmp_path / "study.json").write_text(json.dumps({"schema": 99, "version": "9.0", "study": "s"}))
    for check in (lambda: open_study_folder(tmp_path, "s"), lambda: check_study_folder(tmp_path)):
        with pytest.raises(UsageError, match=r"vicinal 9\.0 \(schema 99\)"):
            check()


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "null", '"text"', "\xff\x00"])
def test_a_damaged_mark_does_not_cost_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str):
    open_study_folder(tmp_path, "s")
    write_json(tmp_path / "runs" / "a" / "done.json", {})
    whole = (tmp_path / "study.json").read_bytes()
    (tmp_path / "study.json").write_text(content, encoding="latin-1")
    check_study_folder(tmp_path)
    open_study_folder(tmp_path, "s")
    assert capsys.readouterr().err == f"{tmp_path / 'study.json'} is damaged; it is written again\n"
    assert (tmp_path / "study.json").read_bytes() == whole


def test_every_flipped_bit_of_a_mark_is_mended(tmp_path: Path):
    open_study_folder(tmp_path, "s")
    whole = (tmp_path / "study.json").read_bytes()
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        (tmp_path / "study.json").write_bytes(flipped)
        open_study_folder(tmp_path, "s")
        assert json.loads((tmp_path / "study.json").read_text()) == json.loads(whole)


def test_a_damaged_mark_makes_nobody_elses_folder_a_studys(tmp_path: Path):
    (tmp_path / "study.json").write_text("{")
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(UsageError, match=r"study\.json is damaged.*thesis\.tex.*--out"):
        open_study_folder(tmp_path, "s")
    assert (tmp_path / "study.json").read_text() == "{"


def test_a_damaged_mark_leaves_the_results_to_their_study(tmp_path: Path):
    open_study_folder(tmp_path, "s")
    write_sealed_json(tmp_path / "results.json", {"study": "s"})
    (tmp_path / "study.json").write_text("{")
    with pytest.raises(UsageError, match=r"'s'.*'other'"):
        open_study_folder(tmp_path, "other")
    open_study_folder(tmp_path, "s")


def test_what_a_killed_process_was_writing_does_not_cost_the_folder(tmp_path: Path):
    (tmp_path / ".lock").write_text("")
    (tmp_path / ".study.json.x1y2.part").write_text('{"sch')
    open_study_folder(tmp_path, "s")
    check_study_folder(tmp_path)


@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.write_text(""), lambda p: p.mkdir()])
def test_what_is_no_study_folder(tmp_path: Path, make: Callable[[Path], Any]):
    make(tmp_path / "x")
    with pytest.raises(UsageError, match="vicinal run"):
        check_study_folder(tmp_path / "x")


# --- one holder at a time ---------------------------------------------------------------------------------------------

HOLDER = """
import sys, time
from pathlib import Path
from vicinal.workspace import hold
with hold(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_second_process_hears_who_holds_it_and_a_kill_lets_go(tmp_path: Path):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(UsageError) as caught, hold(tmp_path):
            pass
        assert f"process {process.pid} " in str(caught.value)
        assert "--out" in str(caught.value)
    finally:
        process.kill()
        process.wait()
    with hold(tmp_path):
        assert f"process {os.getpid()} " in (tmp_path / ".lock").read_text()


def test_a_folder_is_let_go_after_an_error(tmp_path: Path):
    with pytest.raises(BoomError), hold(tmp_path):
        raise BoomError
    with hold(tmp_path):
        pass


def test_processes_that_share_a_folder_keep_others_out(tmp_path: Path):
    with hold(tmp_path, shared=True):
        with hold(tmp_path, shared=True), pytest.raises(UsageError, match="is held by"), hold(tmp_path):
            pass
        with pytest.raises(UsageError, match="is held by"):
            check_not_held(tmp_path)
    with hold(tmp_path), pytest.raises(UsageError, match="is held by"), hold(tmp_path, shared=True):
        pass


def test_a_file_cannot_be_held(tmp_path: Path):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError, match="--out"), hold(path):
            pass
    assert (tmp_path / "file").read_text() == "mine"


LOCKER = """
import sys, time
from vicinal.workspace import locked
with open(sys.argv[1]) as file, locked(file):
    print("locked", flush=True)
    sys.stdin.readline()
"""


def test_a_file_is_locked_for_others_until_it_is_let_go(tmp_path: Path):
    path = tmp_path / "file"
    path.write_text("")
    with subprocess.Popen(
        [sys.executable, "-c", LOCKER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"locked\n"
        with path.open() as file:
            with pytest.raises(BlockingIOError), locked(file, wait=False):
                pass
            with pytest.raises(BlockingIOError), locked(file.fileno(), wait=False, shared=True):
                pass
            process.stdin.write(b"\n")
            process.stdin.flush()
            with locked(file):  # waits
                pass


def test_a_lock_ends_with_its_block_while_the_file_stays_open(tmp_path: Path):
    path = tmp_path / "file"
    path.write_text("")
    with path.open() as file, path.open() as other:
        with pytest.raises(BoomError), locked(file):
            raise BoomError
        with locked(other, wait=False):
            pass
        with locked(file, shared=True), locked(other, shared=True, wait=False):
            pass


# --- run folders ------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    spec = RunSpec(
        role="student",
        name="baseline",
        network=NetworkSpec(model="vicinal_mobilenet", epochs=1),
        objective=ARMS["baseline"],
        seed=3,
        data={"train": "x"},
    )
    return RunFolder(tmp_path, spec)


def test_a_run_lives_in_a_folder_named_by_its_fingerprint(run: RunFolder, tmp_path: Path):
    run.open()
    assert run.path == tmp_path / "runs" / f"student-baseline-s3-{run.spec.fingerprint()}"
    assert RunSpec.model_validate(read_sealed_json(run.path / "spec.json")) == run.spec


LOG = [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25}]


def finished(run: RunFolder) -> RunFolder:
    run.open()
    run.checkpoint.write_text("x")
    assert not run.is_done
    run.weights.write_bytes(bytes(range(256)))
    assert not run.is_done
    run.write_log(LOG)
    run.finish({"training_s": 3}, LOG)
    return run


def test_a_run_is_done_when_its_mark_and_its_weights_are_there(run: RunFolder):
    finished(run)
    assert run.is_done
    assert run.damage is None
    assert run.mend() == []
    assert not run.checkpoint.exists()
    assert run.summary()["training_s"] == 3
    assert run.summary()["log"] == LOG == run.read_log()
    run.weights.unlink()
    assert not run.is_done


def damages(content: bytes) -> Iterator[bytes]:
    """Cut to half and to nothing, a quarter zeroed, a bit flipped somewhere."""
    yield content[: len(content) // 2]
    yield b""
    quarter = len(content) // 4
    yield content[:quarter] + bytes(quarter) + content[2 * quarter :]
    for place in range(0, len(content), 37):
        yield content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :]


@pytest.mark.parametrize("name", ["done.json", "weights.safetensors"])
def test_a_damaged_mark_or_weights_are_no_finished_run(run: RunFolder, name: str):
    path = finished(run).path / name
    whole = path.read_bytes()
    for damaged in damages(whole):
        path.write_bytes(damaged)
        if damaged != whole and not (name == "done.json" and same_value(damaged, whole)):
            assert not run.is_done
            assert str(path) in (run.damage or "")
            assert "trained again" in (run.damage or "")
            assert "\n" not in (run.damage or "")
            assert run.mend() == []
    path.write_bytes(whole)
    assert run.is_done


def same_value(a: bytes, b: bytes) -> bool:
    """Whether two files of JSON say the same: a flipped bit may make one white space of another."""
    try:
        return bool(json.loads(a) == json.loads(b))
    except ValueError:
        return False


@pytest.mark.parametrize("name", ["spec.json", "log.jsonl"])
def test_what_rests_on_the_mark_is_written_again(run: RunFolder, name: str):
    path = finished(run).path / name
    whole = path.read_bytes()
    for damaged in damages(whole):
        path.write_bytes(damaged)
        lines = run.mend()
        if name == "log.jsonl" or not same_value(damaged, whole):
            assert len(lines) == 1
            assert str(path) in lines[0]
            assert path.read_bytes() == whole
    assert run.is_done
    assert run.summary()["log"] == LOG


def test_what_an_older_version_wrote_is_no_damage(run: RunFolder):
    path = finished(run).path / "spec.json"
    whole = read_sealed_json(path)
    older = {key: value for key, value in whole.items() if key != "validate_every_epochs"}
    write_sealed_json(path, older)
    assert run.mend() == []
    assert read_sealed_json(path) == whole


def test_a_mark_of_another_run_is_none(run: RunFolder, tmp_path: Path):
    other = RunFolder(tmp_path, run.spec.model_copy(update={"seed": 4}))
    finished(run)
    finished(other)
    shutil.copy(other.done, run.done)
    assert not run.is_done
    assert "another run" in (run.damage or "")


def test_the_log_is_what_a_checkpoint_says_and_forgives_a_cut_line(run: RunFolder):
    assert run.read_log() == []
    run.open()
    for step in (1, 2, 3):
        run.append_log({"step": step})
    with run.log.open("a") as file:
        file.write('{"step": 4, "lo')
    assert [entry["step"] for entry in run.read_log()] == [1, 2, 3]
    run.write_log(run.read_log()[:2])
    run.append_log({"step": 3, "again": True})
    assert [entry["step"] for entry in run.read_log()] == [1, 2, 3]
    assert len(run.log.read_text().splitlines()) == 3


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL])
def test_a_file_system_without_locks_is_told_from_another_holder(tmp_path: Path, monkeypatch, number: int):
    def no_locks(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    (tmp_path / ".lock").touch()
    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(UsageError, match=r"\.lock lies on a file system that locks no files"), hold(tmp_path):
        pass
    with pytest.raises(UsageError, match="locks no files"):
        check_not_held(tmp_path)


@pytest.mark.parametrize("words", [b"\xff\xfe\x00", b"x" * 100_000, b""])
def test_whatever_stands_in_a_lock_the_line_is_short(tmp_path: Path, words: bytes):
    with hold(tmp_path):
        (tmp_path / ".lock").write_bytes(words)
        with pytest.raises(UsageError, match="is held by") as refused, hold(tmp_path):
            pass
        assert len(str(refused.value)) < 1000


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664), (0o027, 0o640)])
def test_files_have_the_rights_of_the_umask(tmp_path: Path, mask: int, mode: int):
    before = os.umask(mask)
    try:
        write_atomically(tmp_path / "x", "x")
        write_file_atomically(tmp_path / "y", lambda path: path.write_text("y") and None)
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in "xy"] == [mode, mode]


def test_ctrl_c_within_a_write_is_no_full_disk(tmp_path: Path):
    """torch closes what it could not finish, and tells that as a file of the wrong length."""
    import torch

    class Stopped:
        def write(self, data: bytes) -> int:
            raise KeyboardInterrupt

        def flush(self) -> None: ...

    with pytest.raises(KeyboardInterrupt):
        write_file_atomically(tmp_path / "x", lambda _: torch.save({"a": torch.zeros(9)}, Stopped()))
    assert names(tmp_path) == []
