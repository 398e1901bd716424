"""Runs the benchmarks that were asked for, one JSON file each."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace

import torch

from benchmarks.banks import banks
from benchmarks.curve import curve
from benchmarks.gpu import gpu
from benchmarks.harness import Settings, Talk, result_of
from benchmarks.loaders import loaders
from benchmarks.pairs import GPU_PAIRS, PAIRS, Pair
from benchmarks.quickstart import quickstart
from benchmarks.results import CaseResult, write_result
from benchmarks.scaling import scaling
from benchmarks.sweep import sweep
from benchmarks.throughput import throughput
from vicinal.errors import UsageError

ROUNDS = {"curve": 3, "sweep": 5, "loaders": 9}  # whose turns are long
QUICK = Settings(rounds=2, turn_s=0.01, quick=True, compiled=False)


def run(options: argparse.Namespace, command: str) -> None:
    """Measure and write. Raises VicinalError where a proof or an entrant fails."""
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    pairs = [_small(PAIRS[name]) if options.quick else PAIRS[name] for name in options.pairs]
    with Talk() as talk:
        for name in options.only:
            settings = _settings(options, name)
            talk.say(f"{name}: {settings.rounds} rounds on {settings.device}, {torch.get_num_threads()} threads")
            cases = _work(name, pairs, options.quick)(settings, talk)
            path = write_result(result_of(name, cases, settings, command), options.results)
            talk.say(f"{name}: written to {path}")


def _work(name: str, pairs: list[Pair], quick: bool) -> Callable[[Settings, Talk], list[CaseResult]]:
    match name:
        case "throughput":
            return lambda settings, talk: throughput(pairs, settings, talk)
        case "sweep":
            return lambda settings, talk: sweep(pairs, settings, talk)
        case "curve":
            return lambda settings, talk: curve(pairs[0] if quick else PAIRS["lite"], settings, talk)
        case "loaders":
            return loaders
        case "banks":
            return banks
        case "scaling":
            return scaling
        case "quickstart":
            return quickstart
        case _:
            return lambda settings, talk: gpu(
                [_small(PAIRS["tiny"])] if quick else [*GPU_PAIRS.values()], settings, talk
            )


def _settings(options: argparse.Namespace, name: str) -> Settings:
    device = torch.device(options.device or ("cuda" if name == "gpu" else "cpu"))
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"{name}: this machine has no CUDA device; give --device cpu, or leave {name} out of --only")
    base = QUICK if options.quick else Settings(rounds=ROUNDS.get(name, 7), compiled=not options.no_compiled)
    # A context of CUDA does not survive a fork; on a GPU all share one process and its memory.
    return replace(
        base, device=device, rounds=options.rounds or base.rounds, forked=device.type == "cpu" and not options.quick
    )


def _small(pair: Pair) -> Pair:
    return replace(pair, batch=10, images=40)
