"""Both sides of eq. 11 and both readings of eq. 10 along λ: the means of the pure functions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vicinal.functional import entropy_decomposition
from vicinal.functional.information import information_bound_of_mean, information_bound_per_sample
from vicinal.metrics import Information, InformationBound, VicinalCurves, lam_grid

TWO_PROCESSES = {"distributed_available_fn": lambda: True, "dist_sync_fn": lambda x, group=None: [x, x]}


def draw(shape, seed=0, scale=3.0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape) * scale)


def answers(pairs=30, points=21, k=4, seed=0, scale=3.0):
    """Logits of the two images of each pair and along the grid, whose ends are the clean answers."""
    i, j, mixed = (draw(s, seed + n, scale) for n, s in enumerate(((pairs, k), (pairs, k), (pairs, points, k))))
    mixed[:, 0], mixed[:, -1] = j, i
    return i, j, mixed


def information(i, j, mixed, batch=None, **values):
    metric = Information(lam_grid(mixed.shape[1]), **values)
    for part in zip(*(t.split(batch or len(i)) for t in (i, j, mixed)), strict=True):
        metric.update(*part)
    return metric


def bound(teacher, student, batch=None, **values):
    metric = InformationBound(lam_grid(teacher.shape[1]), **values)
    for part in zip(teacher.split(batch or len(teacher)), student.split(batch or len(student)), strict=True):
        metric.update(*part)
    return metric


def assert_same(got, expected):
    assert set(got) == set(expected)
    for name in got:
        torch.testing.assert_close(got[name], expected[name], msg=name)


def test_the_curves_are_means_of_the_pure_functions():
    i, j, mixed = answers()
    got = information(i, j, mixed, batch=7, both_orders=False).compute()
    for at, lam in enumerate(lam_grid().tolist()):
        parts = entropy_decomposition(i, j, mixed[:, at], lam)
        for name, values in zip(
            ("entropy_mixed", "entropy_clean", "nonlinearity", "residual_eq11"), parts, strict=True
        ):
            assert float(got[name][at]) == pytest.approx(float(values.mean()), abs=1e-12), name


def test_the_curves_agree_with_the_vicinal_curves():
    i, j, mixed = answers()
    curves = VicinalCurves()
    curves.update(i, j, mixed)
    expected, got = curves.compute(), information(i, j, mixed).compute()
    torch.testing.assert_close(got["entropy_mixed"], expected["entropy"])
    torch.testing.assert_close(got["nonlinearity"], expected["nonlinearity"])


@pytest.mark.parametrize("metric", [information, bound])
def test_both_orders_are_pairs_and_their_swaps(metric):
    i, j, mixed = answers()
    data = (i, j, mixed) if metric is information else (mixed, answers(seed=5)[2])
    swapped = (
        (torch.cat([i, j]), torch.cat([j, i]), torch.cat([mixed, mixed.flip(1)]))
        if metric is information
        else tuple(torch.cat([z, z.flip(1)]) for z in data)
    )
    got = metric(*data).compute()
    assert_same(got, metric(*swapped, both_orders=False).compute())
    for name in set(got) - {"lam"}:
        torch.testing.assert_close(got[name], got[name].flip(0), msg=name)


def test_the_bounds_are_the_pure_functions():
    teacher, student = answers()[2], answers(seed=5)[2]
    got = bound(teacher, student, batch=7, both_orders=False).compute()
    torch.testing.assert_close(got["bound_per_sample"], information_bound_per_sample(teacher, student).mean(0))
    torch.testing.assert_close(got["bound_of_mean"], information_bound_of_mean(teacher, student))


@settings(max_examples=15, deadline=None)
@given(pairs=st.integers(1, 15), batch=st.integers(1, 15), seed=st.integers(0, 1000), both=st.booleans())
def test_batches_of_any_size_give_the_same(pairs, batch, seed, both):
    i, j, mixed = answers(pairs, 5, seed=seed)
    other = draw(mixed.shape, seed + 9)
    assert_same(
        information(i, j, mixed, batch, both_orders=both).compute(),
        information(i, j, mixed, both_orders=both).compute(),
    )
    assert_same(bound(mixed, other, batch, both_orders=both).compute(), bound(mixed, other, both_orders=both).compute())


def test_processes_are_gathered():
    data = answers()
    assert_same(information(*data, **TWO_PROCESSES).compute(), information(*data).compute())
    both = data[2], answers(seed=5)[2]
    assert_same(bound(*both, **TWO_PROCESSES).compute(), bound(*both).compute())


@pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")
@pytest.mark.parametrize("kind", [Information, InformationBound])
def test_what_cannot_be_computed_is_refused(kind):
    with pytest.raises(ValueError, match="call update first"):
        kind().compute()
    with pytest.raises(ValueError, match=r"symmetric about 0\.5"):
        kind(torch.tensor([0.0, 0.3, 1.0]))
    wrong = torch.zeros(3, 20, 4)
    with pytest.raises(ValueError, match=r"expected .*21, K\)"):
        kind().update(*((torch.zeros(3, 4), torch.zeros(3, 4), wrong) if kind is Information else (wrong, wrong)))
