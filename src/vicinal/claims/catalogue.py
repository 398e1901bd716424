"""The paper's claims, in one list: what it says, where, by which statistic that is judged, and the judging itself.

Every claim is judged as it is written, that is for each teacher, temperature, λ or severity it speaks of. A claim's function turns
an `Evidence` into cases; `judge` turns cases into a verdict, the same way for all (`judge.RULE`). What "holds" means for two
numbers is `comparison.decide`. Claims about answers that change with the scale of the logits are judged after temperature scaling
too. Students of teachers that were trained with mixup count for the one claim about them only.
"""

from __future__ import annotations

from vicinal.claims import between_images, by_arm, causes, features, under_corruption
from vicinal.claims.evidence import Evidence
from vicinal.claims.judge import Claim, Judgement, judge

CLAIMS: tuple[Claim, ...] = (
    Claim("dominance", "Halfway between two images, mismatch dominates the teacher’s answer: D(0.5) > 1.", "§7.3, §7.6, fig. 4",
          "dominance ratio D(0.5) of each teacher", "above 1", between_images.dominance, by_scale=True),
    Claim("nl_peak", "A teacher’s NL peaks at λ = 0.5 and is symmetric about it.", "§7.2, fig. 4",
          "NL(0.5) of each teacher less NL at λ ≤ 0.25 or ≥ 0.75",
          "above 0; the symmetry holds for any network and is not testable, so λ and 1 − λ count once",
          between_images.nl_peaks_at_half, by_scale=True),
    Claim("gain_positive", "The student is more linear than its teacher at every λ: Δ_lin(λ) > 0.", "§7.4, §7.6, fig. 5",
          "Δ_lin of each teacher’s KD + mixup student at every λ between 0 and 1", "above 0", between_images.gain_positive,
          by_scale=True),
    Claim("gain_near_half", "The linearity gain is largest near λ = 0.5.", "§7.4, §7.6, fig. 5",
          "Δ_lin(0.5) less the largest Δ_lin at λ ≤ 0.25 or ≥ 0.75", "above 0", between_images.gain_largest_near_half, by_scale=True),
    Claim("gain_information", "A positive linearity gain means a larger linearity information I_lin.", "§4.3, eq. 14 and 15",
          "I_lin of each teacher’s KD + mixup student less its teacher’s, where Δ_lin is clearly above 0",
          "above 0", between_images.gain_is_information, by_scale=True),
    Claim("gain_order", "The linearity gain follows the order of the teachers’ NL.", "§7.4, fig. 5, tables 5 and 6",
          "Kendall’s τ over teachers, peak NL and peak Δ_lin", "each pair of teachers stands in the same order",
          between_images.gain_order, by_scale=True),
    Claim("kl_mixed", "The student departs from its teacher on mixed inputs: KL mixed > KL real.", "§7.4, table 6",
          "KL mixed less KL real of each teacher’s KD + mixup student", "above 0", between_images.kl_mixed, by_scale=True),
    Claim("mixup_improves", "Mixup makes the student without a teacher more accurate.", "§6.1 (1), table 1",
          "accuracy of mixup less that of the baseline", "above 0", by_arm.mixup_improves),
    Claim("beats_kd", "KD + mixup is more accurate than KD.", "§6.1 (2), table 1",
          "accuracy of KD + mixup, every temperature, less that of KD", "above 0",
          by_arm.more_accurate_than("kd", "KD students of one teacher")),
    Claim("beats_mixup", "KD + mixup is more accurate than mixup.", "§6.1 (2), table 1",
          "accuracy of KD + mixup, every temperature, less that of mixup", "above 0",
          by_arm.more_accurate_than("mixup", "the mixup arm")),
    Claim("beats_baseline", "KD + mixup is more accurate than the baseline.", "abstract, §6.1 to §6.4, tables 1 to 4",
          "accuracy of KD + mixup, every temperature, less that of the baseline", "above 0",
          by_arm.more_accurate_than("baseline", "the baseline")),
    Claim("gain_follows_accuracy", "The student’s gain in accuracy follows its teacher’s accuracy.", "§6.3, table 3",
          "Kendall’s τ over teachers, accuracy of the teacher and of its KD + mixup student, whose baseline is one for all",
          "each pair of teachers stands in the same order", by_arm.gain_follows_accuracy),
    Claim("ece_order", "KD + mixup’s ECE is an order of magnitude below the baseline’s.", "abstract, §6.2, tables 2 to 4",
          "ECE of the baseline over that of KD + mixup", "10 or more", by_arm.order_of_magnitude),
    Claim("ece_falls", "ECE falls with temperature, monotonically.", "§6.1 (5), table 1",
          "ECE of KD + mixup at a temperature less that at the next higher one", "above 0",
          by_arm.falls_with_temperature("ece", "ECE")),
    Claim("accuracy_falls", "Accuracy falls with temperature, monotonically.", "§6.1 (5), appendix B, table 1",
          "accuracy of KD + mixup at a temperature less that at the next higher one", "above 0",
          by_arm.falls_with_temperature("accuracy", "points")),
    Claim("ece_below_kd", "At every temperature KD + mixup has a lower ECE than KD.", "§6.1 (4), table 1",
          "ECE of KD less that of KD + mixup, every temperature", "above 0", by_arm.calibrated_better_than_kd),
    Claim("two_best", "T = 2 is the most accurate temperature.", "§6.1 (3), appendix B, table 1",
          "accuracy of KD + mixup at T = 2 less that at every other temperature", "above 0", by_arm.two_is_best),
    Claim("sigma_worst", "T = σ has the worst ECE.", "§6.1 (5), table 1",
          "ECE of KD + mixup at T = σ less that at every fixed temperature", "above 0", by_arm.sigma_is_worst),
    Claim("calibration_follows", "The student’s calibration follows its teacher’s.", "§6.2, §6.3, tables 2 to 4",
          "Kendall’s τ over teachers, ECE of the teacher and of its KD + mixup student",
          "each pair of teachers stands in the same order", by_arm.calibration_follows),
    Claim("confidence_passes", "Overconfident teachers make overconfident students, underconfident ones underconfident students.",
          "§6.3, tables 2 to 4", "confidence less accuracy of KD + mixup, with the sign of its teacher’s", "above 0",
          by_arm.confidence_passes),
    Claim("overconfidence_corrected", "The student of an overconfident teacher is better calibrated than the teacher.",
          "§7.1 (2), fig. 3, tables 2 to 4", "ECE of each overconfident teacher less that of its KD + mixup student", "above 0",
          by_arm.overconfidence_corrected),
    Claim("calibration_passes", "A teacher’s confidence passes to its student: surer answers of one teacher make a surer student.",
          "not in the paper; causal test of §6.2 and §6.3",
          "confidence less accuracy of KD + mixup, at a scale of one teacher’s logits less at the next smaller scale", "above 0",
          causes.calibration_passes),
    Claim("nl_follows_ece", "A teacher’s NL follows its ECE.", "§7.2, table 5",
          "Kendall’s τ over teachers, ECE and mean NL over λ", "each pair of teachers stands in the same order",
          between_images.nl_follows_calibration, by_scale=True),
    Claim("robustness_order", "The gain on corrupted images follows the order of the linearity gain.", "§7.5, §7.6, table 7, fig. 6",
          "Kendall’s τ over teachers, peak Δ_lin and mean accuracy gain over corruptions and severities",
          "each pair of teachers stands in the same order", under_corruption.robustness_order, by_scale=True),
    Claim("smooth_most", "Fog and contrast gain most of all corruptions.", "§7.5, fig. 6",
          "mean gain over teachers and severities of fog and of contrast, less that of every other corruption", "above 0",
          under_corruption.smooth_gain_most),
    Claim("noise_least", "Gaussian noise gains least of the corruptions, pixelate aside.", "§7.5, §7.6, table 7",
          "mean gain over teachers and severities of every other corruption but pixelate, less that of Gaussian noise", "above 0",
          under_corruption.noise_gains_least),
    Claim("pixelate_loses", "Pixelate at high severity puts every distilled student below the baseline.", "§7.5, §7.6, table 7",
          "loss of each teacher’s student under pixelate at severities 4 and 5", "above 0", under_corruption.pixelate_loses),
    Claim("mixup_teacher", "A teacher trained with mixup makes a worse student.", "appendix A.1, fig. 8",
          "accuracy of KD + mixup from a teacher trained without mixup, less that from one trained with it", "above 0",
          by_arm.mixup_teacher_hurts),
    Claim("mixup_v_score", "Mixup loosens the clusters of similar classes: a lower V-score.", "appendix A.1, fig. 7",
          "V-score of a network trained without mixup less that of the same model trained with it", "above 0",
          features.mixup_lowers_v_score),
    Claim("capacity_v_score", "The V-score rises with a network’s capacity.", "appendix A, fig. 7",
          "Kendall’s τ over networks trained without mixup and without a teacher, parameters and V-score",
          "each pair of networks stands in the same order", features.v_score_rises_with_capacity),
    Claim("eq11", "H[p(x̃)] = H[p(x)] + NL (eq. 11).", "§4.2.1, eq. 11",
          "minus the distance of the two sides at λ = 0.5", "within 5 % of NL(0.5)", between_images.eq11),
)  # fmt: skip


def judge_all(*evidences: Evidence) -> list[Judgement]:
    """Every claim of the paper, in its order."""
    return [judge(claim, *evidences) for claim in CLAIMS]
