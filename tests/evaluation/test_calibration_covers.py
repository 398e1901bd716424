"""Coverage of calibration's intervals by simulation with the code itself; docs/statistics.md has the whole table."""

import pytest

from scripts.simulate.calibration import Population, coverage, error_coverage, paired_coverage, truths

NOT_COVERING = "ece by percentiles"  # what intervals of ECE were


@pytest.mark.slow
@pytest.mark.parametrize("factor", [1.0, 1.5])
def test_intervals_of_one_classifier_cover(factor: float) -> None:
    """200 sets: the standard error of a coverage of 0.95 is 0.015; of 120 sets 0.02. NLL of 200 images is skewed: 0.92."""
    population = Population(2.0, factor)
    for images, sets in ((200, 200), (1000, 120)):
        found = coverage(population, images, sets)
        assert set(truths(population)) == set(found)
        for name, (held, _) in found.items():
            if name != NOT_COVERING:
                assert held >= 0.9, (name, images, held)
        if factor == 1:
            assert found[NOT_COVERING][0] < 0.05


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scale", "factor"), [(2.0, 1.0), (2.0, 1.05), (2.0, 1.15), (2.0, 1.5), (6.0, 1.0), (6.0, 1.5)]
)
def test_errors_cover(scale: float, factor: float) -> None:
    """1,000 sets: 0.007. Where the true error is 0, or far below its noise, they may cover more."""
    population = Population(scale, factor)
    for images in (200, 1000, 5000):
        for name, (held, _) in error_coverage(population, images, 1000).items():
            assert 0.92 <= held <= 0.995, (name, images, held)


@pytest.mark.slow
def test_paired_accuracies_cover() -> None:
    """Few differing images make an interval of whole numbers, which covers more."""
    for images in (200, 1000, 5000):
        for share, held in paired_coverage(images, 2000).items():
            assert 0.93 <= held <= 0.995, (share, images, held)
