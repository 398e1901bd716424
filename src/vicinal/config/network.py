"""A network and how it is trained: augmentation, optimizer, schedule, head."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from vicinal.config.augment import AugmentSpec
from vicinal.config.base import (
    LARGEST_SIDE,
    MOST_EPOCHS,
    MOST_IMAGES,
    Frozen,
    Rate,
    Text,
    each_once,
    no_boolean,
    one_or_many,
)
from vicinal.config.mixing import MixingSpec
from vicinal.config.objective import NO_MIXING, Objective
from vicinal.config.preparation import PreparationSpec

_Epoch = Annotated[float, Field(ge=0, le=MOST_EPOCHS)]
_Peak = Annotated[float, Field(gt=0, le=1000)]


class PlateauSpec(Frozen):
    """schedule: plateau — lr falls by `factor` after `patience_epochs` in which the selection images gave nothing better, down to
    `min_lr` (Keras' ReduceLROnPlateau without a cooldown)."""

    patience_epochs: int = Field(10, ge=1, le=MOST_EPOCHS)
    factor: float = Field(0.1, gt=0, lt=1)
    min_lr: Rate = 0.0
    monitor: Literal["accuracy", "loss"] = Field(
        "accuracy", description="what of the selection images is watched: a fraction, or the cross-entropy in nats"
    )
    min_delta: Rate | None = Field(
        None, description="a gain counts where it is larger; default: 1e-4 for loss (as in Keras), 0 for accuracy"
    )

    @property
    def least_gain(self) -> float:
        """What a gain has to be larger than."""
        if self.min_delta is not None:
            return self.min_delta
        return 1e-4 if self.monitor == "loss" else 0.0


class BlockOrder(Frozen):
    """order: {block_images, blocks_at_once} — an epoch reads blocks of neighbouring images in random order and shuffles the images of
    `blocks_at_once` of them together: few shards are open at a time. Neighbours meet more often than in a shuffled epoch."""

    block_images: int = Field(
        1024, ge=1, le=MOST_IMAGES, description="images that are stored side by side, as in a shard"
    )
    blocks_at_once: int = Field(16, ge=1, le=1_000_000)


Order = Literal["shuffled", "keyed"] | BlockOrder
MOST_SHUFFLED = 2**24  # images whose order is drawn whole by default: 0.7 GB while it is drawn
Head = Literal["linear", "bottleneck", "keep"]
# What a network's maker takes beside its name; the others are keys of their own, or not a study's to set.
_LARGEST_ARG = 100_000
ModelArg = (
    bool
    | Annotated[int, Field(ge=-_LARGEST_ARG, le=_LARGEST_ARG)]
    | Annotated[float, Field(ge=-_LARGEST_ARG, le=_LARGEST_ARG)]
    | Annotated[str, Field(max_length=200)]
)
RESERVED_MODEL_ARGS = {
    "model_name": "model",
    "num_classes": "the data, or the head in the weights",
    "in_chans": "the data",
    "pretrained": "weights",
    "checkpoint_path": "weights",
    "pretrained_cfg": "weights",
    "pretrained_cfg_overlay": "weights",
    "pretrained_model_args": "weights",
    "pretrained_strict": "weights",
    "pretrained_filter_fn": "weights",
    "features_only": "head",
    "out_indices": "head",
    "cache_dir": "the environment variable HF_HOME",
    "scriptable": "nothing",
    "exportable": "nothing",
    "no_jit": "nothing",
    "device": "runtime.device",
    "dtype": "precision",
}
LARGEST_PIXEL_STATISTIC = 1.0  # pixels are 0 to 1: no mean or deviation of them is larger


def refuse_pixels_to_255(mean: Sequence[float], std: Sequence[float]) -> None:
    """ValueError where a mean or a deviation is one of pixels from 0 to 255; networks here see pixels from 0 to 1."""
    if max(*map(abs, mean), *map(abs, std)) > LARGEST_PIXEL_STATISTIC:
        scaled = (f"[{', '.join(f'{value / 255:.4g}' for value in values)}]" for values in (mean, std))
        raise ValueError(
            "'mean' and 'std' are of pixels from 0 to 255: divide them by 255 (mean: {}, std: {})".format(*scaled)
        )


GIVEN = "given/"  # before the name of a module that `vicinal.run(..., networks=...)` was given


def is_onnx(model: str) -> bool:
    """Whether a model is named by its ONNX file."""
    return model.endswith(".onnx")


def is_factory(model: str) -> bool:
    """Whether a model is named as package.module:factory, a user's own code."""
    named = re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", model)
    return named is not None and not model.startswith("hf_hub:")


def is_given(model: str) -> bool:
    """Whether a model is a module that Python code gave under this name."""
    return model.startswith(GIVEN)


def brings_weights(model: str) -> bool:
    """Whether a model has its weights without being told where."""
    return is_onnx(model) or is_factory(model) or is_given(model)


class NetworkSpec(Frozen):
    """A network and how it is trained. `epochs: 0` takes the weights as they are (a classifier you already have)."""

    model: Text = Field(
        description="any timm name, hf-hub:OWNER/NAME, local-dir:FOLDER, torchvision/NAME, transformers/NAME_OR_FOLDER, FILE.onnx, "
        "package.module:factory, or given/NAME for a module that vicinal.run(..., networks={NAME: module}) is given"
    )
    weights: Text | None = Field(
        None,
        description="hub (the model's published ones, or its folder's), a file, a name of torchvision's (DEFAULT), or none",
    )
    head: Head = Field(
        "linear", description="linear, bottleneck (the paper's 256 unit head), keep (the one in the weights)"
    )
    image_size: int | None = Field(
        None, ge=4, le=LARGEST_SIDE, description="the network resizes its input to this side; default: as given"
    )
    preparation: PreparationSpec | Literal["model", "data"] | None = Field(
        None,
        description="how its test images, and all that a kept classifier is shown, are made from the originals: model (as its weights "
        "or timm state), data (from the study's stored images), or a mapping; default: model where a classifier is taken as it is",
    )
    mean: tuple[Annotated[float, Field(ge=-1000, le=1000)], ...] | None = Field(
        None, min_length=1, max_length=16, description="normalisation; default: the one timm states for the model"
    )
    std: tuple[Annotated[float, Field(gt=0, le=1000)], ...] | None = Field(None, min_length=1, max_length=16)
    model_args: dict[
        Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$", max_length=64)],
        ModelArg | Annotated[tuple[ModelArg, ...], Field(max_length=64)],
    ] = Field(
        {}, max_length=32, description="what timm.create_model takes for this model, such as {img_size: 32} of a ViT"
    )
    ema: bool = Field(
        False, description="take the EMA weights of a checkpoint that holds both; default: the plain ones"
    )
    class_names: tuple[Text, ...] | None = Field(
        None,
        min_length=2,
        description="what the logits of a kept head stand for, in their order; default: the names in the weights, else the data's",
    )
    classes: Literal["data"] | None = Field(
        None,
        description="data: a kept head of more classes than the data is restricted to the data's, by name; those of others are "
        "left out",
    )
    check_classes: bool = Field(
        True, description="stop where a classifier taken as it is seems to have the data's classes in another order"
    )

    train_images: int | None = Field(
        None, ge=2, le=MOST_IMAGES, description="train on this many images (class-balanced); default: all"
    )
    augment: AugmentSpec = AugmentSpec()
    epochs: int = Field(ge=0, le=MOST_EPOCHS)
    repeat_inputs_after_epochs: int | None = Field(
        None,
        ge=1,
        le=MOST_EPOCHS,
        description="the input stream repeats after this many epochs (each mixed image is seen several times: other "
        "sampling than fresh inputs every epoch); default: always fresh",
    )
    order: Order | None = Field(
        None,
        description="of the images in an epoch: shuffled (drawn whole, memory for every image), keyed (computed where it is asked for, "
        "memory for none), or {block_images: 1024, blocks_at_once: 16} (blocks of neighbouring images, for shards); default: "
        "shuffled, beyond 16,777,216 images keyed",
    )
    batch_size: int = Field(100, ge=1, le=1_000_000)
    optimizer: str = Field(
        "adamw",
        pattern=r"^[a-z][a-z0-9_]*$",
        max_length=64,
        description="adamw, adam, sgd (PyTorch's) or any of timm's by its name, such as lamb, lion or adan",
        json_schema_extra={"examples": ["adamw", "adam", "sgd", "lamb", "lion"]},
    )
    lr: float = Field(1e-3, gt=0, le=1000)
    weight_decay: Rate = 1e-4
    momentum: float = Field(0.9, ge=0, lt=1, description="sgd")
    nesterov: bool = Field(True, description="sgd: Nesterov's momentum (where momentum is above 0) or the plain one")
    clip_gradient_norm: float | None = Field(
        None, gt=0, le=1e6, description="gradients longer than this, over all parameters, are cut to it; default: never"
    )
    layer_decay: float | None = Field(
        None,
        gt=0,
        le=1,
        description="each layer of the backbone learns at this share of the rate of the next one, the head at lr (as timm groups "
        "layers); default: all alike",
    )
    ema_decay: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="keep a moving average of weights and batch statistics, of which so much stays at each step (less in the first "
        "ones), and select, measure and save that; default: the weights themselves",
    )
    schedule: Literal["one_cycle", "cosine", "constant", "piecewise", "plateau"] = "one_cycle"
    warmup_fraction: float = Field(
        0.2, ge=0, lt=1, description="one_cycle, cosine: share of the steps in which lr rises to its peak"
    )
    lr_changes: Literal["step", "epoch"] = Field(
        "step", description="lr follows its schedule at every step, or stays as it is within an epoch"
    )
    lr_segments: tuple[tuple[_Epoch, _Epoch, _Peak, _Peak, Literal["linear", "cosine"]], ...] | None = Field(
        None,
        max_length=1000,
        description="piecewise: [first epoch, last epoch, lr at its start, lr at its end, linear or cosine]",
    )
    plateau: PlateauSpec | None = Field(None, description="schedule: plateau — when and how far lr falls")
    head_warmup_epochs: int = Field(
        0, ge=0, le=MOST_EPOCHS, description="first train the head alone, on true labels, backbone frozen"
    )
    head_warmup_lr: float = Field(1e-3, gt=0, le=1000)
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        description="of training; auto: bf16 on CUDA, and on CPUs with AMX where it pays (no grouped convolutions, enough arithmetic)",
    )
    channels_last: bool = True

    @model_validator(mode="after")
    def _parameters_fit(self) -> Self:
        if (self.mean is None) != (self.std is None):
            raise ValueError("give 'mean' and 'std' together")
        if self.mean and self.std:
            refuse_pixels_to_255(self.mean, self.std)
        self._arguments_fit()
        seen = self.preparation.image_size if isinstance(self.preparation, PreparationSpec) else None
        if seen is not None and self.image_size not in (None, seen):
            raise ValueError(f"'image_size' is {self.image_size} and preparation.image_size {seen}: give one of them")
        if (self.lr_segments is not None) != (self.schedule == "piecewise"):
            raise ValueError("'lr_segments' goes with schedule: piecewise, and piecewise needs it")
        if (self.plateau is not None) != (self.schedule == "plateau"):
            raise ValueError("'plateau' goes with schedule: plateau, and that schedule needs it ({} for its defaults)")
        end = 0.0
        for first, last, *lrs, _shape in self.lr_segments or ():
            if first != end or last <= first or min(lrs) <= 0:
                raise ValueError(
                    "'lr_segments' must start at epoch 0, follow one another without gaps and have lr above 0"
                )
            end = last
        if self.lr_segments is not None and end < self.epochs:
            raise ValueError(f"'lr_segments' end at epoch {end:g}, before the {self.epochs} epochs asked for")
        has_weights = self.weights is not None or brings_weights(self.model)
        if self.head == "keep" and not has_weights:
            raise ValueError("head: keep needs 'weights' that hold a head")
        if self.epochs == 0 and not has_weights:
            raise ValueError("epochs: 0 takes a trained network as it is, so it needs 'weights'")
        return self

    def _arguments_fit(self) -> None:
        for name in self.model_args:
            if name in RESERVED_MODEL_ARGS:
                raise ValueError(f"model_args may not set {name!r}: it follows from {RESERVED_MODEL_ARGS[name]}")
        if self.class_names is not None:
            each_once(self.class_names)
            if self.head != "keep":
                raise ValueError("'class_names' says what a kept head's logits are: it goes with head: keep")
        if self.classes is not None and self.head != "keep":
            raise ValueError("'classes: data' restricts a kept head: it goes with head: keep")
        if self.ema and self.weights in (None, "hub"):
            raise ValueError("'ema' chooses between the weights of a file: it goes with 'weights'")

    def stretched(self, budget: float) -> Self:
        """Trained for `budget` times as many epochs, its schedule stretched with them; the head's warm-up stays as it is.

        Raises ValueError where that is no whole number of epochs, or more than a study may have.
        """
        if budget == 1:
            return self
        epochs = round(self.epochs * budget)
        if not epochs or abs(epochs - self.epochs * budget) > 1e-6 * epochs:
            raise ValueError(f"{self.epochs} epochs times {budget:g} is no whole number of epochs above 0")
        changes: dict[str, Any] = {"epochs": epochs}
        if self.lr_segments is not None:
            share = [(a * epochs / self.epochs, b * epochs / self.epochs) for a, b, *_ in self.lr_segments]
            changes["lr_segments"] = [
                (*ends, *rest) for ends, (_, _, *rest) in zip(share, self.lr_segments, strict=True)
            ]
        if self.plateau is not None:
            patience = max(1, round(self.plateau.patience_epochs * budget))
            changes["plateau"] = self.plateau.model_copy(update={"patience_epochs": patience})
        return type(self)(**{**dict(self), **changes})


SMALLEST_SCALE, LARGEST_SCALE = 0.01, 100.0
_Scale = Annotated[float, Field(ge=SMALLEST_SCALE, le=LARGEST_SCALE), BeforeValidator(no_boolean)]
_Scales = Annotated[tuple[_Scale, ...], Field(min_length=1, max_length=100)]


def _called_apart(scales: tuple[float, ...]) -> tuple[float, ...]:
    each_once(tuple(f"{scale:g}" for scale in scales))
    return scales


class TeacherSpec(NetworkSpec):
    """A teacher: trained on true labels (on mixed images where `mixing` says so), then frozen."""

    mixing: MixingSpec = NO_MIXING
    logit_scale: Annotated[
        _Scales, AfterValidator(_called_apart), BeforeValidator(one_or_many, json_schema_input_type=_Scale | _Scales)
    ] = Field(
        (1.0,),
        description="its answers are multiplied by it before anything else; one or a list, of which each is a teacher of its own in "
        "arms and results: NAME for 1, NAME@0.5 and the like for others; all share the one trained network",
    )
    inference_precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        description="of its answers to students; auto: bf16 where the operators gain and the answers change little",
    )

    def objective(self) -> Objective:
        return Objective(alpha=1, beta=0, mixing=self.mixing)


class TeacherVariant(NamedTuple):
    """A teacher as students learn from it: a trained network at a scale of its logits."""

    base: str  # key in `teachers`
    scale: float

    @property
    def name(self) -> str:
        """What arms and results call it."""
        return self.base if self.scale == 1 else f"{self.base}@{self.scale:g}"


class StudentSpec(NetworkSpec):
    """The student: one for the study, trained anew by every arm, temperature, teacher and seed."""
