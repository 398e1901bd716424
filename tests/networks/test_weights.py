"""Weights in files: what was saved is loaded, what does not fit is one line, no code is run."""

import os
import pickle

import pytest
import timm
import torch
from built import build, pixels, shaken
from safetensors.torch import save_file

from vicinal.errors import UsageError
from vicinal.networks import read_weights, save_weights


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


def test_files_are_known_by_what_they_hold_and_not_by_their_ending(tmp_path):
    tensors = {"weight": torch.ones(2, 2)}
    save_file(tensors, tmp_path / "w.pth")
    torch.save(tensors, tmp_path / "w.safetensors")
    for name in ("w.pth", "w.safetensors"):
        assert torch.equal(read_weights(tmp_path / name)["weight"], tensors["weight"])


def test_two_networks_in_one_file_are_named(tmp_path):
    tensors = {"weight": torch.ones(2, 2)}
    torch.save({"teacher": tensors, "student": tensors}, tmp_path / "w.pth")
    with pytest.raises(UsageError, match=r"holds 2 state_dicts \('teacher', 'student'\)"):
        read_weights(tmp_path / "w.pth")
