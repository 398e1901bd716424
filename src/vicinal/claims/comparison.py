"""The one comparator: is a number above another one, or above a threshold, as far as its spread can tell?

Claims, the report's sentences and the recommendation all compare here, so that one page never says two things. In this order:

- printed numbers: where rounding cannot hide the difference;
- several seeds: where all of them agree, seed by seed. Of n seeds with no effect that happens by chance with probability
  2^(1 − n), so two or three seeds prove little;
- two accuracies of one seed: by McNemar's exact test on the same test images, where it was stored. It is paired, and sees
  differences that two separate intervals hide;
- any other number of one seed: where its interval (Wilson's of an accuracy, else bootstrap) excludes the threshold. The interval
  of a difference is paired where the study stored a paired one, else the two intervals must not meet, which is strict;
- without any of these nothing is decided.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from vicinal.claims.numbers import EPSILON, Number, PairedTest, Spread, difference


@dataclass(frozen=True)
class Comparison:
    """Whether one number is above another, and the difference that this rests on."""

    sign: int  # +1 above, -1 below, 0 undecided
    difference: Number


def compare(a: Number, b: Number, test: PairedTest | None = None) -> Comparison:
    """Whether a is above b. `test`: of the two on the same images, where both are accuracies."""
    gap = replace(difference(a, b), test=test)
    return Comparison(decide(gap), gap)


def decide(number: Number, threshold: float = 0.0) -> int:
    """+1 where the number is above the threshold, -1 where it is below, 0 where its spread does not decide.

    A paired test speaks for a threshold of 0 only.
    """
    if number.test is not None and number.spread == "paired test" and threshold == 0:
        return number.test.sign
    ends = number.ends
    if ends is None:
        return 0
    low, high = ends
    if number.printed:
        # Rounded values a whole digit apart cannot have been equal, although their rounding intervals touch.
        if abs(number.value - threshold) < EPSILON:
            return 0
        return 1 if low >= threshold - EPSILON else -1 if high <= threshold + EPSILON else 0
    return 1 if low > threshold else -1 if high < threshold else 0


def why_undecided(number: Number) -> str:
    """What keeps `decide` from an answer, in a few words."""
    words: dict[Spread, str] = {
        "rounding": "within rounding",
        "seeds": "the seeds disagree",
        "paired test": "McNemar’s test finds no difference",
        "bootstrap": "within the interval",
        "unknown": "one seed and no interval stored",
    }
    return words[number.spread]
