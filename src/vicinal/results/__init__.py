"""results.json, the contract between what runs a study and what reads it: typed, written and read here; no torch."""

from vicinal.results.files import RESULTS_FILE, is_as_written, read_results, results_schema, write_results
from vicinal.results.frames import curves_table, frame_of, model_table
from vicinal.results.joined import (
    JOINED_FILE,
    JOINED_SCHEMA,
    JoinedResults,
    read_joined_results,
    write_joined_results,
)
from vicinal.results.measurement import (
    MEASUREMENT_FILE,
    MEASUREMENT_SCHEMA,
    Confusion,
    ImageAnswer,
    MeasuredData,
    MeasuredDifference,
    MeasuredModel,
    MeasurementResults,
    MeasurementSettings,
    ModelComparison,
    read_measurement_results,
    write_measurement_results,
)
from vicinal.results.models import Student, Teacher
from vicinal.results.resamples import RESAMPLES_FILE, Resamples, read_resamples, write_resamples
from vicinal.results.study import StudyResults

__all__ = [
    "JOINED_FILE",
    "JOINED_SCHEMA",
    "MEASUREMENT_FILE",
    "MEASUREMENT_SCHEMA",
    "RESAMPLES_FILE",
    "RESULTS_FILE",
    "Confusion",
    "ImageAnswer",
    "JoinedResults",
    "MeasuredData",
    "MeasuredDifference",
    "MeasuredModel",
    "MeasurementResults",
    "MeasurementSettings",
    "ModelComparison",
    "Resamples",
    "Student",
    "StudyResults",
    "Teacher",
    "curves_table",
    "frame_of",
    "is_as_written",
    "model_table",
    "read_joined_results",
    "read_measurement_results",
    "read_resamples",
    "read_results",
    "results_schema",
    "write_joined_results",
    "write_measurement_results",
    "write_resamples",
    "write_results",
]
