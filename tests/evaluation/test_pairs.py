"""What a predict function is asked along λ: each image once, the same figures as three forwards for each pair and λ."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from vicinal.config import VicinitySpec
from vicinal.data import ImageSet
from vicinal.errors import UsageError
from vicinal.evaluation import draw_pairs, pairs_needed, vicinal_curves
from vicinal.evaluation.pairs import _pairs_at_once, draw_same_class_pairs, pairs_of, predict_pairs
from vicinal.functional import mix, nonlinearity_residual
from vicinal.inputs import Preparation, to_float
from vicinal.metrics import VicinalCurves, lam_grid

CPU = torch.device("cpu")
CURVES = ("nonlinearity", "entropy", "dominance", "linearity_information")


def images(n: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (n, 6, 6, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


class Counting:
    """A small network, far from linear, as a predict function that says how many images it was asked."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Flatten(), nn.Linear(108, 16), nn.Tanh(), nn.Linear(16, 5))
        nn.init.normal_(self.network[1].weight, std=0.5)
        nn.init.normal_(self.network[3].weight)
        self.asked = 0

    def __call__(self, pixels: Tensor) -> Tensor:
        assert pixels.is_contiguous(memory_format=torch.channels_last)
        self.asked += len(pixels)
        return self.network(pixels)


@torch.no_grad()
def naive(network: torch.nn.Module, i: Tensor, j: Tensor, points: int) -> VicinalCurves:
    """Three forwards for each λ, of all pairs."""
    lam = lam_grid(points)
    at_i, at_j = network(to_float(i)), network(to_float(j))
    mixed = torch.stack([network(mix(to_float(i), to_float(j), value)) for value in lam.tolist()], 1)
    curves = VicinalCurves(lam)
    curves.update(at_i, at_j, mixed)
    return curves


@settings(max_examples=15, deadline=None)
@given(pairs=st.integers(1, 9), points=st.sampled_from([3, 5, 21]), at_once=st.integers(1, 10), seed=st.integers(0, 99))
def test_curves_are_those_of_three_forwards_for_each_pair_and_lam(pairs: int, points: int, at_once: int, seed: int):
    i, j, predict = images(pairs, seed), images(pairs, seed + 100), Counting()
    got = vicinal_curves(predict, i, j, points, pairs_at_once=at_once, resamples=10)
    assert predict.asked == pairs * points
    expected = naive(predict.network, i, j, points).compute()
    assume(float(expected["nonlinearity"].max()) > 1e-3)  # a drawn pair may lie where this network is nearly linear
    for name in CURVES:
        torch.testing.assert_close(got.compute()[name], expected[name], rtol=1e-4, atol=1e-5)


def test_pixels_may_be_stored_or_float():
    i, j, predict = images(4), images(4, 1), Counting()
    stored = vicinal_curves(predict, i, j, 5, resamples=10).compute()
    given_pixels = (to_float(x).contiguous() for x in (i, j))  # channels first in memory
    torch.testing.assert_close(vicinal_curves(predict, *given_pixels, 5, resamples=10).compute(), stored)


def test_slices_of_pairs_merge_to_the_whole():
    i, j, predict = images(11), images(11, 1), Counting()
    whole = vicinal_curves(predict, i, j, 5, resamples=60, seed=2)
    parts = [
        vicinal_curves(predict, i[a:b], j[a:b], 5, resamples=60, seed=2, first_pair=a)
        for a, b in ((0, 4), (4, 4), (4, 11))
    ]
    for part in parts[1:]:
        parts[0].merge_state(part)
    torch.testing.assert_close(parts[0].compute(), whole.compute(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(parts[0].intervals(60, seed=2), whole.intervals(60, seed=2), rtol=1e-3, atol=1e-6)


def test_the_swapped_pair_has_the_same_residual_at_the_other_end():
    x_i, x_j, predict, lam = to_float(images(6)), to_float(images(6, 1)), Counting(), lam_grid(9)
    there, back = (next(predict_pairs(predict, [pair], lam)) for pair in ((x_i, x_j), (x_j, x_i)))
    for at, value in enumerate(lam.tolist()):
        one = nonlinearity_residual(there.logits_i, there.logits_j, there.logits_mixed[:, at], value)
        other = nonlinearity_residual(back.logits_i, back.logits_j, back.logits_mixed[:, 8 - at], 1 - value)
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_a_linear_predict_function_has_no_residual():
    def linear(pixels: Tensor) -> Tensor:  # probabilities that are affine in the pixels
        share = pixels.mean((1, 2, 3))
        return torch.stack([share, 1 - share], 1).log()

    curves = vicinal_curves(linear, images(20), images(20, 1) // 3, resamples=10).compute()
    assert float(curves["nonlinearity"].abs().max()) < 1e-6


def test_the_grid_holds_the_clean_images():
    pair = to_float(images(2)), to_float(images(2, 1))
    for grid in ([0.0, 0.5], [0.1, 1.0], [1.0]):
        with pytest.raises(ValueError, match="begin with 0 and end with 1"):
            next(predict_pairs(Counting(), [pair], torch.tensor(grid)))


@pytest.mark.parametrize("other", [torch.rand(3, 3, 6, 6), torch.rand(2, 1, 6, 6)])
def test_images_that_do_not_go_together_are_an_error(other: Tensor):
    with pytest.raises(ValueError, match="expected two of"):
        next(predict_pairs(Counting(), [(torch.rand(2, 3, 6, 6), other)], lam_grid(5)))
    with pytest.raises(ValueError, match="expected two of"):
        next(predict_pairs(Counting(), [(images(2), images(2))], lam_grid(5)))


def test_pairs_come_as_they_are_drawn():
    data, spec = ImageSet(images(40), torch.zeros(40, dtype=torch.int64)), VicinitySpec(pairs=70)
    drawn = draw_pairs(40, spec)
    parts = list(pairs_of(data, torch.stack(drawn, 1), Preparation(), 21, CPU))
    assert len(parts) > 1
    for got, index in zip(zip(*parts, strict=True), drawn, strict=True):
        assert torch.equal(torch.cat(got), to_float(data.images[index]))


@settings(max_examples=60, deadline=None)
@given(count=st.integers(2, 40), pairs=st.integers(2, 400), seed=st.integers(0, 9))
def test_pairs_are_distinct_and_use_every_image_equally(count: int, pairs: int, seed: int):
    i, j = draw_pairs(count, VicinitySpec(pairs=pairs, seed=seed))
    assert len(i) == min(pairs, count * (count - 1) // 2)
    assert bool((i != j).all())
    assert len({frozenset(pair) for pair in zip(i.tolist(), j.tolist(), strict=True)}) == len(i)
    degrees = torch.cat([i, j]).bincount(minlength=count)
    assert int(degrees.max() - degrees.min()) <= (1 if count % 2 == 0 else 2)
    if count >= 2 * pairs:
        assert int(degrees.max()) == 1
    fewer = draw_pairs(count, VicinitySpec(pairs=2, seed=seed))
    assert torch.equal(torch.stack(fewer), torch.stack([i, j])[:, : len(fewer[0])])


def test_pairs_are_a_function_of_the_seed_and_the_number_of_images():
    spec = VicinitySpec(pairs=50)
    first = torch.stack(draw_pairs(300, spec))
    assert torch.equal(first, torch.stack(draw_pairs(300, spec)))
    assert not torch.equal(first, torch.stack(draw_pairs(300, spec.model_copy(update={"seed": 1}))))


def test_every_pair_of_images_is_equally_likely():
    found = torch.zeros(8, 8)
    for seed in range(1500):
        i, j = draw_pairs(8, VicinitySpec(pairs=7, seed=seed))
        found[i, j] += 1
        found[j, i] += 1
    share = found[~torch.eye(8, dtype=torch.bool)] / (1500 * 7 / 28)
    assert float((share - 1).abs().max()) < 0.25


def test_no_pair_of_one_image():
    with pytest.raises(UsageError, match="a pair needs two images, and there are 1"):
        draw_pairs(1, VicinitySpec(pairs=5))


@settings(max_examples=40, deadline=None)
@given(labels=st.lists(st.integers(0, 4), min_size=1, max_size=60), pairs=st.integers(2, 2000))
def test_pairs_of_one_class_share_no_image(labels: list[int], pairs: int):
    classes = torch.tensor(labels)
    drawn = draw_same_class_pairs(classes, VicinitySpec(pairs=pairs))
    assert drawn.dtype == torch.int64
    assert len(drawn.unique()) == 2 * len(drawn)
    assert bool((classes[drawn[:, 0]] == classes[drawn[:, 1]]).all())
    if any(labels.count(k) > 1 for k in labels):
        assert len(drawn)


def test_classes_have_the_shares_of_random_pairs_of_one_class():
    labels = torch.cat([torch.zeros(3000), torch.ones(1000)]).long()
    drawn = draw_same_class_pairs(labels, VicinitySpec(pairs=1000))
    assert len(drawn) in (200, 201)
    assert float((labels[drawn[:, 0]] == 0).double().mean()) == pytest.approx(0.9, abs=0.01)


def test_large_images_are_asked_in_small_parts():
    assert _pairs_at_once(21, 28 * 28, CPU) > _pairs_at_once(21, 3 * 64 * 64, CPU) > 1
    assert _pairs_at_once(21, 3 * 4000 * 4000, CPU) == 1


def test_a_pilot_finds_how_many_pairs_a_precision_needs():
    data = ImageSet(images(60), torch.zeros(60, dtype=torch.int64))
    network = Counting().network

    def needed(precision: float, pairs: int = 1000) -> int:
        vicinity = VicinitySpec(pairs=pairs, lam_points=5, precision_nats=precision)
        return pairs_needed(network, data, Preparation(), vicinity, 0.95, CPU)

    rough, fine = needed(0.1), needed(0.05)
    assert fine == pytest.approx(4 * rough, rel=0.05)
    many = ImageSet(images(2 * fine), torch.zeros(2 * fine, dtype=torch.int64))
    index = draw_pairs(len(many), VicinitySpec(pairs=fine))
    found = vicinal_curves(network, *(many.images[k] for k in index), 5)
    lower, upper = found.intervals()["nonlinearity"]
    assert float((upper - lower).max() / 2) == pytest.approx(0.05, rel=0.25)
