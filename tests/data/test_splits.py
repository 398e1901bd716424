import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vicinal.data import stratified_subset
from vicinal.data.splits import stratified_split
from vicinal.errors import UsageError

LABELS = st.lists(st.integers(0, 5), min_size=1, max_size=80).map(torch.tensor)
SEEDS = st.integers(0, 2**32)


@settings(max_examples=60, deadline=None)
@given(labels=LABELS, seed=SEEDS, data=st.data())
def test_subsets_are_balanced_nested_and_repeatable(labels, seed, data):
    classes, sizes = labels.unique(return_counts=True)
    large = data.draw(st.integers(len(classes), len(labels)))
    small = data.draw(st.integers(len(classes), large))
    index = stratified_subset(labels, large, seed)
    assert index.dtype == torch.int64
    assert len(index) == large
    assert index.tolist() == sorted(set(index.tolist()))
    assert torch.equal(index, stratified_subset(labels, large, seed))
    assert set(stratified_subset(labels, small, seed).tolist()) <= set(index.tolist())
    kept = torch.tensor([int((labels[index] == c).sum()) for c in classes])
    assert bool((kept >= 1).all())
    # A class that gives fewer images than another by more than one has none left.
    assert bool(((kept >= kept.max() - 1) | (kept == sizes)).all())


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(2, 30), min_size=1, max_size=6),
    share=st.floats(0.01, 0.99),
    seed=SEEDS,
    order=st.randoms(use_true_random=False),
)
def test_splits_are_disjoint_complete_stratified_and_repeatable(sizes, share, seed, order):
    labels = [c for c, size in enumerate(sizes) for _ in range(size)]
    order.shuffle(labels)
    labels = torch.tensor(labels)
    kept, held_out = stratified_split(labels, share, seed)
    assert sorted([*kept.tolist(), *held_out.tolist()]) == list(range(len(labels)))
    assert kept.tolist() == sorted(kept.tolist())
    assert held_out.tolist() == sorted(held_out.tolist())
    for c, size in enumerate(sizes):
        assert int((labels[held_out] == c).sum()) == min(max(round(share * size), 1), size - 1)
    again = stratified_split(labels, share, seed)
    assert torch.equal(kept, again[0])
    assert torch.equal(held_out, again[1])


def test_draws_are_the_same_on_every_machine_and_version():
    labels = torch.arange(20) % 3
    assert stratified_subset(labels, 5, seed=0).tolist() == [0, 7, 8, 9, 19]
    assert stratified_split(labels, 0.25, seed=0)[1].tolist() == [2, 3, 7, 13, 14, 15]


def test_seed_and_class_decide_the_draw():
    labels = torch.arange(200) % 2
    draws = {tuple(stratified_subset(labels, 20, seed).tolist()) for seed in range(5)}
    assert len(draws) == 5
    # Every image can be drawn: over many seeds each of the 20 gets its turn about equally often.
    counts = np.zeros(20)
    for seed in range(300):
        counts[stratified_split(torch.arange(20) % 2, 0.5, seed)[1].numpy()] += 1
    assert counts.min() > 110
    assert counts.max() < 190


def test_impossible_draws_are_usage_errors():
    labels = torch.tensor([0, 0, 1, 1, 2])
    with pytest.raises(UsageError, match=r"^6 images are asked for, but there are 5"):
        stratified_subset(labels, 6, 0)
    with pytest.raises(UsageError, match=r"^2 images are asked for, but there are 3 classes"):
        stratified_subset(labels, 2, 0)
    with pytest.raises(UsageError, match=r"^class 'emu' has one image"):
        stratified_split(labels, 0.5, 0, class_names=("ant", "bee", "emu"))
    with pytest.raises(UsageError, match=r"^class 2 has one image"):
        stratified_split(labels, 0.5, 0)
    for share in (0.0, 1.0):
        with pytest.raises(UsageError, match="between 0 and 1"):
            stratified_split(labels, share, 0)
