"""What a classifier answers on every image: rows for people, the confusion matrix, and which images to look at first.

Shapes: N images, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

LISTED = 24  # images of each contact sheet


def answer_rows(
    logits: Tensor,
    labels: Tensor,
    class_names: Sequence[str],
    paths: Sequence[str | None],
    temperature: float | None = None,
    positions: Sequence[int] | None = None,
) -> list[dict[str, Any]]:
    """A row for each image, as `results.ImageAnswer` has it, and whether it is right.

    Args:
        logits: (N, K); labels: (N,); paths: (N,) of the images in their source.
        temperature: the logits are divided by it; None: as they are.
        positions: of the rows wanted, in this order; default: all.
    """
    index = torch.arange(len(labels)) if positions is None else torch.tensor(list(positions), dtype=torch.int64)
    probabilities = (logits[index].double() / (temperature or 1.0)).softmax(-1)
    top = probabilities.topk(min(2, probabilities.shape[1]), dim=1)
    answers = logits[index].argmax(-1)
    rows = []
    for row, position in enumerate(index.tolist()):
        answer, truth = int(answers[row]), int(labels[position])
        others = [int(k) for k in top.indices[row] if int(k) != answer]
        rows.append(
            {
                "position": position,
                "path": paths[position],
                "true_class": class_names[truth],
                "answer": class_names[answer],
                "right": answer == truth,
                "probability": float(probabilities[row, answer]),
                "true_probability": float(probabilities[row, truth]),
                "second": class_names[others[0]] if others else None,
                "second_probability": float(probabilities[row, others[0]]) if others else None,
            }
        )
    return rows


def confident_mistakes(
    logits: Tensor, labels: Tensor, count: int = LISTED, temperature: float | None = None
) -> list[int]:
    """Positions of the wrong answers, those of the highest probability first."""
    wrong = (logits.argmax(-1) != labels).nonzero()[:, 0]
    sure = (logits[wrong].double() / (temperature or 1.0)).softmax(-1).amax(-1)
    return [int(k) for k in wrong[sure.argsort(descending=True, stable=True)][:count]]


def least_certain(logits: Tensor, count: int = LISTED, temperature: float | None = None) -> list[int]:
    """Positions of the answers of the lowest probability, right or wrong."""
    sure = (logits.double() / (temperature or 1.0)).softmax(-1).amax(-1)
    return [int(k) for k in sure.argsort(stable=True)[:count]]


def confusion_matrix(logits: Tensor, labels: Tensor) -> Tensor:
    """(K, K) int64: images of the row's class that get the column's answer."""
    classes = logits.shape[-1]
    return (labels * classes + logits.argmax(-1)).bincount(minlength=classes * classes).view(classes, classes)


def confusions(matrix: Tensor, class_names: Sequence[str]) -> list[dict[str, Any]]:
    """All classes that are taken for others, the commonest first, as `results.Confusion` has them."""
    off = matrix.clone().fill_diagonal_(0)
    found = [(int(off[i, j]), int(i), int(j)) for i, j in off.nonzero()]
    found.sort(key=lambda entry: (-entry[0], entry[1], entry[2]))
    return [{"true_class": class_names[i], "answer": class_names[j], "images": n} for n, i, j in found]
