"""Cluster quality, pictures and the choice of classes, on features whose geometry is known."""

import json
import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist, pdist
from scipy.stats import entropy

from vicinal.metrics import default_classes, draw_images, represent
from vicinal.metrics.representation import PAPER_CLASSES, cluster_quality, embed, most_confused


def blobs(classes=3, each=20, dimensions=6, apart=20.0, seed=0):
    """Features around a centre for each class, and the classes."""
    generator = np.random.default_rng(seed)
    centres = apart * np.eye(classes, dimensions)
    labels = torch.arange(classes).repeat(each)
    return torch.from_numpy(centres[labels] + generator.normal(size=(len(labels), dimensions))), labels


def v_measure(labels, clusters):
    """From the definition: the harmonic mean of homogeneity and completeness."""
    table = np.histogram2d(labels, clusters, bins=(len(set(labels)), len(set(clusters))))[0] / len(labels)
    h_class, h_cluster, joint = entropy(table.sum(1)), entropy(table.sum(0)), entropy(table.ravel())
    homogeneity, completeness = 1 - (joint - h_cluster) / h_class, 1 - (joint - h_class) / h_cluster
    return 2 * homogeneity * completeness / (homogeneity + completeness)


def silhouette(x, labels):
    """From the definition, one image at a time."""
    distance, values = cdist(x, x), []
    for at, own in enumerate(labels):
        others = [distance[at, labels == k].mean() for k in set(labels) - {own}]
        a = distance[at, labels == own].sum() / ((labels == own).sum() - 1)
        values.append((min(others) - a) / max(a, min(others)))
    return np.mean(values)


def test_classes_far_apart_are_found_whole():
    x, y = blobs()
    got = cluster_quality(x, y)
    assert got["v_score"] == pytest.approx(1)
    assert got["silhouette"] > 0.8


def test_features_that_know_nothing_of_the_classes_score_nothing():
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(400, 5)))
    got = cluster_quality(x, torch.arange(4).repeat(100))
    assert got["v_score"] < 0.05
    assert abs(got["silhouette"]) < 0.05


def test_both_figures_equal_their_definition():
    # Two classes on the same spot and one apart: k-means cuts the first cluster somewhere, so the score lies between.
    generator = np.random.default_rng(3)
    x = np.concatenate([generator.normal(size=(60, 2)), generator.normal(size=(30, 2)) + 30])
    y = np.repeat([0, 1, 2], 30)
    got = cluster_quality(x, y, seed=1)
    from sklearn.cluster import KMeans

    clusters = KMeans(3, n_init=10, random_state=1).fit_predict(x)
    assert 0.4 < got["v_score"] < 0.95
    assert got["v_score"] == pytest.approx(v_measure(y, clusters))
    assert got["silhouette"] == pytest.approx(silhouette(x, y))


def test_the_names_of_the_classes_and_the_order_of_images_change_nothing():
    x, y = blobs(apart=3.0)
    order = torch.from_numpy(np.random.default_rng(1).permutation(len(y)))
    first, second = cluster_quality(x, y), cluster_quality(x[order], 9 - 2 * y[order])
    assert first["silhouette"] == pytest.approx(second["silhouette"])
    assert first == cluster_quality(x, y)
    assert first["v_score"] == pytest.approx(second["v_score"], abs=0.1)  # k-means starts elsewhere


@pytest.mark.filterwarnings("error")
def test_features_that_collapsed_score_nothing():
    got = cluster_quality(torch.ones(12, 4), torch.arange(3).repeat(4))
    assert got == {"v_score": 0, "v_score_interval": None, "silhouette": 0}


def test_one_image_of_each_class_has_no_silhouette():
    assert cluster_quality(torch.eye(3), torch.arange(3))["silhouette"] is None


@pytest.mark.parametrize(
    ("features", "labels", "says"),
    [
        (torch.eye(3), torch.zeros(3, dtype=torch.int64), "compares classes; there is 1"),
        (torch.eye(3), torch.arange(2), "as many labels as features"),
        (torch.ones(3), torch.arange(3), r"expected \(N, D\)"),
        (torch.full((3, 2), math.nan), torch.arange(3), "not finite"),
    ],
)
def test_what_cannot_be_compared_is_refused(features, labels, says):
    with pytest.raises(ValueError, match=says):
        cluster_quality(features, labels)


# --- the picture ------------------------------------------------------------------------------------------------------


def test_the_picture_keeps_neighbours_and_is_the_same_each_time():
    x, y = blobs(each=25)
    picture = embed(x, seed=0)
    assert picture.shape == (75, 2)
    nearest = cdist(picture, picture) + np.diag([np.inf] * 75)
    assert bool((y.numpy()[nearest.argmin(1)] == y.numpy()).all())
    np.testing.assert_array_equal(picture, embed(x, seed=0))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_few_images_have_a_picture_too(count):
    picture = embed(torch.from_numpy(np.random.default_rng(0).normal(size=(count, 4))))
    assert picture.shape == (count, 2)
    assert bool(np.isfinite(picture).all())


@pytest.mark.filterwarnings("error")
def test_features_without_an_extent_have_a_picture_too():
    assert embed(torch.ones(5, 3)).tolist() == [[0, 0]] * 5
    line = embed(torch.arange(40.0)[:, None])
    assert bool(np.isfinite(line).all())
    assert pdist(line).max() > 0


# --- the choice of classes --------------------------------------------------------------------------------------------


def test_the_classes_that_share_probability_are_the_most_confused():
    labels = torch.arange(6).repeat(10)
    logits = 8.0 * torch.nn.functional.one_hot(labels, 6).double()
    for a, b, extra in ((1, 4, 7.0), (4, 5, 6.0), (0, 2, 5.0)):  # less sure of each other, and still never wrong
        logits[labels == a, b] = logits[labels == b, a] = extra
    assert bool((logits.argmax(1) == labels).all())
    assert most_confused(logits, labels, 2) == [1, 4]
    assert most_confused(logits, labels, 3) == [1, 4, 5]
    assert most_confused(logits, labels, 6) == most_confused(logits, labels, 9) == [0, 1, 2, 3, 4, 5]
    assert most_confused(logits[labels != 0], labels[labels != 0], 2) == [1, 4]


def test_the_papers_classes_come_first():
    names = ["apple", "Woman", "boy", "baby", "girl", "man", "road"]
    logits = torch.zeros(7, 7)
    assert default_classes(names, logits, torch.arange(7)) == ["baby", "boy", "girl", "man", "Woman"]
    names[1] = "sea"
    logits[:, 3] = logits[:, 0] = 5
    assert set(PAPER_CLASSES) - set(names) == {"woman"}
    assert default_classes(names, logits, torch.arange(7), count=2) == ["apple", "baby"]


def test_the_same_images_are_drawn_for_every_network():
    labels = torch.arange(4).repeat(30)
    got = draw_images(labels, [3, 1], 7, seed=2)
    assert labels[got].bincount(minlength=4).tolist() == [0, 7, 0, 7]
    assert bool((got.diff() > 0).all())
    assert torch.equal(got, draw_images(labels, [1, 3], 7, seed=2))
    assert not torch.equal(got, draw_images(labels, [1, 3], 7, seed=3))
    assert len(draw_images(labels, [1, 3], None)) == 60


# --- the entry of results.json ----------------------------------------------------------------------------------------


def test_the_entry_holds_the_figures_of_the_drawn_images():
    x, y = blobs(classes=4, each=15, apart=6.0)
    names = ["a", "b", "c", "d"]
    got = represent(x, y, names, ["d", "b"], images_per_class=10, seed=5)
    assert json.loads(json.dumps(got)) == got
    assert (got["classes"], got["images"], got["features"]) == (["d", "b"], 20, 6)
    assert sorted(got["labels"]) == [0] * 10 + [1] * 10
    where = draw_images(y, [3, 1], 10, seed=5)
    assert [["d", "b"][k] for k in got["labels"]] == [names[k] for k in y[where]]
    quality = cluster_quality(x[where], y[where], 5)
    assert got["v_score"] == pytest.approx(quality["v_score"])
    assert got["silhouette"] == pytest.approx(quality["silhouette"])
    np.testing.assert_allclose(got["points"], embed(x[where], 5), atol=5e-4)


@pytest.mark.parametrize(
    ("classes", "says"),
    [(["a", "x"], "no class is called 'x'"), (["a", "a"], "twice"), (["a", "c"], "no image of .*'c'")],
)
def test_classes_that_cannot_be_shown_are_named(classes, says):
    x, y = blobs(classes=2, each=3)
    with pytest.raises(ValueError, match=says):
        represent(x, y, ["a", "b", "c"], classes)


def test_labels_must_be_the_features_own():
    x, y = blobs(classes=2, each=3)
    with pytest.raises(ValueError, match="as many labels as features"):
        represent(x, y[:-1], ["a", "b"], ["a", "b"])


def test_arrays_and_tensors_give_the_same_entry():
    x, y = blobs(classes=2, each=8)
    assert represent(x.numpy(), y, ["a", "b"], ["a", "b"], 5) == represent(x, y, ["a", "b"], ["a", "b"], 5)
