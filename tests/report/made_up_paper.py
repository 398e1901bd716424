"""Made-up results of a study that holds everything the paper's tables and figures need, on the paper's data or another."""

from __future__ import annotations

from typing import Any

import numpy as np
from made_up_results import make_results

CORRUPTIONS = ("gaussian_noise", "motion_blur", "fog", "jpeg_compression", "contrast", "pixelate")
MODELS = {
    "calibrated": "convnext_large.fb_in1k",
    "overconfident": "resnet152.a1_in1k",
    "third": "convnext_tiny.fb_in1k",
    "fourth": "resnet152.a1_in1k",
}
FIVE = ["baby", "boy", "girl", "man", "woman"]
LOSS = {
    "gaussian_noise": 0.5,
    "motion_blur": 0.2,
    "fog": 0.12,
    "jpeg_compression": 0.3,
    "contrast": 0.25,
    "pixelate": 0.35,
}
NAMES = {"cifar10": "CIFAR-10", "cifar100": "torch/cifar100", "imagenet": "hfds/imagenet-1k"}
CLASSES = {"cifar10": 10, "cifar100": 100, "imagenet": 1000}


def make_paper_results(
    data_set: str | None = "cifar100",
    seeds: tuple[int, ...] = (0, 1, 2),
    temperatures: tuple[float | str, ...] = (2.0, 4.0, 6.0, 8.0, 10.0, "sigma"),
    epochs: int = 30,
    selection_images: str | None = "validation",
    points: int = 120,
    **shape: Any,
) -> dict[str, Any]:
    """Results with every optional key; the fourth teacher is the second one's sibling, trained with mixup."""
    results = make_results(teachers=4, seeds=seeds, temperatures=temperatures, **shape)
    rng = np.random.default_rng(1)
    results["selection_images"] = selection_images
    if data_set is not None:
        results["data"]["source"] = NAMES[data_set]
        results["data"]["name"] = NAMES[data_set]
        results["data"]["class_names"] = [f"class {k}" for k in range(CLASSES[data_set])]
    baselines = {m["seed"]: m for m in results["students"] if m["arm"] == "baseline"}
    for model in [*results["teachers"], *results["students"]]:
        if "name" in model:
            model["model"] = MODELS[model["name"]]
        mixes = model.get("name") == "fourth" or model.get("arm") in ("mixup", "kd_mixup")
        model["objective"] = {
            "alpha": 1.0, "beta": 0.0, "temperature": 2.0, "target": "teacher", "label_smoothing": 0.0,
            "mixing": {"distribution": "uniform" if mixes else "none", "beta_concentration": None, "lam": None, "clean_fraction": 0.0},
        }  # fmt: skip
        model["history"] = _history(model["accuracy"], epochs, selection_images, rng)
        model["representation"] = _representation(points, rng)
        model["corruptions"] = {name: _corrupted(model["accuracy"], name, rng) for name in CORRUPTIONS}
    for student in results["students"]:
        base = baselines.get(student["seed"])
        if student["arm"] == "baseline" or base is None:
            continue
        for name, found in student["corruptions"].items():
            gain = 100 * (np.array(found["accuracy"]) - np.array(base["corruptions"][name]["accuracy"]))
            found["gain_pp"] = gain.tolist()
            found["gain_pp_interval"] = {"lower": (gain - 1.3).tolist(), "upper": (gain + 1.4).tolist()}
    return results


def _history(accuracy: float, epochs: int, selection_images: str | None, rng: np.random.Generator) -> dict[str, Any]:
    epoch = np.arange(1, epochs + 1)
    reached = accuracy * (1 - 0.8 * np.exp(-3 * epoch / max(epochs, 2)) * (1 + 0.05 * rng.standard_normal(epochs)))
    seen: list[float | None] = np.clip(reached, 0, 1).tolist()
    if epochs > 4:
        seen[1] = None  # not every epoch is selection_images
    return {
        "epoch": epoch.tolist(),
        "loss": (2 / epoch).tolist(),
        "selection_accuracy": seen if selection_images else None,
    }


def _representation(points: int, rng: np.random.Generator) -> dict[str, Any]:
    labels = np.arange(points) % len(FIVE)
    angle = 2 * np.pi * labels / len(FIVE)
    around = np.stack([np.cos(angle), np.sin(angle)], 1) * 30 + rng.standard_normal((points, 2)) * 7
    return {"classes": FIVE, "images": points, "features": 256, "v_score": float(rng.uniform(0.4, 0.95)),
            "silhouette": float(rng.uniform(-0.1, 0.5)), "points": around.round(2).tolist(), "labels": labels.tolist()}  # fmt: skip


def _corrupted(accuracy: float, name: str, rng: np.random.Generator) -> dict[str, Any]:
    left = accuracy * (1 - LOSS[name] * np.arange(1, 6) / 3) + 0.01 * rng.standard_normal(5)
    return {"severity": [1, 2, 3, 4, 5], "accuracy": np.clip(left, 0, 1).tolist(), "ece": rng.uniform(0.02, 0.3, 5).tolist(),
            "gain_pp": None, "gain_pp_interval": None}  # fmt: skip
