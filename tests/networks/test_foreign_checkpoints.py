"""Files that training scripts write: what they say is taken, what is no tensor is left unread, no code of them is run."""

from __future__ import annotations

import argparse
import collections
import datetime
import enum
import functools
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from built import pixels, shaken
from timm.utils import CheckpointSaver
from torch import nn

from vicinal.config import PreparationSpec
from vicinal.errors import UsageError
from vicinal.networks import load_classifier, read_weights, read_weights_file

RUNS: list[str] = []


class Colour(enum.Enum):
    RED = 1


class Settings(dict):  # as omegaconf, addict and mmengine have them
    def __setstate__(self, state: Any) -> None:
        RUNS.append("state")


class Callback:
    """A user's object that would run code when it is read."""

    def __init__(self) -> None:
        self.kept = [torch.ones(2)]

    def __setstate__(self, state: Any) -> None:
        RUNS.append("callback")


def network(classes: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return shaken(timm.create_model("test_resnet", num_classes=classes)).eval()


def timms_arguments(**more: Any) -> argparse.Namespace:
    """What its train.py keeps, with a folder as pathlib has it."""
    known = {"model": "test_resnet", "num_classes": 3, "img_size": None, "input_size": None, "crop_pct": None}
    known |= {"crop_mode": None, "interpolation": "", "mean": None, "std": None, "class_map": "", "model_kwargs": {}}
    return argparse.Namespace(**known | {"output": Path("/runs"), "lr": 0.1} | more)


def saved_by_timm(folder: Path, **more: Any) -> tuple[nn.Module, Path]:
    own = network()
    optimizer = torch.optim.SGD(own.parameters(), lr=0.1, momentum=0.9)
    saver = CheckpointSaver(
        own, optimizer, args=timms_arguments(**more), checkpoint_dir=str(folder), recovery_dir=str(folder)
    )
    saver.save_checkpoint(0, metric=50.0)
    return own, folder / "model_best.pth.tar"


def test_what_timms_train_py_leaves_is_enough(tmp_path: Path):
    (tmp_path / "names.txt").write_text("ant\nbee\ncat\n")
    more = {
        "crop_pct": 0.9,
        "interpolation": "bilinear",
        "mean": [0.1, 0.2, 0.3],
        "std": [0.5, 0.6, 0.7],
        "img_size": 48,
    }
    own, file = saved_by_timm(tmp_path, class_map=str(tmp_path / "names.txt"), **more)
    loaded, x = load_classifier(str(file)), pixels(2, 3, 48)
    mean, std = (torch.tensor(more[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    torch.testing.assert_close(loaded(x), own((x - mean) / std))
    assert loaded.class_names == ("ant", "bee", "cat")
    assert loaded.own_preparation == PreparationSpec(image_size=48, crop_pct=0.9, interpolation="bilinear")
    assert loaded.preparation.view.resize == 53  # floor(48 / .9)
    assert any("pathlib.PosixPath) is left out, unread" in note for note in loaded.notes)


def test_what_timms_train_py_does_not_say_is_the_models(tmp_path: Path):
    _, file = saved_by_timm(tmp_path)
    loaded, cfg = load_classifier(str(file)), timm.get_pretrained_cfg("test_resnet")
    assert loaded.mean.flatten().tolist() == pytest.approx(cfg.mean)
    assert loaded.own_preparation == PreparationSpec(
        image_size=cfg.input_size[-1], crop_pct=cfg.crop_pct, interpolation=cfg.interpolation
    )
    assert loaded.class_names is None


def lightning(state: dict[str, Any], **hyper_parameters: Any) -> dict[str, Any]:
    best = "lightning.pytorch.callbacks.ModelCheckpoint{'monitor': 'val_loss'}"
    return {
        "epoch": 3,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": {f"model.{name}": t for name, t in state.items()} | {"criterion.weight": torch.ones(3)},
        "loops": {"fit_loop": {"state_dict": {}}},
        "callbacks": {
            best: {"best_model_path": Path("best.ckpt"), "best_k_models": {}, "best_model_score": torch.ones(1)}
        },
        "optimizer_states": [{"state": {0: {"step": torch.ones(1)}}, "param_groups": [{"lr": 0.1}]}],
        "hparams_name": "kwargs",
        "hyper_parameters": hyper_parameters,
    }


@pytest.mark.parametrize(
    "names",
    [
        {"class_names": ["ant", "bee", "cat"]},
        {"classes": ("ant", "bee", "cat")},
        {"idx_to_class": {1: "bee", 0: "ant", 2: "cat"}},
        {"id2label": {"0": "ant", "1": "bee", "2": "cat"}},
        {"class_to_idx": {"cat": 2, "ant": 0, "bee": 1}},
    ],
)
def test_a_lightning_checkpoint_brings_model_and_classes(tmp_path: Path, names: dict[str, Any]):
    own = network()
    value = lightning(
        own.state_dict(), model_name="test_resnet", out=Path("x"), when=datetime.datetime(2026, 1, 1), **names
    )
    torch.save(value, tmp_path / "last.ckpt")
    loaded, x = load_classifier(str(tmp_path / "last.ckpt")), pixels(2, 3, 32)
    assert torch.equal(loaded(x), own((x - loaded.mean) / loaded.std))
    assert loaded.class_names == ("ant", "bee", "cat")
    assert any("criterion.weight" in note for note in loaded.notes)


@pytest.mark.parametrize(
    "names", [["ant", "ant", "cat"], ["ant"], {0: "ant", 2: "cat"}, {"ant": 1, "bee": 2}, 3, "abc", [1, 2, 3], [""], {}]
)
def test_what_are_no_names_of_classes_is_left(tmp_path: Path, names: Any):
    torch.save(lightning(network().state_dict(), class_names=names), tmp_path / "w.ckpt")
    assert read_weights_file(tmp_path / "w.ckpt").meaning.class_names is None


def test_the_references_of_torchvision_say_their_model_and_preparation(tmp_path: Path):
    args = argparse.Namespace(model="resnet18", val_resize_size=232, val_crop_size=224, interpolation="bicubic", lr=0.1)
    torch.save({"model": {"w": torch.ones(2)}, "args": args, "epoch": 1}, tmp_path / "checkpoint.pth")
    meaning = read_weights_file(tmp_path / "checkpoint.pth").meaning
    assert meaning.model == "torchvision/resnet18"
    assert meaning.preparation == PreparationSpec(image_size=224, resize=232, interpolation="bicubic")
    example = {"epoch": 9, "arch": "resnet18", "state_dict": {"w": torch.ones(2)}, "best_acc1": torch.ones(1)}
    torch.save(example, tmp_path / "checkpoint.pth.tar")
    assert read_weights_file(tmp_path / "checkpoint.pth.tar").meaning.model == "torchvision/resnet18"


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("suffix", [".pth", ".bin", ".ckpt"])
def test_objects_beside_the_weights_stay_unread(tmp_path: Path, legacy: bool, suffix: str):
    state = {"w": torch.arange(3.0)}
    found = collections.defaultdict(list)
    found["a"].append(1)
    beside = [Path("/x"), datetime.datetime(2026, 1, 1), Colour.RED, Settings(a=1), Callback(), found]
    beside += [
        functools.partial(print, 1),
        frozenset([1]),
        collections.deque([1, 2]),
        range(3),
        torch.Size([1]),
        10**30,
    ]
    value = {"state_dict": state, "beside": beside, "args": argparse.Namespace(at=Path("/x"), lr=0.1)}
    path = tmp_path / f"w{suffix}"
    RUNS.clear()
    torch.save(value, path, _use_new_zipfile_serialization=not legacy)
    assert torch.equal(read_weights(path)["w"], state["w"])
    assert RUNS == []
    assert "is left out, unread" in read_weights_file(path).notes[0]


class Attack:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("function", [os.mkdir, subprocess.call, eval, exec, __import__, open])
def test_a_file_that_wants_to_run_something_is_not_read_around_it(tmp_path: Path, function: Any, legacy: bool):
    mark = tmp_path / "ran"
    value = {"state_dict": {"w": torch.ones(1)}, "beside": Attack(function, str(mark))}
    torch.save(value, tmp_path / "w.pth", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(UsageError, match="which no file of weights needs: it is not read") as caught:
        read_weights(tmp_path / "w.pth")
    assert "\n" not in str(caught.value)
    assert not mark.exists()


@pytest.mark.parametrize("wrap", [lambda m: m, lambda m: {"model": m}, lambda m: {"state_dict_ema": m}])
def test_a_whole_pickled_network_is_refused_by_its_class(tmp_path: Path, wrap: Any):
    torch.save(wrap(nn.Linear(2, 2)), tmp_path / "w.pth")
    with pytest.raises(
        UsageError, match=r"a whole object of the class torch\.nn\.modules\.linear\.Linear.*save model\.state_dict\(\)"
    ):
        read_weights(tmp_path / "w.pth")


def test_a_torchscript_archive_is_refused_as_code(tmp_path: Path):
    torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)).save(str(tmp_path / "w.pt"))
    with pytest.raises(UsageError, match="is a TorchScript archive, which is code"):
        read_weights(tmp_path / "w.pt")
