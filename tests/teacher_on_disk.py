"""A tiny teacher as timm's train.py leaves it, trained on the tiny images of the tests."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from torch.nn.functional import cross_entropy

MEAN, STD = 0.4, 0.3


def save_teacher(path: Path, network: torch.nn.Module, classes: int, side: int) -> Path:
    """`model_best.pth.tar`: the weights, and the arguments that they were trained with."""
    args = argparse.Namespace(
        model="test_resnet", num_classes=classes, img_size=side, crop_pct=1.0, mean=[MEAN], std=[STD]
    )
    torch.save({"arch": "test_resnet", "state_dict": network.state_dict(), "args": args, "epoch": 3}, path)
    return path


def new_teacher(classes: int) -> torch.nn.Module:
    torch.manual_seed(0)
    return timm.create_model("test_resnet", num_classes=classes, in_chans=1)


def trained_teacher(images: Path) -> torch.nn.Module:
    """One that knows the classes of a folder of class folders."""
    folders = sorted(path for path in images.iterdir() if path.is_dir())
    found = [(np.array(Image.open(file)), k) for k, folder in enumerate(folders) for file in sorted(folder.iterdir())]
    pixels = (torch.from_numpy(np.stack([p for p, _ in found]))[:, None].float() / 255 - MEAN) / STD
    labels, network = torch.tensor([k for _, k in found]), new_teacher(len(folders))
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for _ in range(12):
        for part in torch.randperm(len(labels)).split(30):
            loss = cross_entropy(network(pixels[part]), labels[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert float((network.eval()(pixels).argmax(1) == labels).float().mean()) > 0.9
    return network
