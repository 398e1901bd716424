"""What travels with weights: the classes that the logits stand for, the side and preparation of the images, a fitted temperature."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vicinal.config import PreparationSpec
from vicinal.data import View
from vicinal.errors import UsageError
from vicinal.networks.classifier import Classifier, TimmClassifier

METADATA_KEY = "vicinal"  # of a safetensors file; one key, so that the same network always makes the same bytes
_SHOWN = 8  # names of classes in a message


@dataclass(frozen=True)
class Meaning:
    """What a file of weights says of its network; None (or empty) where it says nothing."""

    class_names: tuple[str, ...] | None = None  # of the K logits, in their order
    image_size: int | None = None  # side in px that the network sees
    crop_resize: int | None = None  # side before the centre crop of test images, where they are cropped
    model: str | None = None
    model_args: dict[str, Any] = field(default_factory=dict)
    preparation: PreparationSpec | None = None  # of its images, where they are made from the originals
    data_args: dict[str, Any] = field(default_factory=dict)  # what timm's train.py was told of it, as timm calls it

    @classmethod
    def of(cls, network: Classifier) -> Meaning:
        """What is known of a network."""
        preparation = network.preparation
        size = preparation.image_size if preparation is not None else None
        view = preparation.view if preparation is not None else None
        seen = None if view is None else _as_spec(view)
        if not isinstance(network, TimmClassifier):
            return cls(network.class_names, size, preparation=seen)
        return cls(
            network.class_names,
            network.image_size or size,
            preparation.augment.centre_crop_from if preparation is not None else None,
            network.spec.model if network.spec is not None else None,
            dict(network.spec.model_args) if network.spec is not None else {},
            seen,
        )

    def values(self) -> dict[str, Any]:
        """As plain values of JSON; without a preparation from the originals, those that older versions had."""
        value = asdict(self)
        del value["data_args"]
        if self.preparation is None:
            del value["preparation"]
        else:
            value["preparation"] = self.preparation.model_dump(mode="json", exclude_defaults=True)
        return value

    def to_json(self) -> str:
        """As one line of JSON, always the same for the same meaning."""
        return json.dumps(self.values(), sort_keys=True)

    @classmethod
    def from_json(cls, text: str | None, path: Path) -> Meaning:
        """Read what `to_json` wrote; nothing where there is none. Raises UsageError for anything else."""
        if text is None:
            return cls()
        try:
            value = dict(json.loads(text).items())
            known = {key: value[key] for key in cls.__dataclass_fields__ if key in value}
            names, sizes = known.get("class_names"), (known.get("image_size"), known.get("crop_resize"))
            right = isinstance(known.get("model_args", {}), dict) and all(
                s is None or (type(s) is int and 0 < s < 10**6) for s in sizes
            )
            right &= names is None or (isinstance(names, list) and all(isinstance(name, str) for name in names))
            if not right:
                raise ValueError
            known["class_names"] = None if names is None else tuple(names)
            if known.get("preparation") is not None:
                known["preparation"] = PreparationSpec.model_validate(known["preparation"])
            known.pop("data_args", None)
            return cls(**known)
        except (ValueError, TypeError, AttributeError, RecursionError):
            raise UsageError(
                f"{path}: what it says of itself (metadata {METADATA_KEY!r}) is damaged; get it again"
            ) from None


def _as_spec(view: View) -> PreparationSpec:
    """The preparation that makes a view."""
    resize = view.resize if view.resize != view.side else None
    return PreparationSpec(
        image_size=view.side,
        resize=resize,
        crop_mode=view.mode,
        interpolation=view.interpolation,
        fill=view.fill or None,
    )


@dataclass(frozen=True)
class ClassMatch:
    """How the logits of a network become those of the data."""

    order: tuple[int, ...] | None  # the k-th class of the data is logit order[k]; None: the same order
    note: str | None  # what is to be said, a sentence


def match_classes(what: str, held: Sequence[str], wanted: Sequence[str]) -> ClassMatch:
    """Match the classes of a network with those of the data, by name.

    Names that differ in case or Unicode form alone are the same class, where that leaves no two ways to read them.

    Args:
        what: the weights, as messages call them.
        held: K names, in the order of the logits; wanted: the data's.

    Raises UsageError where the classes are not the same ones.
    """
    held, wanted = tuple(held), tuple(wanted)
    if held == wanted:
        return ClassMatch(None, None)
    if len(set(held)) == len(held) and set(held) == set(wanted) and len(held) == len(wanted):
        note = f"{what}: its classes stand in another order ({shown(held)}) than the data's ({shown(wanted)}): matched by name."
        return ClassMatch(tuple(map(held.index, wanted)), note)
    folded_held, folded_wanted = ([_folded(name) for name in names] for names in (held, wanted))
    if len(set(folded_held)) == len(held) == len(wanted) == len(set(folded_wanted)) and set(folded_held) == set(
        folded_wanted
    ):
        order = tuple(map(folded_held.index, folded_wanted))
        pairs = [f"{held[k]!r} is {name!r}" for k, name in zip(order, wanted, strict=True) if held[k] != name]
        more = f" and {len(pairs) - _SHOWN} more" if len(pairs) > _SHOWN else ""
        moved = order != tuple(range(len(held)))
        note = (
            f"{what}: names of its classes differ from the data's in case or Unicode form alone ({', '.join(pairs[:_SHOWN])}{more})"
            f"{', and their order differs' if moved else ''}: matched by name."
        )
        return ClassMatch(order if moved else None, note)
    only_held, only_wanted = ([n for n in one if n not in other] for one, other in ((held, wanted), (wanted, held)))
    raise UsageError(
        f"{what} has the classes {shown(held)}, and the data has {shown(wanted)}: not in the data are {shown(only_held)}, "
        f"not in the weights {shown(only_wanted)}; rename the data's classes, state class_names in the order of the logits, "
        "or use head: linear with epochs above 0 to train a new head"
    )


def are_numbers(names: Sequence[str]) -> bool:
    """Whether names are but the classes' numbers, 0 to K - 1: what classes without names are called."""
    return tuple(names) == tuple(map(str, range(len(names))))


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def shown(names: Sequence[str]) -> str:
    """Names of classes in a message: the first few, and how many there are."""
    if not names:
        return "none"
    more = f", ... ({len(names):,} in all)" if len(names) > _SHOWN else ""
    return ", ".join(repr(n) if n != n.strip() or "," in n or not n.isprintable() else n for n in names[:_SHOWN]) + more
