"""How a network's features hold its classes (appendix A, figures 7 and 8): V-measure, silhouette and a t-SNE picture.

Shapes: N images, D features, K classes. Everything here runs on one thread, so that the same features give the same figures.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import Tensor

from vicinal.functional import checked_labels, refuse_probabilities

PAPER_CLASSES = ("baby", "boy", "girl", "man", "woman")  # of CIFAR-100, in figures 7 and 8
PERPLEXITY = 30.0
_IMAGES_PER_CLASS = 20  # times the number of classes: below, no interval of the V-measure covers

Array = NDArray[np.float64]
Features = Tensor | NDArray[Any]


def cluster_quality(
    features: Features,
    labels: Tensor | NDArray[Any],
    seed: int = 0,
    resamples: int = 1000,
    confidence_level: float = 0.95,
) -> dict[str, Any]:
    """How well the classes lie apart in feature space.

    The paper's "V-score" does not say what was clustered. Here it is the V-measure (Rosenberg and Hirschberg 2007) between the
    classes and the clusters that k-means (k = the number of classes, ten starts) finds in the features as they are, not in
    their t-SNE picture. The silhouette of the true classes (Rousseeuw 1987) needs no clustering and stands beside it.

    Args:
        features: (N, D) finite, of the penultimate layer; labels: (N,) integers of at least two classes.

    Returns:
        v_score in [0, 1]; v_score_interval, see `v_score_interval`; silhouette in [−1, 1], None where every image is a class of
        its own.

    Raises:
        ValueError: shapes, fewer than two classes, or features that are not finite.
    """
    x, y = _features(features), _labels(labels)
    if len(x) != len(y):
        raise ValueError(f"expected as many labels as features, got {len(y)} and {len(x)}")
    classes = len(np.unique(y))
    if classes < 2:
        raise ValueError(f"cluster quality compares classes; there is {classes}")
    from sklearn.cluster import KMeans  # here: it takes a second to import, and most studies need none
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import silhouette_score, v_measure_score

    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct points than clusters: they share one
        clusters = KMeans(n_clusters=classes, n_init=10, random_state=seed).fit_predict(x)
        silhouette = float(silhouette_score(x, y)) if classes < len(y) else None
    table = np.zeros((classes, classes))
    np.add.at(table, (np.unique(y, return_inverse=True)[1], clusters), 1)
    return {
        "v_score": float(v_measure_score(y, clusters)),
        "v_score_interval": v_score_interval(table, resamples, confidence_level, seed),
        "silhouette": silhouette,
    }


def v_score_interval(
    table: NDArray[Any], resamples: int = 1000, confidence_level: float = 0.95, seed: int = 0
) -> list[float] | None:
    """[lower, upper] of the V-measure over images drawn anew within each class, the clusters kept; None for too few images.

    Resampled V is biased upwards, and V itself by as much: percentiles are moved down by twice the bias. They have no width where
    no image lies in another's cluster; the interval therefore holds that of shares drawn from their Dirichlet posterior, too
    (half an image a class in advance). By simulation it covers 0.91 to 1 where each of K classes has at least 20 K images;
    fewer get none.

    Args:
        table: (K, C) images by class and cluster; no class empty.

    Example:
        >>> [round(end, 1) for end in v_score_interval(np.array([[100, 0], [0, 100]]))]
        [0.9, 1.0]
    """
    counts = np.asarray(table, dtype=np.int64)
    of_class = counts.sum(1)
    if int(of_class.min()) < _IMAGES_PER_CLASS * len(counts):
        return None
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, int(of_class.sum())])))
    shares = counts / of_class[:, None]
    drawn = np.stack(
        [generator.multinomial(n, p, size=resamples) for n, p in zip(of_class, shares, strict=True)], axis=1
    )
    weights = generator.gamma(counts + 0.5 / counts.shape[1], size=(resamples, *counts.shape))
    smooth = weights / weights.sum(2, keepdims=True) * of_class[:, None]
    own, resampled, posterior = _v_measures(counts[None])[0], _v_measures(drawn), _v_measures(smooth)
    tails = [(1 - confidence_level) / 2, (1 + confidence_level) / 2]
    corrected = np.quantile(resampled, tails) - 2 * (resampled.mean() - own)
    other = np.quantile(posterior, tails)
    ends = min(corrected[0], other[0], own), max(corrected[1], other[1], own)
    return [float(min(1.0, max(0.0, end))) for end in ends]


def _v_measures(tables: NDArray[Any]) -> Array:
    """The V-measure of each of (R, K, C) tables: twice the mutual information over the sum of both entropies; 1 for 0 / 0."""
    shares = tables / tables.sum((1, 2), keepdims=True)
    by_class, by_cluster = shares.sum(2), shares.sum(1)
    joint = -_x_log_x(shares).sum((1, 2))
    both = -_x_log_x(by_class).sum(1) - _x_log_x(by_cluster).sum(1)
    found: Array = np.divide(2 * (both - joint), both, out=np.ones(len(tables)), where=both > 0)
    return found


def _x_log_x(shares: Array) -> Array:
    found: Array = shares * np.log(np.where(shares > 0, shares, 1.0))
    return found


def embed(features: Features, seed: int = 0) -> Array:
    """A t-SNE picture of (N, D) features: (N, 2), started from the principal components, with perplexity 30 or what N allows.

    Only which points are close to each other means anything: no axis, no scale, no distance between clusters.

    Raises:
        ValueError: not of shape (N, D), or not finite.
    """
    x = _features(features)
    if len(x) < 2 or bool((x == x[:1]).all()):
        return np.zeros((len(x), 2))
    if x.shape[1] == 1:
        x = np.column_stack([x, np.zeros(len(x))])  # two components need two columns
    perplexity = min(PERPLEXITY, max(1.0, (len(x) - 1) / 3))
    from sklearn.manifold import TSNE

    with threadpool_limits(limits=1):
        picture = TSNE(n_components=2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(x)
    return np.asarray(picture, dtype=np.float64)


def most_confused(logits: Tensor, labels: Tensor, count: int) -> list[int]:
    """The classes that a network confuses most with each other, by the probability it gives to the other class.

    Starts from the pair with the largest mean probability for each other and adds the class that shares most with those
    chosen. Probabilities are used, since a network that fits its data makes too few errors to count. Give answers to
    validation images, where there are any, so that nothing is chosen on test images.

    Args:
        logits: (N, K); labels: (N,) int64.

    Returns:
        `count` class indices in ascending order, all classes where there are no more.

    Raises ValueError for answers that are not finite, probabilities, and labels that are no class.
    """
    classes = logits.shape[-1]
    labels = checked_labels(labels, classes)
    refuse_probabilities(logits)
    if not bool(logits.isfinite().all()):
        raise ValueError("an answer is not finite")
    if classes <= count:
        return list(range(classes))
    given = torch.zeros(classes, classes, dtype=torch.float64)
    given.index_add_(0, labels.cpu(), logits.double().cpu().softmax(-1))
    given /= labels.cpu().bincount(minlength=classes).clamp_min(1)[:, None]
    shared = given + given.T
    shared.fill_diagonal_(-1)
    first = int(shared.argmax())
    chosen = [first // classes, first % classes][:count]
    while len(chosen) < count:
        score = shared[chosen].sum(0)
        score[chosen] = -torch.inf
        chosen.append(int(score.argmax()))
    return sorted(chosen)


def default_classes(class_names: Sequence[str], logits: Tensor, labels: Tensor, count: int = 5) -> list[str]:
    """Names of the classes to picture: the paper's five of CIFAR-100 where the data has them, else `most_confused`.

    Args:
        class_names: of all K classes; logits, labels: a teacher's, as `most_confused` takes them.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[0.0, 0.0, -9.0], [0.0, 0.0, -9.0], [-9.0, -9.0, 0.0]])
        >>> default_classes(["cat", "dog", "car"], logits, torch.tensor([0, 1, 2]), count=2)
        ['cat', 'dog']
    """
    by_name = {name.casefold(): name for name in class_names}
    if all(name in by_name for name in PAPER_CLASSES):
        return [by_name[name] for name in PAPER_CLASSES]
    return [class_names[k] for k in most_confused(logits, labels, count)]


def draw_images(labels: Tensor, classes: Sequence[int], images_per_class: int | None, seed: int = 0) -> Tensor:
    """(n,) ascending positions of at most `images_per_class` images of each class: the same ones for every network.

    A function of the labels and the seed. None takes all.

    Example:
        >>> import torch
        >>> draw_images(torch.tensor([0, 1, 2, 0, 1, 2]), classes=[0, 2], images_per_class=None).tolist()
        [0, 2, 3, 5]
    """
    # How many classes there are is not known here; a label below 0 is none of them.
    own = checked_labels(labels, 2**62).cpu()
    parts = []
    for k in classes:
        where = (own == k).nonzero().squeeze(1)
        if images_per_class is not None and len(where) > images_per_class:
            generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, k])))
            where = where[torch.from_numpy(generator.choice(len(where), images_per_class, replace=False))]
        parts.append(where)
    return torch.cat(parts).sort().values if parts else torch.zeros(0, dtype=torch.int64)


def represent(
    features: Features,
    labels: Tensor,
    class_names: Sequence[str],
    classes: Sequence[str],
    images_per_class: int | None = 100,
    seed: int = 0,
    resamples: int = 1000,
    confidence_level: float = 0.95,
) -> dict[str, Any]:
    """The entry "representation" of results.json: cluster quality and picture of the features of some classes.

    Args:
        features: (N, D) of all images; labels: (N,) int64, indices into `class_names`.
        classes: names of those to take (see `default_classes`).
        images_per_class: at most so many of each, drawn by `seed`; None for all.
        resamples, confidence_level: of v_score_interval.

    Returns:
        classes, images, features (D), v_score, v_score_interval, silhouette, points (n lists of x, y) and labels (n indices into
        classes).

    Raises:
        ValueError: a class is unknown, listed twice or without an image, or as `cluster_quality`.

    Example:
        >>> import torch
        >>> features = torch.tensor([[0.0, 0.0], [0.0, 1.0], [9.0, 9.0], [9.0, 8.0]])
        >>> entry = represent(features, torch.tensor([0, 0, 1, 1]), ["cat", "dog"], ["cat", "dog"])
        >>> entry["v_score"], round(entry["silhouette"], 2), entry["labels"]
        (1.0, 0.92, [0, 0, 1, 1])
    """
    if len(features) != len(labels):
        raise ValueError(f"expected as many labels as features, got {len(labels)} and {len(features)}")
    labels = checked_labels(labels, len(class_names))
    unknown = [name for name in classes if name not in class_names]
    if unknown:
        raise ValueError(f"no class is called {unknown[0]!r}")
    if len(set(classes)) < len(classes):
        raise ValueError(f"a class is listed twice: {', '.join(classes)}")
    wanted = [list(class_names).index(name) for name in classes]
    where = draw_images(labels, wanted, images_per_class, seed)
    own = labels.cpu()[where]
    empty = [name for k, name in zip(wanted, classes, strict=True) if not bool((own == k).any())]
    if empty:
        raise ValueError(f"there is no image of class {empty[0]!r}")
    x = _features(features[where.to(features.device)] if isinstance(features, Tensor) else features[where.numpy()])
    position = {k: at for at, k in enumerate(wanted)}
    y = np.array([position[int(k)] for k in own])
    return {
        "classes": list(classes),
        "images": len(x),
        "features": x.shape[1],
        **cluster_quality(x, y, seed, resamples, confidence_level),
        "points": [[round(float(a), 3), round(float(b), 3)] for a, b in embed(x, seed)],
        "labels": y.tolist(),
    }


def _features(features: Features) -> Array:
    x = np.asarray(features.detach().cpu() if isinstance(features, Tensor) else features, dtype=np.float64)
    if x.ndim != 2 or x.shape[1] == 0:
        raise ValueError(f"expected (N, D) features, got {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError("the features hold values that are not finite")
    return x


def _labels(labels: Tensor | NDArray[Any]) -> NDArray[Any]:
    found = np.asarray(labels.detach().cpu() if isinstance(labels, Tensor) else labels)
    if found.dtype.kind not in "iu" or found.ndim != 1 or (found.size and int(found.min()) < 0):
        raise ValueError(f"labels are (N,) whole numbers from 0, got {found.dtype} of shape {found.shape}")
    return found
