import os
import pickle

import pytest
import timm
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from timm.models import register_model
from torch import nn

from vicinal.config import NetworkSpec
from vicinal.errors import UsageError
from vicinal.networks import build_classifier, read_weights, save_weights


def spec(model="vicinal_resnet8", **values):
    return NetworkSpec(**{"model": model, "epochs": 1, **values})


def build(model="vicinal_resnet8", classes=10, channels=1, **values):
    return build_classifier(spec(model, **values), classes, channels)


def pixels(n=3, channels=1, side=28, seed=0):
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(seed))


def shaken(network):
    """The network with weights and batch-norm statistics that no start gives, so that loading them shows."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, t in network.state_dict().items():
            if t.is_floating_point() and name not in ("mean", "std"):
                t += 0.02 * torch.randn(t.shape, generator=generator)
    return network


@register_model
def vicinal_test_bare(**kwargs):
    """A timm model that states no normalisation."""
    network = timm.create_model("vicinal_mobilenet", in_chans=kwargs.get("in_chans", 1))
    network.pretrained_cfg = network.default_cfg = {}
    return network


# --- sizes and shapes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("classes", "millions"), [(10, 2.59), (100, 2.61), (1000, 2.84)])
def test_the_papers_student_has_the_papers_number_of_values(classes, millions):
    network = build("mobilenetv2_100", classes, channels=3, head="bottleneck")
    assert round(network.stored_value_count / 1e6, 2) == millions


def test_values_count_parameters_and_batch_norm_statistics_only():
    network = build(head="bottleneck")
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d | nn.BatchNorm1d)]
    statistics = sum(2 * m.num_features for m in norms)
    assert network.stored_value_count == sum(p.numel() for p in network.parameters()) + statistics


@pytest.mark.parametrize(
    ("name", "low", "high"), [("vicinal_resnet8", 29e4, 31e4), ("vicinal_mobilenet", 30e3, 31.5e3)]
)
def test_built_in_networks_are_made_by_name(name, low, high):
    network = timm.create_model(name)
    assert low < sum(p.numel() for p in network.parameters()) < high
    assert network(torch.rand(2, 1, 28, 28)).shape == (2, 10)
    assert timm.create_model(name, in_chans=3, num_classes=7)(torch.rand(2, 3, 28, 28)).shape == (2, 7)


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


# --- normalisation ----------------------------------------------------------------------------------------------------


def test_the_network_normalises_pixels_itself():
    network, x = build("test_resnet", 5, 3, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7)), pixels(2, 3, 64)
    normalised = (x - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)) / torch.tensor([0.5, 0.6, 0.7]).view(3, 1, 1)
    torch.testing.assert_close(network(x), network.head(network.backbone(normalised)))


def test_the_normalisation_is_the_one_timm_states():
    network = build("mobilenetv3_small_050", 5, 3)
    assert network.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert network.std.flatten().tolist() == pytest.approx([0.229, 0.224, 0.225])
    assert build("test_resnet", 5, 3).mean.flatten().tolist() == [0.5, 0.5, 0.5]  # not ImageNet's
    grey, colour = build("mobilenetv3_small_050", 5, 1), build("vicinal_resnet8", 5, 3)
    assert grey.mean.flatten().tolist() == pytest.approx([0.449], abs=1e-5)
    assert colour.mean.flatten().tolist() == pytest.approx([0.286] * 3)


def test_an_unknown_normalisation_is_asked_for():
    with pytest.raises(UsageError, match=r"vicinal_test_bare.*give its 'mean' and 'std'"):
        build("vicinal_test_bare")
    assert build("vicinal_test_bare", mean=(0.5,), std=(0.25,))(pixels()).shape == (3, 10)


def test_a_normalisation_for_other_channels_is_an_error():
    with pytest.raises(UsageError, match="need 3 numbers"):
        build("test_resnet", 5, 3, mean=(0.5, 0.5), std=(0.5, 0.5))


def test_the_network_resizes_its_input():
    network, x = build(image_size=14), pixels()
    small = torch.nn.functional.interpolate(x, (14, 14), mode="bilinear", antialias=True)
    torch.testing.assert_close(network(x), network(small))
    assert not torch.equal(network(x), build()(x))


# --- weights ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", ["linear", "bottleneck"])
@pytest.mark.parametrize(("model", "channels"), [("vicinal_resnet8", 1), ("mobilenetv3_small_050", 3)])
def test_weights_saved_by_vicinal_are_loaded_as_they_are(tmp_path, model, channels, head):
    network, x, path = shaken(build(model, 7, channels, head=head)), pixels(2, channels, 32), tmp_path / "w.safetensors"
    save_weights(network, path)
    for kept in ("keep", head):
        loaded = build(model, 7, channels, weights=str(path), head=kept, epochs=0)
        assert torch.equal(loaded(x), network(x))


def test_weights_saved_by_vicinal_bring_their_normalisation(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(build(mean=(0.1,), std=(0.9,)), path)
    loaded = build(weights=str(path), head="keep", epochs=0)
    assert (float(loaded.mean), float(loaded.std)) == pytest.approx((0.1, 0.9))
    with pytest.raises(UsageError, match="leave 'mean' and 'std' out"):
        build(weights=str(path), head="keep", epochs=0, mean=(0.5,), std=(0.5,))
    with pytest.raises(UsageError, match=r"takes images of 1 channel\(s\), the data has 3"):
        build(channels=3, weights=str(path), head="keep", epochs=0)


@pytest.mark.parametrize("head", ["linear", "bottleneck"])
def test_a_new_head_on_saved_weights_keeps_the_backbone(tmp_path, head):
    network, path = shaken(build(classes=10)), tmp_path / "w.safetensors"
    save_weights(network, path)
    loaded = build(classes=4, weights=str(path), head=head)
    x = pixels()
    assert torch.equal(loaded.backbone((x - loaded.mean) / loaded.std), network.features(x))
    assert float(loaded(x).detach().abs().max()) < 0.1
    assert loaded(x).shape == (3, 4)


@pytest.mark.parametrize(
    ("model", "channels", "classes"),
    [("vicinal_resnet8", 1, 10), ("test_resnet", 3, 1000), ("vicinal_resnet8", 1, 7), ("test_resnet", 3, 7)],
)
@pytest.mark.parametrize("head", ["keep", "linear"])
def test_a_state_dict_of_timm_is_loaded_whatever_its_number_of_classes(tmp_path, model, channels, classes, head):
    network, path = shaken(timm.create_model(model, num_classes=classes)).eval(), tmp_path / "w.safetensors"
    save_file(network.state_dict(), path)
    loaded = build(model, classes, channels, weights=str(path), head=head, epochs=0 if head == "keep" else 1)
    x = pixels(2, channels, 64)
    normalised = (x - loaded.mean) / loaded.std
    if head == "keep":
        torch.testing.assert_close(loaded(x), network(normalised))
    torch.testing.assert_close(loaded.features(x), network.forward_head(network.forward_features(normalised), True))


@pytest.mark.parametrize("head", ["linear", "bottleneck"])
def test_no_epochs_never_means_a_new_untrained_head(tmp_path, head):
    """epochs: 0 takes a trained classifier as it is: its own head or an error, no answers at random."""
    network, path = shaken(timm.create_model("vicinal_resnet8")).eval(), tmp_path / "w.safetensors"
    save_file(network.state_dict(), path)
    try:
        loaded = build(weights=str(path), head=head, epochs=0)
    except (UsageError, ValidationError):
        return
    x = pixels()
    torch.testing.assert_close(loaded(x), network((x - loaded.mean) / loaded.std))


def test_a_plain_torch_file_is_read_too(tmp_path):
    network, path, x = shaken(build()), tmp_path / "w.pth", pixels()
    torch.save({"state_dict": network.state_dict()}, path)
    assert torch.equal(build(weights=str(path), head="keep", epochs=0)(x), network(x))


@pytest.mark.parametrize("own", [True, False])
def test_a_kept_head_must_know_the_classes_of_the_data(tmp_path, own):
    path = tmp_path / "w.safetensors"
    if own:
        save_weights(build(classes=10), path)
    else:
        save_file(timm.create_model("vicinal_resnet8").state_dict(), path)
    with pytest.raises(UsageError, match=r"has 10 classes and the data has 12: use head: linear"):
        build(classes=12, weights=str(path), head="keep", epochs=0)


def one_line_error(path, model="vicinal_resnet8", **values):
    with pytest.raises(UsageError) as caught:
        build(model, weights=str(path), **values)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_a_missing_weights_file_is_a_usage_error(tmp_path):
    assert "no weights file" in one_line_error(tmp_path / "none.safetensors")
    assert "no weights file" in one_line_error(tmp_path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("keep", [0, 5, 2000])
def test_a_damaged_weights_file_is_a_usage_error(tmp_path, suffix, keep):
    whole, path = tmp_path / "whole", tmp_path / f"cut{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(timm.create_model("vicinal_resnet8").state_dict(), whole)
    path.write_bytes(whole.read_bytes()[:keep])
    one_line_error(path)


@pytest.mark.parametrize("head", ["keep", "linear"])
@pytest.mark.parametrize("own", [True, False])
def test_weights_of_another_architecture_are_a_usage_error(tmp_path, own, head):
    path = tmp_path / "w.safetensors"
    if own:
        save_weights(build("vicinal_mobilenet"), path)
    else:
        save_file(timm.create_model("vicinal_mobilenet").state_dict(), path)
    assert "do not fit vicinal_resnet8" in one_line_error(path, head=head)


@pytest.mark.parametrize("name", ["anything", "backbone.conv1.weight"])
def test_foreign_tensors_are_a_usage_error(tmp_path, name):
    """Other libraries call a part of their networks `backbone` too."""
    save_file({name: torch.zeros(3)}, tmp_path / "w.safetensors")
    one_line_error(tmp_path / "w.safetensors")


def test_what_is_no_state_dict_is_a_usage_error(tmp_path):
    torch.save([1, 2, 3], tmp_path / "w.pth")
    assert "is not a state_dict" in one_line_error(tmp_path / "w.pth")


class Malicious:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".safetensors"])
@pytest.mark.parametrize("write", ["pickle", "torch"])
def test_code_in_a_weights_file_is_refused_and_not_run(tmp_path, suffix, write):
    mark, path = tmp_path / "ran", tmp_path / f"w{suffix}"
    if write == "pickle":
        path.write_bytes(pickle.dumps(Malicious(mark), protocol=2))
    else:
        torch.save({"state_dict": Malicious(mark)}, path)
    one_line_error(path)
    with pytest.raises(UsageError):
        read_weights(path)
    assert not mark.exists()


def test_an_unknown_model_names_close_ones():
    with pytest.raises(UsageError, match=r"no timm model is named 'vicinal_resnet9'; close ones: vicinal_resnet8"):
        build("vicinal_resnet9")
    with pytest.raises(UsageError, match=r"no timm model is named 'qqqqqqqqqq'$"):
        build("qqqqqqqqqq")


def test_built_in_networks_have_no_weights_on_the_hub():
    with pytest.raises(UsageError, match="have none"):
        build(weights="hub")
