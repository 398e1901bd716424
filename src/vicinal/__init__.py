"""Mixup-based knowledge distillation of image classifiers, and the measures of whether their confidence can be trusted."""

__version__ = "0.1.0"
