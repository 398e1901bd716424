"""From a spec to a network: the model's name, its normalisation, its head."""

import pytest
import timm
import torch
from built import build, pixels, shaken
from pydantic import ValidationError
from safetensors.torch import save_file
from timm.models import register_model

from vicinal.errors import UsageError


@register_model
def vicinal_test_bare(**kwargs):
    """A timm model that states no normalisation."""
    network = timm.create_model("vicinal_mobilenet", in_chans=kwargs.get("in_chans", 1))
    network.pretrained_cfg = network.default_cfg = {}
    return network


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


def test_an_unknown_model_names_close_ones():
    with pytest.raises(UsageError, match=r"no timm model is named 'vicinal_resnet9'; close ones: vicinal_resnet8"):
        build("vicinal_resnet9")
    with pytest.raises(UsageError, match=r"no timm model is named 'qqqqqqqqqq'$"):
        build("qqqqqqqqqq")
