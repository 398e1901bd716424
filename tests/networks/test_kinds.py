"""Networks that are not timm's: torchvision's, transformers', ONNX files and a user's own code, as teachers and as students."""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import torchvision.models
from built import pixels, shaken
from torch import nn

from shared_data import SHARED_DATA
from vicinal.config import NetworkSpec, PreparationSpec
from vicinal.errors import UsageError
from vicinal.networks import (
    Classifier,
    build_classifier,
    fused,
    load_classifier,
    network_cost,
    read_weights,
    rebuilt_classifier,
    save_weights,
    weights_hash,
)

NAMES = ("ant", "bee", "cat", "dog", "eel")


def again(network: Classifier, path: Path, classes: int) -> Classifier:
    """The network as a run folder gives it back."""
    save_weights(network, path)
    return rebuilt_classifier(network.spec, read_weights(path), classes, 3)


def trains_and_comes_back(tmp_path: Path, x: torch.Tensor, **spec: Any) -> None:
    """As a student: a new head, a step of training, saved and built again to the same answers, fused, counted."""
    for head, width in (("linear", None), ("bottleneck", 256)):
        torch.manual_seed(0)
        student = build_classifier(NetworkSpec(head=head, epochs=1, **spec), 7, 3, [*NAMES, "fox", "gnu"])
        before = copy.deepcopy(student.state_dict())
        optimizer = torch.optim.SGD(student.parameters(), lr=0.01)
        student.train()(x).square().mean().backward()
        optimizer.step()
        assert any(not torch.equal(t, before[n]) for n, t in student.state_dict().items() if n.startswith("backbone."))
        student.eval()
        with torch.no_grad():
            assert torch.equal(again(student, tmp_path / "student.safetensors", 7)(x), student(x))
            torch.testing.assert_close(fused(student, x)(x), student(x), atol=1e-3, rtol=1e-3)
            assert width is None or student.features(x).shape == (len(x), width)
        assert network_cost(student, x[:1], 2).forward_flops > 0


# --- torchvision ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["squeezenet1_1", "shufflenet_v2_x0_5"])  # a convolution as head, a linear layer
def test_a_network_of_torchvision_with_a_file_of_its_references(tmp_path: Path, name: str):
    torch.manual_seed(0)
    own, x = shaken(torchvision.models.get_model(name, num_classes=5)).eval(), pixels(2, 3, 64)
    args = argparse.Namespace(model=name, val_resize_size=72, val_crop_size=64, interpolation="bilinear")
    torch.save({"model": {f"module.{n}": t for n, t in own.state_dict().items()}, "args": args}, tmp_path / "w.pth")
    loaded = load_classifier(str(tmp_path / "w.pth"))
    with torch.no_grad():
        assert torch.equal(loaded(x), own((x - loaded.mean) / loaded.std))
        assert torch.equal(again(loaded, tmp_path / "own.safetensors", 5)(x), loaded(x))
        assert torch.equal(load_classifier(str(tmp_path / "own.safetensors"))(x), loaded(x))
        grey = load_classifier(f"torchvision/{name}={tmp_path / 'w.pth'}", channels=1)
        assert grey(x[:, :1]).shape == (2, 5)
    assert loaded.own_preparation == PreparationSpec(image_size=64, resize=72, interpolation="bilinear")
    assert loaded.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    trains_and_comes_back(tmp_path, x, model=f"torchvision/{name}", weights=str(tmp_path / "w.pth"))


def test_published_weights_of_torchvision_bring_classes_and_preparation(monkeypatch: pytest.MonkeyPatch):
    """Their download is replaced: the tensors are this test's, all else is torchvision's."""
    torch.manual_seed(0)
    state = torchvision.models.shufflenet_v2_x0_5().state_dict()
    entry = torchvision.models.ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1
    monkeypatch.setattr(type(entry), "get_state_dict", lambda *_, **__: state)
    for weights in (None, "DEFAULT", "IMAGENET1K_V1"):
        loaded = load_classifier("torchvision/shufflenet_v2_x0_5", weights)
        assert loaded.class_names == tuple(entry.meta["categories"])
        assert (loaded.preparation.view.side, loaded.preparation.view.resize) == (224, 256)
    with pytest.raises(UsageError, match="has the weights IMAGENET1K_V1, DEFAULT, and neither IMAGENET1K_V9"):
        load_classifier("torchvision/shufflenet_v2_x0_5", "IMAGENET1K_V9")
    with pytest.raises(UsageError, match=r"torchvision has no classifier 'resnet_18'; close ones: resnet18"):
        load_classifier("torchvision/resnet_18")


# --- a user's own code ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("images", "least"), [(500, 0.88), pytest.param(None, 0.917, marks=pytest.mark.slow)])
def test_a_published_network_of_somebodys_own_code(images: int | None, least: float):
    file, data = SHARED_DATA / "weights" / "cifar10_resnet20-12fca82f.th", SHARED_DATA / "cifar10-pixels"
    if not file.exists() or not data.exists():
        pytest.skip("the published CIFAR-10 networks are not on this machine")
    from vicinal.config import DataSpec
    from vicinal.data import load_data
    from vicinal.evaluation import predict

    network = load_classifier(f"cifar_resnet:resnet20={file}")
    assert "cifar10_resnet20-12fca82f.th" not in network.notes
    split = load_data(
        DataSpec(source=str(data), train_images=100, **({} if images is None else {"test_images": images}))
    )
    test = split.test.with_view(network.preparation.view)
    logits = predict(network, test, network.preparation, torch.device("cpu"))
    accuracy = float((logits.argmax(1) == test.labels).double().mean())
    assert accuracy > least
    if images is None:
        assert accuracy == pytest.approx(0.9173, abs=5e-4)


OWN_CODE = """
from torch import nn

def make(num_classes, in_chans=3, width=4):
    pooled = nn.Sequential(nn.Conv2d(in_chans, width, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network = nn.Sequential(*pooled, nn.Linear(width, num_classes))
    network.pretrained_cfg = {"mean": (0.5,), "std": (0.25,), "input_size": (3, 12, 12), "label_names": LABELS}
    return network

LABELS = None

def bare(num_classes=5):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 12, num_classes))

def failing():
    raise RuntimeError("no such thing")

def text():
    return "no network"

def maps():
    return nn.Conv2d(3, 1, 1)

constant = 3
"""


@pytest.fixture
def own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module in the current folder."""
    name = f"own_code_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(OWN_CODE)
    (tmp_path / f"{name}_broken.py").write_text("import nothing_of_that_name\n")
    (tmp_path / f"{name}_unfinished.py").write_text("def make(:\n")
    monkeypatch.chdir(tmp_path)
    return name


def test_code_in_the_current_folder_teaches_and_learns(tmp_path: Path, own_code: str):
    import importlib
    import sys

    path = list(sys.path)
    x = pixels(3, 3, 12)
    student = build_classifier(NetworkSpec(model=f"{own_code}:make", epochs=1), 5, 3)
    assert sys.path == path
    trains_and_comes_back(tmp_path, x, model=f"{own_code}:make")
    trains_and_comes_back(tmp_path, x, model=f"{own_code}:make", model_args={"width": 6})
    module = importlib.import_module(own_code)
    network = shaken(module.make(5)).eval()
    torch.save({"net": network.state_dict()}, tmp_path / "w.th")
    for classes in (None, 5):
        kept = NetworkSpec(model=f"{own_code}:make", weights=str(tmp_path / "w.th"), head="keep", epochs=0)
        own = build_classifier(kept, classes, 3, None if classes is None else NAMES)
        torch.testing.assert_close(own(x), network((x - 0.5) / 0.25))
    assert own.classes_are_guessed
    module.LABELS = ("bee", "ant", "cat", "dog", "eel")
    named = build_classifier(kept, 5, 3, NAMES)
    torch.testing.assert_close(named(x), own(x)[:, [1, 0, 2, 3, 4]])
    assert named.class_names == NAMES
    module.LABELS = ("bee", "ant", "cat", "dog", "fly")
    with pytest.raises(UsageError, match="not in the data are fly, not in the weights eel"):
        build_classifier(kept, 5, 3, NAMES)
    assert build_classifier(NetworkSpec(model=f"{own_code}:make", epochs=1), 5, 1)(x[:, :1]).shape == (3, 5)
    assert student(x).shape == (3, 5)
    with pytest.raises(UsageError, match="does not state the mean and deviation of its pixels"):
        load_classifier(f"{own_code}:bare", image_size=12)
    bare = load_classifier(f"{own_code}:bare", image_size=12, mean=[0], std=[1], class_names=NAMES)
    assert (bare(x).shape, bare.class_names, bare.preparation.view.side) == ((3, 5), NAMES, 12)


def test_a_function_of_the_running_script_is_a_network(monkeypatch: pytest.MonkeyPatch):
    import sys

    def made_here(num_classes: int = 5) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 12, num_classes))

    monkeypatch.setattr(sys.modules["__main__"], "made_here", made_here, raising=False)
    own = load_classifier("__main__:made_here", image_size=12, mean=[0], std=[1])
    assert own(pixels(2, 3, 12)).shape == (2, 5)


def test_its_code_is_part_of_what_a_run_is_known_by(tmp_path: Path, own_code: str):
    spec = NetworkSpec(model=f"{own_code}:make", epochs=1)
    before = weights_hash(spec)
    (tmp_path / f"{own_code}.py").write_text(OWN_CODE + "\n# changed\n")
    assert before is not None
    assert weights_hash(spec) != before
    assert weights_hash(NetworkSpec(model="resnet18", epochs=1)) is None


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        ("_nowhere:make", "there is no module own_code"),
        ("_broken:make", "_broken.py, line 1.*nothing_of_that_name"),
        ("_unfinished:make", "_unfinished.py, line 1.*SyntaxError"),
        (":mak", "has no function mak; close ones: make"),
        (":constant", "has no function constant"),
        (":failing", r"failing failed \(.*\.py, line 16\): RuntimeError: no such thing"),
        (":text", "gives str and no torch.nn.Module"),
        (":maps", "answers an image with .* not with"),
        (":bare", "cannot be called with an image of 224 px .*; state the side of its images as image_size"),
    ],
)
def test_what_is_wrong_with_code_is_one_line_that_names_it(own_code: str, factory: str, said: str):
    with pytest.raises(UsageError, match=said) as caught:
        load_classifier(f"{own_code}{factory}")
    assert "\n" not in str(caught.value)


def test_weights_of_another_network_are_refused(tmp_path: Path, own_code: str):
    torch.save({"0.weight": torch.ones(2, 3)}, tmp_path / "w.pth")
    with pytest.raises(UsageError, match=r"do not fit .*:make \(first difference"):
        load_classifier(f"{own_code}:make={tmp_path / 'w.pth'}")


# --- ONNX -------------------------------------------------------------------------------------------------------------


class Layout(nn.Module):
    """A network in another layout, of other pixels, with another form of answer."""

    def __init__(self, network: nn.Module, channels_last: bool, takes_bytes: bool, softmax: bool) -> None:
        super().__init__()
        self.network, self.channels_last, self.takes_bytes, self.softmax = network, channels_last, takes_bytes, softmax

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.permute(0, 3, 1, 2) if self.channels_last else x
        logits = self.network(x.float() / 255 if self.takes_bytes else x)
        return logits.softmax(1) if self.softmax else logits


def onnx_file(path: Path, batch: int | None = None, metadata: dict[str, Any] | None = None, **form: bool) -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5)
    ).eval()
    with torch.no_grad():
        network[4].weight.mul_(20)
    form = {"channels_last": False, "takes_bytes": False, "softmax": False} | form
    layout = Layout(network, **form).eval()
    x = pixels(batch or 2, 3, 12)
    x = (x * 255).to(torch.uint8) if form["takes_bytes"] else x
    x = x.permute(0, 2, 3, 1) if form["channels_last"] else x
    axes = None if batch else {"x": {0: "batch"}}
    torch.onnx.export(layout, (x,), str(path), input_names=["x"], output_names=["y"], dynamic_axes=axes, dynamo=False)
    model = onnx.load(path)
    onnx.helper.set_model_props(
        model, {key: v if isinstance(v, str) else json.dumps(v) for key, v in (metadata or {}).items()}
    )
    onnx.save(model, path)
    return network


@pytest.mark.parametrize(
    ("batch", "form"),
    [
        (None, {}),
        (3, {"softmax": True}),
        (1, {"channels_last": True, "takes_bytes": True}),
        (None, {"channels_last": True, "softmax": True}),
    ],
)
def test_an_onnx_file_answers_as_its_network(tmp_path: Path, batch: int | None, form: dict[str, bool]):
    network = onnx_file(tmp_path / "n.onnx", batch, **form)
    bytes_in = form.get("takes_bytes", False)
    own = load_classifier(str(tmp_path / "n.onnx"), **({} if bytes_in else {"mean": [0.1], "std": [0.5]}))
    x = (pixels(7, 3, 12) * 255).round() / 255
    with torch.no_grad():
        expected = network(x if bytes_in else (x - 0.1) / 0.5)
        expected = expected.log_softmax(1) if form.get("softmax") else expected
        torch.testing.assert_close(own(x), expected, atol=1e-4, rtol=1e-4)
        assert own(x[:0]).shape[0] == 0
        assert own(x[:1, :1]).shape == (1, 5)  # grey as colour
        again_ = again(own, tmp_path / "own.safetensors", 5)
        assert torch.equal(again_(x), own(x))
        assert torch.equal(fused(own, x)(x), own(x))
        assert torch.equal(load_classifier(str(tmp_path / "own.safetensors"))(x), own(x))
    assert any("answers with probabilities" in note for note in own.notes) == bool(form.get("softmax"))
    assert own.parameter_count == sum(p.numel() for p in network.parameters())
    assert network_cost(own, x[:1], 2).step_s == 0
    assert own.own_preparation is not None
    assert own.own_preparation.image_size == 12


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("class_names", list(NAMES)),
        ("names", "{0: 'ant', 1: 'bee', 2: 'cat', 3: 'dog', 4: 'eel'}"),
        ("classes", "ant\nbee\ncat\ndog\neel"),
        ("labels", "ant, bee, cat, dog, eel"),
        ("id2label", {str(k): name for k, name in enumerate(NAMES)}),
    ],
)
def test_an_onnx_files_metadata_names_its_classes(tmp_path: Path, key: str, value: Any):
    onnx_file(tmp_path / "n.onnx", metadata={key: value, "mean": [0.5], "std": [0.5], "date": "2026", "stride": "32"})
    own = load_classifier(str(tmp_path / "n.onnx"))
    assert own.class_names == NAMES
    spec = NetworkSpec(model=str(tmp_path / "n.onnx"), head="keep", epochs=0)
    turned = build_classifier(spec, 5, 3, NAMES[::-1])
    x = pixels(2, 3, 12)
    assert torch.equal(turned(x), own(x).flip(1))


def test_what_an_onnx_file_cannot_be_is_one_line(tmp_path: Path):
    def refused(**values: Any) -> str:
        spec = NetworkSpec(**{"model": str(tmp_path / "n.onnx"), "head": "keep", "epochs": 0, **values})
        with pytest.raises(UsageError) as caught:
            build_classifier(spec, 5, 3)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "cannot be read" in refused()
    (tmp_path / "n.onnx").write_bytes(b"nothing")
    assert "is no ONNX file" in refused()
    onnx_file(tmp_path / "n.onnx")
    torch.save({"w": torch.ones(2)}, tmp_path / "w.pth")
    assert "does not state the mean and deviation" in refused()
    assert "can teach and be measured as it is" in refused(head="linear", epochs=1)
    assert "has its weights inside" in refused(weights=str(tmp_path / "w.pth"))
    two = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 4])
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 4])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [two], [out])
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8),
        tmp_path / "n.onnx",
    )
    assert "not images as float or uint8 of four dimensions" in refused()


# --- transformers -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hugging_face(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two small classifiers in folders as transformers writes them, each with its processor."""
    transformers = pytest.importorskip("transformers", reason="transformers is an optional extra")
    root, named = (
        tmp_path_factory.mktemp("hf"),
        {"id2label": dict(enumerate(NAMES)), "label2id": {n: k for k, n in enumerate(NAMES)}},
    )
    torch.manual_seed(0)
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    vit = transformers.ViTForImageClassification(transformers.ViTConfig(image_size=16, patch_size=8, **small, **named))
    shape = {"depths": [1, 1], "hidden_sizes": [8, 16], "embedding_size": 8, "layer_type": "basic"}
    resnet = transformers.ResNetForImageClassification(transformers.ResNetConfig(**shape, **named))
    processor = {"do_resize": True, "do_rescale": True, "do_normalize": True, "rescale_factor": 1 / 255, "resample": 3}
    processor |= {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4]}
    own = {
        "vit": {
            "image_processor_type": "ViTImageProcessor",
            "size": {"height": 16, "width": 16},
            "do_center_crop": False,
        },
        "resnet": {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 32}, "crop_pct": 0.875},
    }
    for name, network in (("vit", vit), ("resnet", resnet)):
        with torch.no_grad():
            shaken(network)
        network.save_pretrained(root / name)
        (root / name / "preprocessor_config.json").write_text(json.dumps(processor | own[name]))
    return {name: root / name for name in own}


@pytest.mark.parametrize("name", ["vit", "resnet"])
def test_a_classifier_of_transformers_in_a_folder(tmp_path: Path, hugging_face: dict[str, Path], name: str):
    import transformers
    from PIL import Image

    folder = hugging_face[name]
    own = load_classifier(str(folder))
    assert own.class_names == NAMES
    network = transformers.AutoModelForImageClassification.from_pretrained(folder).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder, use_fast=False)
    noise = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((50, 40), Image.Resampling.BICUBIC)
    with torch.no_grad():
        expected = network(**processor(images=image, return_tensors="pt")).logits
        seen = torch.from_numpy(own.preparation.view.array(image).copy())[None]
        torch.testing.assert_close(own(own.preparation.pixels(seen)), expected, atol=0.02, rtol=0.02)
        x = pixels(2, 3, own.preparation.view.side)
        rebuilt = again(own, tmp_path / "own.safetensors", 5)
        assert torch.equal(rebuilt(x), own(x))
        assert torch.equal(load_classifier(str(tmp_path / "own.safetensors"))(x), own(x))
    trains_and_comes_back(tmp_path, x, model=f"transformers/{folder}", weights="hub")
    torch.save(network.state_dict(), tmp_path / "pytorch_model.bin")
    from_file = load_classifier(f"transformers/{folder}={tmp_path / 'pytorch_model.bin'}")
    assert torch.equal(from_file(x), own(x))


def test_what_is_no_classifier_of_transformers_is_one_line(tmp_path: Path, hugging_face: dict[str, Path]):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "no_such_model"}))
    for text, said in [
        (str(tmp_path), "cannot be loaded"),
        (f"transformers/{tmp_path / 'none'}", "there is no folder"),
    ]:
        with pytest.raises(UsageError, match=said) as caught:
            load_classifier(text)
        assert "\n" not in str(caught.value)
