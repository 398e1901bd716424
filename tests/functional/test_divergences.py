"""KL and entropy, against scipy and torch."""

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
import torch.nn.functional as F
from drawn_logits import PROPERTY, logits
from hypothesis import given

from vicinal import functional as vf


def test_no_epsilon_caps_a_divergence():
    p, q = torch.tensor([[1e4, 0.0]]), torch.tensor([[0.0, 1e4]])
    assert float(vf.kl_divergence(p, q)) == 1e4  # an epsilon inside the log would stop it near 18 or 36
    assert float(vf.nonlinearity_residual(p, p, q, 0.5)) == 1e4
    assert float(vf.prediction_entropy(p)) == 0


@PROPERTY
@given(z=logits(count=2, scale=15.0))
def test_entropy_and_kl_agree_with_scipy_and_torch(z):
    p, q = (t.softmax(-1).numpy() for t in z)
    np.testing.assert_allclose(vf.prediction_entropy(z[0]), scipy.stats.entropy(p, axis=-1), rtol=1e-8, atol=1e-9)
    kl = vf.kl_divergence(*z)
    np.testing.assert_allclose(kl, scipy.special.rel_entr(p, q).sum(-1), rtol=1e-8, atol=1e-9)
    torch_kl = F.kl_div(z[1].log_softmax(-1), z[0].log_softmax(-1), reduction="none", log_target=True).sum(-1)
    np.testing.assert_allclose(kl, torch_kl, rtol=1e-8, atol=1e-9)


def test_kl_has_the_teacher_first():
    sure, unsure = torch.tensor([[5.0, 0.0]]), torch.tensor([[0.0, 0.0]])
    p = sure.softmax(-1)
    assert float(vf.kl_divergence(sure, unsure)) == pytest.approx(float((p * (p * 2).log()).sum()), rel=1e-5)
    q = unsure.softmax(-1)
    assert float(vf.kl_divergence(unsure, sure)) == pytest.approx(float((q * (q / p).log()).sum()), rel=1e-5)
