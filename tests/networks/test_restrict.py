"""`classes: data`: a network of more classes than the data is restricted to the data's, by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from built import pixels, shaken
from pydantic import ValidationError
from timm.data import ImageNetInfo

from vicinal.config import NetworkSpec
from vicinal.errors import UsageError
from vicinal.networks import build_classifier, load_classifier, read_weights, rebuilt_classifier, save_weights

NAMES = ("ant", "bee", "cat", "dog", "eel")


@pytest.mark.parametrize("model", ["test_resnet", "resnetv2_18"])  # a linear layer, a convolution that stays inside
def test_the_logits_of_the_datas_classes_are_kept_in_their_order(tmp_path: Path, model: str):
    torch.manual_seed(0)
    network, x = shaken(timm.create_model(model, num_classes=5)).eval(), pixels(2, 3, 32)
    torch.save(network.state_dict(), tmp_path / "w.pth")
    known = {"model": model, "weights": str(tmp_path / "w.pth"), "head": "keep", "epochs": 0, "class_names": NAMES}
    whole = build_classifier(NetworkSpec(**known), 5, 3, NAMES)
    own = build_classifier(NetworkSpec(**known, classes="data"), 3, 3, ["Dog", "ant", "eel"])
    with torch.no_grad():
        torch.testing.assert_close(own(x), whole(x)[:, [3, 0, 4]])
        save_weights(own, tmp_path / "own.safetensors")
        again = rebuilt_classifier(own.spec, read_weights(tmp_path / "own.safetensors"), 3, 3)
        assert torch.equal(again(x), own(x))
        taken = load_classifier(str(tmp_path / "own.safetensors"))
        assert torch.equal(taken(x), own(x))
        by_name = load_classifier(
            f"{model}={tmp_path / 'w.pth'}", class_names=NAMES, data_classes=["Dog", "ant", "eel"]
        )
        assert torch.equal(by_name(x), own(x))
    assert own.class_names == taken.class_names == ("Dog", "ant", "eel")
    assert "restricted to the data's 3 of its 5 classes" in own.notes[-1]
    assert not own.classes_are_guessed
    with pytest.raises(UsageError, match="and none of them is fox"):
        build_classifier(NetworkSpec(**known, classes="data"), 2, 3, ["ant", "fox"])
    with pytest.raises(UsageError, match="ant, ANT of the data are one class"):
        build_classifier(NetworkSpec(**known, classes="data"), 2, 3, ["ant", "ANT"])
    with pytest.raises(UsageError, match="has 5 classes and the data has 3"):
        build_classifier(NetworkSpec(**known | {"class_names": None}), 3, 3, ["dog", "ant", "eel"])
    with pytest.raises(UsageError, match=r"of the 5 of the weights w\.pth, which name none"):
        build_classifier(NetworkSpec(**known | {"class_names": None}, classes="data"), 2, 3, ["dog", "ant"])


def test_imagenets_classes_go_by_their_numbers_and_words(tmp_path: Path):
    torch.manual_seed(0)
    network, x = shaken(timm.create_model("test_resnet", num_classes=1000)).eval(), pixels(2, 3, 32)
    torch.save(network.state_dict(), tmp_path / "w.pth")
    spec = NetworkSpec(model="test_resnet", weights=str(tmp_path / "w.pth"), head="keep", epochs=0, classes="data")
    own = build_classifier(spec, 4, 3, ["goldfish", "n01440764", "Great_White_Shark", "cock"])
    info = ImageNetInfo()
    order = [info.label_names().index(name) for name in ("n01443537", "n01440764", "n01484850", "n01514668")]
    with torch.no_grad():
        torch.testing.assert_close(own(x), network((x - own.mean) / own.std)[:, order])
    with pytest.raises(UsageError, match=r"crane is the name of 2 classes"):
        build_classifier(spec, 2, 3, ["goldfish", "crane"])


def test_it_goes_with_a_kept_head_and_leaves_other_runs_as_they_were():
    with pytest.raises(ValidationError, match="it goes with head: keep"):
        NetworkSpec(model="test_resnet", epochs=1, classes="data")
