"""Other people's networks: wrapped files, other numbers than floats, any form of head, a side of their own, averaged weights."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from built import build, pixels, shaken
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from timm.models import register_model
from torch import Tensor, nn

from vicinal.config import NetworkSpec
from vicinal.errors import UsageError
from vicinal.networks import (
    ClassOrder,
    build_classifier,
    read_weights,
    read_weights_file,
    rebuilt_classifier,
    save_weights,
)

State = dict[str, Any]
WRAPPINGS: dict[str, Callable[[State], State]] = {
    "state_dict": lambda state: {"state_dict": state, "arch": "test_resnet", "args": argparse.Namespace(lr=0.1)},
    "model_state_dict": lambda state: {"model_state_dict": state, "epoch": 7, "best": np.float64(0.9)},
    "model": lambda state: {"model": state, "optimizer": {"state": {0: {"step": torch.ones(1)}}}},
    "net": lambda state: {"net": state, "acc": 93.0},
    "own name": lambda state: {"my_net": state, "note": "x"},
    "module.": lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
    "_orig_mod.": lambda state: {f"_orig_mod.{name}": tensor for name, tensor in state.items()},
    "model.": lambda state: {f"model.{name}": tensor for name, tensor in state.items()},
}
PREFIXED = [name for name in WRAPPINGS if name.endswith(".")]


@pytest.fixture(scope="module")
def plain() -> tuple[nn.Module, State]:
    torch.manual_seed(0)
    network = shaken(timm.create_model("test_resnet", num_classes=3)).eval()
    return network, dict(network.state_dict())


def kept(path: Path, model: str = "test_resnet", classes: int = 3, **values: Any) -> Any:
    return build(model, classes, 3, weights=str(path), head="keep", epochs=0, **values)


def answers_as(own: Any, network: nn.Module, side: int = 32, **tolerance: float) -> None:
    x = pixels(2, 3, side)
    with torch.no_grad():
        torch.testing.assert_close(own(x), network((x - own.mean) / own.std), **tolerance)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    inner=st.lists(st.sampled_from(PREFIXED), max_size=3),
    outer=st.lists(st.sampled_from([n for n in WRAPPINGS if n not in PREFIXED and n != "own name"]), max_size=3),
)
def test_usual_wrappings_come_off_in_any_combination(tmp_path: Path, plain, inner: list[str], outer: list[str]):
    state = plain[1]
    for name in [*inner, *outer]:
        state = WRAPPINGS[name](state)
    torch.save(state, tmp_path / "w.pth.tar")
    found = read_weights(tmp_path / "w.pth.tar")
    assert found.keys() == plain[1].keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in plain[1].items())


@pytest.mark.parametrize("name", WRAPPINGS)
def test_a_wrapped_file_answers_as_its_network(tmp_path: Path, plain, name: str):
    torch.save(WRAPPINGS[name](plain[1]), tmp_path / "w.pth.tar")
    answers_as(kept(tmp_path / "w.pth.tar"), plain[0])


def test_what_lies_beside_a_prefixed_network_is_left_and_said(tmp_path: Path, plain):
    state = {**WRAPPINGS["model."](plain[1]), "criterion.weight": torch.ones(3)}
    torch.save({"state_dict": state}, tmp_path / "w.ckpt")
    own = kept(tmp_path / "w.ckpt")
    answers_as(own, plain[0])
    assert "1 beside them are not (criterion.weight)" in own.notes[0]


def test_averaged_weights_are_chosen_out_loud(tmp_path: Path, plain):
    network, state = plain
    doubled = {name: t * 2 if name == "fc.weight" else t for name, t in state.items()}
    torch.save({"state_dict": state, "state_dict_ema": WRAPPINGS["module."](doubled)}, tmp_path / "w.pth")
    own, averaged = kept(tmp_path / "w.pth"), kept(tmp_path / "w.pth", ema=True)
    answers_as(own, network)
    assert "w.pth holds EMA weights too (state_dict_ema): its plain ones are taken" in own.notes[0]
    assert torch.equal(averaged.head.weight, 2 * own.head.weight)
    assert "its EMA weights are taken (state_dict_ema)" in averaged.notes[0]
    torch.save({"state_dict": state}, tmp_path / "plain.pth")
    with pytest.raises(UsageError, match="holds no EMA weights"):
        kept(tmp_path / "plain.pth", ema=True)
    with pytest.raises(ValidationError, match="'ema' chooses between the weights of a file"):
        NetworkSpec(model="test_resnet", epochs=1, ema=True)


NO_WEIGHTS: dict[str, Callable[[Tensor], Tensor]] = {
    "int8": lambda t: (t * 50).to(torch.int8),
    "int64": lambda t: (t * 50).to(torch.int64),
    "bool": lambda t: t > 0,
    "complex64": lambda t: t.to(torch.complex64),
    "float8_e4m3fn": lambda t: t.to(torch.float8_e4m3fn),
    "NaN": lambda t: torch.full_like(t, torch.nan),
    "infinite": lambda t: torch.full_like(t, -torch.inf),
}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("kind", NO_WEIGHTS)
def test_numbers_that_are_no_weights_are_refused_by_name(tmp_path: Path, plain, kind: str, suffix: str):
    state = {**plain[1], "fc.weight": NO_WEIGHTS[kind](plain[1]["fc.weight"])}
    path = tmp_path / f"w{suffix}"
    if suffix == ".pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    with pytest.raises(UsageError, match=rf"w{suffix}: fc.weight .*{kind}") as caught:
        kept(path)
    assert "\n" not in str(caught.value)


def test_half_precision_is_taken(tmp_path: Path, plain):
    save_file({k: t.half() if t.is_floating_point() else t for k, t in plain[1].items()}, tmp_path / "w.safetensors")
    answers_as(kept(tmp_path / "w.safetensors"), plain[0], atol=0.05, rtol=0.05)


@pytest.mark.parametrize(
    "value",
    [
        {1: torch.ones(2)},
        {"state_dict": {0: torch.ones(2)}},
        {"state_dict": {}},
        {"a": {"w": torch.ones(1)}, "b": {"w": torch.ones(1)}},
        {"state_dict": {"w": "text"}},
        torch.ones(2),
        None,
    ],
)
def test_what_names_no_weights_is_one_line(tmp_path: Path, value: Any):
    torch.save(value, tmp_path / "w.pth")
    with pytest.raises(UsageError, match=r"w\.pth") as caught:
        kept(tmp_path / "w.pth")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(), (3,), (1, 3), (1, 3, 1, 2), (0,)])
@pytest.mark.parametrize("name", ["mean", "std"])
def test_a_normalisation_of_another_shape_is_one_line(tmp_path: Path, name: str, shape: tuple[int, ...]):
    save_weights(build("vicinal_resnet8", 3, 3), tmp_path / "w.safetensors")
    state = load_file(tmp_path / "w.safetensors") | {name: torch.ones(shape)}
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(UsageError, match=r"w\.safetensors: 'mean' .* and 'std' .* are not"):
        kept(tmp_path / "w.safetensors", "vicinal_resnet8")


# --- heads ------------------------------------------------------------------------------------------------------------

HEADS = [
    ("resnetv2_18", 32),  # a convolution
    ("deit_tiny_distilled_patch16_224", 224),  # a pair
    ("levit_128s", 224),  # a pair with batch norms
    ("repvit_m1", 64),  # a pair in a module of its own
    ("dla46x_c", 64),  # a convolution
    ("starnet_s050", 64),  # one linear layer
    # A linear layer beside another; and a part that is called `network`.
    pytest.param("volo_d1_224", 224, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("model", "side"), HEADS)
def test_any_form_of_head_is_kept_saved_and_found_again(tmp_path: Path, model: str, side: int):
    torch.manual_seed(1)
    network, path = shaken(timm.create_model(model, num_classes=3)).eval(), tmp_path / "w.pth"
    torch.save(network.state_dict(), path)
    own, x = kept(path, model, image_size=side), pixels(2, 3, side)
    answers_as(own, network, side, atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        assert own.features(x).shape[0] == 2
        save_weights(own, tmp_path / "own.safetensors")
        assert torch.equal(rebuilt_classifier(own.spec, read_weights(tmp_path / "own.safetensors"), 3, 3)(x), own(x))
        assert torch.equal(kept(tmp_path / "own.safetensors", model)(x), own(x))
    new = build(model, 5, 3, weights=str(tmp_path / "own.safetensors"), head="linear")
    assert new.train()(x).shape == (2, 5)


def test_branches_of_their_own_width_take_a_new_head():
    """CrossViT has a classifier for each of two branches."""
    network = build("crossvit_tiny_240", 5, 3, head="linear")
    assert network(pixels(1, 3, 240)).shape == (1, 5)


def test_networks_that_share_tensors_can_be_saved(tmp_path: Path):
    network = build("coat_lite_tiny", 3, 3, image_size=224)
    save_weights(network, tmp_path / "w.safetensors")
    again = kept(tmp_path / "w.safetensors", "coat_lite_tiny")
    assert all(torch.equal(t, again.state_dict()[name]) for name, t in network.state_dict().items())


@register_model
def vicinal_test_foreign(**kwargs: Any) -> nn.Module:
    """A network in timm's registry that has nothing of timm's."""
    return nn.Sequential(nn.Flatten(), nn.Linear(kwargs.get("in_chans", 3) * 16, kwargs.get("num_classes", 3)))


def test_a_network_without_timms_methods_is_kept_and_takes_no_new_head(tmp_path: Path):
    torch.save(vicinal_test_foreign().state_dict(), tmp_path / "w.pth")
    given = {"mean": (0.5,), "std": (0.5,)}
    own = kept(tmp_path / "w.pth", "vicinal_test_foreign", **given)
    assert own(pixels(2, 3, 4)).shape == (2, 3)
    with pytest.raises(UsageError, match="has no reset_classifier"):
        build("vicinal_test_foreign", 3, 3, **given)
    torch.save({"0.weight": torch.ones(3, 48)}, tmp_path / "other.pth")
    with pytest.raises(UsageError, match=r"other\.pth do not fit vicinal_test_foreign"):
        kept(tmp_path / "other.pth", "vicinal_test_foreign", **given)


# --- sides and arguments ----------------------------------------------------------------------------------------------


def test_a_network_for_one_side_is_measured_at_its_own(tmp_path: Path):
    torch.manual_seed(0)
    network = timm.create_model("test_vit", img_size=32, num_classes=3).eval()
    with torch.no_grad():
        network.pos_embed.normal_()
    torch.save({"state_dict": network.state_dict()}, tmp_path / "w.pth")
    for stated in (None, 32):
        own = kept(tmp_path / "w.pth", "test_vit", image_size=stated)
        answers_as(own, network, 32, atol=1e-4, rtol=1e-4)
        assert (own.image_size, own.spec.image_size, own.spec.model_args) == (32, 32, {"img_size": 32})
        assert "for images of 32 px" in own.notes[0]
    other = kept(tmp_path / "w.pth", "test_vit", image_size=64)
    assert other(pixels(1, 3, 32)).shape == (1, 3)
    assert "position embedding is stretched" in other.notes[0]
    save_weights(kept(tmp_path / "w.pth", "test_vit"), tmp_path / "own.safetensors")
    again = kept(tmp_path / "own.safetensors", "test_vit")
    answers_as(again, network, 32, atol=1e-4, rtol=1e-4)
    assert again.spec.model_args == {"img_size": 32}


def test_arguments_of_a_model_reach_timm():
    network = build("test_vit", 3, 3, model_args={"img_size": 48, "depth": 1}, image_size=48)
    assert len(network.backbone.blocks) == 1
    assert network(pixels(1, 3, 20)).shape == (1, 3)
    with pytest.raises(UsageError, match="timm cannot make test_vit"):
        build("test_vit", 3, 3, model_args={"no_such_argument": 1})


@pytest.mark.parametrize(
    "args",
    [{"num_classes": 4}, {"pretrained": True}, {"features_only": True}, {"in chans": 1}, {"a": {"b": 1}}, {"a": None}],
)
def test_arguments_that_are_not_a_studys_to_set_are_refused(args: State):
    with pytest.raises(ValidationError, match="model_args"):
        NetworkSpec(model="test_vit", epochs=1, model_args=args)


# --- normalisation ----------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(1.01, 255), min_size=1, max_size=3), st.floats(0.01, 255))
def test_a_normalisation_of_pixels_to_255_is_refused(mean: list[float], std: float):
    with pytest.raises(ValidationError, match="divide them by 255"):
        NetworkSpec(model="test_resnet", epochs=1, mean=tuple(mean), std=(std,) * len(mean))


def test_the_divided_normalisation_is_named_and_taken():
    with pytest.raises(ValidationError, match=r"mean: \[0\.5\], std: \[0\.25\]"):
        NetworkSpec(model="test_resnet", epochs=1, mean=(127.5,), std=(63.75,))
    for mean, std in (((0.5,), (0.25,)), ((0.0,), (1.0,)), ((0.485,), (0.0039,))):
        assert NetworkSpec(model="test_resnet", epochs=1, mean=mean, std=std).std == std


def test_a_files_notes_name_it_without_its_folder(tmp_path: Path, plain):
    torch.save({"state_dict": plain[1]}, tmp_path / "w.pth")
    own = build_classifier(
        NetworkSpec(model="test_resnet", weights=str(tmp_path / "w.pth"), head="keep", epochs=0), 3, 3, ["a", "b", "c"]
    )
    assert own.classes_are_guessed
    assert "bring no names of classes" in own.notes[-1]
    assert str(tmp_path) not in " ".join(own.notes)
    assert read_weights_file(tmp_path / "w.pth").meaning.class_names is None


def test_a_head_inside_knows_its_number_of_classes():
    order = ClassOrder(3)
    assert torch.equal(order(torch.eye(3)), torch.eye(3))
    with pytest.raises(ValueError, match=r"\(4,\) numbers an image, and there are 3 classes"):
        order(torch.zeros(2, 4))
