"""What travels with weights: classes by name, the side of the images, arguments of the model."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
import torch
from built import build, pixels, shaken, spec
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from vicinal.errors import UsageError
from vicinal.inputs import Preparation
from vicinal.networks import build_classifier, match_classes, save_weights

NAMES = st.lists(st.text(min_size=1, max_size=12), min_size=2, max_size=8, unique=True)


@given(NAMES, st.randoms(use_true_random=False))
def test_the_same_names_in_another_order_are_matched(names: list[str], random):
    shuffled = random.sample(names, len(names))
    match = match_classes("w", shuffled, names)
    order = match.order or tuple(range(len(names)))
    assert [shuffled[k] for k in order] == names
    assert (match.note is None) == (shuffled == names)


@given(st.lists(st.text("abcéß", min_size=1, max_size=6), min_size=2, max_size=6, unique_by=str.casefold), st.data())
def test_names_that_differ_in_case_or_unicode_form_alone_are_matched_and_said(names: list[str], data):
    written = [unicodedata.normalize(data.draw(st.sampled_from(["NFC", "NFD"])), name) for name in names]
    written = [data.draw(st.sampled_from([str.upper, str.lower, str.title, str]))(name) for name in written]
    written = data.draw(st.permutations(written))

    def plain(name: str) -> str:
        return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())

    match = match_classes("w", written, names)
    order = match.order or tuple(range(len(names)))
    assert [plain(written[k]) for k in order] == [plain(name) for name in names]
    if written != names:
        assert match.note is not None
        assert "matched by name" in match.note


@given(NAMES, NAMES)
def test_other_classes_are_refused_in_one_line_that_lists_both(held: list[str], wanted: list[str]):
    if {unicodedata.normalize("NFC", n).casefold() for n in held} == {
        unicodedata.normalize("NFC", n).casefold() for n in wanted
    }:
        return
    with pytest.raises(UsageError, match=r"w has the classes .*, and the data has ") as caught:
        match_classes("w", held, wanted)
    assert "\n" not in str(caught.value)


def test_names_that_case_alone_tells_apart_are_not_guessed():
    """Cat and cat are two classes of the data: which of them the weights' CAT is, nothing says."""
    with pytest.raises(UsageError, match="not in the data are CAT"):
        match_classes("w", ["CAT", "dog", "Cat"], ["Cat", "cat", "dog"])
    assert match_classes("w", ["Cat", "cat"], ["cat", "Cat"]).order == (1, 0)


@pytest.mark.parametrize("head", ["linear", "bottleneck"])
def test_a_kept_head_answers_in_the_order_of_the_data(tmp_path: Path, head: str):
    network = build_classifier(spec(head=head), 3, 1, ["ant", "bee", "cat"])
    save_weights(shaken(network), tmp_path / "w.safetensors")
    kept = spec(weights=str(tmp_path / "w.safetensors"), head="keep", epochs=0)
    own = build_classifier(kept, 3, 1, ["Cat", "ant", "bee"])
    x = pixels()
    assert torch.equal(own(x), network(x)[:, [2, 0, 1]])
    assert own.class_names == ("Cat", "ant", "bee")
    assert not own.classes_are_guessed
    assert "'cat' is 'Cat'" in own.notes[-1]
    save_weights(own, tmp_path / "again.safetensors")  # in their new order, under their new names
    again = build_classifier(
        kept.model_copy(update={"weights": str(tmp_path / "again.safetensors")}), 3, 1, ["ant", "bee", "Cat"]
    )
    assert torch.equal(again(x), network(x))
    with pytest.raises(
        UsageError, match=r"w\.safetensors has the classes ant, bee, cat, and the data has ant, bee, dog"
    ):
        build_classifier(kept, 3, 1, ["ant", "bee", "dog"])
    new = build_classifier(kept.model_copy(update={"head": "linear", "epochs": 1}), 2, 1, ["x", "y"])
    assert new.class_names == ("x", "y")  # a new head has none to match


def test_a_stated_order_of_classes_is_taken(tmp_path: Path):
    network, path = shaken(build(classes=3)), tmp_path / "w.safetensors"
    save_file(network.state_dict(), path)  # without a word of what they are
    kept = spec(weights=str(path), head="keep", epochs=0, class_names=("c", "a", "b"))
    own = build_classifier(kept, 3, 1, ["a", "b", "c"])
    assert torch.equal(own(pixels()), network(pixels())[:, [1, 2, 0]])
    assert not own.classes_are_guessed
    with pytest.raises(UsageError, match="class_names lists 2 classes for a head of 3"):
        build_classifier(kept.model_copy(update={"class_names": ("a", "b")}), 3, 1, ["a", "b", "c"])


def test_the_side_that_training_saw_is_kept(tmp_path: Path):
    network = shaken(build(image_size=16))
    save_weights(network, tmp_path / "w.safetensors")
    values = {"weights": str(tmp_path / "w.safetensors"), "head": "keep", "epochs": 0}
    own, stated, x = build(**values), build(image_size=20, **values), pixels()
    assert torch.equal(own(x), network(x))
    assert (own.spec.image_size, own.preparation) == (16, Preparation(image_size=16))
    assert "at 16 px" in own.notes[0]
    assert not torch.equal(stated(x), network(x))
    assert "trained on images of 16 px; image_size: 20 is stated" in stated.notes[0]


def test_the_same_network_makes_the_same_bytes(tmp_path: Path):
    network = build_classifier(spec(), 3, 1, ["a", "b", "ü"])
    files = [tmp_path / f"{k}.safetensors" for k in range(5)]
    for file in files:
        save_weights(network, file)
    assert len({file.read_bytes() for file in files}) == 1
    with safe_open(files[0], framework="pt") as file:
        assert json.loads(file.metadata()["vicinal"])["class_names"] == ["a", "b", "ü"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "3",
        '{"class_names": 3}',
        '{"class_names": [1]}',
        '{"image_size": "x"}',
        '{"image_size": -1}',
        '{"model_args": 3}',
    ],
)
def test_damaged_words_about_weights_are_one_line(tmp_path: Path, text: str):
    path = tmp_path / "w.safetensors"
    save_weights(build(), path)
    save_file(load_file(path), path, {"vicinal": text})
    with pytest.raises(UsageError, match=r"w\.safetensors: what it says of itself .* is damaged"):
        build(weights=str(path), head="keep", epochs=0)


def test_class_names_that_contradict_the_weights_are_refused(tmp_path: Path):
    save_weights(build_classifier(spec(), 3, 1, ["ant", "bee", "cat"]), tmp_path / "w.safetensors")
    kept = spec(weights=str(tmp_path / "w.safetensors"), head="keep", epochs=0, class_names=("cat", "ant", "bee"))
    with pytest.raises(
        UsageError, match=r"class_names is cat, ant, bee, and .* say that their logits are ant, bee, cat"
    ):
        build_classifier(kept, 3, 1, ["ant", "bee", "cat"])


def test_classes_known_by_numbers_alone_are_guessed(tmp_path: Path):
    """0, 1 and 2 of one table may be other classes than those of another: the answers are to be looked at."""
    network, path = shaken(build_classifier(spec(), 3, 1, ["0", "1", "2"])), tmp_path / "w.safetensors"
    save_weights(network, path)
    kept = spec(weights=str(path), head="keep", epochs=0)
    assert build_classifier(kept, 3, 1, ["0", "1", "2"]).classes_are_guessed
    own = build_classifier(kept.model_copy(update={"class_names": ("2", "0", "1")}), 3, 1, ["0", "1", "2"])
    assert not own.classes_are_guessed
    assert torch.equal(own(pixels()), network(pixels())[:, [1, 2, 0]])
