"""What is no answer, and no pixel, is refused by the functions that measure: not counted, and not measured in another unit."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import vicinal
from vicinal.config import MeasuresSpec
from vicinal.config import VicinitySpec as Vicinity
from vicinal.evaluation import vicinal_curves
from vicinal.functional import confidence
from vicinal.metrics import Calibration, default_classes, sample_size
from vicinal.metrics.robustness import correct_under_corruption

IMAGES = torch.randint(0, 256, (12, 4, 4, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(12) % 3
FEW = MeasuresSpec(vicinity=Vicinity(pairs=10, lam_points=3), bootstrap_resamples=100)
LINEAR = nn.Sequential(nn.Flatten(), nn.Linear(48, 3)).eval()


def _of_mixed_images(value: float) -> nn.Module:
    class Answers(nn.Module):
        def forward(self, pixels: Tensor) -> Tensor:
            logits = pixels.flatten(1)[:, :3].clone()
            levels = 255 * pixels.flatten(1)
            logits[(levels - levels.round()).abs().amax(1) > 1e-3, 0] = value
            return logits

    return Answers().eval()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_network_that_answers_only_clean_images_is_not_measured(value: float) -> None:
    with pytest.raises(ValueError, match=r"the network answers NaN or infinity for \d+ of 30 images of the pairs"):
        vicinal.measure(_of_mixed_images(value), IMAGES, LABELS, measures=FEW)


def test_probabilities_are_refused_before_a_measurement_is_given() -> None:
    with pytest.raises(ValueError, match="these are probabilities"):
        vicinal.measure(nn.Sequential(LINEAR, nn.Softmax(-1)).eval(), IMAGES, LABELS, measures=FEW)
    vicinal.measure(nn.Sequential(LINEAR, nn.LogSoftmax(-1)).eval(), IMAGES, LABELS, measures=FEW)


def test_arrays_in_any_place_are_named() -> None:
    with pytest.raises(ValueError, match="pair_images are a tensor, not ndarray"):
        vicinal.measure(LINEAR, IMAGES, LABELS, pair_images=IMAGES.numpy(), measures=FEW)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="validation labels are a tensor, not ndarray"):
        vicinal.measure(LINEAR, IMAGES, LABELS, validation=(IMAGES, LABELS.numpy()), measures=FEW)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "images",
    [255 * torch.rand(6, 3, 4, 4), IMAGES.long(), IMAGES.permute(0, 3, 1, 2), IMAGES.float().permute(0, 3, 1, 2)],
)
def test_curves_refuse_pixels_in_another_unit(images: Tensor) -> None:
    with pytest.raises(ValueError, match="uint8"):
        vicinal_curves(LINEAR, images, images.flip(0), 3, resamples=100)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_answer_that_is_not_finite_is_neither_right_nor_wrong(value: float) -> None:
    logits, labels = 4 * torch.eye(3)[LABELS], LABELS
    sound, broken = Calibration(), Calibration()
    sound.update(logits, labels)
    bad = logits.clone()
    bad[2, 1] = value
    broken.update(bad, labels)
    for one, other in ((sound, broken), (broken, sound)):
        with pytest.raises(ValueError, match="NaN or infinite"):
            one.minus(other, resamples=100)
    with pytest.raises(ValueError, match="not finite"):
        correct_under_corruption(bad[None], labels)
    with pytest.raises(ValueError, match="not finite"):
        default_classes(["a", "b", "c"], bad, labels, 2)
    with pytest.raises(ValueError, match="NaN or infinite"):
        sample_size(bad, 0.1)


def test_the_confidence_of_logits_is_refused_and_nan_stays() -> None:
    with pytest.raises(ValueError, match="softmax"):
        confidence(torch.tensor([[3.0, -1.0]]))
    assert confidence(torch.tensor([[math.nan, 0.5]])).isnan().all()


GLOBAL = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(48), nn.Dropout(0.5), nn.Linear(48, 3))


class _Kept:
    def __init__(self, held: dict[str, list[nn.Module]]) -> None:
        self.held = held

    def __call__(self, pixels: Tensor) -> Tensor:
        answer: Tensor = self.held["networks"][0](pixels)
        return answer

    def predict(self, pixels: Tensor) -> Tensor:
        return self(pixels)


KEPT = _Kept({"networks": [GLOBAL]})


def _named(pixels: Tensor) -> Tensor:
    answer: Tensor = GLOBAL(pixels)
    return answer


@pytest.mark.parametrize(
    "network", [_named, lambda pixels: _named(pixels), KEPT, KEPT.predict, lambda pixels: KEPT(pixels)]
)
def test_a_network_in_train_mode_is_found_behind_names_and_objects(network: Callable[[Tensor], Tensor]) -> None:
    GLOBAL.train()
    before = GLOBAL[1].running_mean.clone()  # type: ignore[operator, union-attr]
    first, second = (vicinal.measure(network, IMAGES, LABELS, measures=FEW).numbers["nll"] for _ in range(2))
    assert first == second
    assert torch.equal(GLOBAL[1].running_mean, before)  # type: ignore[arg-type]
    assert all(part.training for part in GLOBAL.modules())
