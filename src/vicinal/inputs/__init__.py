"""What networks see: which images, crops, partners and λ make a batch (`VicinalPlan`), and its making."""

from vicinal.inputs.partners import ClassLabels
from vicinal.inputs.pipeline import ImagePipeline, VicinalBatch
from vicinal.inputs.pixels import Preparation, resize, to_float
from vicinal.inputs.plan import PlannedBatch, VicinalPlan, slice_rows
from vicinal.inputs.vicinities import register_vicinity, vicinity_of
from vicinal.inputs.vicinity import BatchDraws, EpochDraws, Generators, Numbers, Places, Vicinity

__all__ = [
    "BatchDraws",
    "ClassLabels",
    "EpochDraws",
    "Generators",
    "ImagePipeline",
    "Numbers",
    "Places",
    "PlannedBatch",
    "Preparation",
    "VicinalBatch",
    "VicinalPlan",
    "Vicinity",
    "register_vicinity",
    "resize",
    "slice_rows",
    "to_float",
    "vicinity_of",
]
