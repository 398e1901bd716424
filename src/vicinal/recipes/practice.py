"""What a careful engineer would set before seeing a result, each with where it comes from."""

from __future__ import annotations

from dataclasses import dataclass

from vicinal.data import Glance
from vicinal.networks import ModelFacts

SMALL_SIDE = 64  # px; up to here images are kept as they are, as with CIFAR and Fashion-MNIST
STEP_PX = 32  # networks halve an image five times
# Updates below which a training is called short: fine-tuning has the features, a new network has to find them.
UPDATES_FINE_TUNED, UPDATES_NEW = 1_000, 5_000
FEWEST_EPOCHS, MOST_EPOCHS_OF_PRACTICE = 5, 300
TEACHER_EPOCHS = 5


@dataclass(frozen=True)
class Choice:
    """A value and its reason, one line."""

    value: object
    reason: str


def image_size(data: Glance, student: ModelFacts) -> Choice:
    """Side in px that all images are brought to."""
    side = data.short_side
    if data.one_size and side is not None and side <= SMALL_SIDE:
        return Choice(side, f"the images are {side} px squares and are kept as they are")
    own = student.image_size or 224
    if side is not None and side < own:
        kept = max(SMALL_SIDE, round(side / STEP_PX) * STEP_PX)
        if kept < own:
            return Choice(
                kept,
                f"the images' shorter side is {side} px (median): {own} px, the student's own, would only enlarge them",
            )
    seen = f"; the images' shorter side is {side} px (median)" if side is not None else ""
    return Choice(
        own, f"what {student.name} was made for{seen}; half of it trains four times as fast and costs accuracy"
    )


def validation_share(train_images: int) -> Choice:
    """Share of the training images that arms are chosen, and the temperature and thresholds fitted, on."""
    if train_images >= 5_000:
        return Choice(0.1, "arm, temperature and thresholds are chosen on these, never on test images")
    return Choice(
        0.2,
        "arm, temperature and thresholds are chosen on these, never on test images; a tenth of so few would be too few",
    )


def augment(data: Glance, side: int) -> Choice:
    """Crops and flips of training images."""
    crop = {"crop": "pad", "pad": max(2, side // 8), "flip": True}
    source = "random crops of an eighth and flips (He et al. 2016)"
    if data.grey and side <= SMALL_SIDE:
        crop["pad"] = 2
        source = "random crops and flips (He et al. 2016)"
    return Choice(
        crop,
        f"{source}, the same for teacher and student (Beyer et al. 2022); flip: false where left and right differ (digits, text)",
    )


def batch_size(train_images: int) -> Choice:
    """Images of a step."""
    for size, images in ((128, 20_000), (64, 1_280), (32, 320)):
        if train_images >= images:
            return Choice(size, f"at least {images // size} steps an epoch of {train_images:,} images")
    return Choice(16, f"there are {train_images:,} training images alone")


def learning_rate(model: ModelFacts, pretrained: bool) -> Choice:
    """Peak of the one-cycle schedule of AdamW."""
    if model.is_transformer:
        rate = 1e-4 if pretrained else 5e-4
        return Choice(rate, "AdamW for transformers (Touvron et al. 2021: 5e-4 for new ones, lower for fine-tuning)")
    if pretrained:
        return Choice(
            1e-3, "AdamW with one cycle (Smith & Topin 2018), as in examples/cifar10-lite.yaml for ImageNet weights"
        )
    if model.parameters < 1_000_000:
        return Choice(
            5e-3, "AdamW with one cycle (Smith & Topin 2018), as in the packaged quickstart for so small a network"
        )
    return Choice(2e-3, "AdamW with one cycle (Smith & Topin 2018), for a network that starts from nothing")


def teacher_epochs(train_images: int, batch: int, pretrained: bool) -> Choice:
    """Of a teacher that is trained first."""
    if pretrained:
        return Choice(TEACHER_EPOCHS, "a few: its features are there")
    return Choice(good_epochs(train_images, batch, False), f"about {UPDATES_NEW:,} updates: it starts from nothing")


def teacher_learning_rate(model: ModelFacts) -> Choice:
    """Of a teacher that is fine-tuned."""
    if model.is_transformer:
        return Choice(1e-4, "AdamW, low: the features are there (Kornblith et al. 2019)")
    return Choice(5e-4, "AdamW, low: the features are there (Kornblith et al. 2019)")


def good_epochs(train_images: int, batch: int, pretrained: bool) -> int:
    """Epochs from which a training is not called short."""
    steps = max(1, -(-train_images // batch))
    updates = UPDATES_FINE_TUNED if pretrained else UPDATES_NEW
    return min(MOST_EPOCHS_OF_PRACTICE, max(FEWEST_EPOCHS, -(-updates // steps)))


def most_epochs(good: int) -> int:
    """Epochs beyond which minutes are left unused: patience pays (Beyer et al. 2022), but not without end."""
    return min(MOST_EPOCHS_OF_PRACTICE, 4 * good)
