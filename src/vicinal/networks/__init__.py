"""Teachers and students, on timm or brought along: pixels in, logits out; their weights, costs, and how they run fastest."""

from vicinal.networks.before import StatedPreparation, border_fill, preparation_stated
from vicinal.networks.bf16 import bf16_inference_pays, bf16_training_pays
from vicinal.networks.build import build_classifier, rebuilt_classifier
from vicinal.networks.classifier import Classifier, TimmClassifier, evaluating, features_of_passes
from vicinal.networks.compiled import Compiled
from vicinal.networks.cost import (
    NetworkCost,
    call_seconds,
    compiling_pays,
    forward_flops,
    inference_seconds,
    network_cost,
    try_training,
)
from vicinal.networks.ensemble import Ensemble
from vicinal.networks.facts import ModelFacts, hub_weights_at_hand, model_facts
from vicinal.networks.fused import FUSING_IMAGES, fused
from vicinal.networks.given import networks_given
from vicinal.networks.heads import ClassOrder
from vicinal.networks.kinds import weights_hash
from vicinal.networks.load import load_classifier
from vicinal.networks.meaning import match_classes
from vicinal.networks.naming import ModelName, model_name
from vicinal.networks.weights import check_writable, read_weights, read_weights_file, save_weights

__all__ = [
    "FUSING_IMAGES",
    "ClassOrder",
    "Classifier",
    "Compiled",
    "Ensemble",
    "ModelFacts",
    "ModelName",
    "NetworkCost",
    "StatedPreparation",
    "TimmClassifier",
    "bf16_inference_pays",
    "bf16_training_pays",
    "border_fill",
    "build_classifier",
    "call_seconds",
    "check_writable",
    "compiling_pays",
    "evaluating",
    "features_of_passes",
    "forward_flops",
    "fused",
    "hub_weights_at_hand",
    "inference_seconds",
    "load_classifier",
    "match_classes",
    "model_facts",
    "model_name",
    "network_cost",
    "networks_given",
    "preparation_stated",
    "read_weights",
    "read_weights_file",
    "rebuilt_classifier",
    "save_weights",
    "try_training",
    "weights_hash",
]
