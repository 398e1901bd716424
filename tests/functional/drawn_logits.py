"""Drawn logits and predictions, and every function of logits alone."""

import numpy as np
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vicinal import functional as vf

PROPERTY = settings(max_examples=40, deadline=None)

LAMS = st.floats(0, 1)

TEMPERATURES = ["sigma", "teacher_sigma", 0.5, 1.0, 2.0, 20]


@st.composite
def logits(draw, count=3, scale=30.0, min_classes=2):
    """`count` sets of float64 logits of one shape (B, K)."""
    shape = draw(st.tuples(st.integers(1, 5), st.integers(min_classes, 7)))
    values = arrays(np.float64, shape, elements=st.floats(-scale, scale, width=32))
    return [torch.from_numpy(draw(values)) for _ in range(count)]


@st.composite
def predictions(draw, max_samples=60):
    """(N, K) probabilities and (N,) labels, in float64."""
    seed, n, k = draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, max_samples)), draw(st.integers(2, 6))
    return random_predictions(seed, n, k, draw(st.sampled_from([0.1, 1.0, 5.0])))


def random_predictions(seed, n, k, scale=2.0):
    generator = np.random.default_rng(seed)
    z = torch.from_numpy(generator.normal(size=(n, k)) * scale)
    return z.softmax(-1), torch.from_numpy(generator.integers(k, size=n))


def random_logits(*shape, seed=0, scale=3.0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape) * scale)


def per_sample_functions(z_i, z_j, z_mixed, lam):
    """Every function of logits alone, by name: (B,) or (B, K) results."""
    return {
        "nonlinearity_residual": vf.nonlinearity_residual(z_i, z_j, z_mixed, lam),
        "linearity_information": vf.linearity_information(z_i, z_j, z_mixed, lam),
        "linear_log_probabilities": vf.linear_log_probabilities(z_i, z_j, lam).logsumexp(-1),
        "prediction_entropy": vf.prediction_entropy(z_mixed),
        "kl_divergence": vf.kl_divergence(z_i, z_j),
    } | {f"kd_loss {t}": vf.kd_loss(z_i, z_j, t) for t in TEMPERATURES}
