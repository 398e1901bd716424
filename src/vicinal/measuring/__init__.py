"""Classifiers measured as they are, on any images, without a study: one or several; their mistakes; finished studies side by side."""

from vicinal.measuring.answers import answer_rows, confusion_matrix
from vicinal.measuring.ask import MeasuringOptions, default_folder, measure_named
from vicinal.measuring.errors import AnsweredImages, WrittenErrors, answers_of, write_errors
from vicinal.measuring.images import data_spec
from vicinal.measuring.joined import (
    check_joined_folder,
    default_joined_folder,
    join_studies,
    joined_table,
    joined_text,
    write_joined,
)
from vicinal.measuring.measure import DEFAULT_PAIRS, SourceMeasurement, measure_source
from vicinal.measuring.say import summary_table, summary_text
from vicinal.measuring.subject import Subject, subject_of
from vicinal.measuring.write import check_measurement_folder, write_measurement

__all__ = [
    "DEFAULT_PAIRS",
    "AnsweredImages",
    "MeasuringOptions",
    "SourceMeasurement",
    "Subject",
    "WrittenErrors",
    "answer_rows",
    "answers_of",
    "check_joined_folder",
    "check_measurement_folder",
    "confusion_matrix",
    "data_spec",
    "default_folder",
    "default_joined_folder",
    "join_studies",
    "joined_table",
    "joined_text",
    "measure_named",
    "measure_source",
    "subject_of",
    "summary_table",
    "summary_text",
    "write_errors",
    "write_joined",
    "write_measurement",
]
