"""From a spec to a network: a timm model, its weights, its normalisation, its head.

Shapes: C channels, K classes, D features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from vicinal.config import AugmentSpec, NetworkSpec, is_factory, is_given, is_onnx, refuse_pixels_to_255
from vicinal.errors import UsageError, one_line
from vicinal.inputs import Preparation
from vicinal.networks.classifier import TimmClassifier, WholeModel
from vicinal.networks.heads import ClassOrder, check_class_count, kept_head, new_head, reorder_classes
from vicinal.networks.kinds import blank_model, started_model
from vicinal.networks.meaning import Meaning, are_numbers, match_classes, shown
from vicinal.networks.naming import weights_file
from vicinal.networks.restrict import places_of_classes, restricted
from vicinal.networks.stated import stated_preparation
from vicinal.networks.weights import WeightsFile, read_weights_file
from vicinal.networks.whole import (
    Normalisation,
    are_whole_classifiers,
    check_normalisation,
    classes_of_whole,
    head_of,
    held_classes,
    load_whole_classifier,
    normalisation_in,
    saved_bytes,
    without_wrapping,
)


@dataclass(frozen=True)
class _Source:
    """The weights that a network starts from, as its building needs them."""

    file: WeightsFile | None  # None: from the hub, or new
    whole: Mapping[str, Tensor] | None  # what `save_weights` wrote of a network with a head of its own
    model: Mapping[str, Tensor] | None  # of the timm model alone
    held: int | None  # classes that such a network answers with, of which its saved order may leave some out
    saved: bytes | None  # what a network that is made from a file is made from, where saved weights hold it
    normalisation: Normalisation | None
    order: tuple[int, ...] | None  # of a kept classifier's logits, as the file has it


def build_classifier(
    spec: NetworkSpec, classes: int | None, channels: int, class_names: Sequence[str] | None = None
) -> TimmClassifier:
    """The network of a spec, in eval mode, with its weights loaded and a new head where it needs one.

    What the weights say of themselves is kept to: image size and arguments of the model where the spec states none, and the order
    of the classes. `spec` of the network has them filled in, `notes` say what was decided.

    Args:
        classes: K of the data; None: as many as a kept head has.
        channels: of the images, 1 or 3.
        class_names: of the data, in its order: a kept head's logits are put into it, by name; None: they stay as they are.

    Raises:
        UsageError: an unknown model, weights that are missing, damaged or do not fit, other classes in the data than in a kept
            head, or a normalisation that neither timm nor the study states.
    """
    source = _source(spec)
    if spec.epochs == 0 and spec.head != "keep" and source.whole is None and source.order is None:
        raise UsageError(
            f"epochs: 0 would leave the new head of {spec.model} untrained; use head: keep, or epochs above 0"
        )
    notes = list(source.file.notes) if source.file is not None else []
    spec = _completed(spec, source, notes)
    model, spec = started_model(spec, channels, source.model, source.saved, notes)
    mean, std = _normalisation(spec, model, channels, source)
    keeps = spec.head == "keep" or (spec.epochs == 0 and source.order is not None)
    data_classes = classes
    if classes is None or (keeps and spec.classes == "data"):
        classes = _classes_of(spec, source, model)
    if source.whole is not None and keeps:
        head_kind = "bottleneck" if head_of(source.whole) == "bottleneck" else "linear"
        backbone, head = new_head(spec.model_copy(update={"head": head_kind}), model, classes)
    else:
        # A new head has the data's classes, whatever the old one had.
        count = (source.held or classes) if keeps else classes
        backbone, head = (kept_head if keeps else new_head)(spec, model, count)
    network = TimmClassifier(backbone, head, mean, std, spec.image_size, spec)
    if source.whole is not None:
        load_whole_classifier(network, source.whole, spec, classes)
    network.preparation = _preparation(source)
    meaning, cfg = source.file.meaning if source.file is not None else Meaning(), _config_of(model)
    network.own_preparation = stated_preparation(meaning, cfg, spec.image_size)
    if keeps or (spec.epochs == 0 and source.whole is not None):
        if source.order is not None:
            check_class_count(spec, len(source.order), classes)
            network.head = restricted(network.head, source.order)
        if spec.classes == "data" and class_names is not None and classes != data_classes:
            _restrict(network, spec, source, classes, class_names, notes)
        else:
            _name_classes(network, spec, source, classes, class_names, notes)
    elif class_names is not None:
        network.class_names = tuple(class_names)
    network.notes = tuple(notes)
    return network.eval()


def _classes_of(spec: NetworkSpec, source: _Source, model: nn.Module) -> int:
    """How many classes a network has by itself. Raises UsageError where it has no classifier."""
    if source.order is not None:
        return len(source.order)
    if source.whole is not None:
        return classes_of_whole(spec, source.whole)
    held = getattr(model, "num_classes", None)
    if not isinstance(held, int) or held < 1:
        raise UsageError(
            f"the weights {spec.weights} of {spec.model} hold no classifier: there is nothing to take as it is"
        )
    return held


def rebuilt_classifier(spec: NetworkSpec, weights: Mapping[str, Tensor], classes: int, channels: int) -> TimmClassifier:
    """The network that `save_weights` wrote, in eval mode.

    Args:
        spec: that it was built by, with what was decided then filled in (`TimmClassifier.spec`).
        weights: its own.

    Raises UsageError or RuntimeError where they do not fit.
    """
    form = head_of(weights)
    plain = spec.model_copy(
        update={"weights": None, "epochs": 1, "head": form if form != "inside" else "keep", "head_warmup_epochs": 0}
    )
    held = (held_classes(weights) or classes) if form == "inside" else classes
    model = blank_model(plain, channels, held if form == "inside" else None, saved_bytes(weights))
    backbone, head = (kept_head if form == "inside" else new_head)(plain, model, held)
    if form == "inside" and held != classes:
        head = ClassOrder(held, range(classes))
    unit = (0.0,) * channels, (1.0,) * channels  # replaced by the weights' own
    last = head[-1] if isinstance(head, nn.Sequential) else head
    if isinstance(last, nn.Linear) and form == "linear" and "head.bias" not in weights:
        last.register_parameter("bias", None)
    network = TimmClassifier(backbone, head, *unit, spec.image_size, spec)
    network.load_state_dict(dict(weights))
    return network.eval()


def _source(spec: NetworkSpec) -> _Source:
    """Read the weights of a spec. Raises UsageError."""
    path = weights_file(spec.model, spec.weights)
    if path is None:
        return _Source(None, None, None, None, None, None, None)
    file = read_weights_file(path, spec.ema)
    if not are_whole_classifiers(file.tensors):
        return _Source(file, None, file.tensors, None, None, None, None)
    normalisation, saved = normalisation_in(file), saved_bytes(file.tensors)
    if head_of(file.tensors) != "inside":
        return _Source(file, file.tensors, None, None, saved, normalisation, None)
    model, order = without_wrapping(file)
    return _Source(file, None, model, held_classes(file.tensors), saved, normalisation, order)


def _completed(spec: NetworkSpec, source: _Source, notes: list[str]) -> NetworkSpec:
    """The spec with what its weights say of themselves where it states nothing; what was taken is said."""
    if source.file is None:
        return spec
    meaning, changes = source.file.meaning, dict[str, Any]()
    if meaning.model_args and not spec.model_args:
        changes["model_args"] = {k: tuple(v) if isinstance(v, list) else v for k, v in meaning.model_args.items()}
    if meaning.image_size is not None and spec.image_size is None:
        changes["image_size"] = meaning.image_size
        notes.append(f"{_said(spec)}: images are seen at {meaning.image_size} px, as its training saw them.")
    elif meaning.image_size is not None and meaning.image_size != spec.image_size:
        notes.append(
            f"{_said(spec)} was trained on images of {meaning.image_size} px; image_size: {spec.image_size} is stated and taken."
        )
    shown_alike = (spec.augment.crop, spec.augment.resize) == ("resize", meaning.crop_resize)
    if meaning.crop_resize is not None and meaning.preparation is None and not shown_alike:
        notes.append(
            f"{_said(spec)} was trained on images of {meaning.crop_resize} px, cropped to {meaning.image_size} px, and is shown "
            f"them otherwise here: augment: {{crop: resize, resize: {meaning.crop_resize}}} prepares them in its way."
        )
    return spec.model_copy(update=changes)


def _said(spec: NetworkSpec) -> str:
    """A file of weights in what is kept: its name alone, since a path tells of a machine."""
    return Path(spec.weights or "").name


def _preparation(source: _Source) -> Preparation | None:
    """How the images of a network from a file were prepared, where the file says so."""
    if source.file is None or source.file.meaning.image_size is None:
        return None
    crop, side = source.file.meaning.crop_resize, source.file.meaning.image_size
    return Preparation(AugmentSpec(crop="resize", resize=crop) if crop else AugmentSpec(), side)


def _restrict(
    network: TimmClassifier,
    spec: NetworkSpec,
    source: _Source,
    classes: int,
    wanted: Sequence[str],
    notes: list[str],
) -> None:
    """Keep of a head's logits those of the data's classes, by name."""
    what = _called(spec, source)
    places = places_of_classes(what, _names_held(network, spec, source, classes), classes, wanted)
    network.head = restricted(network.head, places)
    network.class_names = tuple(wanted)
    notes.append(
        f"{what}: restricted to the data's {len(wanted):,} of its {classes:,} classes (classes: data); the logits of the others are "
        "left out, so its probabilities are those of an image that is of one of the data's classes."
    )


def _called(spec: NetworkSpec, source: _Source) -> str:
    """The weights, as messages call them."""
    return f"the weights {_said(spec)}" if source.file is not None else f"the weights of {spec.model}"


def _names_held(network: TimmClassifier, spec: NetworkSpec, source: _Source, classes: int) -> tuple[str, ...] | None:
    """What the logits of a kept head stand for: as the study says, else the weights, else the config of the model."""
    if spec.class_names is not None:
        return spec.class_names
    if source.file is not None and source.file.meaning.class_names is not None:
        return source.file.meaning.class_names
    if (
        source.file is None or is_factory(spec.model) or is_given(spec.model)
    ):  # the hub's config, or their own code, may name them
        return _names_told(network.backbone, classes)
    return None


def _name_classes(
    network: TimmClassifier,
    spec: NetworkSpec,
    source: _Source,
    classes: int,
    wanted: Sequence[str] | None,
    notes: list[str],
) -> None:
    """Put a kept head's logits into the order of the data's classes, by name; say so where there are no names."""
    held, what = _names_held(network, spec, source, classes), _called(spec, source)
    if spec.class_names is not None and len(spec.class_names) != classes:
        raise UsageError(f"class_names lists {len(spec.class_names)} classes for a head of {classes}")
    if held is not None and wanted is not None:
        own = source.file.meaning.class_names if source.file is not None else None
        if spec.class_names and own and own != held and set(own) == set(held) and not are_numbers(own):
            raise UsageError(
                f"class_names is {shown(held)}, and {what} say that their logits are {shown(own)}: leave class_names out"
            )
        match = match_classes(f"class_names of {what}" if spec.class_names else what, held, wanted)
        if match.order is not None:
            reorder_classes(network.head, match.order)
        notes += [match.note] if match.note else []
        # Numbers are what classes without names are called: the same ones may stand for other classes.
        network.classes_are_guessed = spec.class_names is None and are_numbers(held)
    elif wanted is not None:
        checked = ", and checked on the first images that it predicts" if spec.check_classes and not spec.epochs else ""
        notes.append(
            f"{what} bring no names of classes: their logits are taken to be the data's classes in its order{checked}."
        )
        network.classes_are_guessed = True
    network.class_names = tuple(wanted) if wanted is not None else held


def _config_of(model: nn.Module) -> dict[str, Any]:
    """timm's config of a model, as backbone or whole; empty where it has none."""
    if isinstance(model, WholeModel):
        model = model.model
    cfg = getattr(model, "pretrained_cfg", None)
    return cfg if isinstance(cfg, dict) else {}


def _names_told(model: nn.Module, classes: int) -> tuple[str, ...] | None:
    """The classes that the config of a model on the hub, or in a folder, names; None where these are not one for each logit."""
    told = _config_of(model).get("label_names")
    if not isinstance(told, list | tuple) or len(told) != classes or not all(isinstance(name, str) for name in told):
        return None
    return tuple(told)


def _no_normalisation(model: str) -> str:
    if is_onnx(model) or is_factory(model) or is_given(model):
        where = "in the file's metadata" if is_onnx(model) else "in an attribute pretrained_cfg of the network"
        return (
            f"{model} does not state the mean and deviation of its pixels in [0, 1]: give its 'mean' and 'std' in the study or {where} "
            "([0] and [1] where it normalises them itself)"
        )
    return f"timm does not state the normalisation of {model}: give its 'mean' and 'std' in the study"


def _normalisation(spec: NetworkSpec, backbone: nn.Module, channels: int, source: _Source) -> Normalisation:
    """Mean and deviation, (C,) each: the weights' own, else the study's, else timm's.

    Raises UsageError where there are none, they are not for C, or the study states others than the weights have.
    """
    if source.normalisation is not None:
        check_normalisation(spec, source.normalisation, channels)
        return source.normalisation
    said = source.file.meaning.data_args if source.file is not None else {}
    cfg = _config_of(backbone)
    mean, std = (stated or said.get(key) or cfg.get(key) for key, stated in (("mean", spec.mean), ("std", spec.std)))
    if not mean or not std:
        raise UsageError(_no_normalisation(spec.model))
    try:
        refuse_pixels_to_255(mean, std)
    except ValueError as error:
        raise UsageError(f"the normalisation of {spec.model}: {one_line(error)}") from None
    if channels == 1 and len(mean) == 3:
        # timm sums a first layer's filters over colours: the mean colour keeps the scale.
        mean, std = (sum(mean) / 3,), (sum(std) / 3,)
    if len(mean) == 1 and len(std) == 1:
        mean, std = tuple(mean) * channels, tuple(std) * channels
    if len(mean) != channels or len(std) != channels:
        raise UsageError(
            f"'mean' and 'std' of {spec.model} need {channels} numbers, one for each channel of the images"
        )
    return Normalisation(tuple(mean), tuple(std))
