"""Students to ship out: folders that run without vicinal, what they promise, asking them, pushing them to a hub."""

from vicinal.shipping.export import export_student
from vicinal.shipping.predict import DONT_KNOW, Prediction, Rules, files_of, predictions, rules_of
from vicinal.shipping.push import push_student
from vicinal.shipping.student import Student, open_student

__all__ = [
    "DONT_KNOW",
    "Prediction",
    "Rules",
    "Student",
    "export_student",
    "files_of",
    "open_student",
    "predictions",
    "push_student",
    "rules_of",
]
