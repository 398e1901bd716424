"""Hold a change of the code against the code before it: the same weights, bit for bit, and the same numbers.

    git worktree add ../before COMMIT
    python scripts/equality.py record ../before/src before.json     # a few minutes each
    python scripts/equality.py record src after.json
    python scripts/equality.py compare before.json after.json

Small studies cover every kind of arm, target, temperature, schedule, optimizer, head, selection, mixing, bank and resume (a run
killed three times). Of each, the SHA-256 of every run's weights, every number of results.json and the tables are kept. Both must
come from one machine: the last digits of a sum differ between processors.

Where a change renames keys on purpose, the words of the code before stand in `RENAMED` (study files), `MENDED` (results.json and the
heads of tables) and `REWORDED` (what tables say).
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

# Study keys by their new words, as the code before knew them.
RENAMED: Mapping[str, str] = {
    "warmup_fraction": "rise",
    "beta_concentration": "a",
    "clean_fraction": "unmixed_share",
    "repeat_inputs_after_epochs": "stream_epochs",
    "input_seed": "stream_seed",
    "lazy": "stream",
    "bootstrap_resamples": "bootstrap",
    "confidence_level": "interval",
}
# Keys of results.json and tables by their new words, as a pattern, and what the code before called them.
MENDED: tuple[tuple[str, str], ...] = (
    (r"\bversus_teacher\b", "against_teachers"),
    (r"\bminus_baseline\b", "over_baseline"),
    (r"\bmcnemar_versus_baseline\b", "mcnemar_against_baseline"),
    (r"\bselection_accuracy\b", "watched_accuracy"),
    (r"^selection_images$", "watched"),
    (r"^measures\.confidence_level$", "measures.interval"),
    (r"^measures\.bootstrap_resamples$", "measures.bootstrap"),
    (r"\.mixing\.beta_concentration$", ".mixing.a"),
    (r"\.mixing\.clean_fraction$", ".mixing.unmixed_share"),
    (r"^(tables/against_teachers\.csv\.\d+\.)teacher$", r"\1asked_teacher"),
    (r"^(tables/against_teachers\.csv\.\d+\.)against_teachers$", r"\1against_teacher"),
    (r"^tables/optional\.csv\.", "tables/further.csv."),
    (r"\b(accuracy|ece)_minus_baseline(_pp)?$", r"\1_over_baseline\2"),
    (r"^(tables/claims\.csv\.\d+\.)effect_subject$", r"\1effect_of"),
    (r"^(paper/(?:table7|figure6|figure8)\.csv\.\d+\.)teacher$", r"\1teacher_asked"),
)
# Texts of tables by a pattern of their key: the new words, and what the code before said.
REWORDED: tuple[tuple[str, str, str], ...] = (
    (r"^tables/claims\.csv\.\d+\.(paper_)?verdict$", "no data", "not held"),
    (r"^tables/claims\.csv\.\d+\.detail$", "over JPEG", "over JPEG compression"),
)
# What may differ: times, the machine, fingerprints, words and what was mended on purpose.
FREE = re.compile(
    r"^(created|wall_time_s|environment\.|command|version|schema|spec\.)|\.(training_s|(?:images|predicted)_per_second|run)$|^(notes|data\.(notes|source|content_hash))"
    # Accuracies of one seed are compared by McNemar's test instead of by intervals; the residual of eq. 11 is read, not summed again.
    r"|^tables/claims\.csv\.(5|6|7|10|12|19)\.(verdict|lower|upper|holds|fails|undecided|detail)$|^tables/claims\.csv\.20\.(effect|lower|upper)$"
)
# What was mended on purpose in its last digits, and by how much it may differ: the area under the ROC curve is scikit-learn's and
# McNemar's tail SciPy's, whose last digits are right.
CLOSE: tuple[tuple[str, float], ...] = ((r"\bood_auroc[.:]", 1e-15), (r"\bmcnemar.*p_value\b|\.mcnemar_p$", 1e-11))

CLASSES = ("east", "north", "south")


def write_images(root: Path, per_class: int, seed: int, channels: int, side: int) -> Path:
    """ROOT/<class>/<n>.png: a brighter third in noise."""
    generator, third = np.random.default_rng(seed), side // len(CLASSES)
    for position, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True, exist_ok=True)
        for n in range(per_class):
            pixels = generator.integers(0, 150, (side, side, channels))
            pixels[:, position * third : (position + 1) * third] += 30
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8).squeeze()).save(root / name / f"{n:03}.png")
    return root


def studies(work: Path) -> dict[str, dict[str, Any]]:
    """Every study by its name, as plain values."""
    for part, count in (("train", 30), ("test", 20)):
        write_images(work / "grey" / part, count, seed=count, channels=1, side=12)
        write_images(work / "colour" / part, count, seed=count, channels=3, side=16)
    quick = {"epochs": 2, "batch_size": 20, "lr": 1e-2}
    base = {
        "data": {"source": str(work / "grey"), "validation": 0.2},
        "teachers": {"one": {"model": "vicinal_resnet8", **quick}},
        "student": {"model": "vicinal_mobilenet", **quick, "batch_size": 15, "train_images": 45},
        "measures": {"vicinity": {"pairs": 12, "lam_points": 5}, "bootstrap_resamples": 100, "ece_bins": 7},
        "runtime": {"device": "cpu", "threads": 1},
    }

    def student(**values: Any) -> dict[str, Any]:
        return {**base["student"], **values}

    def arm(name: str, like: str, **values: Any) -> dict[str, Any]:
        return {"name": name, "like": like, **values}

    plain = ["baseline", "kd", "kd_mixup"]
    return {
        "arms": {
            **base,
            "teachers": {
                "one": base["teachers"]["one"],
                "mixed": {**base["teachers"]["one"], "mixing": {"distribution": "uniform"}, "train_images": 60},
            },
            "arms": [
                "baseline",
                "mixup",
                "kd",
                {"name": "kd_mixup", "temperature": [0.5, 2, 4, "sigma", "teacher_sigma"], "teachers": ["one"]},
                {"name": "kd_mixup", "teachers": ["mixed"]},
                {"name": "linear_target", "temperature": [2, "sigma"]},
                "label_smoothing",
                arm("both", "kd_mixup", alpha=0.3, temperature=[3, "teacher_sigma"], label_smoothing=0.05),
                arm(
                    "beta",
                    "kd_mixup",
                    mixing={"distribution": "beta", "beta_concentration": 0.4, "clean_fraction": 0.3},
                ),
                arm("fixed", "mixup", mixing={"distribution": "fixed", "lam": 0.7}),
            ],
            "seeds": [0, 3],
        },
        "schedules": {
            **base,
            "teachers": {
                "adam": {
                    "model": "vicinal_resnet8",
                    **quick,
                    "optimizer": "adam",
                    "schedule": "cosine",
                    "warmup_fraction": 0.3,
                },
                "steady": {"model": "vicinal_resnet8", **quick, "schedule": "constant", "weight_decay": 0.05},
                "pieces": {
                    "model": "vicinal_resnet8",
                    **quick,
                    "schedule": "piecewise",
                    "lr_segments": [[0, 0.5, 1e-3, 1e-2, "linear"], [0.5, 2, 1e-2, 1e-4, "cosine"]],
                },
                "falls": {
                    "model": "vicinal_resnet8",
                    **quick,
                    "epochs": 5,
                    "schedule": "plateau",
                    "plateau": {"patience_epochs": 1, "min_lr": 1e-4},
                },
            },
            "student": student(optimizer="sgd", head="bottleneck", head_warmup_epochs=1, augment={"flip": True}),
            "arms": plain,
            "teacher_seed": 1,
            "input_seed": 5,
        },
        "best": {**base, "student": student(epochs=4), "arms": plain, "selection": "best_validation"},
        "best_test": {**base, "student": student(epochs=4), "arms": plain, "selection": "paper_best_test"},
        "crops": {
            **base,
            "data": {"source": str(work / "colour"), "validation": 0.2, "image_size": 12},
            "student": student(
                augment={"crop": "resize", "resize": 14, "flip": True},
                epochs=3,
                repeat_inputs_after_epochs=2,
                train_images=None,
            ),
            "teachers": {
                "one": {**base["teachers"]["one"], "augment": {"crop": "pad", "pad": 2}, "channels_last": False}
            },
            "arms": plain,
            "validate_every_epochs": 2,
        },
        "lazy": {
            **base,
            "data": {"source": str(work / "colour"), "validation": 0.2, "image_size": 12, "lazy": True},
            "arms": ["baseline", "kd_mixup"],
        },
        "measures": {
            **base,
            "data": {"source": "embedded/fashion-mnist", "validation": 0.2, "train_images": 300, "test_images": 100},
            "student": student(train_images=120),
            "arms": ["baseline", "kd_mixup"],
            "measures": {
                **base["measures"],
                "vicinity": {"pairs": 40, "lam_points": 5, "precision_nats": 0.001},
                "corruptions": {"images": 40},
                "representation": {"images_per_class": 6},
                "ood": {"source": str(work / "grey"), "image_size": 28},
            },
        },
        "bank": {
            **base,
            "arms": ["kd", {"name": "kd_mixup", "temperature": [2, 4]}, "linear_target"],
            "runtime": {**base["runtime"], "students_at_once": 1},
        },
        "half": {**base, "arms": [{"name": "kd_mixup", "temperature": [2, 4]}], "answers": {"dtype": "float16"}},
        "top": {**base, "arms": [{"name": "kd_mixup", "temperature": [2, 4]}], "answers": {"top_k": 2}},
        "resume": {
            **base,
            "student": student(epochs=30, head="bottleneck", head_warmup_epochs=2),
            "arms": ["baseline", {"name": "kd_mixup", "temperature": [2, "sigma"]}],
            "runtime": {**base["runtime"], "checkpoint_seconds": 0},
        },
        "kept": {
            **base,
            "teachers": {"brought": {"model": "vicinal_resnet8", "weights": "BROUGHT", "head": "keep", "epochs": 0}},
            "student": student(model="vicinal_resnet8", weights="BROUGHT"),
            "arms": ["kd"],
        },
    }


BANKED = ("bank", "top")  # built by `vicinal bank build` first
KILLED = {"resume": (12, 50, 75)}  # by SIGKILL, when the logs of all runs hold so many lines (of 126)


def kill_after(command: list[str], environment: Mapping[str, str], out: Path, lines: int) -> None:
    killed = subprocess.Popen(command, env=environment)
    while sum(len(log.read_text().splitlines()) for log in out.glob("runs/*/log.jsonl")) < lines:
        assert killed.poll() is None, "it ended before it was killed"
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    killed.wait()


def renamed(value: Any, path: str = "") -> Any:
    """A study in the words of the code before."""
    if isinstance(value, dict):
        return {RENAMED.get(key, key): renamed(item, f"{path}.{key}") for key, item in value.items()}
    return [renamed(item, path) for item in value] if isinstance(value, list) else value


def record(source: Path, target: Path, only: list[str], old_words: bool) -> None:
    """Run every study with the code in a source folder, and write what it came to."""
    target.unlink(missing_ok=True)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="vicinal-equality-") as name:
        work = Path(name)
        environment = {
            **os.environ,
            "PYTHONPATH": str(source.absolute()),
            "OMP_NUM_THREADS": "1",
            # One choice of precision for both records, wherever bf16 happened to be faster.
            "XDG_CACHE_HOME": str(Path(tempfile.gettempdir()) / "vicinal-equality-cache"),
        }
        brought = None
        for study, values in studies(work).items():
            if only and study not in only and not (study == "best" and "kept" in only):
                continue
            text = yaml.safe_dump({"name": study, **(renamed(values) if old_words else values)}, sort_keys=False)
            file, out = work / f"{study}.yaml", work / "out" / study
            file.write_text(text.replace("BROUGHT", str(brought)))
            started = time.monotonic()
            run = [sys.executable, "-m", "vicinal.cli"]
            if study in BANKED:
                subprocess.run([*run, "bank", "build", str(file), "--out", str(out)], env=environment, check=True)
            command = [*run, "run", str(file), "--out", str(out)]
            for lines in KILLED.get(study, ()):
                kill_after(command, environment, out, lines)
            subprocess.run(command, env=environment, check=True)
            if study == "best":
                brought = work / "brought.safetensors"
                shutil.copy(next(out.glob("runs/teacher-one-*/weights.safetensors")), brought)
            found[study] = {
                "weights": {
                    re.sub("-[0-9a-f]{12}$", "", folder.name): hashlib.sha256(
                        (folder / "weights.safetensors").read_bytes()
                    ).hexdigest()
                    for folder in sorted(out.glob("runs/*"))
                },
                "numbers": dict(leaves(json.loads((out / "results.json").read_text()))),
                "tables": {
                    f"{file.parent.name}/{file.name}.{number}.{column}": value
                    for file in sorted([*out.glob("tables/*.csv"), *out.glob("paper/*.csv")])
                    for number, row in enumerate(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"))))
                    for column, value in row.items()
                },
            }
            print(f"{study}: {len(found[study]['weights'])} runs, {len(found[study]['numbers']):,} values in "
                  f"{time.monotonic() - started:.0f} s", flush=True)  # fmt: skip
    target.write_text(json.dumps(found, indent=1) + "\n")


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every single value of a JSON value, by its dotted path."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from leaves(item, f"{path}.{position}")
    else:
        yield path, value


def same(key: str, was: Any, now: Any) -> bool:
    """Whether a value is what it was, or as near as `CLOSE` allows."""
    if was == now:
        return True
    allowed = next((difference for pattern, difference in CLOSE if re.search(pattern, key)), None)
    return (
        allowed is not None
        and was not in (None, "")
        and now not in (None, "")
        and abs(float(now) - float(was)) <= allowed
    )


def compare(before: Path, after: Path) -> int:
    """Print what differs; the exit status."""
    old, new = json.loads(before.read_text()), json.loads(after.read_text())
    wrong = 0
    for study in old:
        if study not in new:
            print(f"{study}: not in {after}")
            wrong += 1
            continue
        for kind in ("weights", "numbers", "tables"):
            was, now = old[study][kind], new[study][kind]
            if kind != "weights":
                was, now = ({k: v for k, v in values.items() if not FREE.search(k)} for values in (was, now))
                for pattern, word in MENDED:
                    now = {re.sub(pattern, word, key): value for key, value in now.items()}
                for pattern, new_words, old_words in REWORDED:
                    now = {
                        key: value.replace(new_words, old_words)
                        if isinstance(value, str) and re.search(pattern, key)
                        else value
                        for key, value in now.items()
                    }
            missing, added = was.keys() - now.keys(), now.keys() - was.keys()
            differing = [key for key in was.keys() & now.keys() if not same(key, was[key], now[key])]
            for what, keys in (("missing", missing), ("new", added), ("different", differing)):
                for key in sorted(keys)[:12]:
                    print(f"{study}: {kind}: {what}: {key}: {was.get(key)} -> {now.get(key)}")
                if keys:
                    print(f"{study}: {kind}: {len(keys)} {what}")
            wrong += len(missing) + len(differing)
            print(f"{study}: {len(was.keys() & now.keys()) - len(differing):,} of {len(was):,} {kind} equal")
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Hold a change of the code against the code before it.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    recorder = verbs.add_parser("record", help="run the studies with the code in a folder")
    recorder.add_argument("source", type=Path)
    recorder.add_argument("target", type=Path)
    recorder.add_argument("--only", nargs="*", default=[], metavar="STUDY")
    comparer = verbs.add_parser("compare")
    comparer.add_argument("before", type=Path)
    comparer.add_argument("after", type=Path)
    given = parser.parse_args()
    if given.verb == "compare":
        return compare(given.before, given.after)
    record(given.source, given.target, given.only, old_words=(given.source / "vicinal" / "specs.py").exists())
    return 0


if __name__ == "__main__":
    sys.exit(main())
