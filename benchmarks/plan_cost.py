"""`python -m benchmarks.plan_cost`: time and memory of planned batches by the number of images and the order of an epoch."""

from __future__ import annotations

import argparse
import gc
import statistics
import time
import tracemalloc

from vicinal.config import BlockOrder, Order
from vicinal.inputs import VicinalPlan, plan

BATCH_SIZE, MOST_WHOLE = 256, 10**8  # 29 bytes an image: a billion shuffled ones would take 29 GB
ORDERS: dict[str, Order] = {"shuffled": "shuffled", "keyed": "keyed", "blocks": BlockOrder()}


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plan_cost", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="a median is of")
    parser.add_argument("--most-images", type=int, default=10**9)
    options = parser.parse_args()
    print("| images | order | first batch (ms) | later batches (ms each) | memory (MB) |\n|---|---|---|---|---|")
    images = 10**4
    while images <= options.most_images:
        for name, order in ORDERS.items():
            if name != "shuffled" or images <= MOST_WHOLE:
                first, later, megabytes = measured(images, order, options.rounds)
                print(f"| {images:,} | {name} | {first:.3g} | {later:.2g} | {megabytes:.3g} |", flush=True)
        images *= 10


def measured(images: int, order: Order, rounds: int) -> tuple[float, float, float]:
    """Median ms of a batch in the middle of an epoch that nothing is known of, of each of the next, and the most MB held."""
    first, later = [], []
    for seed in range(rounds):
        planned = VicinalPlan(images, BATCH_SIZE, seed, order=order)
        middle = planned.batches // 2
        plan._draws.cache_clear()
        gc.collect()
        start = time.perf_counter()
        planned.batch(0, middle)
        first.append(time.perf_counter() - start)
        count = min(512, planned.batches - middle)
        start = time.perf_counter()
        for position in range(middle, middle + count):
            planned.batch(0, position)
        later.append((time.perf_counter() - start) / count)
    plan._draws.cache_clear()
    gc.collect()
    tracemalloc.start()
    VicinalPlan(images, BATCH_SIZE, 0, order=order).batch(0, 0)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return 1e3 * statistics.median(first), 1e3 * statistics.median(later), most / 1e6


if __name__ == "__main__":
    main()
