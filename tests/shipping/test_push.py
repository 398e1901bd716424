"""`vicinal push` against a stand-in of the hub on this machine: what arrives, and what a refusal looks like."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

GOOD = "hf_" + "a" * 34


class Hub(BaseHTTPRequestHandler):
    """The four calls of the hub's API that a push of small files makes."""

    made: dict[str, Any]
    files: dict[str, bytes]
    repositories: list[str]  # that commits went to

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Authorization") != f"Bearer {GOOD}":
            return self.answer(401, {"error": "Invalid credentials"})
        if self.path.startswith(
            "/api/models/somebody/"
        ):  # the name is known to be there, so that only writing is refused
            return self.answer(403, {"error": "You don't have the rights"})
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            if asked.get("organization") == "somebody":
                return self.answer(403, {"error": "You don't have the rights"})
            self.made.update(asked)
            return self.answer(200, {"url": f"http://127.0.0.1/{asked.get('organization')}/{asked['name']}",
                                     "id": f"{asked.get('organization')}/{asked['name']}", "name": asked["name"]})  # fmt: skip
        if self.path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        if "/preupload/" in self.path:
            asked = json.loads(body)["files"]
            listed = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in asked]
            return self.answer(200, {"files": listed})
        if "/commit/" in self.path:
            self.repositories.append("/".join(self.path.split("/")[3:5]))
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            told = {
                "commitUrl": "http://127.0.0.1/me/student/commit/1",
                "commitOid": "1" * 40,
                "hookOutput": "",
                "success": True,
            }
            return self.answer(200, told)
        return self.answer(404, {"error": self.path})

    def do_GET(self) -> None:
        self.answer(200, {"id": "me/student", "sha": "1" * 40, "siblings": [], "private": True, "disabled": False,
                          "downloads": 0, "likes": 0, "tags": []})  # fmt: skip

    def answer(self, status: int, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[tuple[str, type[Hub]]]:
    kind = type("OneHub", (Hub,), {"made": {}, "files": {}, "repositories": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", kind
    server.shutdown()
    server.server_close()


@pytest.fixture
def student(tmp_path: Path) -> Path:
    folder = tmp_path / "student"
    folder.mkdir()
    (folder / "README.md").write_text("---\nlibrary_name: timm\n---\n# A student\n")
    (folder / "class_names.txt").write_text("east\nnorth\n")
    (folder / "model.safetensors").write_bytes(bytes(range(256)))
    (folder / ".hidden.part").write_text("cut off")
    return folder


# Pushes one after the other in a process of its own: the hub's address is read when huggingface_hub is imported.
PUSHES = """
import contextlib, io, json, os, sys
from vicinal.cli.main import main

answers = []
for token, *arguments in json.load(sys.stdin):
    os.environ["HF_TOKEN"] = token
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(arguments)
        except SystemExit as stop:
            code = int(stop.code or 0)
    answers.append((code, out.getvalue(), err.getvalue()))
print(json.dumps(answers))
"""


def pushed(student: Path, endpoint: str, *calls: tuple[str, ...]) -> list[tuple[int, str, str]]:
    """Exit status, output and errors of each call: a token, a repository and options."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("HF_") and "proxy" not in key.lower()}
    env |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(student.parent / "home"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    asked = json.dumps([(token, "push", str(student), *rest) for token, *rest in calls])
    done = subprocess.run(
        [sys.executable, "-c", PUSHES], input=asked, capture_output=True, text=True, env=env, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return [tuple(one) for one in json.loads(done.stdout)]


def test_refusals_are_one_line_and_a_student_arrives_whole(hub: tuple[str, type[Hub]], student: Path):
    endpoint, received = hub
    refusals = (
        ("hf_wrong", "me/student", "hf auth login"),
        (GOOD, "somebody/student", "may not write somebody/student"),
        (GOOD, "student", "is no OWNER/NAME"),
    )
    *answers, (code, out, err) = pushed(
        student, endpoint, *((token, name) for token, name, _ in refusals), (GOOD, "me/student", "--private")
    )
    assert code == 0, err
    for (refused, _, told), (*_, words) in zip(answers, refusals, strict=True):
        assert refused == 2, told
        assert words in told.strip().splitlines()[-1]
        assert "Traceback" not in told
    assert received.repositories == ["me/student"]  # nothing was made or written for those refused
    assert f"{endpoint}/me/student" in out
    assert (received.made["name"], received.made["organization"]) == ("student", "me")
    assert received.made.get("visibility") == "private" or received.made.get("private") is True
    assert received.files == {
        file.name: file.read_bytes() for file in student.iterdir() if not file.name.startswith(".")
    }
