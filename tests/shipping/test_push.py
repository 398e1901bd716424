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
    kind = type("OneHub", (Hub,), {"made": {}, "files": {}})
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


def push(student: Path, repository: str, endpoint: str, token: str | None, *options: str) -> tuple[int, str, str]:
    """In a process of its own: the hub's address and token are read when huggingface_hub is imported."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("HF_") and "proxy" not in key.lower()}
    env |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(student.parent / "home"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    env |= {} if token is None else {"HF_TOKEN": token}
    command = [sys.executable, "-m", "vicinal", "push", str(student), repository, *options]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=300)
    return done.returncode, done.stdout, done.stderr


def test_a_student_arrives_whole(hub: tuple[str, type[Hub]], student: Path):
    endpoint, received = hub
    code, out, err = push(student, "me/student", endpoint, GOOD, "--private")
    assert code == 0, err
    assert f"{endpoint}/me/student" in out
    assert (received.made["name"], received.made["organization"]) == ("student", "me")
    assert received.made.get("visibility") == "private" or received.made.get("private") is True
    assert received.files == {
        file.name: file.read_bytes() for file in student.iterdir() if not file.name.startswith(".")
    }


@pytest.mark.parametrize(
    ("repository", "token", "code", "words"),
    [
        ("me/student", "hf_wrong", 2, "hf auth login"),
        ("somebody/student", GOOD, 2, "may not write somebody/student"),
        ("student", GOOD, 2, "is no OWNER/NAME"),
    ],
)
def test_refusals_are_one_line(
    hub: tuple[str, type[Hub]], student: Path, repository: str, token: str | None, code: int, words: str
):
    found, _, err = push(student, repository, hub[0], token)
    assert found == code, err
    assert words in err.strip().splitlines()[-1]
    assert "Traceback" not in err
    assert hub[1].files == {}
