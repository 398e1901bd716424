"""A study's folder on an object store: whole or not at all, marks last, whatever breaks off."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
import time
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Any

import fsspec
import pytest

from vicinal.errors import UsageError, VicinalError
from vicinal.workspace import HeldError, JobState, RemoteFolder, RemoteJobs, folder_or_url, remote_jobs
from vicinal.workspace import remote as remote_module

WEIGHTS, MARK = "runs/a/weights.safetensors", "runs/a/done.json"


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return f"memory://bucket/{uuid.uuid4().hex}"


def there(url: str) -> dict[str, bytes]:
    store, root = fsspec.url_to_fs(url)
    store.invalidate_cache()
    with contextlib.suppress(FileNotFoundError):
        return {path.removeprefix(f"{root}/"): store.cat_file(path) for path in store.find(root)}
    return {}


def write(folder: RemoteFolder, **files: bytes) -> None:
    for name, content in files.items():
        path = folder.local / {"weights": WEIGHTS, "mark": MARK}.get(name, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def test_what_is_done_goes_and_what_is_not_stays(url: str):
    folder = RemoteFolder(url)
    assert folder.fetch() == 0
    write(folder, weights=b"half", **{"study.json": b"{}", "runs/a/.lock": b"", "banks/b": b""})
    folder.send()
    assert there(url) == {"study.json": b"{}"}
    write(folder, weights=b"whole", mark=b"1", **{"runs/b/checkpoint.pt": b"", "runs/a/log.jsonl": b""})
    folder.send()
    of_a = {WEIGHTS: b"whole", MARK: b"1", "runs/a/log.jsonl": b""}
    assert there(url) == {"study.json": b"{}", **of_a}
    write(folder, **{"results.json": b"{}", "tables/t.csv": b"t"})
    with folder.kept(print):
        pass
    assert there(url) == {"study.json": b"{}", **of_a, "results.json": b"{}", "tables/t.csv": b"t"}
    shutil.rmtree(folder.local)
    again = RemoteFolder(url)
    assert again.fetch() == 1
    assert {name: (again.local / name).read_bytes() for name in of_a} == of_a
    assert (again.local / "study.json").exists()
    assert RemoteFolder(url).fetch() == 0


def test_what_lies_there_is_not_sent_again(url: str, monkeypatch: pytest.MonkeyPatch):
    folder = RemoteFolder(url)
    write(folder, weights=b"whole", mark=b"1")
    folder.send()
    again = RemoteFolder(url)
    again.fetch()
    monkeypatch.setattr(shutil, "copyfileobj", lambda *_: pytest.fail("it is sent again"))
    again.send()


@pytest.mark.parametrize("breaks_at", range(4))
@pytest.mark.parametrize("half", [0, 3])
def test_no_mark_speaks_of_what_is_not_there(url: str, monkeypatch: pytest.MonkeyPatch, breaks_at: int, half: int):
    """Of a run that is there already and was trained again, too: the old mark goes before the new weights come."""
    folder = RemoteFolder(url)
    write(folder, weights=b"old weights", mark=b"old weights")
    folder.send()
    write(folder, weights=b"new weights, longer", mark=b"new weights, longer", **{"runs/a/log.jsonl": b"log"})
    count = iter(range(100))

    def copy(source: Any, target: Any, _: int) -> None:
        if next(count) == breaks_at:
            target.write(source.read()[:half])
            raise ConnectionError("the line is cut")
        target.write(source.read())

    monkeypatch.setattr(shutil, "copyfileobj", copy)
    with contextlib.suppress(VicinalError):
        folder.send()
    found = there(url)
    assert b"" not in found.values()
    assert found.get(WEIGHTS) in (b"old weights", b"new weights, longer")
    assert MARK not in found or found[MARK] == found[WEIGHTS]
    monkeypatch.undo()
    folder.send()
    assert there(url)[MARK] == there(url)[WEIGHTS] == b"new weights, longer"


def test_runs_go_while_others_are_trained_and_a_cut_line_is_told_once(url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(remote_module, "LOOK_SECONDS", 0.01)
    folder, told, came = RemoteFolder(url), list[str](), threading.Event()
    store = fsspec.filesystem("memory")
    whole, is_cut = type(store)._open, [True]

    def opened(self: Any, path: str, mode: str = "rb", **words: Any) -> Any:
        if is_cut[0] and mode == "wb":
            raise ConnectionError("the line is cut")
        return whole(self, path, mode, **words)

    monkeypatch.setattr(type(store), "_open", opened)

    def say(line: str) -> None:
        told.append(line)
        is_cut[0] = False
        came.set()

    def fails() -> None:
        write(folder, weights=b"whole", mark=b"1")
        assert came.wait(30)
        raise VicinalError("this study failed")

    with pytest.raises(VicinalError, match="this study failed"), folder.kept(say):
        fails()
    assert told == [f"{url} cannot be written: the line is cut; it is tried again"]
    assert there(url) == {WEIGHTS: b"whole", MARK: b"1"}


def test_a_line_that_stays_cut_ends_it_and_keeps_what_is_here(url: str, monkeypatch: pytest.MonkeyPatch):
    folder = RemoteFolder(url)
    write(folder, weights=b"whole", mark=b"1")

    def refuse(*_: Any) -> None:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(shutil, "copyfileobj", refuse)
    with pytest.raises(VicinalError, match="cannot be written: Access Denied"), folder.kept(print):
        pass
    assert (folder.local / WEIGHTS).read_bytes() == b"whole"


def test_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    assert folder_or_url("file:///a/b") == Path("/a/b")
    assert folder_or_url("s3://a/b") == "s3://a/b"
    assert folder_or_url("a/b") == Path("a/b")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UsageError, match="Protocol not known"):
        RemoteFolder("nostore://a/b")
    assert RemoteFolder("memory://a/b").local != RemoteFolder("memory://c/b").local


@pytest.mark.slow
def test_s3(url: str, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("s3fs")
    server_module = pytest.importorskip("moto.server")
    server = server_module.ThreadedMotoServer(port=0)
    server.start()
    try:
        _, port = server.get_host_and_port()
        for name, value in {
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        fsspec.filesystem("s3").mkdir("bucket")
        url = "s3://bucket/studies/one"
        test_what_is_done_goes_and_what_is_not_stays(url)
        for breaks_at in range(4):
            with pytest.MonkeyPatch.context() as patch:
                test_no_mark_speaks_of_what_is_not_there(f"{url}-{breaks_at}", patch, breaks_at, 3)
        folder = RemoteFolder(f"{url}-large")  # in parts
        write(folder, weights=b"w" * 60_000_000, mark=b"1")
        folder.send()
        assert there(folder.url) == {WEIGHTS: b"w" * 60_000_000, MARK: b"1"}
        folder = RemoteFolder("s3://no-such-bucket/one")
        write(folder, mark=b"1")
        with pytest.raises(VicinalError, match="cannot be written"):
            folder.send()
    finally:
        server.stop()


# --- jobs, for workers that share nothing else ---


def state(path: Path, process: int, at: float, state: str = "running") -> None:
    value = JobState(("a",), state, process, "another", at, at)  # type: ignore[arg-type]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(value)))


def test_who_has_a_job(url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(remote_jobs, "SETTLED_SECONDS", 0.0)
    folder = RemoteFolder(url)
    jobs, word = RemoteJobs(folder), folder.local / "work" / "a.json"
    with pytest.raises(UsageError, match="holds no jobs"):
        jobs.fetch_jobs()
    state(word, 1, time.time())
    of_another = word.read_bytes()
    folder.write("work/a.json", of_another)
    word.unlink()
    with pytest.raises(HeldError, match="process 1 on another"), jobs.taken(["a"]):
        pytest.fail("it is another's")
    for kind, at in (("running", time.time() - 1000), ("stopped", time.time())):
        state(word, 1, at, kind)
        folder.write("work/a.json", word.read_bytes())
        with jobs.taken(["a"]):
            assert json.loads(there(url)["work/a.json"])["process"] == os.getpid()
            write(folder, weights=b"whole", mark=b"1")
            word.unlink()  # as one does who is done with it
        assert there(url) == {WEIGHTS: b"whole", MARK: b"1"}
    written = RemoteFolder.write

    def outdone(self: RemoteFolder, name: str, content: bytes) -> None:
        written(self, name, content)
        written(self, name, of_another)

    monkeypatch.setattr(RemoteFolder, "write", outdone)
    with pytest.raises(HeldError, match="taken by another"), jobs.taken(["a"]):
        pytest.fail("it is another's")


def test_words_of_others_come_and_go(url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(remote_jobs, "RENEWED_SECONDS", 0.0)
    folder = RemoteFolder(url)
    jobs, word = RemoteJobs(folder), folder.local / "work" / "a.json"
    state(word, 1, time.time(), "failed")
    folder.write("work/a.json", word.read_bytes())
    word.unlink()
    jobs.watch()
    assert word.exists()
    jobs.forget_failures()
    jobs.watch()
    assert not word.exists()
    folder.write("jobs.json", b"{}")
    write(folder, weights=b"whole", mark=b"1")
    jobs.look()  # what could not be sent when it was done
    assert there(url) == {"jobs.json": b"{}", WEIGHTS: b"whole", MARK: b"1"}

    def cut(_: RemoteFolder) -> int:
        raise VicinalError("the line is cut")

    monkeypatch.setattr(RemoteFolder, "fetch", cut)
    jobs.look()
    monkeypatch.setattr(remote_jobs, "LEFT_SECONDS", -1.0)
    with pytest.raises(VicinalError, match="the line is cut"):
        jobs.look()
