"""What networks see: which images, crops, partners and λ make a batch (`VicinalPlan`), and its making."""

from vicinal.inputs.pipeline import ImagePipeline, VicinalBatch
from vicinal.inputs.pixels import evaluation_pixels, resize, to_float
from vicinal.inputs.plan import VicinalPlan, slice_rows

__all__ = ["ImagePipeline", "VicinalBatch", "VicinalPlan", "evaluation_pixels", "resize", "slice_rows", "to_float"]
