"""What the loaders' and the banks' benchmarks time is what they say."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch

from benchmarks.banks import banks
from benchmarks.harness import Settings, Talk
from benchmarks.loaders import Epochs, Task, check, cpu_ms, our_epochs, running, timm_epochs, torchvision_epochs
from benchmarks.photographs import CLASSES, write_photographs
from benchmarks.proofs import ProofError
from benchmarks.results import BenchmarkResult, CaseResult, EntrantResult
from benchmarks.targets import TARGETS, judge

TASK = Task(images=30, batch=10, side_px=48)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photographs")
    write_photographs(root, TASK.images)
    return root


def makers(root: Path) -> dict[str, Callable[[], Epochs]]:
    return {
        "timm": lambda: timm_epochs(root / "folder", TASK, prefetches=True),
        "timm_plain": lambda: timm_epochs(root / "folder", TASK, prefetches=False),
        "torchvision": lambda: torchvision_epochs(root / "folder", TASK),
        **{kind: partial(our_epochs, root / kind, TASK) for kind in ("folder", "parquet", "shards")},
    }


@pytest.mark.parametrize("kind", ["folder", "parquet", "shards", "timm", "timm_plain", "torchvision"])
def test_every_loader_gives_whole_mixed_epochs(photographs: Path, kind: str) -> None:
    epochs = makers(photographs)[kind]()
    ready = running(epochs, TASK)
    try:
        assert next(ready.steps) == ready.units_per_step == TASK.images
        first, second = (torch.cat(list(epochs.batches())) for _ in range(2))
        assert not torch.equal(first, second)  # drawn anew
    finally:
        ready.close()


def test_processors_time_holds_that_of_workers(photographs: Path) -> None:
    """Theirs is counted in hundredths of a second, so that so few images give no ratio."""
    ours, theirs = (cpu_ms(makers(photographs)[name], TASK, forked=False) for name in ("folder", "timm_plain"))
    assert ours > 0
    assert theirs > 0


def test_pixels_that_are_not_what_is_said_are_found_out() -> None:
    form = (TASK.images, 3, TASK.side_px, TASK.side_px)
    sound = 0.2 + 0.7 * torch.randn(form)
    check(sound, TASK)
    for wrong in (sound[1:], sound.double(), torch.rand(form), 0.2 + 0.95 * torch.randn(form)):
        with pytest.raises(ProofError):
            check(wrong, TASK)


def test_a_loader_is_compared_with_the_faster_of_timms_two() -> None:
    def entrant(name: str, seconds: float) -> EntrantResult:
        return EntrantResult(name=name, title=name, steps_per_turn=1, units_per_step=CLASSES, seconds=(seconds,) * 3)

    entrants = (entrant("timm", 4.0), entrant("timm_plain", 3.0), entrant("folder", 1.5))
    case = CaseResult(name="jpeg", title="x", unit="images", reference="timm", entrants=entrants)
    result = BenchmarkResult(
        schema=1,
        benchmark="loaders",
        command="",
        created="",
        quick=False,
        rounds=3,
        turn_s=1,
        environment={},
        cases=(case,),
    )
    verdicts = {t.name: judge(t, {"loaders": result}) for t in TARGETS if t.benchmark == "loaders"}
    assert verdicts["folder"].met
    assert "2.00 x" in verdicts["folder"].sentence
    assert verdicts["shards"].met is None


def test_rates_of_a_bank_stand_beside_a_plain_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cases = banks(Settings(rounds=2, turn_s=0.01, quick=True), Talk())
    assert [case.name for case in cases] == ["write", "read"]
    for case in cases:
        assert case.figures.keys() == {"disk_MB_per_s", "bank_MB_per_s"}
        ratio = case.ratio("bank", "disk")
        assert ratio is not None
        assert ratio.rounds == 2
    assert not list(tmp_path.iterdir())
