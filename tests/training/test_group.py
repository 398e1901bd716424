"""A group: runs stepped together, of which one may fail and the others go on."""

from __future__ import annotations

import pytest
from small_runs import run_spec

from vicinal.errors import VicinalError
from vicinal.training.checkpoints import Checkpoints
from vicinal.training.group import Group
from vicinal.training.parallel import SINGLE
from vicinal.training.state import State
from vicinal.workspace import RunFolder


class Learned:
    """What a group knows of a learner."""

    def __init__(self, name: str, finite: bool = True, needs: frozenset[str] = frozenset()) -> None:
        self.run, self.state, self.needs, self.finite = run_spec(name=name), State(seconds=5.0), needs, finite
        self.folder = RunFolder.__new__(RunFolder)
        self.folder.path = name
        self.finished: list[int] = []

    def enter(self, _: object) -> None:
        pass

    def finish(self, train_images: int, trained_together: int, without_partner: float | None) -> None:
        if not self.finite:
            raise VicinalError(f"{self.run.name}: weights are not finite")
        self.finished.append(trained_together)


def test_one_that_fails_at_the_end_does_not_keep_the_next_from_its_weights() -> None:
    learners = [Learned("a"), Learned("b", finite=False), Learned("c")]
    group = Group(learners)
    group.finish(100)
    assert [learner.finished for learner in learners] == [[3], [], [3]]
    assert group.learners == [learners[0], learners[2]]
    assert [str(error) for error in group.failures] == ["b: weights are not finite"]
    assert group.seconds == 10.0


def test_a_group_needs_what_any_of_its_objectives_needs() -> None:
    group = Group([Learned("a", needs=frozenset({"mixed_answers"})), Learned("b", needs=frozenset({"features"}))])
    assert group.needs == set()
    group.enter(None)
    assert group.needs == {"mixed_answers", "features"}


def test_runs_share_the_seconds_that_they_take_together(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("vicinal.training.checkpoints.time.monotonic", lambda: now[0])
    group = Group([Learned("a"), Learned("b")])
    checkpoints = Checkpoints(group, 20.0, SINGLE)
    now[0] += 19
    assert not checkpoints.are_due()
    now[0] += 1
    assert checkpoints.are_due()
    group.fail(group.learners[1], VicinalError("b"))
    checkpoints.keep_time()
    assert group.lead.state.seconds == 5.0 + 20 / 2  # by those that began: the share does not grow where one leaves
