"""What a run and a study are: frozen, validated, fingerprinted values, read from YAML; no torch, so that errors come at once."""

from vicinal.config.arm import ArmSpec
from vicinal.config.augment import AugmentSpec
from vicinal.config.base import SCHEMA, fingerprint
from vicinal.config.data import DataSpec
from vicinal.config.load import load_study, packaged_studies, parse_study
from vicinal.config.measures import (
    CORRUPTIONS,
    SEVERITIES,
    Corruption,
    CorruptionsSpec,
    MeasuresSpec,
    RepresentationSpec,
    VicinitySpec,
    corruption_named,
)
from vicinal.config.mixing import MixingSpec
from vicinal.config.network import (
    GIVEN,
    MOST_SHUFFLED,
    BlockOrder,
    NetworkSpec,
    Order,
    TeacherVariant,
    brings_weights,
    is_factory,
    is_given,
    is_onnx,
    refuse_pixels_to_255,
)
from vicinal.config.objective import ARMS, UNIFORM_MIXING, Objective
from vicinal.config.overrides import apply_override
from vicinal.config.preparation import CropMode, Interpolation, PreparationSpec
from vicinal.config.run import RunSpec
from vicinal.config.schema import study_file_schema
from vicinal.config.study import SELECTION_SENTENCES, AnswersSpec, RuntimeSpec, StudySpec
from vicinal.config.temperature import Temperature, sigma_multiple
from vicinal.config.terms import TermsSpec

__all__ = [
    "ARMS",
    "CORRUPTIONS",
    "GIVEN",
    "MOST_SHUFFLED",
    "SCHEMA",
    "SELECTION_SENTENCES",
    "SEVERITIES",
    "UNIFORM_MIXING",
    "AnswersSpec",
    "ArmSpec",
    "AugmentSpec",
    "BlockOrder",
    "Corruption",
    "CorruptionsSpec",
    "CropMode",
    "DataSpec",
    "Interpolation",
    "MeasuresSpec",
    "MixingSpec",
    "NetworkSpec",
    "Objective",
    "Order",
    "PreparationSpec",
    "RepresentationSpec",
    "RunSpec",
    "RuntimeSpec",
    "StudySpec",
    "TeacherVariant",
    "Temperature",
    "TermsSpec",
    "VicinitySpec",
    "apply_override",
    "brings_weights",
    "corruption_named",
    "fingerprint",
    "is_factory",
    "is_given",
    "is_onnx",
    "load_study",
    "packaged_studies",
    "parse_study",
    "refuse_pixels_to_255",
    "sigma_multiple",
    "study_file_schema",
]
