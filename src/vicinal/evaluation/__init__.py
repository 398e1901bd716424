"""What is asked of trained networks, once, and every number computed from the stored answers."""

from vicinal.evaluation.corrupted import CorruptedSet, ask_corrupted
from vicinal.evaluation.features import ask_represented
from vicinal.evaluation.measures import Measured
from vicinal.evaluation.other_data import ask_other, load_other
from vicinal.evaluation.pairs import draw_pairs, pairs_needed, vicinal_curves
from vicinal.evaluation.predict import predict
from vicinal.evaluation.predictions import Predictions, ask, images_asked
from vicinal.evaluation.stored import EvaluationContext, TrainedNetwork

__all__ = [
    "CorruptedSet",
    "EvaluationContext",
    "Measured",
    "Predictions",
    "TrainedNetwork",
    "ask",
    "ask_corrupted",
    "ask_other",
    "ask_represented",
    "draw_pairs",
    "images_asked",
    "load_other",
    "pairs_needed",
    "predict",
    "vicinal_curves",
]
