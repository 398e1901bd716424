"""Any classifier by its name, taken as it is."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import ValidationError

from vicinal.config import NetworkSpec
from vicinal.data import View
from vicinal.errors import UsageError
from vicinal.inputs import Preparation
from vicinal.networks.build import build_classifier
from vicinal.networks.classifier import Classifier
from vicinal.networks.naming import model_name


def load_classifier(
    model: str,
    weights: str | None = None,
    *,
    class_names: Sequence[str] | None = None,
    data_classes: Sequence[str] | None = None,
    channels: int = 3,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    image_size: int | None = None,
    device: torch.device | str = "cpu",
) -> Classifier:
    """Any classifier as it is, in eval mode: (B, C, H, W) float32 pixels in [0, 1] to (B, K) logits in its own order.

    What is known of it is filled in: `preparation`, `class_names`; `notes` say in a sentence each what was taken.

    Args:
        model: a timm name, `hf-hub:OWNER/NAME`, `torchvision/NAME`, `transformers/NAME_OR_FOLDER`, `FILE.onnx`,
            `package.module:factory`, a folder with a config.json of timm or transformers, the folder of a run, a weights file that
            says which model it is of, or `NAME=FILE`.
        weights: a file, or hub; default: the model's own.
        class_names: what its logits stand for, in their order, where it does not say so itself.
        data_classes: names of the data's classes, K of them, to which a network of more is restricted, by name, and in whose order it
            then answers; default: its own classes in its own order.
        channels: C of the images, 1 or 3.
        mean, std: of its pixels in [0, 1], where neither the model nor its weights state them.
        image_size: side in px that it sees, where it is another one than these state.

    Raises:
        UsageError: no such model, or weights that are missing, damaged, do not fit or hold no classifier.
    """
    name = model_name(model, weights)
    values = {
        "class_names": None if class_names is None else tuple(class_names),
        "mean": None if mean is None else tuple(mean),
        "std": None if std is None else tuple(std),
        "image_size": image_size,
        "classes": None if data_classes is None else "data",
        "model_args": dict(name.model_args),
    }
    try:
        spec = NetworkSpec(model=name.model, weights=name.weights, head="keep", epochs=0, **values)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"{model}: {first['msg'].removeprefix('Value error, ')}") from None
    with torch.random.fork_rng(devices=[]):  # weights are drawn and at once replaced
        wanted = None if data_classes is None else tuple(data_classes)
        network = build_classifier(spec, None if wanted is None else len(wanted), channels, wanted)
    if network.own_preparation is not None:
        view = View.of(network.own_preparation, tuple(network.mean.flatten().tolist()))
        network.preparation = Preparation(image_size=view.side, view=view)
    return network.to(device)
