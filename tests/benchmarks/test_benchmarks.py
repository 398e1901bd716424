"""The benchmarks: their arithmetic on known times, proofs that fail when they should, verdicts and the page. No test asserts a time."""

from __future__ import annotations

import io
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from rich.console import Console
from torch import nn

from benchmarks.__main__ import main
from benchmarks.curve import Task, clean_once, ours, same_curve, symmetric, three_forwards
from benchmarks.harness import Entrant, Running, Settings, Talk, measure
from benchmarks.ours import KD_MIXUP, How
from benchmarks.ours import freeze as freeze_ours
from benchmarks.ours import ours as our_steps
from benchmarks.page import compose_page, write_page
from benchmarks.pairs import PAIRS
from benchmarks.peers import floor, plain_loop, separate_runs, students_alone, timm_task
from benchmarks.proofs import ProofError, Witness, compiles, frozen_is_frozen, nothing_compiles, runs_compiled, sees
from benchmarks.results import BenchmarkResult, CaseResult, EntrantResult, read_results, write_result
from benchmarks.sweep import STREAMS, together
from benchmarks.targets import TARGETS, judge
from vicinal.config import VicinitySpec
from vicinal.errors import UsageError, VicinalError

CPU = torch.device("cpu")
TINY = replace(PAIRS["tiny"], batch=4, images=8)
SILENT = Talk(Console(file=io.StringIO()))


class Clock:
    """A clock that stands still unless somebody works."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def worker(clock: Clock, seconds: Callable[[int], float], learner: nn.Module, units: int = 10) -> Running:
    """Takes `seconds(step)` of the clock for every step and changes its network."""

    def steps() -> Iterator[int]:
        step = 0
        while True:
            clock.now += seconds(step)
            step += 1
            with torch.no_grad():
                next(learner.parameters()).add_(1)
            yield units

    return Running(steps(), units, [learner])


def timed(*workers: tuple[str, Callable[[int], float]], rounds: int = 5) -> CaseResult:
    clock = Clock()
    entrants = [
        Entrant(name, name, lambda seconds=seconds: worker(clock, seconds, nn.Linear(2, 2)))
        for name, seconds in workers
    ]
    results = measure("test", entrants, Settings(rounds=rounds, turn_s=1.0, clock=clock), SILENT)
    return CaseResult(name="tiny", title="Tiny", unit="images", reference=workers[0][0], entrants=results)


# --- turns and ratios -------------------------------------------------------------------------------------------------


def test_ratios_are_those_of_the_known_times() -> None:
    case = timed(("slow", lambda _: 0.3), ("fast", lambda _: 0.1))
    slow, fast = case.timed("slow"), case.timed("fast")
    assert slow is not None
    assert fast is not None
    assert (slow.steps_per_turn, fast.steps_per_turn) == (4, 10)  # as many as fill a second
    assert slow.units_per_s.median == pytest.approx(10 / 0.3)
    ratio = case.ratio("fast", "slow")
    assert ratio is not None
    assert (ratio.median, ratio.low, ratio.high) == pytest.approx((3, 3, 3))
    assert ratio.rounds == 5


def test_a_drift_of_the_machine_cancels_in_the_ratios() -> None:
    clock = Clock()

    def drifting(base: float) -> Callable[[int], float]:
        return lambda _: base * (1 + clock.now // 20)  # slower and slower, for whoever's turn it is

    entrants = [
        Entrant(name, name, lambda base=base: worker(clock, drifting(base), nn.Linear(2, 2)))
        for name, base in (("a", 1.0), ("b", 0.5))
    ]
    results = measure("test", entrants, Settings(rounds=9, turn_s=1.0, clock=clock), SILENT)
    case = CaseResult(name="t", title="t", unit="images", reference="a", entrants=results)
    one, ratio = case.timed("a"), case.ratio("b", "a")
    assert one is not None
    assert ratio is not None
    assert one.units_per_s.high / one.units_per_s.low > 1.5
    assert ratio.median == pytest.approx(2)


def test_entrants_take_turns() -> None:
    order: list[str] = []
    clock = Clock()

    def noting(name: str) -> Callable[[int], float]:
        def seconds(_: int) -> float:
            order.append(name)
            return 1.0

        return seconds

    entrants = [Entrant(n, n, lambda n=n: worker(clock, noting(n), nn.Linear(2, 2))) for n in "ABC"]
    measure("test", entrants, Settings(rounds=3, turn_s=1.0, clock=clock), SILENT)
    assert "".join(order[-18:]) == "AABBCC" * 3  # an untimed step, then a turn of one


def test_each_in_a_process_of_its_own_gives_the_same_results_and_fails_as_loudly() -> None:
    here = [threading.get_native_id()]

    def make(learner: nn.Module, broken: bool = False) -> Running:
        here.append(0)  # in a child, this process never sees it
        clock = Clock()
        running = worker(clock, lambda _: 1.0, learner)
        if broken:
            running.learning = [nn.Linear(2, 2)]  # never stepped
        return running

    settings = Settings(rounds=2, turn_s=1e-6, forked=True)
    whole = [Entrant(name, name, lambda: make(nn.Linear(2, 2))) for name in "ab"]
    results = measure("test", whole, settings, SILENT)
    assert [len(r.seconds) for r in results] == [2, 2]
    assert all(r.units_per_step == 10 and min(r.seconds) > 0 for r in results)
    assert len(here) == 1
    with pytest.raises(ProofError, match="b: student 1 learned nothing"):
        measure("test", [whole[0], Entrant("b", "b", lambda: make(nn.Linear(2, 2), True))], settings, SILENT)

    def killed() -> Running:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    with pytest.raises(VicinalError, match="its process ended"):
        measure("test", [Entrant("c", "c", killed)], settings, SILENT)
    assert settings.apart(lambda: 6 * 7) == 42
    with pytest.raises(VicinalError, match="ZeroDivisionError"):
        settings.apart(lambda: 1 // 0)


def test_who_is_left_out_has_a_reason_and_no_ratio() -> None:
    clock = Clock()
    entrants = [
        Entrant("a", "a", lambda: worker(clock, lambda _: 1.0, nn.Linear(2, 2))),
        Entrant("b", "b", None, left_out="no compiler"),
    ]
    results = measure("test", entrants, Settings(rounds=2, clock=clock), SILENT)
    case = CaseResult(name="t", title="t", unit="images", reference="a", entrants=results)
    assert case.entrants[1].left_out == "no compiler"
    assert case.ratio("b", "a") is None


def test_a_step_of_another_size_fails() -> None:
    clock = Clock()
    running = worker(clock, lambda _: 1.0, nn.Linear(2, 2))
    running.units_per_step = 11
    with pytest.raises(VicinalError, match="10 units, not 11"):
        measure("test", [Entrant("a", "a", lambda: running)], Settings(clock=clock), SILENT)


def test_without_a_compiler_compiled_entrants_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "no-such-compiler" in (Settings().no_compiler or "")


# --- proofs -----------------------------------------------------------------------------------------------------------


def test_a_witness_sees_a_teacher_that_moves_and_a_student_that_does_not() -> None:
    teacher, student = nn.BatchNorm1d(3), nn.Linear(3, 3)
    witness = Witness("x", [teacher], [student])
    with pytest.raises(ProofError, match="learned nothing"):
        witness.check()
    with torch.no_grad():
        student.weight.add_(1)
    witness.check()
    teacher(torch.rand(4, 3))  # in train mode: only its batch statistics move
    with pytest.raises(ProofError, match="teacher changed"):
        witness.check()
    with pytest.raises(ProofError, match="seen learning"):
        Witness("x", [teacher], [])


def test_a_network_that_is_shown_fewer_images_is_found_out() -> None:
    network = nn.Linear(3, 3)
    sees("x", lambda: network(torch.rand(5, 3)), [(network, 5)])
    with pytest.raises(ProofError, match="shown 5 images in a step, not 6"):
        sees("x", lambda: network(torch.rand(5, 3)), [(network, 6)])
    assert not network._forward_pre_hooks


def test_compiling_inside_a_turn_is_found_out_and_so_is_a_network_that_runs_eager() -> None:
    network, pixels = nn.Linear(3, 3), torch.rand(2, 3)
    compiled = torch.compile(network, backend="eager", dynamic=False)
    with pytest.raises(ProofError, match="inside a timed turn"), nothing_compiles("x"):
        compiled(pixels)
    with nothing_compiles("x"):
        compiled(pixels)
    runs_compiled("x", lambda: compiled(pixels), 1)
    with pytest.raises(ProofError, match="0 of 1 networks ran compiled"):
        runs_compiled("x", lambda: network(pixels), 1)


def test_a_failed_compilation_is_one_line_with_a_way_out() -> None:
    from torch._inductor.exc import InductorError

    with pytest.raises(VicinalError, match=r"torch.compile failed \(.*file too short\).*--no-compiled"), compiles("x"):
        raise InductorError(ImportError("file too short"), None)
    with pytest.raises(ZeroDivisionError), compiles("x"):
        _ = 1 / 0
    with pytest.raises(ProofError), compiles("x"):
        raise ProofError("another")


def test_a_frozen_teacher_must_be_a_copy_with_weights_of_its_own() -> None:
    network, pixels = TINY.teacher_network(), torch.rand(3, 1, 28, 28)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    frozen_is_frozen("x", network, lambda n: freeze_ours(n, pixels, "fp32", False), pixels)
    with pytest.raises(ProofError, match="moved when a weight of the original"):
        frozen_is_frozen("x", network, lambda n: n, pixels)  # the network itself, no copy
    first = freeze_ours(network, pixels, "fp32", False)
    with pytest.raises(ProofError, match="not its own"):
        frozen_is_frozen(
            "x", network, lambda _: first, pixels
        )  # the second instance answers with the first one's graph
    with pytest.raises(ProofError, match="proves nothing"):
        frozen_is_frozen("x", _Deaf(), lambda n: lambda x: n(x), pixels)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


class _Deaf(nn.Module):
    """Answers the same whatever its weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2, 2))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.ones(len(pixels), 2)


# --- entrants ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: floor(TINY, CPU),
        lambda folder: timm_task(TINY, CPU),
        lambda folder: plain_loop(TINY, CPU),
        lambda folder: separate_runs(TINY, CPU, [*STREAMS[0][-2:], *STREAMS[1]]),
        lambda folder: students_alone(TINY, CPU, STREAMS[0]),
        lambda folder: our_steps(TINY, CPU, [KD_MIXUP], How()),
        lambda folder: our_steps(TINY, CPU, [KD_MIXUP], How(bank=folder)),
        lambda folder: together([our_steps(TINY, CPU, stream, How(bank=folder)) for stream in STREAMS]),
    ],
    ids=["floor", "timm", "plain", "separate", "alone", "live", "banked", "sweep"],
)
def test_every_entrant_learns_on_whole_batches_and_leaves_its_teacher(
    make: Callable[[Path], Running], tmp_path: Path
) -> None:
    running = make(tmp_path)
    next(running.steps)
    witness = Witness("x", running.frozen, running.learning)
    assert running.sees
    for _ in range(3):  # past the end of an epoch
        sees("x", lambda: next(running.steps), running.sees)
        assert next(running.steps) == running.units_per_step
    witness.check()
    running.close()


def test_all_ways_to_the_curve_agree_and_a_wrong_one_is_found_out() -> None:
    task = Task.of(TINY, VicinitySpec(pairs=3, lam_points=5), CPU)
    with torch.inference_mode():
        curves = {way.__name__: way(task) for way in (three_forwards, clean_once, symmetric, ours)}
    assert same_curve(curves, "three_forwards") < 1e-5
    with pytest.raises(ProofError, match="NL of ours is off"):
        same_curve(curves | {"ours": curves["ours"] + 2e-5}, "three_forwards")
    with pytest.raises(ProofError, match="prove nothing"):
        same_curve({"three_forwards": torch.zeros(5)}, "three_forwards")


# --- results, targets, page -------------------------------------------------------------------------------------------


def result(case: CaseResult, benchmark: str = "throughput", quick: bool = False) -> BenchmarkResult:
    names = (
        "python",
        "torch",
        "torchvision",
        "timm",
        "numpy",
        "platform",
        "processor",
        "cores",
        "threads",
        "memory_gib",
    )
    environment = dict.fromkeys((*names, "device", "load_average_1min"), "1")
    return BenchmarkResult(
        schema=1,
        benchmark=benchmark,
        command="c",
        created="t",
        quick=quick,
        rounds=3,
        turn_s=1,
        environment=environment,
        cases=(case,),
    )


def throughput_case(eager_s: float) -> CaseResult:
    def entrant(name: str, seconds: float) -> EntrantResult:
        return EntrantResult(name=name, title=name, steps_per_turn=1, units_per_step=100, seconds=(seconds,) * 3)

    compiled = EntrantResult(name="compiled", title="vicinal, compiled", left_out="no compiler | here")
    entrants = (entrant("timm", 1.5), entrant("eager", eager_s), compiled)
    return CaseResult(name="tiny", title="A < B", unit="images", reference="timm", entrants=entrants)


EAGER = next(t for t in TARGETS if t.key == "throughput.tiny.eager")
COMPILED = next(t for t in TARGETS if t.key == "throughput.tiny.compiled")


@pytest.mark.parametrize(
    ("eager_s", "met", "says"),
    [(1.0, True, "met**: 1.50 x"), (1.2, False, "missed** by 0.25 x: 1.25 x (1.25 to 1.25 x over 3 rounds)")],
)
def test_a_target_is_met_or_missed_by_so_much(eager_s: float, met: bool, says: str) -> None:
    verdict = judge(EAGER, {"throughput": result(throughput_case(eager_s))})
    assert verdict.met is met
    assert says in verdict.sentence


def test_a_target_without_a_figure_says_why() -> None:
    found = {"throughput": result(throughput_case(1.0))}
    assert judge(COMPILED, found).sentence == "not measured: no compiler | here"
    assert judge(EAGER, {}).met is None
    assert judge(EAGER, {"throughput": result(throughput_case(0.1), quick=True)}).met is None


def test_every_target_has_a_key_of_its_own() -> None:
    assert len({target.key for target in TARGETS}) == len(TARGETS)


def test_the_page_comes_from_the_json_alone(tmp_path: Path) -> None:
    write_result(result(throughput_case(1.0)), tmp_path / "results")
    page = write_page(tmp_path / "results", tmp_path / "docs/benchmarks.md")
    text = page.read_text()
    assert text == compose_page(read_results(tmp_path / "results"), "benchmarks")
    assert all(target.what in text for target in TARGETS)
    assert "Left out: vicinal, compiled: no compiler" in text
    assert "(benchmarks/throughput.svg)" in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in table[: len(TARGETS) + 2]} == {6}
    svg = ElementTree.parse(tmp_path / "docs/benchmarks/throughput.svg").getroot()
    assert svg.tag.endswith("svg")
    with pytest.raises(UsageError, match="measure first"):
        write_page(tmp_path / "nothing", page)
    (tmp_path / "results/broken.json").write_text("{}")
    with pytest.raises(UsageError, match=r"broken\.json is no result"):
        write_page(tmp_path / "results", page)


def test_one_command_measures_and_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    arguments = ["--quick", "--only", "throughput,gpu", "--pairs", "tiny", "--device", "cpu"]
    assert main([*arguments, "--results", str(tmp_path), "--page", str(page)]) == 0
    found = read_results(tmp_path)
    assert set(found) == {"throughput", "gpu"}
    for made in found.values():
        assert all(len(e.seconds) == made.rounds or e.left_out for e in made.cases[0].entrants)
    assert found["throughput"].cases[0].figures["preparation_share_eager"] > 0
    assert "mean nothing" in page.read_text()
    assert "round 2 of 2 done" in capsys.readouterr().err


def test_a_wrong_argument_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "speed"])
    assert "'speed' is none of throughput, sweep" in capsys.readouterr().err
    assert main(["page", "--results", str(tmp_path)]) == 2
    assert "measure first" in capsys.readouterr().err
    if not torch.cuda.is_available():
        assert main(["--only", "gpu", "--results", str(tmp_path)]) == 2
        assert "no CUDA device" in capsys.readouterr().err
