"""The equations, as pure functions of logits: public, differentiable, usable without the rest of the package.

All in log space and at least float32; float64 in gives float64 out. Per-sample results unless the name says otherwise. Entropies and
divergences are in nats. Equation numbers are those of arXiv:2606.12171.
"""

from vicinal.functional.accuracy import balanced_accuracy, in_top_k, recall_by_class
from vicinal.functional.calibration import (
    COLDEST,
    HOTTEST,
    bin_of,
    brier_score,
    calibration_bins,
    confidence,
    equal_mass_calibration_error,
    equal_mass_shares,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    temperature_limit,
)
from vicinal.functional.conformal import (
    SelectiveThreshold,
    binomial_upper_bound,
    conformal_quantile,
    conformal_scores,
    prediction_sets,
    selective_threshold,
)
from vicinal.functional.divergences import Lam, kl_divergence, prediction_entropy
from vicinal.functional.information import (
    EntropyDecomposition,
    cross_entropy_with_teacher,
    entropy_decomposition,
    information_bound_from_means,
    information_bound_of_mean,
    information_bound_per_sample,
    log_mean_prediction,
)
from vicinal.functional.kd_variants import (
    answer_confidence,
    confidence_kd_loss,
    decoupled_kd_loss,
    decoupled_kd_parts,
    feature_regression_loss,
    hard_cross_entropy,
    soft_cross_entropy,
)
from vicinal.functional.labels import check_probabilities, checked_labels, look_like_probabilities, refuse_probabilities
from vicinal.functional.losses import (
    at_temperature,
    kd_loss,
    linear_target_loss,
    mixed_cross_entropy,
    temperature_factor,
)
from vicinal.functional.vicinal import (
    dominance_ratio,
    linear_log_probabilities,
    linearity_gain,
    linearity_information,
    mix,
    nonlinearity_residual,
)

__all__ = [
    "COLDEST",
    "HOTTEST",
    "EntropyDecomposition",
    "Lam",
    "SelectiveThreshold",
    "answer_confidence",
    "at_temperature",
    "balanced_accuracy",
    "bin_of",
    "binomial_upper_bound",
    "brier_score",
    "calibration_bins",
    "check_probabilities",
    "checked_labels",
    "confidence",
    "confidence_kd_loss",
    "conformal_quantile",
    "conformal_scores",
    "cross_entropy_with_teacher",
    "decoupled_kd_loss",
    "decoupled_kd_parts",
    "dominance_ratio",
    "entropy_decomposition",
    "equal_mass_calibration_error",
    "equal_mass_shares",
    "expected_calibration_error",
    "feature_regression_loss",
    "fit_temperature",
    "hard_cross_entropy",
    "in_top_k",
    "information_bound_from_means",
    "information_bound_of_mean",
    "information_bound_per_sample",
    "kd_loss",
    "kl_divergence",
    "linear_log_probabilities",
    "linear_target_loss",
    "linearity_gain",
    "linearity_information",
    "log_mean_prediction",
    "look_like_probabilities",
    "mix",
    "mixed_cross_entropy",
    "negative_log_likelihood",
    "nonlinearity_residual",
    "prediction_entropy",
    "prediction_sets",
    "recall_by_class",
    "refuse_probabilities",
    "selective_threshold",
    "soft_cross_entropy",
    "temperature_factor",
    "temperature_limit",
]
