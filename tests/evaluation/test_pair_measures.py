"""What is measured on pairs: figures by hand, and deviations against temperatures that are really fitted again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, rel_entr

from vicinal.config import MeasuresSpec, VicinitySpec
from vicinal.evaluation import Measured, Predictions, draw_pairs
from vicinal.evaluation.predictions import PairAnswers
from vicinal.evaluation.resampled import SCALED
from vicinal.functional import fit_temperature
from vicinal.metrics import Alignment, VicinalCurves, lam_grid, resample_counts

IMAGES, PAIRS, POINTS, CLASSES, RESAMPLES = 80, 40, 5, 4, 100
MEASURES = MeasuresSpec.model_validate(
    {"bootstrap_resamples": RESAMPLES, "vicinity": {"pairs": PAIRS, "lam_points": POINTS}}
)


def answers(generator: torch.Generator, pairs: int, points: int, sharp: float, images: int = IMAGES) -> PairAnswers:
    index = torch.stack(draw_pairs(images, VicinitySpec(pairs=pairs)), 1)
    pairs = len(index)
    i, j = (sharp * torch.randn(pairs, CLASSES, generator=generator) for _ in range(2))
    lam = lam_grid(points)[:, None].float()
    mixed = lam * i[:, None] + (1 - lam) * j[:, None] + 0.5 * torch.randn(pairs, points, CLASSES, generator=generator)
    mixed[:, 0], mixed[:, -1] = j, i
    return PairAnswers(i, j, mixed, index, torch.randint(CLASSES, (pairs, 2), generator=generator))


def network(seed: int, sharp: float = 3.0, validation: int = 300) -> Measured:
    generator = torch.Generator().manual_seed(seed)
    labels = [torch.randint(CLASSES, (n,), generator=generator) for n in (validation, IMAGES)]
    own, test = (
        sharp * (torch.randn(len(y), CLASSES, generator=generator) + torch.nn.functional.one_hot(y, CLASSES))
        for y in labels
    )
    same = answers(generator, 20, 3, sharp)
    same = PairAnswers(same.i, same.j, same.mixed, same.images, torch.zeros(20, 2, dtype=torch.int64))
    found = Predictions(
        own,
        test,
        *labels,
        lam_grid(POINTS),
        answers(generator, PAIRS, POINTS, sharp),
        same,
        answers(generator, PAIRS, POINTS, sharp),
        same,
    )
    return Measured(found, MEASURES)


def refitted(measured: Measured) -> list[float]:
    """The temperatures of the resampled validation images, each found by its own fit."""
    p = measured.predictions
    found = []
    for counts in resample_counts(len(p.validation), RESAMPLES, 1)[:25]:
        index = torch.arange(len(counts)).repeat_interleave(counts.long())
        found.append(fit_temperature(p.validation[index], p.validation_labels[index]))
    return found


def curves_at(pairs: PairAnswers, temperature: float) -> Mapping[str, torch.Tensor]:
    metric = VicinalCurves(lam_grid(POINTS))
    metric.update(*pairs.divided_by(temperature))
    return metric.compute()


def test_scaled_curves_move_as_with_temperatures_fitted_again():
    measured = network(0)
    pairs, p = measured.pairs, measured.predictions
    of_images = pairs.moved(pairs.scaled_curves)
    here = curves_at(p.pair, measured.temperature)
    for name, moved in pairs.scaled_deviations.items():
        by_fit = (moved - of_images[name])[:25].double()
        expected = torch.stack([curves_at(p.pair, t)[name] - here[name] for t in refitted(measured)])
        assert float((by_fit - expected).abs().max()) < 0.1 * float(expected.std(0).max())


def test_scaled_divergences_move_as_with_temperatures_fitted_again():
    teacher, student = network(1, sharp=4.0), network(2)
    entry, deviations = student.versus_teacher(teacher)
    alignments = []
    for t, s in [(teacher.temperature, student.temperature), *zip(refitted(teacher), refitted(student), strict=True)]:
        metric = Alignment(lam_grid(POINTS))
        (t_i, t_j, t_mixed), (i, j, mixed) = (
            teacher.predictions.pair.divided_by(t),
            student.predictions.pair.divided_by(s),
        )
        metric.update(torch.cat([t_i, t_j]), torch.cat([i, j]), t_mixed, mixed)
        real, mixed = metric.per_pair()
        alignments.append({"kl_real": real, "kl_mixed": torch.trapezoid(mixed, lam_grid(POINTS))})
    exact = alignments[0]
    of_images = student.pairs.moved(exact)
    for name, values in exact.items():
        assert entry[f"alignment{SCALED}"][name] == pytest.approx(float(values.mean()))
        by_fit = (deviations[f"{name}{SCALED}"] - of_images[name])[:25].double()
        expected = torch.stack([again[name].mean() - values.mean() for again in alignments[1:]])
        assert float((by_fit - expected).abs().max()) < 0.05 * float(expected.std())


def kl_by_hand(teacher: PairAnswers, student: PairAnswers) -> tuple[float, np.ndarray]:
    def kl(p: torch.Tensor, q: torch.Tensor) -> np.ndarray:
        p, q = (np.exp(log_softmax(z.double().numpy(), -1)) for z in (p, q))
        return rel_entr(p, q).sum(-1)

    real = np.concatenate([kl(teacher.i, student.i), kl(teacher.j, student.j)]).mean()
    return real, kl(teacher.mixed, student.mixed).mean(0)


def test_a_student_is_held_against_its_teacher_on_training_and_on_test_images():
    teacher, student = network(3, sharp=4.0), network(4)
    entry, deviations = student.versus_teacher(teacher, 2.0)
    for found, where in ((entry, "pair"), (entry["held_out"], "held_out_pair")):
        of_teacher, own = (getattr(m.predictions, where) for m in (teacher, student))
        real, by_lam = kl_by_hand(of_teacher, own)
        assert found["alignment"]["kl_real"] == pytest.approx(real)
        np.testing.assert_allclose(found["alignment"]["kl_mixed_by_lam"], by_lam)
        for name, (low, high) in {
            k: v for k, v in found["alignment"]["intervals"].items() if k != "kl_mixed_by_lam"
        }.items():
            assert low < found["alignment"][name] < high
        gain = curves_at(of_teacher, 1)["nonlinearity"] - curves_at(own, 1)["nonlinearity"]
        np.testing.assert_allclose(found["linearity_gain"], gain, atol=1e-12)
        scaled = found[f"linearity_gain{SCALED}_interval"]
        inner = slice(1, -1)
        middle = np.array(found[f"linearity_gain{SCALED}"])[inner]
        assert (np.array(scaled["lower"])[inner] < middle).all()
        assert (middle < np.array(scaled["upper"])[inner]).all()
    assert set(deviations) == {
        f"{prefix}{name}{end}"
        for prefix in ("", "held_out.")
        for name in ("kl_real", "kl_mixed")
        for end in ("", SCALED)
    }


def test_the_bound_of_eq_10_at_the_temperature_of_the_loss():
    teacher, student = network(5), network(6)
    for temperature in (3.0, "sigma", "teacher_sigma"):
        entry, _ = student.versus_teacher(teacher, temperature)
        t, s = (m.predictions.pair.mixed.double().numpy() for m in (teacher, student))
        by_t, by_s = {
            3.0: (3.0, 3.0),
            "sigma": (t.std(-1, keepdims=True), s.std(-1, keepdims=True)),
            "teacher_sigma": (t.std(-1, keepdims=True),) * 2,
        }[temperature]
        p, q = np.exp(log_softmax(t / by_t, -1)), np.exp(log_softmax(s / by_s, -1))
        kl = rel_entr(p, q).sum(-1).mean(0)
        found = entry["information_at_training_temperature"]["bound_per_sample"]
        np.testing.assert_allclose(found, -(kl + kl[::-1]) / 2)
    assert student.versus_teacher(teacher)[0]["information_at_training_temperature"] is None


def test_pairs_of_one_class_and_of_two_stand_apart():
    measured = network(7)
    numbers = measured.numbers(scale_free=False)
    p, at = measured.predictions, POINTS // 2
    for entry, one, two in (
        (numbers, p.same_class_pair, p.pair),
        (numbers["held_out"], p.held_out_same_class_pair, p.held_out_pair),
    ):
        different = ~two.same_class
        assert 0 < int(different.sum()) < PAIRS
        metric = VicinalCurves(lam_grid(POINTS))
        metric.update(two.i[different], two.j[different], two.mixed[different])
        expected, found = metric.compute(), entry["by_class"]["different"]
        assert found["pairs"] == int(different.sum())
        assert found["images"] == 2 * found["pairs"]
        for name in ("nonlinearity", "entropy", "dominance"):
            assert found[name] == pytest.approx(float(expected[name][at]))
            low, high = found["intervals"][name]
            assert low < found[name] < high
        assert entry["by_class"]["same"]["pairs"] == len(one.i) == 20
        assert entry[f"by_class{SCALED}"]["same"]["nonlinearity"] != entry["by_class"]["same"]["nonlinearity"]


def test_unknown_classes_have_no_kinds_of_pairs():
    measured = network(8)
    p = measured.predictions
    nobody = PairAnswers(p.pair.i, p.pair.j, p.pair.mixed, p.pair.images, torch.full((PAIRS, 2), -1))
    found = Predictions(p.validation, p.test, p.validation_labels, p.test_labels, p.lam, nobody)
    numbers = Measured(found, MEASURES).numbers(scale_free=False)
    assert numbers["by_class"] is numbers[f"by_class{SCALED}"] is numbers["held_out"] is None


def test_two_images_have_figures_and_no_interval():
    generator = torch.Generator().manual_seed(9)
    one = answers(generator, 2, POINTS, 2.0, images=2)
    p = network(9).predictions
    found = Measured(Predictions(p.validation, p.test, p.validation_labels, p.test_labels, p.lam, one), MEASURES)
    numbers: dict[str, Any] = found.numbers(scale_free=False)
    assert numbers["vicinity"]["nonlinearity"][2] > 0
    assert set(numbers["vicinity"]["intervals"].values()) == {None}
    assert not [key for key in found.deviations() if key.startswith(("vicinity", "information"))]
