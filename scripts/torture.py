"""Torture: what must never be lost and never be silently used, tried at random against the real command. See docs/reliability.md.

    python scripts/torture.py [--minutes 60] [--parts kill,damage,...] [--seed 0] [--out torture.md]

Every part gives a line of a table: what was tried, how often, and what went wrong. The exit status is 1 where anything did. Written
for Linux: parts that need to mount a small disk are left out, and said to be, where that is not allowed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pickle
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

KILLS = 200  # at full length, over all that is killed
SIDE, CLASSES = 12, ("east", "north", "south")
STUDY: dict[str, Any] = {
    "name": "torture",
    "data": {"source": "images", "validation": 0.2},
    "teachers": {"one": {"model": "vicinal_resnet8", "epochs": 3, "batch_size": 20, "lr": 1e-2}},
    "student": {"model": "vicinal_mobilenet", "epochs": 3, "batch_size": 15, "lr": 1e-2, "train_images": 45},
    "arms": ["baseline", {"name": "kd_mixup", "temperature": [2, "sigma"]}],
    "measures": {
        "vicinity": {"pairs": 12, "lam_points": 3, "precision_nats": 0.05},
        "bootstrap_resamples": 100,
        "corruptions": {"images": 15, "names": ["contrast"]},
        "representation": {"classes": ["east", "south"], "images_per_class": 8},
        "ood": {"source": "images"},
    },
    "runtime": {"device": "cpu", "threads": 1, "checkpoint_seconds": 0},
}
TAKES_TIME = (
    "training_s",
    "images_per_second",
    "predicted_per_second",
)  # keys of a network in results.json that no two trainings share
# What one executor of the tests is: every job in a process of its own.
EXECUTOR = """
import subprocess, sys
from pathlib import Path
import vicinal
from vicinal.study import Study, in_order, run_job
from vicinal.workspace import StudyProgress
file, out = sys.argv[1:3]
spec = vicinal.load_study(file)
if len(sys.argv) > 3:
    with StudyProgress(1) as progress:
        run_job(spec, Path(out), sys.argv[3:], progress)
else:
    class Processes:
        def run(self, jobs, run_job, progress):
            for job in in_order(jobs):
                subprocess.run([sys.executable, *sys.orig_argv[1:2], __file__, file, out, *job.runs], check=True)
    vicinal.run(spec, out, executor=Processes())
"""


@dataclass
class Part:
    """A line of the table."""

    name: str
    what: str
    tried: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    left_out: str = ""
    seconds: float = 0.0

    def count(self, outcome: str) -> None:
        """One more try that ended so."""
        self.tried += 1
        self.counts[outcome] = self.counts.get(outcome, 0) + 1

    def fault(self, text: str) -> None:
        """Something that must never happen."""
        self.count("wrong")
        self.faults.append(" ".join(text.split())[:400])
        print(f"  WRONG: {self.faults[-1]}", flush=True)


@dataclass
class Answer:
    """What a command came back with."""

    code: int
    out: str
    err: str

    @property
    def last(self) -> str:
        lines = self.err.strip().splitlines()
        return lines[-1] if lines else ""


class Forked:
    """The command line in a process of its own."""

    def __init__(self, arguments: list[str], folder: Path, environment: dict[str, str]) -> None:
        import matplotlib.figure  # noqa: F401
        import sklearn.cluster
        import sklearn.manifold  # noqa: F401

        import vicinal.report
        import vicinal.study  # noqa: F401
        from vicinal.cli.main import main

        self._streams = [folder / f"stream-{time.monotonic_ns()}.{name}" for name in ("out", "err")]
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid:
            return
        code = 1
        try:
            os.setsid()
            os.chdir(folder)
            os.environ.update(environment)
            for number, path in enumerate(self._streams, 1):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))  # noqa: SIM115
            code = main(arguments)
        except SystemExit as stop:
            code = int(stop.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def wait(self, seconds: float) -> bool:
        """Whether it ended within some seconds; then its status is known."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.poll() is not None:
                return True
            time.sleep(0.002)
        return self.poll() is not None

    code: int | None = None

    def poll(self) -> int | None:
        """Its exit status, or None while it runs."""
        if self.code is None:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if found else None
        return self.code

    def kill(self) -> None:
        """kill -9, of it and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        if self.code is None:
            self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def answer(self) -> Answer:
        """What it came back with, at its end."""
        while not self.wait(60):
            pass
        out, err = (path.read_text(encoding="utf-8", errors="replace") for path in self._streams)
        for path in self._streams:
            path.unlink()
        return Answer(self.code or 0, out, err)


class Torture:
    """A study, its undisturbed folder, and ways to disturb a copy."""

    def __init__(self, root: Path, chance: random.Random) -> None:
        self.root, self.chance = root, chance
        self.environment = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(root / "cache")}
        (root / "executor.py").write_text(EXECUTOR)
        write_images(root / "images" / "train", 24, 1)
        write_images(root / "images" / "test", 12, 2)
        self.file = root / "torture.yaml"
        self.file.write_text(yaml.safe_dump(STUDY, sort_keys=False))
        self.whole = root / "whole"

    # --- commands ---

    def command(self, *arguments: object) -> list[str]:
        """The real command line."""
        return [sys.executable, "-m", "vicinal", *map(str, arguments)]

    def call(self, *arguments: object, timeout: float = 240, **options: Any) -> Answer:
        """The command line, to its end: in a fork of this process, or where `options` of a process are given in a fresh one."""
        if not options:
            return self.start(*arguments).answer()
        command, environment = self.command(*arguments), options.pop("env", self.environment)
        done = subprocess.run(
            command, cwd=self.root, env=environment, capture_output=True, text=True, timeout=timeout, **options
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: object) -> Forked:
        """The command line in a fork of this process, which has imported all that it needs: most of a small study's time."""
        return Forked([str(argument) for argument in arguments], self.root, self.environment)

    def run(self, out: Path, **options: Any) -> Answer:
        """The study into a folder."""
        return self.call("run", self.file, "--out", out, **options)

    def prepare(self) -> None:
        """The undisturbed folder, with its bank."""
        for arguments in (["bank", "build", self.file, "--out"], ["run", self.file, "--out"]):
            answer = self.call(*arguments, self.whole)
            if answer.code:
                sys.exit(f"the undisturbed study fails: {answer.err}")
        self.wanted, self.weights = numbers(self.whole), weights_of(self.whole)
        self.banks = banks_of(self.whole)

    def copy(self) -> Path:
        """A copy of the undisturbed folder."""
        out = self.root / "copy"
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(self.whole, out)
        return out

    def fresh(self) -> Path:
        """A folder that is not there."""
        out = self.root / "fresh"
        shutil.rmtree(out, ignore_errors=True)
        return out

    def unequal(self, out: Path, with_banks: bool = True) -> str:
        """How a finished folder differs from the undisturbed one; empty where all weights, numbers and answers are equal."""
        if weights_of(out) != self.weights:
            return "other weights"
        if numbers(out) != self.wanted:
            return "other numbers"
        banks = banks_of(out) if with_banks else {}
        return "other answers in the bank" if any(banks[name] != self.banks[name] for name in banks) else ""


def write_images(root: Path, per_class: int, seed: int) -> None:
    """Grey images with a brighter third in noise."""
    generator, third = np.random.default_rng(seed), SIDE // len(CLASSES)
    for position, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True)
        for n in range(per_class):
            pixels = generator.integers(0, 150, (SIDE, SIDE))
            pixels[:, position * third : (position + 1) * third] += 30
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / name / f"{n:03}.png")


def numbers(out: Path) -> Any:
    """All that a study found, but for what took time."""
    found = json.loads((out / "results.json").read_text())
    models = [{k: v for k, v in m.items() if k not in TAKES_TIME} for m in found["teachers"] + found["students"]]
    return json.loads(json.dumps([models, found["mcnemar"], found["measures"]]))


def weights_of(out: Path) -> dict[str, bytes]:
    """Every run's weights."""
    return {path.parent.name: path.read_bytes() for path in out.glob("runs/*/weights.safetensors")}


def banks_of(out: Path) -> dict[str, bytes]:
    """Every bank's answers."""
    return {
        f"{path.parent.name}/{path.name}": path.read_bytes()
        for path in out.glob("banks/*/*")
        if path.suffix != ".json" and path.is_file()
    }


def is_one_line(answer: Answer) -> bool:
    """Whether a failure is a clean one: exit status 1 or 2, no traceback, a last line by the command."""
    return answer.code in (1, 2) and "Traceback" not in answer.err and answer.last.startswith("vicinal: ")


# --- parts ---


def kills(torture: Torture, part: Part, budget: Budget) -> None:
    """kill -9 at random moments, up to four times in one folder, then the same command to its end."""
    subjects = ("study", "study", "bank", "report", "executor")
    longest = {"study": 2.0, "bank": 1.5, "report": 1.0, "executor": 12.0}
    rounds = 0
    while part.tried < KILLS and not budget.is_over:
        subject = subjects[rounds % len(subjects)]
        rounds += 1
        out = torture.copy() if subject == "report" else torture.fresh()
        for _ in range(torture.chance.choice((1, 2, 3, 4))):
            start = time.monotonic()
            process: Any
            if subject == "executor":
                command = [sys.executable, str(torture.root / "executor.py"), str(torture.file), str(out)]
                process = subprocess.Popen(
                    command, cwd=torture.root, env=torture.environment, stdout=-3, stderr=-3, start_new_session=True
                )
            else:
                arguments = {"study": ["run", torture.file, "--out"], "bank": ["bank", "build", torture.file, "--out"]}
                process = torture.start(*arguments.get(subject, ["report"]), out)
            end = start + torture.chance.uniform(0.02, 1.0) * longest[subject]
            while process.poll() is None and time.monotonic() < end:
                time.sleep(0.002)
            if process.poll() is not None:
                longest[subject] = max(time.monotonic() - start, 0.5)
                continue
            if subject == "executor":
                os.killpg(process.pid, signal.SIGKILL)  # its jobs, too
                process.wait()
            else:
                process.kill()
            part.count(f"{subject} killed")
        if subject == "bank":
            torture.call("bank", "build", torture.file, "--out", out)
        ends = torture.run(out) if subject != "report" else torture.call("report", out)
        unequal = torture.unequal(out) if ends.code == 0 else ends.err[-300:]
        left = [p.name for p in out.rglob(".*.part")] if subject != "report" else []
        if ends.code or unequal or left:
            part.fault(f"{subject} killed, then {unequal or left}")
        else:
            part.counts["folders then equal"] = part.counts.get("folders then equal", 0) + 1


def damages(content: bytes, chance: random.Random) -> dict[str, bytes]:
    """A file cut to half and to nothing, with a quarter zeroed, and with one bit flipped somewhere."""
    start, quarter, bit = (
        chance.randrange(max(1, 3 * len(content) // 4)),
        len(content) // 4,
        chance.randrange(8 * len(content)),
    )
    flipped = bytearray(content)
    flipped[bit // 8] ^= 1 << bit % 8
    return {
        "half": content[: len(content) // 2],
        "nothing": b"",
        "zeroed": content[:start] + bytes(quarter) + content[start + quarter :],
        "bit": bytes(flipped),
    }


KINDS = {
    "weights of the teacher": "runs/teacher-*/weights.safetensors",
    "weights of a student": "runs/student-*/weights.safetensors",
    "predictions": "runs/*/predictions-*",
    "corrupted answers": "runs/*/corrupted-*",
    "features": "runs/*/features-*",
    "features' picture": "runs/*/representation-*",
    "another data set's answers": "runs/*/other-*",
    "the pilot": "runs/*/pairs-*",
    "done.json": "runs/*/done.json",
    "spec.json": "runs/*/spec.json",
    "network.json": "runs/*/network.json",
    "log.jsonl": "runs/*/log.jsonl",
    "study.json": "study.json",
    "the list of images": "images.csv",
    "results.json": "results.json",
    "resamples.npz": "resamples.npz",
    "a bank's answers": "banks/*/*.bin",
    "bank.json": "banks/*/bank.json",
}


def damage(torture: Torture, part: Part, budget: Budget) -> None:
    """Each kind of file of a finished study damaged in each way; then the same command, which must give the same numbers."""
    chosen = [(kind, pattern, how) for kind, pattern in KINDS.items() for how in ("half", "nothing", "zeroed", "bit")]
    torture.chance.shuffle(chosen)
    for round_ in range(3):
        for kind, pattern, how in chosen:
            if budget.is_over:
                return
            out = torture.copy()
            files = [path for path in sorted(out.glob(pattern)) if path.is_file()]
            if not files:
                part.fault(f"no {kind} in a finished folder")
                continue
            path = torture.chance.choice(files)
            content = path.read_bytes()
            path.write_bytes(damages(content, torture.chance)[how])
            if kind == "results.json" and round_ % 2 == 0:
                damaged_results(torture, part, out, content)
                continue
            if kind.startswith(("a bank", "bank.json")):  # so that a student reads it
                victim = torture.chance.choice(sorted(out.glob("runs/student-kd*")))
                shutil.rmtree(victim)
            judge(torture, part, out, path, content, kind, how)


def judge(torture: Torture, part: Part, out: Path, path: Path, content: bytes, kind: str, how: str) -> None:
    """Whether a damaged file was repaired with a line about it, or refused in one."""
    damaged = path.read_bytes()
    answer = torture.run(out)
    if answer.code:
        if is_one_line(answer) and (path.name in answer.last or path.parent.name in answer.last):
            part.count("refused in one line")
        else:
            part.fault(f"{kind}, {how}: {answer.err[-300:]}")
        return
    unequal = torture.unequal(out)
    made_anew = kind in (
        "the list of images",
        "results.json",
        "resamples.npz",
        "a bank's answers",
    )  # whatever was there
    if unequal:
        part.fault(f"{kind}, {how}: {unequal}")
    elif path.name in answer.err:
        part.count("repaired with a line")
    elif made_anew or damaged == content or same_value(damaged, content):
        part.count("made anew" if made_anew else "harmless")
    else:
        part.fault(f"{kind}, {how}: not a word")


def same_value(a: bytes, b: bytes) -> bool:
    """Whether two JSON files say the same."""
    with contextlib.suppress(ValueError):
        return bool(json.loads(a) == json.loads(b))
    return False


def damaged_results(torture: Torture, part: Part, out: Path, content: bytes) -> None:
    """A report of damaged results is refused in one line, or says the same."""
    changed = not same_value((out / "results.json").read_bytes(), content)
    answer = torture.call("report", out)
    if changed and not (is_one_line(answer) and "results.json" in answer.last):
        part.fault(f"report of changed results: {answer.code} {answer.err[-200:]}")
    else:
        part.count("refused in one line" if changed else "harmless")


def checkpoints(torture: Torture, part: Part, budget: Budget) -> None:
    """A run killed in training, its checkpoint or its log damaged; then the same command."""
    for _ in range(6):
        for name in ("checkpoint.pt", "log.jsonl"):
            for how in ("half", "nothing", "zeroed", "bit"):
                if budget.is_over:
                    return
                out = torture.fresh()
                path = killed_in_training(torture, out)
                if path is None:
                    continue
                path = path.with_name(name)
                if not path.exists() or not path.stat().st_size:  # killed before its first epoch was logged
                    continue
                path.write_bytes(damages(path.read_bytes(), torture.chance)[how])
                answer = torture.run(out)
                unequal = torture.unequal(out) if answer.code == 0 else answer.err[-300:]
                if unequal or (name == "checkpoint.pt" and "checkpoint.pt" not in answer.err):
                    part.fault(f"{name}, {how}: {unequal or 'not a word'}")
                else:
                    part.count(f"{name} replaced")


def killed_in_training(torture: Torture, out: Path) -> Path | None:
    """The checkpoint of a run that was killed; None where all was done before."""
    process, found = torture.start("run", torture.file, "--out", out), list[Path]()
    wanted = torture.chance.choice(("teacher", "student"))
    while process.poll() is None:
        found = list(out.glob(f"runs/{wanted}-*/checkpoint.pt"))
        if found:
            process.kill()
        time.sleep(0.002)
    return next((path for path in found if path.exists()), None)


class Hostile:
    """What runs code where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {tempfile.gettempdir()}/torture-executed-{os.getpid()}",)


def hostile(torture: Torture, part: Part, budget: Budget) -> None:
    """Pickles that run code, as each kind of file that is read, also behind a checksum that fits."""
    import hashlib

    mark = Path(f"{tempfile.gettempdir()}/torture-executed-{os.getpid()}")
    content = pickle.dumps(Hostile())
    sealed = content + b"\nsha256:" + hashlib.sha256(content).digest()
    for kind, pattern in {**KINDS, "checkpoint": "checkpoint"}.items():
        for bytes_ in (content, sealed):
            if budget.is_over:
                return
            if kind == "checkpoint":
                out = torture.fresh()
                path = killed_in_training(torture, out)
                if path is None:
                    continue
            else:
                out = torture.copy()
                path = torture.chance.choice(sorted(out.glob(pattern)))
            path.write_bytes(bytes_)
            answer = torture.run(out)
            if mark.exists():
                mark.unlink()
                part.fault(f"{kind}: code was run")
            elif answer.code and not is_one_line(answer):
                part.fault(f"{kind}: {answer.err[-300:]}")
            elif answer.code == 0 and (unequal := torture.unequal(out, with_banks=False)):  # which nobody reads here
                part.fault(f"{kind}: {unequal}")
            else:
                part.count("no code run")
    for name in ("w.pt", "w.pth", "w.safetensors"):
        weights = torture.root / name
        weights.write_bytes(content)
        answer = torture.call("run", torture.file, f"teachers.one.weights={weights}", "--out", torture.fresh())
        if mark.exists() or not is_one_line(answer) or name not in answer.last:
            part.fault(f"weights {name}: {answer.err[-300:]}")
        else:
            part.count("no code run")


def full_disks(torture: Torture, part: Part, budget: Budget) -> None:
    """The study onto disks of many sizes, each of which is full on the way; then with room enough."""
    size = sum(path.stat().st_size for path in torture.whole.rglob("*") if path.is_file())
    place = torture.root / "disk"
    place.mkdir()
    for n in range(28):
        if budget.is_over:
            return
        kilobytes = max(4, round((n + 0.5 * torture.chance.random()) * 1.15 * size / 28 / 1024))
        if subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "torture", place], capture_output=True
        ).returncode:
            part.left_out = "no small disk can be mounted here"
            return
        try:
            answer = torture.run(place / "out")
            if answer.code and (
                not is_one_line(answer) or ("disk is full" not in answer.last and "No space" not in answer.last)
            ):
                part.fault(f"{kilobytes} kB: {answer.err[-400:]}")
                continue
            full = bool(answer.code)
            subprocess.run(["mount", "-o", f"remount,size={4 * size // 1024 + 4096}k", place], check=True)
            answer = torture.run(place / "out")
            unequal = torture.unequal(place / "out") if answer.code == 0 else answer.err[-300:]
            if unequal:
                part.fault(f"{kilobytes} kB, then with room: {unequal}")
            else:
                part.count("full, one line, then continued" if full else "fitted")
        finally:
            subprocess.run(["umount", "-l", place], check=True)


def size_limits(torture: Torture, part: Part, budget: Budget) -> None:
    """The study under limits of a file's size: every write may fail on the way, in any library; then without."""
    largest = max(path.stat().st_size for path in torture.whole.rglob("*") if path.is_file())
    for _ in range(12):
        if budget.is_over:
            return
        limit, out = int(largest * torture.chance.random() ** 2), torture.fresh()

        def less(limit: int = limit) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

        answer = torture.run(out, preexec_fn=less)
        if answer.code and not is_one_line(answer):
            part.fault(f"{limit} B: {answer.err[-400:]}")
            continue
        answer = torture.run(out)
        unequal = torture.unequal(out) if answer.code == 0 else answer.err[-300:]
        if unequal:
            part.fault(f"{limit} B, then without: {unequal}")
        else:
            part.count("one line, then continued")


def surroundings(torture: Torture, part: Part, _: Budget) -> None:
    """No home, an unwritable cache, 64 file descriptors, files of the future, a folder that cannot be written."""
    bare = {key: value for key, value in torture.environment.items() if key not in ("HOME", "XDG_CACHE_HOME")}
    (torture.root / "a file").write_text("")

    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    for name, options in {
        "no HOME": {"env": bare},
        "HOME that is not there": {"env": {**bare, "HOME": "/nonexistent/home"}},
        "a file as cache": {"env": {**bare, "XDG_CACHE_HOME": str(torture.root / "a file")}},
        "64 file descriptors": {"preexec_fn": few},
    }.items():
        answer = torture.run(torture.fresh(), **options)
        unequal = torture.unequal(torture.root / "fresh") if answer.code == 0 else answer.err[-300:]
        if unequal:
            part.fault(f"{name}: {unequal}")
        else:
            part.count(name)
    for years in (-30, 30):  # the clock was set on or back since
        out = torture.copy()
        for path in (out, *out.rglob("*"), *(torture.root / "images").rglob("*")):
            os.utime(path, (time.time() + years * 3e7,) * 2)
        shutil.rmtree(torture.chance.choice(sorted(out.glob("runs/student-*"))))
        answer = torture.run(out)
        unequal = torture.unequal(out) if answer.code == 0 else answer.err[-300:]
        if unequal:
            part.fault(f"clock {years} years: {unequal}")
        else:
            part.count("clock set back or on")
    place = torture.root / "read-only"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "torture", place], capture_output=True).returncode:
        part.left_out = "no read-only disk can be mounted here"
        return
    try:
        shutil.copytree(torture.whole, place / "out")
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        for verb in (["run", torture.file, "--out"], ["report"], ["bank", "build", torture.file, "--out"]):
            for out in (place / "out", place / "new"):
                answer = torture.call(*verb, out)
                if is_one_line(answer) and str(place) in answer.last:
                    part.count("read-only, one line")
                else:
                    part.fault(f"read-only {verb[0]} {out.name}: {answer.code} {answer.err[-300:]}")
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def crowds(torture: Torture, part: Part, budget: Budget) -> None:
    """Twenty processes on one folder: one wins and the others are told; also one whose folder is deleted under it."""
    for _ in range(3):
        if budget.is_over:
            return
        out = torture.fresh()
        processes = [torture.start("run", torture.file, "--out", out) for _ in range(20)]
        answers = [process.answer() for process in processes]
        told = [a for a in answers if is_one_line(a) and "is held by" in a.last]
        won = [a for a in answers if a.code == 0]  # and whoever came after the first was done
        if not won or len(won) + len(told) != len(answers) or torture.unequal(out):
            wrong = [a.err[-200:] for a in answers if a not in won and a not in told]
            part.fault(f"{len(won)} won, {len(told)} told: {wrong[:2]} {torture.unequal(out) if won else ''}")
        else:
            part.count("20 processes, equal")
        out = torture.fresh()
        process = torture.start("run", torture.file, "--out", out)
        while process.poll() is None and not list(out.glob("runs/*/log.jsonl")):
            time.sleep(0.01)
        shutil.rmtree(out, ignore_errors=True)
        answer = process.answer()
        if answer.code and not is_one_line(answer):
            part.fault(f"folder deleted: {answer.err[-300:]}")
        else:
            part.count("folder deleted, one line" if answer.code else "folder deleted, made anew")


def leftovers(torture: Torture, part: Part, _: Budget) -> None:
    """What a process leaves that is killed between a temporary file and its name, at each of the folder's files."""
    for name in ("study.json", "results.json", "report.html", "runs/x/weights.safetensors", "runs/x/checkpoint.pt"):
        out = torture.fresh()
        path = out / name
        path.parent.mkdir(parents=True)
        path.with_name(f".{path.name}.a1b2.part").write_bytes(b"half")
        if name.startswith("runs"):  # which come after the mark
            shutil.copy(torture.whole / "study.json", out / "study.json")
        answer = torture.run(out)
        unequal = torture.unequal(out) if answer.code == 0 else answer.err[-300:]
        if unequal or list(out.rglob(".*.part")):
            part.fault(f"{name}: {unequal or 'not cleared'}")
        else:
            part.count("taken and cleared")


PARTS: dict[str, tuple[float, Callable[[Torture, Part, Budget], None], str]] = {
    # share of the time; what it does; in words
    "kill": (
        0.5,
        kills,
        "kill -9 at random moments, one to four times in a folder, then the same command: every bit equal",
    ),
    "damage": (0.17, damage, "each kind of file of a finished study cut, emptied, a quarter zeroed, a bit flipped"),
    "checkpoints": (0.08, checkpoints, "checkpoint and log of a killed run damaged in the same ways"),
    "hostile": (0.06, hostile, "pickles that run code in the place of every file that is read"),
    "disk": (0.08, full_disks, "disks that are full on the way, then room enough"),
    "limits": (0.04, size_limits, "writes that fail at random bytes of random files, then none"),
    "surroundings": (0.04, surroundings, "no HOME, no cache, 64 file descriptors, clock set back, read-only disks"),
    "crowd": (0.04, crowds, "20 processes on one folder; a folder deleted under a running study"),
    "leftovers": (0.02, leftovers, "temporary files of a killed process"),
}


class Budget:
    """The time of a part."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def is_over(self) -> bool:
        return time.monotonic() > self._end


def table(parts: Sequence[Part], seconds: float) -> str:
    """The parts as a Markdown table, and what went wrong."""
    lines = ["| part | what is tried | tries | outcomes | wrong |", "|---|---|--:|---|--:|"]
    for part in parts:
        outcomes = ", ".join(f"{n} {name}" for name, n in sorted(part.counts.items()) if name != "wrong")
        outcomes += f" (left out: {part.left_out})" if part.left_out else ""
        lines.append(f"| {part.name} | {part.what} | {part.tried} | {outcomes} | {len(part.faults)} |")
    lines += [
        "",
        f"{sum(p.tried for p in parts):,} tries in {seconds / 60:.0f} minutes, {sum(len(p.faults) for p in parts)} wrong.",
    ]
    lines += [f"- {part.name}: {fault}" for part in parts for fault in part.faults]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts and print their table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60, help="at most, about (default: 60)")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random")
    parser.add_argument("--out", type=Path, help="file for the table")
    parsed = parser.parse_args(arguments)
    chosen = [name for name in PARTS if name in parsed.parts.split(",")]
    if unknown := set(parsed.parts.split(",")) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}")
    started = time.monotonic()
    parts: list[Part] = []
    with tempfile.TemporaryDirectory(prefix="torture-", ignore_cleanup_errors=True) as root:
        torture = Torture(Path(root), random.Random(parsed.seed))  # noqa: S311
        torture.prepare()
        end = started + 60 * parsed.minutes
        for position, name in enumerate(chosen):
            share, try_it, what = PARTS[name]
            left = sum(PARTS[other][0] for other in chosen[position:])
            part = Part(name, what)
            parts.append(part)
            begun = time.monotonic()
            try_it(torture, part, Budget((end - begun) * share / left))
            seconds, outcomes = time.monotonic() - begun, ", ".join(f"{n} {what}" for what, n in part.counts.items())
            print(f"{name}: {part.tried} tries in {seconds:.0f} s, {len(part.faults)} wrong ({outcomes})", flush=True)
    text = table(parts, time.monotonic() - started)
    print(text)
    if parsed.out:
        parsed.out.write_text(text)
    return int(any(part.faults for part in parts))


if __name__ == "__main__":
    sys.exit(main())
