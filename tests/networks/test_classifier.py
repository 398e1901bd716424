"""A classifier's sizes, heads and features; any network as a classifier."""

import numpy as np
import pytest
import torch
from built import build, pixels
from torch import nn

from vicinal.data import ImageSet
from vicinal.distillation import FrozenTeacher, choose_precision
from vicinal.evaluation import predict, vicinal_curves
from vicinal.inputs import Preparation, to_float
from vicinal.networks import Classifier, fused


@pytest.mark.parametrize(("classes", "millions"), [(10, 2.59), (100, 2.61), (1000, 2.84)])
def test_the_papers_student_has_the_papers_number_of_values(classes, millions):
    network = build("mobilenetv2_100", classes, channels=3, head="bottleneck")
    assert round(network.stored_value_count / 1e6, 2) == millions


def test_values_count_parameters_and_batch_norm_statistics_only():
    network = build(head="bottleneck")
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d | nn.BatchNorm1d)]
    statistics = sum(2 * m.num_features for m in norms)
    assert network.stored_value_count == sum(p.numel() for p in network.parameters()) + statistics


MODELS = [
    ("vicinal_resnet8", 1, 28, 128),
    ("vicinal_mobilenet", 3, 32, 128),
    ("mobilenetv3_small_050", 3, 64, 1024),
    ("test_resnet", 3, 64, 96),
    ("test_byobnet", 1, 64, 256),
]


@pytest.mark.parametrize("head", ["linear", "bottleneck"])
@pytest.mark.parametrize(("name", "channels", "side", "width"), MODELS)
def test_features_and_the_last_linear_layer_give_the_logits(name, channels, side, width, head):
    network, x = build(name, 7, channels, head=head), pixels(3, channels, side)
    assert not network.training
    with torch.no_grad():
        logits, features = network(x), network.features(x)
        last = network.head[-1] if head == "bottleneck" else network.head
        assert logits.shape == (3, 7)
        assert features.shape == (3, 256 if head == "bottleneck" else width)
        torch.testing.assert_close(last(features), logits)
        assert float(logits.abs().max()) < 0.1  # new heads start near zero
        assert float(logits.abs().max()) > 0


@pytest.mark.parametrize("head", ["linear", "bottleneck"])
def test_new_heads_start_near_zero_in_train_mode_too(head):
    logits = build("mobilenetv2_100", 100, 3, head=head).train()(pixels(8, 3, 64))
    assert float(logits.detach().abs().max()) < 0.1


def test_the_bottleneck_head_is_the_papers():
    head = build(classes=7, head="bottleneck").head
    told = [type(m).__name__ for m in head]
    assert told == ["Linear", "BatchNorm1d", "ReLU", "Dropout", "Linear"]
    assert (head[0].out_features, head[0].bias, head[3].p) == (256, None, 0.3)
    assert (head[4].in_features, head[4].out_features) == (256, 7)


@pytest.mark.parametrize(
    ("name", "channels", "side"), [("vicinal_resnet8", 1, 28), ("mobilenetv2_100", 3, 64), ("mobilenetv2_100", 3, 32)]
)
def test_a_batch_of_one_image_trains(name, channels, side):
    """The odd image at an epoch's end; mobilenetv2 leaves one position of a 32 px image."""
    network = build(name, 10, channels, head="bottleneck").train()
    logits = network(pixels(1, channels, side))
    logits.sum().backward()
    assert logits.shape == (1, 10)
    assert bool(logits.isfinite().all())


def test_the_bottleneck_normalises_by_the_batch_where_there_is_one():
    network = build(head="bottleneck").train()
    norm = network.head[1]
    x = torch.randn(16, 256) * 3 + 2
    torch.testing.assert_close(norm(x).mean(0), torch.zeros(256), atol=1e-5, rtol=0)
    kept = norm.running_mean.clone()
    network(pixels(1, 1, 28))
    assert torch.equal(norm.running_mean, kept)


def test_the_network_normalises_pixels_itself():
    network, x = build("test_resnet", 5, 3, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7)), pixels(2, 3, 64)
    normalised = (x - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)) / torch.tensor([0.5, 0.6, 0.7]).view(3, 1, 1)
    torch.testing.assert_close(network(x), network.head(network.backbone(normalised)))


def test_the_network_resizes_its_input():
    network, x = build(image_size=14), pixels()
    small = torch.nn.functional.interpolate(x, (14, 14), mode="bilinear", antialias=True)
    torch.testing.assert_close(network(x), network(small))
    assert not torch.equal(network(x), build()(x))


# --- any network ------------------------------------------------------------------------------------------------------


def shares(pixels):
    """A plain function with NumPy inside: logits from the mean of each third of the columns, far from linear in probability."""
    thirds = np.array_split(pixels.numpy(), 3, axis=3)
    return torch.from_numpy(np.stack([9 * part.mean((1, 2, 3)) for part in thirds], 1).astype(np.float32))


def test_a_plain_function_teaches():
    x = pixels(4, 3, 12)
    teacher = FrozenTeacher(Classifier.of(shares))
    answers = teacher(x)
    assert torch.equal(answers, shares(x))
    assert not answers.requires_grad
    assert list(teacher.parameters()) == []
    assert choose_precision(teacher.network, x) == "fp32"


def test_a_plain_function_is_measured_like_a_module():
    class Module(nn.Module):
        def forward(self, x):
            return 9 * torch.stack([part.mean((1, 2, 3)) for part in x.tensor_split(3, 3)], 1)

    i, j = (torch.randint(0, 256, (6, 12, 12, 3), dtype=torch.uint8) for _ in "ij")
    of_function, of_module = (
        vicinal_curves(Classifier.of(network), i, j, 5, resamples=10).compute() for network in (shares, Module())
    )
    torch.testing.assert_close(of_function, of_module, rtol=1e-4, atol=1e-6)
    assert float(of_function["nonlinearity"].max()) > 0
    images = ImageSet(i, torch.zeros(6, dtype=torch.int64))
    logits = predict(Classifier.of(shares), images, Preparation(), torch.device("cpu"))
    torch.testing.assert_close(logits, shares(to_float(i)))


def test_a_module_takes_part_as_modules_do():
    own = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network, x = Classifier.of(own.train()), pixels(4, 3, 12)
    assert network.stored_value_count == 4 * 27 + 4 + 2 * 4 + 2 * 4
    teacher = FrozenTeacher(network)
    assert not any(m.training for m in own.modules())
    assert not any(p.requires_grad for p in own.parameters())
    assert torch.equal(teacher(x), own(x))
    fast = fused(network, x)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in fast.modules())
    torch.testing.assert_close(fast(x), own(x))


def test_fusing_gives_a_plain_function_as_it_is_and_copies_a_network_without_batch_norms():
    plain = Classifier.of(shares)
    assert fused(plain, pixels(2, 3, 12)) is plain
    own = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    copy = fused(Classifier.of(own), pixels(2, 3, 2))
    assert torch.equal(copy(pixels(2, 3, 2)), own(pixels(2, 3, 2)))
    assert own[1].weight.requires_grad
    assert not any(p.requires_grad for p in copy.parameters())


def test_what_is_said_of_a_network_is_kept():
    preparation = Preparation(image_size=12)
    network = Classifier.of(shares, preparation, ["a", "b", "c"], features=lambda x: x.flatten(1).numpy())
    assert (network.preparation, network.class_names) == (preparation, ("a", "b", "c"))
    assert torch.equal(network.features(pixels(2, 3, 2)), pixels(2, 3, 2).flatten(1))
    again = Classifier.of(network)
    assert torch.equal(again.features(pixels(2, 3, 2)), network.features(pixels(2, 3, 2)))


def test_what_is_no_network_is_refused():
    with pytest.raises(TypeError, match="a module or a function of pixels, not str"):
        Classifier.of("resnet18")
    for wrong in (lambda x: x, lambda x: x.flatten(1)[:1], lambda x: x.flatten(1).argmax(1, keepdim=True)):
        with pytest.raises(ValueError, match=r"answers 2 images with \(2, K\) logits"):
            Classifier.of(wrong)(pixels(2, 3, 2))
    with pytest.raises(ValueError, match="3 logits for 2 class names"):
        Classifier.of(shares, class_names=["a", "b"])(pixels(2, 3, 12))
    with pytest.raises(ValueError, match="gives no features"):
        Classifier.of(shares).features(pixels(2, 3, 12))
