"""The order of a classifier's classes, asked of its answers: a right one is never doubted, a wrong one is found."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from vicinal.evaluation import OrderDoubt, doubt_of_order


def answers(classes: int, each: int, accuracy: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and labels of a classifier that is right so often and errs to any other class."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), each)
    wrong = (labels + rng.integers(1, classes, len(labels))) % classes
    predicted = np.where(rng.random(len(labels)) < accuracy, labels, wrong)
    return torch.eye(classes)[torch.from_numpy(predicted)] * 5, torch.from_numpy(labels)


@settings(max_examples=60)
@given(st.integers(2, 12), st.integers(1, 30), st.sampled_from([0.0, 0.3, 0.7, 1.0]), st.integers(0, 10**6))
def test_a_classifier_in_the_right_order_is_not_doubted(classes: int, each: int, skill: float, seed: int):
    chance = 1 / classes
    assert doubt_of_order(*answers(classes, each, chance + skill * (1 - chance), seed)) is None


@settings(max_examples=60)
@given(st.integers(2, 12), st.sampled_from([0.8, 0.95, 1.0]), st.integers(0, 10**6))
def test_an_order_that_would_mend_it_is_named(classes: int, accuracy: float, seed: int):
    logits, labels = answers(classes, 40, accuracy, seed)
    order = np.random.default_rng(seed + 1).permutation(classes)
    if (order == np.arange(classes)).all():
        return
    doubt = doubt_of_order(logits[:, order], labels)  # logit k is now the order[k]-th class's
    assert doubt is not None
    assert doubt.order == tuple(order)
    assert doubt.mended_accuracy == pytest.approx(float((logits.argmax(1) == labels).double().mean()))


def test_two_classes_exchanged_among_many_are_found():
    logits, labels = answers(50, 20, 0.9, 0)
    order = list(range(50))
    order[3], order[30] = 30, 3
    doubt = doubt_of_order(logits[:, order], labels)
    assert doubt is not None
    assert doubt.order == tuple(order)
    assert "logit 3 is c30, 30 is c3)" in doubt.sentence([f"c{k}" for k in range(50)])


def test_timms_natural_order_is_recognised():
    names = sorted(map(str, range(12)))  # as text: 0, 1, 10, 11, 2, ...
    logits, labels = answers(12, 20, 1.0, 0)
    order = [names.index(str(k)) for k in range(12)]
    doubt = doubt_of_order(logits[:, order], labels)
    assert doubt is not None
    words = doubt.sentence(names)
    assert yaml.safe_load(words.partition("class_names: ")[2].partition("]")[0] + "]") == [str(k) for k in range(12)]


def test_below_chance_without_an_order_that_mends_it():
    labels = torch.arange(10).repeat_interleave(30)
    rng = torch.Generator().manual_seed(0)
    logits = torch.rand(300, 10, generator=rng)
    logits[torch.arange(300), labels] = -1.0  # anything but the right one
    doubt = doubt_of_order(logits, labels)
    assert doubt is not None
    assert doubt.order is None
    assert "clearly below chance (10.0%)" in doubt.sentence([str(k) for k in range(10)])


def test_no_images_and_constant_answers_say_nothing():
    assert doubt_of_order(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)) is None
    assert doubt_of_order(torch.zeros(30, 3), torch.arange(3).repeat(10)) is None


def test_an_order_is_written_as_a_study_file_takes_it():
    names = ["10", "true", "a, b", "wolf spider"]
    sentence = OrderDoubt(0.0, 100, 4, (3, 0, 1, 2), 1.0).sentence(names)
    written = sentence.partition("class_names: ")[2]
    assert yaml.safe_load(written) == ["wolf spider", "10", "true", "a, b"]
