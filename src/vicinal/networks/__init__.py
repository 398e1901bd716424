"""Teachers and students, on timm or brought along: pixels in, logits out; their weights, costs, and how they run fastest."""

from vicinal.networks.build import build_classifier
from vicinal.networks.classifier import Classifier, TimmClassifier
from vicinal.networks.compiled import Compiled
from vicinal.networks.cost import NetworkCost, call_seconds, compiling_pays, forward_flops, network_cost
from vicinal.networks.fused import FUSING_IMAGES, fused
from vicinal.networks.weights import read_weights, save_weights

__all__ = [
    "FUSING_IMAGES",
    "Classifier",
    "Compiled",
    "NetworkCost",
    "TimmClassifier",
    "build_classifier",
    "call_seconds",
    "compiling_pays",
    "forward_flops",
    "fused",
    "network_cost",
    "read_weights",
    "save_weights",
]
