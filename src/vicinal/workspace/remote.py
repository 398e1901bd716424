"""A study's folder on an object store, by fsspec: worked on in a folder of this machine, and brought there as it gets done.

Objects appear whole or not at all; of a run the mark `done.json` comes last, and of a study `results.json`. So whoever sees a mark
there sees all that it speaks of. Checkpoints, locks and stored answers of teachers stay on this machine.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from vicinal.errors import UsageError, VicinalError, one_line
from vicinal.workspace.content import cache_folder
from vicinal.workspace.files import write_file_atomically
from vicinal.workspace.jobs import JOBS_FILE, WORK_FOLDER
from vicinal.workspace.lock import is_held
from vicinal.workspace.study_folder import STUDY_FILE

LOOK_SECONDS = 2.0  # between two looks at what got done here
MARK, RESULTS = "done.json", "results.json"
_CHUNK = 2**20
_STAYS = ("banks", WORK_FOLDER)  # at the top of a study's folder; and whatever begins with a dot
_CHECKPOINT = "checkpoint.pt"


def folder_or_url(text: str) -> Path | str:
    """What --out names: a folder, or the URL of one on an object store."""
    if text.startswith("file://"):
        return Path(text.removeprefix("file://"))
    return text if re.match(r"[a-z][a-z0-9+.-]*://.", text) else Path(text)


class RemoteFolder:
    """A study's folder on an object store, and the folder of this machine in which it is worked on.

    Args:
        url: as fsspec takes it: s3://bucket/path, gs://..., ...

    Raises UsageError where the store is not known, cannot be reached or refuses.
    """

    def __init__(self, url: str) -> None:
        import fsspec

        self.url = url.rstrip("/")
        home = cache_folder()
        if home is None:
            raise UsageError(
                f"{url} is worked on in a folder of this machine: XDG_CACHE_HOME has to name a place for it"
            )
        name = re.sub(r"[^\w.-]", "-", PurePosixPath(self.url).name) or "study"
        self.local = home / "remote" / f"{name}-{hashlib.sha256(self.url.encode()).hexdigest()[:12]}"
        try:
            self._store, root = fsspec.url_to_fs(self.url)
        except ImportError as error:
            extra = "pip install 'vicinal[s3]'" if url.startswith("s3://") else "install its package"
            raise UsageError(f"{url} needs an optional package ({error}): {extra}") from None
        except ValueError as error:
            raise UsageError(f"{url}: {one_line(error, None)}") from None
        self._root = str(root).rstrip("/")
        self._lock = threading.RLock()  # threads of this process share the store's connection and transactions
        self._done_there = set[str]()
        self._same: dict[str, tuple[int, int] | None] = {}  # size and time of files here that lie there as they are

    def fetch(self) -> int:
        """Bring here the mark of the study and the runs that are done there and not here; gives the number of these.

        Raises UsageError where the store cannot be read.
        """
        with self._reached("read", UsageError):
            there = self._sizes()
            if STUDY_FILE in there and not (self.local / STUDY_FILE).exists():
                self._fetch_file(STUDY_FILE)
            lacking = 0
            of_runs: dict[str, list[str]] = {}
            for name in there:
                if name.startswith("runs/") and name.count("/") > 1:
                    of_runs.setdefault(name.split("/")[1], []).append(name)
            self._done_there = {run for run, names in of_runs.items() if f"runs/{run}/{MARK}" in names}
            for run in sorted(self._done_there):
                name = f"runs/{run}/{MARK}"
                files = [*(other for other in of_runs[run] if other != name), name]  # the mark last
                if is_held((self.local / name).parent):  # a worker of this machine is at it
                    continue
                if not (self.local / name).exists():
                    for other in files:
                        self._fetch_file(other)
                    lacking += 1
                elif all(map(self._is_there, files)):  # as was found before
                    continue
                elif self._store.cat_file(self._there(name)) == (self.local / name).read_bytes():
                    for other in files:
                        state = self._state(other)
                        if state is not None and state[0] == there[other]:
                            self._same[other] = state
        return lacking

    def sketch(self, place: Path) -> None:
        """Lay out in another folder here what is there: jobs and words about them as they are, all else as empty files.

        Raises UsageError where the store cannot be read.
        """
        with self._reached("read", UsageError):
            for name in self._sizes():
                path = place / name
                if not path.resolve().is_relative_to(place.resolve()):
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                said = name == JOBS_FILE or PurePosixPath(name).parent.name == WORK_FOLDER
                path.write_bytes(self._store.cat_file(self._there(name)) if said else b"")

    def unsent(self) -> list[str]:
        """Runs that are done here, and were not there when `fetch` last looked."""
        runs = [mark.parent for mark in sorted(self.local.glob(f"runs/*/{MARK}"))]
        return [run.name for run in runs if run.name not in self._done_there and not is_held(run)]

    def send(self, is_all_done: bool = False, runs: Sequence[str] | None = None) -> None:
        """Bring there the runs that are done here, and with `is_all_done` all else, results last.

        Args:
            is_all_done: whether nothing more will come.
            runs: these alone.

        Raises VicinalError where the store cannot be written.
        """
        with self._reached("written", VicinalError):
            if runs is None:
                self._send_files([STUDY_FILE, JOBS_FILE])
            for mark in sorted(self.local.glob(f"runs/*/{MARK}")):
                if runs is None or mark.parent.name in runs:
                    self._send_run(mark)
            if is_all_done:
                files = [file.relative_to(self.local) for file in sorted(self.local.rglob("*")) if self._goes(file)]
                rest = [file.as_posix() for file in files if file.parts[0] not in ("runs", *_STAYS, RESULTS)]
                self._send_files([*rest, RESULTS])

    def _send_run(self, mark: Path) -> None:
        name = mark.relative_to(self.local).as_posix()
        names = [file.relative_to(self.local).as_posix() for file in sorted(mark.parent.iterdir()) if self._goes(file)]
        if not self._is_there(name):  # perhaps that of another training, whose weights it would no longer fit
            with contextlib.suppress(FileNotFoundError):
                if self._store.cat_file(self._there(name)) != mark.read_bytes():
                    self._store.rm_file(self._there(name))
        self._send_files([*(other for other in names if other != name), name])

    # --- small files of others ---

    def names(self, folder: str) -> list[str]:
        """The files in a folder of the study's, there. Raises UsageError where the store cannot be read."""
        with self._reached("read", UsageError):
            return [name for name in self._sizes(folder) if "/" not in name.removeprefix(f"{folder}/")]

    def read(self, name: str) -> bytes | None:
        """A small file, there; None where it is not. Raises UsageError where the store cannot be read."""
        with self._reached("read", UsageError):
            try:
                return bytes(self._store.cat_file(self._there(name)))
            except FileNotFoundError:
                return None

    def write(self, name: str, content: bytes) -> None:
        """A small file, there. Raises VicinalError where the store cannot be written."""
        with self._reached("written", VicinalError):
            self._store.pipe_file(self._there(name), content)

    def remove(self, name: str) -> None:
        """Remove a file there, if there is one. Raises VicinalError where the store cannot be written."""
        with self._reached("written", VicinalError), contextlib.suppress(FileNotFoundError):
            self._store.rm_file(self._there(name))

    @contextlib.contextmanager
    def kept(self, say: Callable[[str], None], meanwhile: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Bring there what gets done here as long as the block runs, and all of it where that ends well.

        Args:
            say: told where the store cannot be reached meanwhile, and is tried again.
            meanwhile: called again and again.

        Raises VicinalError where it cannot be written at the end.
        """
        ended = threading.Event()
        thread = threading.Thread(target=self._send_meanwhile, args=(ended, say, meanwhile), daemon=True)
        thread.start()
        try:
            yield
        except BaseException:
            ended.set()
            thread.join()
            with contextlib.suppress(VicinalError):  # what ended it is what counts; the next command sends the rest
                self.send()
            raise
        ended.set()
        thread.join()
        self.send(is_all_done=True)

    def _send_meanwhile(
        self, ended: threading.Event, say: Callable[[str], None], meanwhile: Callable[[], None]
    ) -> None:
        is_told = False
        while not ended.wait(LOOK_SECONDS):
            try:
                self.send()
                meanwhile()
                is_told = False
            except VicinalError as error:
                if not is_told:
                    say(f"{error}; it is tried again")
                is_told = True

    # --- files, by their paths in the study's folder ---

    def _goes(self, file: Path) -> bool:
        parts = file.relative_to(self.local).parts
        return file.name != _CHECKPOINT and not any(part.startswith(".") for part in parts) and file.is_file()

    def _there(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _state(self, name: str) -> tuple[int, int] | None:
        try:
            found = (self.local / name).stat()
        except OSError:
            return None
        return found.st_size, found.st_mtime_ns

    def _is_there(self, name: str) -> bool:
        return name in self._same and self._same[name] == self._state(name)

    def _send_files(self, names: Sequence[str]) -> None:
        for name in names:
            state = self._state(name)
            if state is None or self._is_there(name):  # gone meanwhile, or sent already
                continue
            with (
                (self.local / name).open("rb") as source,
                self._store.transaction,
                self._store.open(self._there(name), "wb") as target,
            ):
                shutil.copyfileobj(source, target, _CHUNK)
            self._same[name] = state

    def _fetch_file(self, name: str) -> None:
        def fill(temporary: Path) -> None:
            with self._store.open(self._there(name), "rb") as source, temporary.open("wb") as target:
                shutil.copyfileobj(source, target, _CHUNK)

        write_file_atomically(self.local / name, fill)
        self._same[name] = self._state(name)

    def _sizes(self, folder: str = "") -> dict[str, int]:
        self._store.invalidate_cache()
        try:
            found = self._store.find(f"{self._root}/{folder}".rstrip("/"), detail=True)
        except FileNotFoundError:
            return {}
        start = f"{self._root}/"
        return {path.removeprefix(start): entry["size"] for path, entry in found.items() if path.startswith(start)}

    @contextlib.contextmanager
    def _reached(self, done: str, kind: type[VicinalError]) -> Iterator[None]:
        try:
            with self._lock:
                yield
        except VicinalError:
            raise
        except Exception as error:  # each store has its own
            raise kind(f"{self.url} cannot be {done}: {one_line(error, None)}") from None
