"""Deviations over resamples against figures computed again on images that are really drawn again."""

from __future__ import annotations

import torch

from vicinal.metrics import corruption_deviations, measure_corruptions, resample_counts

IMAGES, RESAMPLES, BINS = 60, 20, 7


def drawn_again(seed: int = 0) -> list[torch.Tensor]:
    """Positions of the images of each resample."""
    counts = resample_counts(IMAGES, RESAMPLES, seed)
    assert counts.shape == (RESAMPLES, IMAGES)
    assert bool((counts.sum(1) == IMAGES).all())
    return [torch.arange(IMAGES).repeat_interleave(row.long()) for row in counts]


def test_corruptions_move_as_on_images_drawn_again():
    generator = torch.Generator().manual_seed(1)
    logits = {name: 2 * torch.randn(5, IMAGES, 4, generator=generator) for name in ("fog", "contrast")}
    labels = torch.randint(4, (IMAGES,), generator=generator)
    moved, exact = (
        corruption_deviations(logits, labels, BINS, RESAMPLES),
        measure_corruptions(logits, labels, bins=BINS),
    )
    for r, index in enumerate(drawn_again()):
        again = measure_corruptions({name: z[:, index] for name, z in logits.items()}, labels[index], bins=BINS)
        for name, own in moved.items():
            for key, values in own.items():
                expected = torch.tensor(again[name][key]) - torch.tensor(exact[name][key])
                torch.testing.assert_close(values[r], expected.double(), atol=1e-6, rtol=0)
