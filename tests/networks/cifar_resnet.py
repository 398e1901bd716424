"""Somebody's own code: the CIFAR networks of He et al. 2016 as akamaster/pytorch_resnet_cifar10 (BSD-2) has them, in its names."""

import torch.nn.functional as F
from torch import nn

CFG = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "input_size": (3, 32, 32), "crop_pct": 1.0}


class Pad(nn.Module):
    def __init__(self, planes):
        super().__init__()
        self.planes = planes

    def forward(self, x):
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.planes // 4, self.planes // 4))


class Block(nn.Module):
    def __init__(self, inputs, planes, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.shortcut = Pad(planes) if stride != 1 or inputs != planes else nn.Identity()

    def forward(self, x):
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.shortcut(x))


class ResNet(nn.Module):
    def __init__(self, blocks, num_classes=10):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        plan = [(16, 16, 1), (16, 32, 2), (32, 64, 2)]
        for k, (inputs, planes, stride) in enumerate(plan, 1):
            layers = [Block(inputs if j == 0 else planes, planes, stride if j == 0 else 1) for j in range(blocks)]
            setattr(self, f"layer{k}", nn.Sequential(*layers))
        self.linear = nn.Linear(64, num_classes)
        self.pretrained_cfg = CFG

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(x.mean((2, 3)))


def resnet20(num_classes=10):
    return ResNet(3, num_classes)


def resnet56(num_classes=10):
    return ResNet(9, num_classes)
