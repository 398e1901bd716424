"""What trained networks predict, once, and every number computed from the stored answers."""

from vicinal.evaluation.calibration import Scaling, calibration_numbers
from vicinal.evaluation.class_order import OrderDoubt, doubt_of_order
from vicinal.evaluation.corrupted import CorruptedSet, predict_corrupted
from vicinal.evaluation.features import measure_representation
from vicinal.evaluation.image_measures import ImageAnswers, ImagesMeasured
from vicinal.evaluation.measurement import Measurement, measure_images
from vicinal.evaluation.measures import Measured
from vicinal.evaluation.other_data import load_other, predict_other
from vicinal.evaluation.pairs import draw_pairs, pairs_needed, vicinal_curves
from vicinal.evaluation.predict import predict
from vicinal.evaluation.predictions import PredictionInputs, Predictions, mean_predictions, predict_all
from vicinal.evaluation.stored import EvaluationContext, TrainedNetwork, load_stored, save_stored

__all__ = [
    "CorruptedSet",
    "EvaluationContext",
    "ImageAnswers",
    "ImagesMeasured",
    "Measured",
    "Measurement",
    "OrderDoubt",
    "PredictionInputs",
    "Predictions",
    "Scaling",
    "TrainedNetwork",
    "calibration_numbers",
    "doubt_of_order",
    "draw_pairs",
    "load_other",
    "load_stored",
    "mean_predictions",
    "measure_images",
    "measure_representation",
    "pairs_needed",
    "predict",
    "predict_all",
    "predict_corrupted",
    "predict_other",
    "save_stored",
    "vicinal_curves",
]
