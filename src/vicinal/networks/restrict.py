"""A classifier of more classes than the data has, restricted to the data's by name; ImageNet's classes go by any of their names.

Shapes: K classes of the data, H classes that a head has.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import cast

import torch
from timm.data import ImageNetInfo, infer_imagenet_subset
from torch import nn

from vicinal.errors import UsageError
from vicinal.networks.heads import ClassOrder
from vicinal.networks.meaning import shown


def places_of_classes(what: str, held: Sequence[str] | None, count: int, wanted: Sequence[str]) -> tuple[int, ...]:
    """(K,) places among the H logits of a head that stand for the data's classes.

    Args:
        what: the weights, as messages call them.
        held: H names in the order of the logits; None: ImageNet's, where `count` H is the number of one of its sets of classes.
        wanted: K names of the data. Of ImageNet's classes, WordNet's number (n02084071) or any of its words.

    Raises UsageError where a class of the data is not among them, or could be two of them.
    """
    subset = infer_imagenet_subset({"num_classes": count})
    info = ImageNetInfo(subset) if subset is not None else None
    names = tuple(held) if held is not None else tuple(info.label_names()) if info is not None else None
    if names is None:
        raise UsageError(
            f"classes: data takes the data's classes out of the {count} of {what}, which name none: state class_names in the order of "
            "the logits, all of them"
        )
    known = _known_names(names, info)
    missing = [name for name in wanted if _folded(name) not in known]
    if missing:
        raise UsageError(
            f"classes: data: {what} has {count:,} classes ({shown(names)}), and none of them is {shown(missing)}: rename the "
            "data's classes, or train a new head (head: linear, epochs above 0)"
        )
    doubtful = [name for name in wanted if len(known[_folded(name)]) > 1]
    if doubtful:
        raise UsageError(
            f"classes: data: {shown(doubtful[:1])} is the name of {len(known[_folded(doubtful[0])])} classes of {what}: call it in the "
            f"data by another of its names, such as {names[known[_folded(doubtful[0])][0]]}"
        )
    places = tuple(known[_folded(name)][0] for name in wanted)
    twice = [place for place, times in Counter(places).items() if times > 1]
    if twice:
        same = [name for name, place in zip(wanted, places, strict=True) if place == twice[0]]
        raise UsageError(f"classes: data: {shown(same)} of the data are one class of {what}")
    return places


def _known_names(names: Sequence[str], info: ImageNetInfo | None) -> dict[str, list[int]]:
    """Places by name, folded; of ImageNet's by every word that WordNet has for a class where no class has it as its name."""
    found: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        found.setdefault(_folded(name), []).append(place)
    if info is None or list(names) != list(info.label_names()):
        return found
    words: dict[str, list[int]] = {}
    for place in range(len(names)):
        description = info.index_to_description(place)
        for word in {_folded(part) for part in (description, *description.split(","))}:
            words.setdefault(word, []).append(place)
    return words | found


def _folded(name: str) -> str:
    text = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
    return " ".join(text.replace("_", " ").split())


def restricted(head: nn.Module, places: Sequence[int]) -> nn.Module:
    """A head that answers with the logits at some places of another's, in their order."""
    index = torch.tensor(places)
    if isinstance(head, ClassOrder):
        return ClassOrder(head.held_classes, head.order[index].tolist())
    last = cast(nn.Linear, head[-1] if isinstance(head, nn.Sequential) else head)
    rows = nn.Linear(last.in_features, len(places), bias=last.bias is not None)
    with torch.no_grad():
        rows.weight.copy_(last.weight[index])
        if last.bias is not None:
            rows.bias.copy_(last.bias[index])
    return nn.Sequential(*list(head)[:-1], rows) if isinstance(head, nn.Sequential) else rows
