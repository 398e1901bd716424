"""What torchrun says in the environment, and what it would not say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vicinal import api
from vicinal.config import StudySpec
from vicinal.errors import UsageError
from vicinal.workspace import launched


def test_a_process_that_nobody_launched_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    assert (launched().count, launched().is_main) == (1, True)


@pytest.mark.parametrize(("rank", "count"), [("2", "2"), ("-1", "2"), ("one", "2")])
def test_what_makes_no_sense_is_said_in_a_line(rank: str, count: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("RANK", rank), ("WORLD_SIZE", count), ("LOCAL_RANK", "0")):
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=f"RANK={rank}, WORLD_SIZE={count}.*start several processes by torchrun"):
        launched()


def test_workers_side_by_side_and_processes_that_share_a_training_exclude_one_another(
    smallest: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = StudySpec.model_validate(smallest)
    with pytest.raises(UsageError, match="workers=3 trains runs side by side, devices=2 trains each run"):
        api.run(study, tmp_path / "no", ["runtime.workers=3", "runtime.devices=2"])
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=r"runtime.workers=3 .* the 2 processes of torchrun .*leave one of them out"):
        api.run(study, tmp_path / "no", ["runtime.workers=3"])
    assert not (tmp_path / "no").exists()
