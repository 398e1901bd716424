"""`python -m benchmarks.imagenet_estimate`: hours that the paper's table 4 takes on GPUs nobody here has, from parts that are known.

Every part is an argument; docs/scale.md says where its default comes from.
"""

from __future__ import annotations

import argparse

IMAGES = 1_281_167
TEACHER_GFLOPS = {"convnext_large": 68.7, "vit_base_patch16": 35.1, "resnet152": 23.0, "convnext_tiny": 8.9}  # forward


def main() -> None:
    """Print a Markdown table: a row for each student of table 4."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.imagenet_estimate", description=__doc__)
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--tflops", type=float, default=989.0, help="of a GPU in bf16, as its maker states")
    parser.add_argument("--utilisation", type=float, default=0.4, help="share of that in a teacher's forward pass")
    parser.add_argument("--student-images-s", type=float, default=8300.0, help="that a GPU steps the student with")
    parser.add_argument("--read-ms", type=float, default=2.08, help="of one core to read and mix an image")
    parser.add_argument("--cores-per-gpu", type=int, default=24)
    parser.add_argument("--lock-ms", type=float, default=0.13, help="of those that hold Python's lock")
    parser.add_argument("--epochs", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    read = min(1000 * options.cores_per_gpu / options.read_ms, 1000 / options.lock_ms)
    print("| student of | images/s | bound by | hours |\n|---|---|---|---|")
    hours = []
    for teacher, gflops in {"no teacher (baseline)": 0.0, **TEACHER_GFLOPS}.items():
        asked = gflops / (1000 * options.tflops * options.utilisation)
        stepped = 1 / options.student_images_s
        rate = min(1 / (asked + stepped), read)
        bound = "reading" if rate == read else "the teacher" if asked > stepped else "the student's steps"
        hours.append(IMAGES * options.epochs / rate / 3600)
        print(f"| {teacher} | {rate:,.0f} | {bound} | {hours[-1]:.0f} |")
    together = max(max(hours), sum(hours) * options.seeds / options.gpus)
    print(f"\n{options.seeds} x {len(hours)} runs side by side on {options.gpus} GPUs: at least {together:.0f} hours.")


if __name__ == "__main__":
    main()
