"""What is measured of one network: the values of a model's keys in results.json.

Shapes: L values of λ, M bins, S severities, N images. Probabilities, confidence, accuracy and ECE are fractions; entropies,
divergences, NL and NLL are in nats.
"""

from __future__ import annotations

from pydantic import Field

from vicinal.results.base import Bounds, Number, Pair, Part


class Reliability(Part):
    """The reliability diagram: test images by confidence, in M bins (lower, upper] of equal width."""

    lower: list[float] = Field([], description="(M,) lower edges")
    upper: list[float] = Field([], description="(M,) upper edges")
    count: list[int] = Field(description="(M,) images")
    accuracy: list[Number] = Field(description="(M,) of the bin's images; null for an empty bin")
    confidence: list[Number] = Field(description="(M,) mean of the bin's images; null for an empty bin")
    consistency_lower: list[Number] | None = Field(
        None,
        description="(M,) accuracy of a perfectly calibrated model of these confidences lies above; null for an empty bin",
    )
    consistency_upper: list[Number] | None = Field(None, description="(M,) and below this; each bin for itself")


class CalibrationTest(Part):
    """An ECE held against that of a perfectly calibrated model of the same answers, by consistency resampling."""

    floor: float = Field(description="what such a model shows on average, from noise alone")
    floor_upper: float = Field(description="its quantile at the study's confidence level")
    p_value: float = Field(description="one-sided: share of such models with at least this ECE")


class CalibrationTests(Part):
    """The floors and p of each ECE; null where the ECE is."""

    ece: CalibrationTest | None = None
    ece_equal_mass: CalibrationTest | None = None
    classwise_ece: CalibrationTest | None = None
    ece_after_temperature_scaling: CalibrationTest | None = None
    ece_equal_mass_after_temperature_scaling: CalibrationTest | None = None


class ClassCalibration(Part):
    """The ECE of 'is it this class?' of each of K classes, over all test images."""

    images: list[int] = Field(description="(K,) test images of the class")
    ece: list[float] = Field(description="(K,) fractions")
    floor: list[float] = Field(
        description="(K,) what a perfectly calibrated model of the same answers shows on average"
    )
    p_value: list[float] = Field(description="(K,) one-sided, each class for itself")


class ScoreParts(Part):
    """A proper score in two: what temperature scaling takes off it, and what it leaves (Ferrer and Ramos 2024)."""

    calibration: float = Field(description="score less score after temperature scaling; below 0 where scaling harms")
    refinement: float = Field(description="score after temperature scaling")
    calibration_interval: Pair | None = Field(None, description="the fit of the temperature included")
    refinement_interval: Pair | None = None


class ScalarIntervals(Part):
    """Intervals of scalars over test images, [lower, upper] each, in the scalars' units.

    Accuracy, also among the first five: Wilson's; balanced: the same for a mean of classes. ECE and the squared
    and RMS calibration error: the distribution of the bins' gaps inverted. Else percentiles over resampled images. Those after
    temperature scaling include the fit on resampled validation images.
    """

    accuracy: Pair | None = None
    accuracy_balanced: Pair | None = None
    accuracy_top5: Pair | None = None
    confidence: Pair | None = None
    ece: Pair | None = None
    nll: Pair | None = None
    brier: Pair | None = None
    squared_calibration_error: Pair | None = None
    rms_calibration_error: Pair | None = None
    aurc: Pair | None = None
    fitted_temperature: Pair | None = None
    confidence_after_temperature_scaling: Pair | None = None
    ece_after_temperature_scaling: Pair | None = None
    nll_after_temperature_scaling: Pair | None = None
    brier_after_temperature_scaling: Pair | None = None
    squared_calibration_error_after_temperature_scaling: Pair | None = None
    rms_calibration_error_after_temperature_scaling: Pair | None = None


class Validation(Part):
    """Calibration on the validation images: what may be chosen by."""

    accuracy: float
    confidence: float
    ece: float
    nll: float
    brier: float
    class_accuracy: list[Number] | None = Field(
        None, description="(K,) fraction of a class's images (recall); null without images, and in older results"
    )


class Answers(Part):
    """What a network answers on the test images, of K classes, beside what the class shares alone would reach there."""

    predicted_classes: int = Field(description="that are the answer to at least one image")
    commonest_answer: int = Field(description="position in the data's class_names")
    commonest_answer_share: float = Field(description="of all answers, a fraction")
    class_accuracy: list[Number] = Field(description="(K,) fraction of a class's images (recall); null without images")
    balanced_accuracy: float = Field(description="mean of class_accuracy over the classes with images")
    information: float = Field(description="entropy of the mean answer less the mean entropy of the answers, nats")
    prior_accuracy: float = Field(description="of always answering the test images' commonest class, a fraction")
    prior_nll: float = Field(description="of answering the test images' class shares each time (their entropy), nats")


class Selective(Part):
    """Selective prediction: the error among the most confident share of the test images."""

    coverage: list[float] = Field(description="share of images that is answered, ascending, at most 50 points")
    risk: list[float] = Field(description="error among them, a fraction")
    aurc: float = Field(description="area under the risk-coverage curve over all images")


class VicinalIntervals(Part):
    """Intervals of the vicinal curves, by resampling the images that the pairs are made of, (L,) each.

    After temperature scaling the error of the fitted temperature is in them.
    """

    nonlinearity: Bounds | None = None
    entropy: Bounds | None = None
    linearity_information: Bounds | None = None
    dominance: Bounds | None = None


class VicinalCurves(Part):
    """The vicinal curves (eq. 12, 13, 14), means over pairs in both orders, (L,) each; null where not finite."""

    lam: list[float] = Field(description="λ, from 0 to 1")
    nonlinearity: list[Number] = Field(description="NL(λ), nats")
    entropy: list[Number] = Field(description="H(λ), nats")
    dominance: list[Number] = Field(description="D(λ) = NL / H")
    linearity_information: list[Number] = Field(description="I_lin(λ), nats")
    intervals: VicinalIntervals | None = None


class AtHalfIntervals(Part):
    """Intervals of figures at λ = 1/2, over the images of the pairs."""

    nonlinearity: Pair | None = None
    entropy: Pair | None = None
    dominance: Pair | None = None


class AtHalf(Part):
    """NL, H and D at λ = 1/2 over pairs of one kind."""

    pairs: int
    images: int = Field(description="in these pairs")
    nonlinearity: Number = Field(description="NL(1/2), nats")
    entropy: Number = Field(description="H(1/2), nats")
    dominance: Number = Field(description="D(1/2) = NL / H")
    intervals: AtHalfIntervals | None = None


class ByClass(Part):
    """Pairs of two images of one class, drawn apart, and pairs of two classes among the random ones."""

    same: AtHalf | None = Field(description="null where classes have too few images")
    different: AtHalf | None = Field(description="null where all pairs are of one class")


class OnPairs(Part):
    """A network on pairs of test images, which nobody trained on."""

    vicinity: VicinalCurves
    vicinity_after_temperature_scaling: VicinalCurves | None = None
    by_class: ByClass | None = None
    by_class_after_temperature_scaling: ByClass | None = None


class Information(Part):
    """Both sides of eq. 11 along λ, (L,) each, nats."""

    lam: list[float]
    entropy_mixed: list[Number] = Field(description="H[p(x̃)]")
    entropy_clean: list[Number] = Field(description="H[p(x)]")
    nonlinearity: list[Number] = Field(description="NL")
    residual_eq11: list[Number] = Field(description="entropy_mixed - entropy_clean - nonlinearity")


class InformationBound(Part):
    """The bound of eq. 10 on what a student's answers tell of its teacher's, in both readings, (L,) each, nats."""

    lam: list[float]
    bound_per_sample: list[Number] = Field(description="-KL(teacher ‖ student): H as the mean entropy")
    bound_of_mean: list[Number] = Field(description="H as the entropy of the mean answer")


class AlignmentIntervals(Part):
    """Intervals by resampling the images of the pairs, nats; null where pairs are too few to tell."""

    kl_real: Pair | None = None
    kl_mixed: Pair | None = None
    kl_mixed_by_lam: Bounds | None = None
    independent_response: Pair | None = None


class Alignment(Part):
    """KL(teacher ‖ student) (section 7.4, table 6), nats; null where not finite."""

    kl_real: Number = Field(description="on clean images")
    kl_mixed: Number = Field(description="on mixed images, mean over λ ~ Uniform(0, 1)")
    independent_response: Number = Field(description="kl_mixed - kl_real")
    kl_mixed_by_lam: list[Number] = Field([], description="(L,) on mixed images")
    intervals: AlignmentIntervals | None = None


class Compared(Part):
    """A student held against a teacher, on the same pairs."""

    linearity_gain: list[Number] = Field(description="(L,) Δ_lin(λ): the teacher's NL less the student's, nats")
    linearity_gain_interval: Bounds | None = Field(None, description="by resampling the images of the pairs")
    linearity_gain_after_temperature_scaling: list[Number] | None = Field(
        None, description="(L,) both scaled; null without validation images"
    )
    linearity_gain_after_temperature_scaling_interval: Bounds | None = Field(
        None, description="with the error of both fitted temperatures"
    )
    alignment: Alignment
    alignment_after_temperature_scaling: Alignment | None = Field(
        None, description="each network at its own fitted temperature"
    )


class StudentVersusTeacher(Compared):
    """A student held against a teacher, on pairs of the student's training images."""

    held_out: Compared | None = Field(None, description="on pairs of test images; null without two")
    information: InformationBound | None = None
    information_at_training_temperature: InformationBound | None = Field(
        None,
        description="of the answers at the temperature that the student was trained at; null for an arm without one",
    )


class StudentMinusBaseline(Part):
    """A student less the baseline student of its seed, on the same test images, with paired intervals."""

    accuracy_pp: float = Field(description="percentage points")
    accuracy_pp_interval: Pair = Field(description="Tango's score interval")
    ece: float = Field(description="fraction; below 0 is better calibrated")
    ece_interval: Pair | None = Field(None, description="bootstrap, of earlier versions: it misses, and is not given")
    nll: float | None = Field(None, description="nats")
    nll_interval: Pair | None = Field(None, description="bootstrap over images")
    brier: float | None = None
    brier_interval: Pair | None = Field(None, description="bootstrap over images")


class McNemar(Part):
    """McNemar's exact test that two networks are right equally often, on the same test images."""

    only_first: int = Field(description="images that this student alone classifies correctly")
    only_second: int = Field(description="images that the baseline alone classifies correctly")
    p_value: float = Field(description="two-sided")


class Corruption(Part):
    """Test images under one corruption, at S severities (section 7.5, table 7)."""

    severity: list[int]
    accuracy: list[float] = Field(description="(S,) fractions")
    ece: list[float] = Field(description="(S,) fractions")
    images: int | None = Field(None, description="N, at each severity")
    ece_floor: list[float] | None = Field(None, description="(S,) ECE of a perfectly calibrated model, on average")
    ece_floor_upper: list[float] | None = Field(None, description="(S,) its quantile at the study's confidence level")
    ece_p_value: list[float] | None = Field(None, description="(S,) one-sided, of being calibrated")
    gain_pp: list[float] | None = Field(
        None, description="(S,) accuracy less the baseline's on the same images, percentage points; null without one"
    )
    gain_pp_interval: Bounds | None = Field(
        None, description="Tango's score interval over images; null without a baseline"
    )


class Representation(Part):
    """Penultimate features of some classes of test images (appendix A, figures 7 and 8)."""

    classes: list[str]
    images: int
    features: int = Field(description="their dimension")
    v_score: float = Field(description="V-measure of k-means clusters against the classes, in [0, 1]")
    v_score_interval: Pair | None = Field(None, description="over resampled images, the clusters kept")
    silhouette: Number = Field(description="of the classes, in [-1, 1]; null where every image is a class of its own")
    points: list[list[float]] = Field(description="(N, 2) t-SNE picture; only closeness has a meaning")
    labels: list[int] = Field(description="(N,) positions in `classes`")
