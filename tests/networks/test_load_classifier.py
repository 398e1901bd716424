"""Any classifier by its name: what each way of naming one gives, and what is told of a name that gives nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from built import build, pixels, shaken
from safetensors.torch import save_file
from timm.models._hub import save_for_hf

from vicinal.errors import UsageError
from vicinal.networks import load_classifier, model_name, save_weights


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as timm writes it, with the names of its classes."""
    path = tmp_path_factory.mktemp("timm")
    torch.manual_seed(0)
    network = shaken(timm.create_model("test_resnet", num_classes=3)).eval()
    save_for_hf(network, str(path), model_config={"label_names": ["ant", "bee", "cat"]}, safe_serialization=True)
    return path


def test_a_folder_of_timm_is_taken_with_its_names(folder: Path):
    network, x = timm.create_model(f"local-dir:{folder}", pretrained=True).eval(), pixels(2, 3, 32)
    for name in (str(folder), f"local-dir:{folder}"):
        own = load_classifier(name)
        assert torch.equal(own(x), network((x - own.mean) / own.std))
        assert own.class_names == ("ant", "bee", "cat")
        assert not own.training


def test_a_name_takes_the_weights_of_a_file(folder: Path, tmp_path: Path):
    x, file = pixels(2, 3, 32), folder / "model.safetensors"
    expected = load_classifier(str(folder))(x)
    at_sign = tmp_path / "lr=0.1"
    at_sign.mkdir()
    save_file(timm.create_model(f"local-dir:{folder}", pretrained=True).state_dict(), at_sign / "w.safetensors")
    for own in (
        load_classifier(f"test_resnet={file}"),
        load_classifier("test_resnet", str(file), class_names=["x", "y", "z"]),
        load_classifier(f"test_resnet={at_sign / 'w.safetensors'}"),
    ):
        assert torch.equal(own(x), expected)
    assert load_classifier("test_resnet", str(file), class_names=["x", "y", "z"]).class_names == ("x", "y", "z")
    assert load_classifier(f"test_resnet={file}").class_names is None


@pytest.mark.parametrize("head", ["linear", "bottleneck"])
def test_a_file_that_names_its_model_is_enough(tmp_path: Path, head: str):
    network = shaken(build("vicinal_resnet8", 5, 1, head=head))
    network.class_names = tuple("abcde")
    save_weights(network, tmp_path / "w.safetensors")
    own = load_classifier(str(tmp_path / "w.safetensors"), channels=1)
    assert torch.equal(own(pixels()), network(pixels()))
    assert own.class_names == network.class_names


def refused(name: str, *more: str) -> str:
    with pytest.raises(UsageError) as caught:
        load_classifier(name, *more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_names_no_model_is_one_line(folder: Path, tmp_path: Path):
    assert "no model is named" in refused("")
    assert "there is no file" in refused(str(tmp_path / "none.pth"))
    assert "holds no model" in refused(str(tmp_path))
    assert "there is no such folder" in refused("local-dir:/nowhere")
    assert "close ones: resnet18" in refused("resnet_18")
    assert "does not say which model it is of" in refused(str(folder / "model.safetensors"))
    assert "give the model's name, as NAME=" in refused(str(folder / "model.safetensors"), "other.pth")
    assert "class_names lists 2 classes for a head of 3" in refused_names(folder)
    (tmp_path / "config.json").write_text("[]")
    assert "cannot be read" in refused(str(tmp_path))
    (tmp_path / "config.json").write_text('{"x": 1}')
    assert "is neither timm's" in refused(str(tmp_path))
    study = tmp_path / "study"
    (study / "runs" / "one").mkdir(parents=True)
    (study / "study.json").write_text("{}")
    (study / "runs" / "one" / "weights.safetensors").touch()
    assert "name the folder of one of them, such as" in refused(str(study))


def refused_names(folder: Path) -> str:
    with pytest.raises(UsageError) as caught:
        load_classifier(str(folder), class_names=["a", "b"])
    return str(caught.value)


def test_weights_without_a_classifier_are_nothing_to_take_as_it_is(tmp_path: Path):
    save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), tmp_path / "w.safetensors")
    assert "hold no classifier" in refused(f"test_resnet={tmp_path / 'w.safetensors'}")


@pytest.mark.parametrize(
    ("text", "model", "weights"),
    [
        ("resnet18", "resnet18", "hub"),
        ("resnet18.a1_in1k", "resnet18.a1_in1k", "hub"),
        ("hf-hub:timm/resnet18", "hf-hub:timm/resnet18", "hub"),
        ("torchvision/resnet18", "torchvision/resnet18", "hub"),
        ("torchvision/resnet18=DEFAULT", "torchvision/resnet18", "DEFAULT"),
        ("mine.models:make", "mine.models:make", None),
        ("mine.models:make=w.th", "mine.models:make", "w.th"),
    ],
)
def test_names_come_apart_into_model_and_weights(text: str, model: str, weights: str | None):
    assert (model_name(text).model, model_name(text).weights) == (model, weights)
