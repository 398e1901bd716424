"""The path of CutMix: shares as the grid says, nested rectangles about a centre, and a study that says where it walks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vicinal.config import VicinitySpec
from vicinal.evaluation.pairs import _cut_along, path_centres, predict_pairs
from vicinal.metrics import lam_grid

CUT = VicinitySpec(path="cutmix")


@given(height=st.integers(1, 13), width=st.integers(1, 13), points=st.sampled_from([3, 5, 21]), seed=st.integers(0, 99))
def test_shares_are_those_of_the_grid_and_rectangles_grow(height: int, width: int, points: int, seed: int):
    lam, centres = lam_grid(points), path_centres(4, CUT.model_copy(update={"seed": seed}))
    own, other = torch.zeros(4, 2, height, width), torch.ones(4, 2, height, width)
    assert centres is not None
    along = _cut_along(own, other, lam, centres).view(points, 4, 2, height, width)
    share = 1 - along.double().mean((2, 3, 4))
    assert float((share - lam.double()[:, None]).abs().max()) <= 0.5 / (height * width) + 1e-6
    assert torch.equal(along[-1], own)
    assert torch.equal(along[0], other)
    assert bool((along[:-1] >= along[1:]).all())  # of falling λ each holds the one before
    assert torch.equal(along[:, :, 0], along[:, :, 1])


def test_what_is_pasted_is_a_rectangle_about_the_centre():
    centres = torch.tensor([[0.5, 0.5], [0.0, 0.0]])
    along = _cut_along(torch.zeros(2, 1, 20, 10), torch.ones(2, 1, 20, 10), torch.tensor([0.0, 0.75, 1.0]), centres)
    middle, corner = along.view(3, 2, 20, 10)[1]
    assert torch.equal(middle.nonzero().aminmax(dim=0).min, torch.tensor([5, 2])) or float(middle.sum()) == 50
    assert bool(middle[6:14, 3:7].all())  # of the image's shape, a quarter of its area
    assert bool(corner[:10, :5].all())
    assert float(corner.sum()) == 50


def test_parts_of_the_pairs_have_the_centres_of_the_whole():
    x_i, x_j, centres = torch.rand(5, 3, 8, 8), torch.rand(5, 3, 8, 8), path_centres(5, CUT)
    lam = lam_grid(5)

    def pixels(images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)

    whole = list(predict_pairs(pixels, [(x_i, x_j)], lam, centres))
    parts = list(predict_pairs(pixels, [(x_i[:2], x_j[:2]), (x_i[2:], x_j[2:])], lam, centres))
    assert torch.equal(torch.cat([part.logits_mixed for part in parts]), whole[0].logits_mixed)
    assert path_centres(5, VicinitySpec()) is None


def test_a_spec_says_its_path_where_it_is_another():
    assert "path" not in VicinitySpec().model_dump()
    assert VicinitySpec(**CUT.model_dump()) == CUT


def test_a_study_says_along_which_path_it_measures(
    smallest: dict[str, Any], study_file: Callable[..., Path], tmp_path: Path, vicinal: Callable[..., Any]
):
    results, pages = {}, {}
    for path in ("mixup", "cutmix"):
        answer = vicinal("run", study_file(smallest), "--out", tmp_path, f"measures.vicinity.path={path}")
        assert answer.code == 0, answer.err
        results[path] = json.loads((tmp_path / "results.json").read_text())
        pages[path] = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert [results[path]["measures"]["path"] for path in results] == ["mixup", "cutmix"]
    curves = [results[path]["students"][0]["vicinity"] for path in results]
    for key in ("nonlinearity", "entropy"):
        assert curves[0][key] != curves[1][key]
        assert curves[0]["lam"] == curves[1]["lam"]
    assert curves[1]["nonlinearity"][0] == pytest.approx(0, abs=1e-6)
    assert "along mixup’s line" in pages["mixup"]
    assert "along CutMix’s path" in pages["cutmix"]
    assert any("not along mixup’s line" in note for note in results["cutmix"]["notes"])
