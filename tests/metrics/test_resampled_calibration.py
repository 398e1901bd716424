"""Resampled figures and temperatures, held against data resampled for real and temperatures fitted anew."""

import math

import numpy as np
import pytest
import torch

from vicinal.functional import fit_temperature
from vicinal.metrics import Calibration, fitted_log_temperatures, resample_counts


def answers(n: int, seed: int, temperature: float = 1.7, classes: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits that are too sure by `temperature`, and labels drawn from them."""
    generator = np.random.default_rng(seed)
    z = generator.normal(size=(n, classes)) * 2
    return torch.from_numpy(z * temperature), torch.from_numpy((z + generator.gumbel(size=z.shape)).argmax(-1))


def repeated(logits, labels, counts):
    index = torch.arange(len(labels)).repeat_interleave(counts.long())
    return logits[index], labels[index]


def figures(logits, labels, temperature=1.0):
    metric = Calibration(12, temperature)
    metric.update(logits, labels)
    return {name: float(value) for name, value in metric.compute().items()}


@pytest.mark.parametrize(("images", "within"), [(40, 0.01), (200, 2e-3), (2000, 2e-4)])
def test_a_resampled_temperature_is_that_of_a_refit(images, within):
    logits, labels = answers(images, seed=images)
    counts = resample_counts(images, 30, seed=3)
    found = fitted_log_temperatures(logits, labels, fit_temperature(logits, labels), counts)
    exact = [math.log(fit_temperature(*repeated(logits, labels, row))) for row in counts]
    assert found.tolist() == pytest.approx(exact, abs=within)
    assert float(found.std()) > 10 * within


def test_the_temperature_of_the_images_themselves_is_found_again_and_masked_classes_change_none():
    logits, labels = answers(300, seed=0)
    fitted = fit_temperature(logits, labels)
    ones = torch.ones(1, 300)
    assert float(fitted_log_temperatures(logits, labels, fitted, ones)) == pytest.approx(math.log(fitted), abs=1e-9)
    masked, counts = torch.cat([logits, torch.full((300, 1), -math.inf)], 1), resample_counts(300, 20)
    same = [fitted_log_temperatures(z, labels, fitted, counts) for z in (logits, masked)]
    torch.testing.assert_close(*same)


def test_a_resample_without_a_best_temperature_gets_an_end():
    logits = torch.tensor([4.0, 0.0]).repeat(4, 1)
    labels = torch.tensor([0, 0, 0, 1])
    weights = torch.tensor([[2, 1, 1, 0], [0, 0, 1, 3], [1, 1, 1, 1]])  # all right; mostly wrong; as they are
    low, high, middle = fitted_log_temperatures(logits, labels, fit_temperature(logits, labels), weights).tolist()
    assert low < middle < high
    with pytest.raises(ValueError, match=r"\(R, N\) weights"):
        fitted_log_temperatures(logits, labels, 1.0, torch.ones(3, 5))


def test_deviations_are_those_of_resampled_data():
    logits, labels = answers(150, seed=1)
    metric, counts = Calibration(12, 1.3), resample_counts(150, 12)
    metric.update(logits, labels)
    found, here = metric.deviations(counts), figures(logits, labels, 1.3)
    assert set(found) == {"accuracy", "confidence", "ece", "ece_equal_mass", "nll", "brier"}
    for r, row in enumerate(counts):
        exact = figures(*repeated(logits, labels, row), 1.3)
        for name in ("accuracy", "confidence", "nll", "brier", "ece"):
            assert float(found[name][r]) == pytest.approx(exact[name] - here[name], abs=1e-12), name


def test_deviations_of_ece_in_fixed_bins_of_equal_mass_are_near_those_of_bins_drawn_anew():
    logits, labels = answers(800, seed=1)
    metric, counts = Calibration(12), resample_counts(800, 60)
    metric.update(logits, labels)
    found, here = metric.deviations(counts)["ece_equal_mass"], figures(logits, labels)
    drawn = [figures(*repeated(logits, labels, row))["ece_equal_mass"] - here["ece_equal_mass"] for row in counts]
    assert abs(float(found.mean()) - np.mean(drawn)) < 0.3 * np.std(drawn)
    assert float(found.std()) == pytest.approx(np.std(drawn), rel=0.2)


def test_deviations_with_temperatures_are_those_of_data_scaled_by_them():
    validation, test = answers(200, seed=2), answers(1500, seed=3)
    fitted = fit_temperature(*validation)
    resampled = fitted_log_temperatures(*validation, fitted, resample_counts(200, 40, seed=1))
    metric, counts = Calibration(12, fitted), resample_counts(1500, 40)
    metric.update(*test)
    found, here = metric.deviations(counts, resampled), figures(*test, fitted)
    errors = {name: [] for name in found}
    for r, row in enumerate(counts):
        exact = figures(*repeated(*test, row), float(resampled[r].exp()))
        for name in found:
            errors[name].append(float(found[name][r]) - (exact[name] - here[name]))
    for name in ("accuracy", "confidence", "nll", "brier"):
        assert np.abs(errors[name]).max() < 1e-6, name
    for name in ("ece", "ece_equal_mass"):  # images that change bins are not followed
        assert abs(np.mean(errors[name])) < 0.3 * float(found[name].std()), name
    # The fit moves confidence, and no accuracy.
    unmoved = metric.deviations(counts)
    assert float(found["confidence"].std()) > 1.3 * float(unmoved["confidence"].std())
    torch.testing.assert_close(found["accuracy"], unmoved["accuracy"])


def test_one_temperature_for_all_resamples_is_that_of_the_metric():
    logits, labels = answers(200, seed=4)
    metric, counts = Calibration(12, 1.5), resample_counts(200, 15)
    metric.update(logits, labels)
    same = torch.full((15,), math.log(1.5), dtype=torch.float64)
    for name, values in metric.deviations(counts, same).items():
        torch.testing.assert_close(values, metric.deviations(counts)[name], msg=name)


def test_counts_and_temperatures_of_another_number_are_refused():
    logits, labels = answers(20, seed=5)
    metric = Calibration()
    metric.update(logits, labels)
    with pytest.raises(ValueError, match=r"expected \(R, 20\) counts"):
        metric.deviations(torch.ones(3, 19))
    with pytest.raises(ValueError, match="3 temperatures"):
        metric.deviations(torch.ones(3, 20), torch.zeros(2))
