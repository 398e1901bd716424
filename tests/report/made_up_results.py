"""Made-up results.json of every shape the report has to render: plausible numbers from formulas and a seeded generator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

LAM = np.linspace(0, 1, 21)
CLASSES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
# How linear, how well calibrated and how accurate each arm comes out: NL(0.5), confidence minus accuracy, accuracy.
ARMS: dict[str, tuple[float, float, float]] = {
    "baseline": (1.30, 0.095, 0.824),
    "mixup": (0.28, -0.030, 0.831),
    "kd": (0.80, 0.015, 0.849),
    "kd_mixup": (0.72, 0.012, 0.852),
}
TEACHERS: dict[str, tuple[float, float, float]] = {
    "calibrated": (0.86, 0.006, 0.876),
    "overconfident": (1.45, 0.083, 0.835),
    "third": (1.05, 0.030, 0.860),
    "fourth": (0.55, -0.020, 0.810),
}


def _curve(values: np.ndarray, width: float = 0.04) -> dict[str, list[float]]:
    return {"lower": (values * (1 - width)).tolist(), "upper": (values * (1 + width)).tolist()}


def _vicinity(peak: float, rng: np.random.Generator) -> dict[str, Any]:
    bump = 4 * LAM * (1 - LAM)
    nonlinearity = peak * bump**0.8 * (1 + 0.01 * rng.standard_normal(LAM.size))
    entropy = 0.12 + (0.55 - 0.1 * peak) * bump
    curves = {
        "nonlinearity": nonlinearity,
        "entropy": entropy,
        "dominance": nonlinearity / entropy,
        "linearity_information": 0.2 + 0.6 * bump - nonlinearity,
    }
    return {
        "lam": LAM.tolist(),
        **{name: values.tolist() for name, values in curves.items()},
        "intervals": {name: _curve(values) for name, values in curves.items()},
    }


def _reliability(accuracy: float, gap: float, rng: np.random.Generator) -> dict[str, Any]:
    edges = np.linspace(0, 1, 16)
    confidence: list[float | None] = list((edges[:-1] + edges[1:]) / 2)
    counts = np.round(5000 * np.exp(5 * (edges[:-1] - 1)) / 6).astype(int)
    counts[0], counts[1] = 0, 4
    values = np.clip(np.array(confidence, dtype=float) - gap * 1.4 + 0.01 * rng.standard_normal(15), 0, 1)
    hits: list[float | None] = values.tolist()
    confidence[0] = hits[0] = None
    return {
        "lower": edges[:-1].tolist(),
        "upper": edges[1:].tolist(),
        "count": counts.tolist(),
        "accuracy": hits,
        "confidence": confidence,
    }


def _model(
    kind: tuple[float, float, float], seed: int, rng: np.random.Generator, validation: bool, scale_free: bool
) -> dict[str, Any]:
    peak, gap, accuracy = kind
    accuracy += 0.004 * rng.standard_normal()
    ece = abs(gap) + 0.004 * rng.random()
    scaled = {
        "confidence": accuracy + 0.004,
        "ece": 0.011 + 0.003 * rng.random(),
        "ece_equal_mass": 0.012,
        "nll": 1.6 * (1 - accuracy) + 0.12,
        "brier": 1.4 * (1 - accuracy),
    }
    return {
        "seed": seed,
        "run": f"run-{seed}",
        "model": "vicinal_mobile",
        "head": "linear",
        "parameters": 31_284,
        "train_images": 1800,
        "epochs": 30,
        "training_s": 21.7 + rng.random(),
        "selected_epoch": 30,
        "accuracy": accuracy,
        "confidence": accuracy + gap,
        "ece": ece,
        "ece_equal_mass": ece + 0.002,
        "nll": 1.6 * (1 - accuracy) + 0.12 + abs(gap),
        "brier": 1.4 * (1 - accuracy) + 0.2 * abs(gap),
        "fitted_temperature": 1 + 6 * gap if validation else None,
        **{f"{key}_after_temperature_scaling": value if validation else None for key, value in scaled.items()},
        "scale_free": scale_free,
        "intervals": {
            "accuracy": [accuracy - 0.01, accuracy + 0.01],
            "ece": [ece - 0.006, ece + 0.006],
            **({"ece_after_temperature_scaling": [scaled["ece"] - 0.004, scaled["ece"] + 0.004]} if validation else {}),
        },
        "reliability": _reliability(accuracy, gap, rng),
        "reliability_after_temperature_scaling": _reliability(accuracy, 0.01, rng) if validation else None,
        "vicinity": _vicinity(peak, rng),
        "vicinity_after_temperature_scaling": _vicinity(0.9 * peak, rng) if validation else None,
    }


def _versus(student: dict[str, Any], teacher: dict[str, Any], distance: float) -> dict[str, Any]:
    gain = np.array(teacher["vicinity"]["nonlinearity"]) - np.array(student["vicinity"]["nonlinearity"])
    scaled = [model["vicinity_after_temperature_scaling"] for model in (teacher, student)]
    mixed = distance * (1 + 1.5 * 4 * LAM * (1 - LAM))
    return {
        "linearity_gain": gain.tolist(),
        "linearity_gain_interval": {"lower": (gain - 0.03 * np.sqrt(LAM * (1 - LAM))).tolist(),
                                    "upper": (gain + 0.03 * np.sqrt(LAM * (1 - LAM))).tolist()},
        "linearity_gain_after_temperature_scaling": None if None in scaled else
            np.subtract(*(curves["nonlinearity"] for curves in scaled)).tolist(),
        "alignment": {"kl_real": distance, "kl_mixed": float(mixed.mean()), "independent_response": float(mixed.mean()) - distance,
                      "kl_mixed_by_lam": mixed.tolist()},
    }  # fmt: skip


def made_up_answers(accuracy: float) -> dict[str, Any]:
    """Of a network that is right about some classes more often than about others."""
    recall = np.clip(accuracy + np.linspace(-0.08, 0.08, len(CLASSES)), 0, 1)
    return {
        "predicted_classes": len(CLASSES),
        "commonest_answer": 3,
        "commonest_answer_share": 0.12,
        "class_accuracy": recall.tolist(),
        "balanced_accuracy": float(recall.mean()),
        "information": 1.7 * accuracy,
        "prior_accuracy": 0.1,
        "prior_nll": float(np.log(10)),
    }


def make_results(
    teachers: int = 2,
    arms: tuple[str, ...] = tuple(ARMS),
    seeds: tuple[int, ...] = (0,),
    temperatures: tuple[float | str, ...] = (2.0,),
    validation: bool = True,
    selection: str = "last",
    answers: bool = False,
) -> dict[str, Any]:
    """A study's results as `vicinal run` writes them."""
    rng = np.random.default_rng(0)
    names = list(TEACHERS)[:teachers]
    taught = []
    for name in names:
        for seed in seeds:
            model = _model(TEACHERS[name], seed, rng, validation, scale_free=False)
            taught.append(
                {
                    "name": name,
                    **model,
                    "model": "vicinal_resnet",
                    "parameters": 305_930,
                    "train_images": 9000,
                    "epochs": 8,
                }
            )
    students = []
    for arm in arms:
        distilled = arm not in ("baseline", "mixup")
        for teacher in names if distilled else [None]:
            for temperature in temperatures if distilled else [None]:
                students += [_student(arm, teacher, temperature, seed, taught, rng, validation) for seed in seeds]
    if answers:
        for model in taught + students:
            model["answers"] = made_up_answers(model["accuracy"])
    return {
        "schema": 2,
        "study": "quickstart",
        "title": "Mixup-based distillation on Fashion-MNIST",
        "description": "Two teachers, one calibrated and one overconfident, teach a student of 31 k parameters on 1,800 images.",
        "version": "0.1.0",
        "command": "vicinal run quickstart --out runs/quickstart",
        "created": "2026-06-20T10:11:12+00:00",
        "environment": {"python": "3.11.9", "torch": "2.8.0", "torchvision": "0.23.0", "timm": "1.0.20", "numpy": "2.3.0",
                        "platform": "Linux-6.1-x86_64", "processor": "Intel Xeon", "cores": 2, "threads": 2, "memory_gib": 23.5,
                        "device": "cpu"},
        "selection": selection,
        "wall_time_s": 192.4,
        "data": {"name": "Fashion-MNIST", "source": "embedded/fashion-mnist", "content_hash": "sha256:0123456789abcdef",
                 "class_names": list(CLASSES),
                 "image_shape": [28, 28, 1], "train": 9000, "validation": 1000 if validation else 0, "test": 5000,
                 "notes": ["The embedded part of Fashion-MNIST is balanced: 1,000 training and 500 test images a class."]},
        "measures": {"ece_bins": 15, "pairs": 1000, "lam_points": 21, "confidence_level": 0.95, "bootstrap_resamples": 1000,
                     "calibrated_on": "validation" if validation else None},
        "spec": {"name": "quickstart", "seeds": list(seeds), "selection": selection, "arms": [{"name": arm} for arm in arms]},
        "notes": [],
        "teachers": taught,
        "students": students,
    }  # fmt: skip


def _student(
    arm: str, teacher: str | None, temperature: float | str | None, seed: int, taught: list[dict[str, Any]], rng: np.random.Generator,
    validation: bool,
) -> dict[str, Any]:  # fmt: skip
    peak, gap, accuracy = ARMS.get(arm, ARMS["kd"])
    if teacher is not None:
        # A student takes after its teacher.
        peak *= TEACHERS[teacher][0] / 0.86
        gap += 0.8 * TEACHERS[teacher][1]
        accuracy -= 0.4 * (0.876 - TEACHERS[teacher][2])
    if isinstance(temperature, float):
        peak *= (2 / temperature) ** 0.3
    model = _model((peak, gap, accuracy), seed, rng, validation, scale_free=temperature == "sigma")
    found = {t["name"]: _versus(model, t, 0.05 if teacher == t["name"] else 0.16) for t in taught if t["seed"] == seed}
    return {"arm": arm, "teacher": teacher, "temperature": temperature, **model, "versus_teacher": found}


def versus_own_teacher(student: dict[str, Any]) -> dict[str, Any]:
    """What was measured of a student beside its own teacher."""
    return student["versus_teacher"][student["teacher"]]


SHAPES: dict[str, dict[str, Any]] = {
    "quickstart": {},
    "three_seeds": {"seeds": (0, 1, 2)},
    "sigma_and_temperatures": {"temperatures": (1.0, 2.0, 4.0, 8.0, "sigma", "teacher_sigma")},
    "teachers_only": {"arms": ()},
    "no_validation": {"validation": False, "temperatures": (2.0, "sigma")},
    "paper_best_test": {"selection": "paper_best_test", "teachers": 4, "temperatures": (2.0,)},
    "with_answers": {"answers": True},
    "with_answers_over_seeds": {"answers": True, "seeds": (0, 1), "temperatures": (1.0, 2.0)},
    "one_teacher": {"teachers": 1, "arms": ("baseline", "mixup", "kd", "kd_mixup", "gentle")},
}


def some_shapes(*quick: str) -> list[Any]:
    """Parameters of a test: every shape, those that are not named in the slow tests alone."""
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in SHAPES]


def write_results(folder: Path, results: dict[str, Any]) -> Path:
    """Put results where the report looks for them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    return folder
