"""Whether a classifier's logits stand for the data's classes in the data's order: asked of its answers, where nothing else says so.

Shapes: N images, K classes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

ALPHA = 0.001  # error of each of the two tests: a right order is stopped by each of them about once in a thousand classifiers
_LISTED = 40  # classes whose order a message writes out


@dataclass(frozen=True)
class OrderDoubt:
    """What speaks against the order of a classifier's classes."""

    accuracy: float  # in the order as it is
    images: int
    classes: int
    order: (
        tuple[int, ...] | None
    )  # logit k stands for the order[k]-th class of the data; None: below chance, and no order mends it
    mended_accuracy: float  # in that order

    def sentence(self, class_names: Sequence[str]) -> str:
        """In words, with the order that would mend it."""
        found = f"{self.accuracy:.0%} of {self.images:,} images right"
        if self.order is None:
            return (
                f"{found}, clearly below chance ({1 / self.classes:.1%}): its classes, its image size or its normalisation are not "
                "the data's"
            )
        names = [class_names[k] for k in self.order]
        natural = " (timm's natural order of names)" if names == sorted(class_names, key=_natural_key) else ""
        if self.classes <= _LISTED:
            way = f"class_names: [{', '.join(map(_as_yaml, names))}]"
        else:
            moved = [f"{k} is {name}" for k, name in enumerate(names) if class_names[k] != name]
            more = f" and {len(moved) - 8} more" if len(moved) > 8 else ""
            way = f"class_names in the order of the logits (logit {', '.join(moved[:8])}{more})"
        return f"{found}, and {self.mended_accuracy:.0%} with its classes in another order{natural}: state {way}"


def doubt_of_order(logits: Tensor, labels: Tensor) -> OrderDoubt | None:
    """What speaks against (N, K) logits standing for the classes that (N,) labels count; None where nothing does.

    Two tests. Fewer right than guessing would have, by the binomial distribution. And an order of the classes, found on one half of
    the images as the assignment that makes most of them right, that makes more of the other half right than the order as it is,
    by the sign test over both halves, and more than guessing would: an order found on noise does neither.
    """
    from scipy.stats import binom, binomtest  # here: it takes half a second to import

    classes = logits.shape[1]
    predicted, truth = logits.argmax(1).numpy(), labels.numpy()
    right = predicted == truth
    halves = _halves(truth)
    gained = lost = mends = 0
    for half in (False, True):
        found = _best_order(predicted[halves == half], truth[halves == half], classes)
        other = halves != half
        mended = found[predicted[other]] == truth[other]
        mends += int(mended.sum())
        gained += int((mended & ~right[other]).sum())
        lost += int((right[other] & ~mended).sum())
    accuracy = float(right.mean()) if len(right) else 0.0
    better = gained > lost and binomtest(gained, gained + lost, 0.5, alternative="greater").pvalue < ALPHA
    if better and binom.sf(mends - 1, len(truth), 1 / classes) < ALPHA:
        order = _best_order(predicted, truth, classes)
        mended_accuracy = float((order[predicted] == truth).mean())
        return OrderDoubt(accuracy, len(truth), classes, tuple(map(int, order)), mended_accuracy)
    if len(right) and binom.cdf(int(right.sum()), len(right), 1 / classes) < ALPHA:
        return OrderDoubt(accuracy, len(truth), classes, None, accuracy)
    return None


def _halves(truth: np.ndarray) -> np.ndarray:
    """(N,) every second image of each class."""
    second = np.zeros(len(truth), dtype=bool)
    for value in np.unique(truth):
        second[np.flatnonzero(truth == value)[1::2]] = True
    return second


def _best_order(predicted: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    """(K,) the class that each logit stands for, so that most images are right; the order as it is where nothing tells."""
    from scipy.optimize import linear_sum_assignment

    counts = np.zeros((classes, classes))
    np.add.at(counts, (predicted, truth), 1.0)
    counts += np.eye(classes) * 0.5
    return np.asarray(linear_sum_assignment(counts, maximize=True)[1])


def _as_yaml(name: str) -> str:
    """A name as a study file takes it: in quotes where it would be read as a number, true, null, or as two names."""
    is_word = re.fullmatch(r"[^\W\d](?:[\w -]*\w)?", name) is not None
    is_plain = is_word and name.lower() not in (
        "true",
        "false",
        "null",
        "yes",
        "no",
        "on",
        "off",
        "y",
        "n",
        "inf",
        "nan",
    )
    return name if is_plain else json.dumps(name, ensure_ascii=False)


def _natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorts 2 before 10."""
    parts = re.split(r"([0-9]+)", name.lower())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
