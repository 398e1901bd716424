import itertools
import tracemalloc

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from vicinal.config import BlockOrder
from vicinal.inputs import VicinalPlan
from vicinal.inputs.order import KeyedPermutation, in_blocks

PROPERTY = settings(max_examples=60, deadline=None)


@PROPERTY
@given(size=st.integers(1, 3000), key=st.tuples(st.integers(0, 2**63), st.integers(0, 9)))
def test_a_keyed_permutation_is_one_and_can_be_inverted(size, key):
    permutation, positions = KeyedPermutation(size, key), np.arange(size)
    values = permutation(positions)
    assert sorted(values) == list(range(size))
    assert np.array_equal(permutation.inverse(values), positions)
    assert permutation(positions[-1:])[0] == values[-1]  # asked for alone or with others


def test_every_permutation_of_four_is_as_frequent_as_any():
    places = {order: k for k, order in enumerate(itertools.permutations(range(4)))}
    drawn = [places[tuple(KeyedPermutation(4, (key,))(np.arange(4)))] for key in range(4800)]
    assert scipy.stats.chisquare(np.bincount(drawn, minlength=24)).pvalue > 1e-3


@pytest.mark.parametrize("size", [1000, 1009, 4096])
def test_a_keyed_permutation_has_the_statistics_of_a_drawn_one(size):
    values = np.stack([KeyedPermutation(size, (7, key))(np.arange(size)) for key in range(200)])
    tenths = values[:, : size // 10 * 10].reshape(200, 10, -1) * 10 // size  # where each tenth of the epoch goes
    table = np.stack([np.bincount(tenths[:, k].ravel(), minlength=10) for k in range(10)])
    assert scipy.stats.chi2_contingency(table).pvalue > 1e-3
    steps = np.diff(values, axis=1) % size  # of neighbours in the epoch
    assert scipy.stats.kstest(steps.ravel() / size, "uniform").pvalue > 1e-3
    fixed = (values == np.arange(size)).sum()  # one for each permutation is expected, with that variance
    assert abs(fixed - 200) < 4 * 200**0.5
    between = [scipy.stats.spearmanr(values[k], values[k + 1]).statistic for k in range(0, 200, 2)]
    assert scipy.stats.kstest(np.array(between) * (size - 1) ** 0.5, "norm").pvalue > 1e-3


@PROPERTY
@given(
    size=st.integers(1, 500),
    order=st.builds(BlockOrder, block_images=st.integers(1, 90), blocks_at_once=st.integers(1, 6)),
    key=st.integers(0, 2**40),
    parts=st.integers(1, 60),
)
def test_blocks_pass_through_every_image_once_and_few_at_a_time(size, order, key, parts):
    epoch = in_blocks(size, order, (key,), 0, size)
    assert sorted(epoch) == list(range(size))
    cut = [in_blocks(size, order, (key,), k, min(k + parts, size)) for k in range(0, size, parts)]
    assert np.array_equal(np.concatenate(cut), epoch)
    seen = epoch // order.block_images
    first, last = {}, {}
    for position, block in enumerate(seen):
        first.setdefault(block, position)
        last[block] = position
    open_at = [sum(first[b] <= k <= last[b] for b in first) for k in range(size)]
    assert max(open_at) <= order.blocks_at_once


def test_partners_and_numbers_are_random_in_every_section_of_an_epoch():
    plan = VicinalPlan(100_000, 1000, seed=3, order="keyed")
    batches = list(plan.epoch(2))
    assert sorted(np.concatenate([b.index for b in batches])) == list(range(100_000))
    for of in (lambda b: b.lam, lambda b: b.crop_x, lambda b: b.index / 100_000):
        values = np.stack([of(b).double().numpy() for b in batches])
        assert scipy.stats.kstest(values.ravel(), "uniform").pvalue > 1e-3
        assert len(np.unique(values[:, 0])) == len(batches)  # no section repeats another
    met = np.concatenate([b.index[b.partner] for b in batches]), np.concatenate([b.index for b in batches])
    assert abs(scipy.stats.spearmanr(*met).statistic) < 4 / 100_000**0.5


@pytest.mark.parametrize("order", [None, BlockOrder()])
def test_a_batch_of_a_billion_images_costs_what_one_of_a_million_does(order):
    def bytes_of(images: int) -> int:
        plan = VicinalPlan(images, 256, seed=0, order=order or "keyed")
        tracemalloc.start()
        batch = plan.batch(1, plan.batches // 2)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert int(batch.index.max()) < images
        return most

    assert bytes_of(10**9) < 2 * bytes_of(10**6) < 10**7
    assert VicinalPlan(10**9, 256, seed=0, order=order).batch(0, 0).rows == 256
