"""What a network answers, beside the class shares, and the temperature that is or is not fitted: from predictions made by hand."""

from __future__ import annotations

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vicinal.config import MeasuresSpec
from vicinal.evaluation import Measured, Predictions
from vicinal.evaluation.predictions import PairAnswers
from vicinal.metrics import lam_grid

MEASURES = MeasuresSpec.model_validate({"bootstrap_resamples": 100, "vicinity": {"pairs": 10, "lam_points": 3}})


def predictions(
    test: torch.Tensor, labels: torch.Tensor, validation: torch.Tensor, validation_labels: torch.Tensor
) -> Predictions:
    classes = test.shape[1]
    generator = torch.Generator().manual_seed(0)
    pair = torch.randn(4, classes, generator=generator)
    mixed = torch.randn(4, 3, classes, generator=generator)
    answers = PairAnswers(pair, pair.flip(0), mixed, torch.arange(8).view(2, 4).T, torch.zeros(4, 2).long() - 1)
    return Predictions(validation, test, validation_labels, labels, lam_grid(3), answers)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**16), images=st.integers(2, 40), classes=st.integers(2, 6))
def test_answers_are_counted(seed: int, images: int, classes: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    z = 3 * torch.randn(images, classes, generator=generator)
    labels = torch.randint(0, classes, (images,), generator=generator)
    numbers = Measured(predictions(z, labels, z, labels), MEASURES).numbers(scale_free=False)
    found, answered = numbers["answers"], z.argmax(1)
    assert found["predicted_classes"] == len(answered.unique())
    assert found["commonest_answer_share"] == pytest.approx(
        float((answered == found["commonest_answer"]).double().mean())
    )
    recall = [
        float((answered[labels == k] == k).double().mean()) if bool((labels == k).any()) else None
        for k in range(classes)
    ]
    assert found["class_accuracy"] == pytest.approx(recall)
    known = [value for value in recall if value is not None]
    assert found["balanced_accuracy"] == pytest.approx(sum(known) / len(known))
    shares = labels.bincount(minlength=classes).double() / images
    assert found["prior_accuracy"] == pytest.approx(float(shares.max()))
    assert found["prior_nll"] == pytest.approx(float(-(shares[shares > 0] * shares[shares > 0].log()).sum()))
    p = z.double().softmax(1)
    mean = p.mean(0)
    assert found["information"] == pytest.approx(
        float(-(mean * mean.log()).sum() + (p * p.log()).sum(1).mean()), abs=1e-6
    )
    low, high = numbers["intervals"]["accuracy"]
    assert low <= numbers["accuracy"] <= high
    assert high - low > 0
    json.dumps(numbers, allow_nan=False)


@pytest.mark.parametrize(
    ("validation", "labels", "words"),
    [
        (
            torch.eye(3) * 5,
            [0, 1, 2],
            "no finite temperature is best: NLL on the 3 validation images falls as T falls to its bound",
        ),
        (
            torch.eye(3) * 5,
            [1, 2, 0],
            "no finite temperature is best: NLL on the 3 validation images falls as T rises to its bound",
        ),
        (torch.ones(3, 3), [0, 1, 2], "no temperature changes its answers"),
        (torch.zeros(0, 3), [], "there are no validation images"),
    ],
)
def test_why_no_temperature_is_fitted(validation: torch.Tensor, labels: list[int], words: str) -> None:
    z = torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
    numbers = Measured(
        predictions(z, torch.arange(9) % 3, validation, torch.tensor(labels, dtype=torch.int64)), MEASURES
    ).numbers(scale_free=False)
    assert numbers["fitted_temperature"] is None
    assert words in numbers["no_fitted_temperature"]
    scaled = {key: value for key, value in numbers.items() if key.endswith("_after_temperature_scaling")}
    assert len(scaled) >= 7
    assert all(value is None for value in scaled.values())
    assert numbers["intervals"]["ece_after_temperature_scaling"] is None


def test_a_constant_network_tells_nothing() -> None:
    z = torch.tensor([[1.0, 0.0, -1.0]]).repeat(12, 1)
    labels = torch.arange(12) % 3
    found = Measured(predictions(z, labels, z, labels), MEASURES).numbers(scale_free=False)["answers"]
    assert (found["predicted_classes"], found["commonest_answer"], found["commonest_answer_share"]) == (1, 0, 1.0)
    assert found["class_accuracy"] == [1.0, 0.0, 0.0]
    assert found["information"] == pytest.approx(0, abs=1e-9)
    assert found["prior_nll"] == pytest.approx(math.log(3))
