"""Consistency resampling against labels drawn one by one, and its p against a uniform distribution."""

import numpy as np
import pytest
import torch

from vicinal.functional import bin_of, equal_mass_shares
from vicinal.metrics import Calibration, class_calibration, classwise_expected_calibration_error
from vicinal.metrics.consistency import calibrated_gaps, calibration_test, classwise_calibrated_errors


def answers(samples: int, classes: int = 5, seed: int = 0) -> torch.Tensor:
    return torch.randn(samples, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2


def labels_drawn(probabilities: torch.Tensor, seed: int) -> torch.Tensor:
    return torch.multinomial(probabilities, 1, generator=torch.Generator().manual_seed(seed))[:, 0]


@pytest.mark.parametrize("ties", [False, True])
def test_gaps_are_distributed_as_those_of_labels_drawn_one_by_one(ties):
    conf = answers(150).softmax(-1).amax(-1)
    if ties:
        conf = (conf * 8).round() / 8  # samples that share bins of equal mass
    for shares in (torch.nn.functional.one_hot(bin_of(conf), 15).double(), equal_mass_shares(conf, 15)):
        found = calibrated_gaps(conf, shares, 4000)
        drawn = (torch.rand(4000, 150, generator=torch.Generator().manual_seed(1)) < conf).double()
        expected = (drawn - conf) @ shares / 150
        assert float(found.abs().sum(1).mean()) == pytest.approx(float(expected.abs().sum(1).mean()), rel=0.02)
        torch.testing.assert_close(found.std(0), expected.std(0), rtol=0.07, atol=1e-12)
        assert float(found.mean(0).abs().max()) < 0.002


def test_one_number_of_samples_and_a_seed_give_the_same_draws_and_time_does_not_grow_with_samples():
    conf = answers(1000).softmax(-1).amax(-1)
    shares = torch.ones(1000, 1, dtype=torch.float64)
    torch.testing.assert_close(calibrated_gaps(conf, shares, 50), calibrated_gaps(conf, shares, 50))
    assert not torch.equal(calibrated_gaps(conf, shares, 50), calibrated_gaps(conf, shares, 50, seed=1))


def test_class_wise_errors_are_those_of_labels_drawn_from_the_answers():
    p = answers(120, 4).softmax(-1)
    found = classwise_calibrated_errors(p, 10, 500)
    assert found.shape == (500, 4)
    expected = [float(classwise_expected_calibration_error(p, labels_drawn(p, k), 10)) for k in range(300)]
    assert float(found.mean()) == pytest.approx(np.mean(expected), rel=0.03)
    assert float(found.mean(1).std()) == pytest.approx(np.std(expected), rel=0.2)
    assert len(classwise_calibrated_errors(p.repeat(2000, 1), 10, 1000)) == 99  # 240,000 samples


def test_p_of_calibrated_answers_is_uniform_and_that_of_others_small():
    logits = answers(300, seed=3)
    p_values, classwise = [], []
    for k in range(150):
        labels = labels_drawn(logits.softmax(-1), k)
        metric = Calibration(10)
        metric.update(logits, labels)
        found = metric.tests(199)
        p_values.append([found[name]["p_value"] for name in ("ece", "ece_equal_mass")])
        entry, drawn = class_calibration(logits.softmax(-1), labels, 10, 199)
        classwise.append(calibration_test(np.mean(entry["ece"]), drawn)["p_value"])
    for values in (*np.array(p_values).T, np.array(classwise)):
        assert 0.4 < values.mean() < 0.6
        assert (values < 0.05).mean() < 0.1
    sure = Calibration(10)
    sure.update(2 * logits, labels_drawn(logits.softmax(-1), 0))
    for test in sure.tests(199).values():
        assert test["p_value"] == 1 / 200


def test_the_entry_by_class_has_images_errors_and_floors():
    p = answers(200, 3).softmax(-1)
    labels = labels_drawn(p, 0)
    entry, drawn = class_calibration(p, labels, 10, 99)
    assert entry["images"] == labels.bincount(minlength=3).tolist()
    assert np.mean(entry["ece"]) == pytest.approx(float(classwise_expected_calibration_error(p, labels, 10)))
    assert np.mean(entry["floor"]) == pytest.approx(float(drawn.mean()))
    assert all(0 < value <= 1 for value in entry["p_value"])


def test_bars_hold_the_accuracy_of_calibrated_answers():
    logits = answers(2000, seed=5)
    inside = total = 0
    for k in range(20):
        metric = Calibration(10)
        metric.update(logits, labels_drawn(logits.softmax(-1), 1000 + k))
        found = metric.reliability(300)
        for n, accuracy, low, high in zip(
            found["count"], found["accuracy"], found["consistency_lower"], found["consistency_upper"], strict=True
        ):
            assert (low is None) == (high is None) == (n == 0)
            if n:
                inside, total = inside + (low - 1e-12 <= accuracy <= high + 1e-12), total + 1
    assert 0.9 <= inside / total <= 0.99
    assert "consistency_lower" not in metric.reliability()
