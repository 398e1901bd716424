"""Recall by class, balanced and top-5 accuracy: torchmetrics and scikit-learn as oracles, intervals, resamples."""

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score
from torchmetrics.functional import accuracy

from vicinal.functional import in_top_k
from vicinal.metrics import Recall, mean_proportion_interval, proportion_interval, resample_counts


def drawn(samples: int, classes: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (samples,), generator=generator).square() // classes  # the first are common
    return 2 * torch.nn.functional.one_hot(labels, classes) + torch.randn(samples, classes, generator=generator), labels


def measured(logits: torch.Tensor, labels: torch.Tensor, parts: int = 1) -> Recall:
    metric = Recall()
    for own, of in zip(logits.tensor_split(parts), labels.tensor_split(parts), strict=True):
        metric.update(own, of)
    return metric


@pytest.mark.filterwarnings("ignore:y_pred contains classes")
@pytest.mark.parametrize("classes", [6, 12])
def test_torchmetrics_and_sklearn_say_the_same(classes):
    logits, labels = drawn(400, classes)
    found = measured(logits, labels, parts=3).compute()
    each = accuracy(logits, labels, "multiclass", num_classes=classes, average=None)
    assert torch.allclose(found["recall_by_class"].float()[labels.unique()], each[labels.unique()], atol=1e-6)
    assert float(found["accuracy_balanced"]) == pytest.approx(balanced_accuracy_score(labels, logits.argmax(1)))
    top = accuracy(logits, labels, "multiclass", num_classes=classes, average="micro", top_k=5)
    assert float(found["accuracy_top5"]) == pytest.approx(float(top), abs=1e-6)


def test_a_class_without_samples_has_no_recall_and_five_classes_no_top_five():
    metric = measured(*drawn(40, 5))
    metric.update(3 * torch.eye(5)[:1], torch.tensor([0]))
    assert torch.isnan(metric.compute()["accuracy_top5"])
    assert metric.intervals()["accuracy_top5"] is None
    lone = measured(torch.tensor([[3.0, 0, 0], [0, 3.0, 0]]), torch.tensor([0, 0]))
    assert str(lone.compute()["recall_by_class"].tolist()) == "[0.5, nan, nan]"
    assert lone.intervals()["recall_by_class"]["lower"][1:] == [None, None]
    assert float(lone.compute()["accuracy_balanced"]) == 0.5


def test_equal_logits_count_in_the_order_of_the_classes():
    logits = torch.zeros(3, 9)
    assert in_top_k(logits, torch.tensor([0, 4, 5]), 5).tolist() == [True, True, False]
    assert torch.equal(in_top_k(logits, torch.tensor([0, 1, 8]), 1), logits.argmax(1) == torch.tensor([0, 1, 8]))


def test_answers_that_are_not_numbers_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        Recall().update(torch.tensor([[torch.nan, 1.0]]), torch.tensor([0]))


def test_resamples_move_it_as_measuring_them_anew_does():
    logits, labels = drawn(60, 7)
    metric, counts = measured(logits, labels), resample_counts(60, 20)
    moved, whole = metric.deviations(counts), metric.compute()
    for name in ("accuracy_balanced", "accuracy_top5"):
        for r in range(20):
            again = counts[r].long()
            own = measured(logits.repeat_interleave(again, 0), labels.repeat_interleave(again)).compute()[name]
            assert float(own) == pytest.approx(float(whole[name] + moved[name][r]), abs=1e-12)


def test_the_interval_of_one_group_is_wilsons_and_all_right_has_a_width():
    assert mean_proportion_interval([7], [9]) == pytest.approx(proportion_interval(7, 9))
    assert mean_proportion_interval([7, 0], [9, 0]) == pytest.approx(proportion_interval(7, 9))
    low, high = mean_proportion_interval([10, 10], [10, 10])
    assert low < 0.9
    assert high == 1


@pytest.mark.parametrize(("images", "least"), [((10, 40, 100), 0.5), ((5,) * 20, 0.8), ((1,) * 50, 0.7)])
def test_the_interval_covers(images, least):
    generator = np.random.default_rng(1)
    shares = generator.uniform(least, 1, len(images))
    held = 0
    for _ in range(1000):
        low, high = mean_proportion_interval(generator.binomial(images, shares).tolist(), images)
        held += low <= shares.mean() <= high
    assert 0.93 <= held / 1000 <= 0.995
