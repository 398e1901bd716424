"""What the page says that no figure says: how each benchmark was done, and by hand why a target is missed."""

from __future__ import annotations

HEADINGS = {
    "throughput": "Training throughput",
    "sweep": "The temperature sweep: seven students, one teacher",
    "curve": "The vicinal curve",
    "loaders": "Reading images",
    "banks": "Teachers' answers to and from the disk",
    "scaling": "What doubling costs",
    "quickstart": "Quickstart and report",
    "gpu": "On a GPU",
}

METHOD = """
Entrants take turns (A B C A B C ...), each in a process of its own that sleeps meanwhile (on a GPU all in one process).
A turn is a fixed number of steps, about a second or more; a ratio is formed within a round and its median is shown with
the lowest and the highest round, so what slows the machine for a while slows all alike. Single turns drift by 10 to
20 %: a difference under about 1.1 x is nothing.
"""

HOW = {
    "throughput": """
KD + mixup (α = 0, β = 1, T = 2), AdamW, crops and flips, synthetic uint8 images in memory, random weights, 10 classes.

- The floor is the same teacher's forward pass and the same student's forward, backward and update on a ready batch in
  eager fp32: no data, no mixing.
- timm's task is stepped as timm's train script steps it (`SoftTargetCrossEntropy`, `Mixup(mode="elem")`,
  `create_optimizer_v2`, `loss.item()` in each step). In place of its loader it is given batches cropped and flipped at
  once, in one place for the whole batch: cheaper than the image by image that its users have.
- The plain loop is that of public distillation code (one λ for a batch, `F.kl_div` times T², `loss.item()` in each
  step) on the same batches. Both have contiguous tensors and unfused AdamW, as their users have.
- vicinal is the product's own loop with everything in it: a crop, a flip, a partner and a λ of its own for each image,
  by plan.

Preparation is gathering, cropping, flipping and mixing a batch and normalising it once for each network, timed alone.
""",
    "sweep": """
Table 1 for one teacher: KD with mixup at T = 2, 4, 6, 8, 10 and σ on one input stream, and classic KD, which mixes
nothing, on a second one. A step is a step of all seven. The separate runs are plain loops, each with a teacher pass of
its own. The students alone get a ready batch with ready answers: no data, no teacher, no bank.
""",
    "curve": """
NL at every λ of the grid, every pair in both orders. The naive way asks the network three times for each ordered pair
and λ, in batches, eager, contiguous, fp32. All entrants compute in fp32.
""",
    "loaders": """
A turn is whole epochs, each from its start to its end: no loader has anything ready when its turn begins. Drawn
photographs of about 500 x 375 px, JPEG of quality 90, in the system's cache; crops of a random size, bilinear, and
flips; mixed, then normalised. timm's and torchvision's loaders have two worker processes, vicinal has its threads.
Nothing trains meanwhile.
""",
    "banks": """
Batch by batch, as training does. A step of writing ends when the disk has everything (fsync); before a step of reading
the system is told to forget what it holds of the file. The plain file has as many bytes and no checksums.
""",
    "scaling": """
Each size runs in a process of its own: the seconds of the same work once it is warm, the peak of resident memory, and
how far that rose above libraries and a first step.
""",
    "quickstart": "The commands as a person gives them, once, imports and data included.",
    "gpu": """
Live and from a warm bank (one banked epoch, repeated), batch 200, 224 px, images in memory. The floor has all that the
library can be asked for: bf16 autocast, channels_last, fused AdamW and, where there is a compiler, compiled networks.
""",
}

# Why a target is missed, on the machine whose figures are stored: by the target's key, as "throughput.tiny.eager".
WHY: dict[str, str] = {
    "sweep.lite.bank": (
        "Reading answers and making two batches take 0.3 % of such a step, so this is not where it goes; the two alone in turn "
        "gave 0.92 to 1.23 x over 6 rounds (median 1.08), so the difference is the machine's."
    ),
    "sweep.convnext.bank": "The two alone in turn gave 0.93 to 1.11 x over 6 rounds (median 0.98): the machine's drift.",
    "curve.lite.speed": (
        "Six times fewer passes, each 1.9 x cheaper, is all that these two steps give here; folding takes 4 % of so short a curve, "
        "and compiling gains nothing on this network here."
    ),
    "quickstart.quickstart.run": (
        "Of a run of 160 s, 136 s were eight trainings of small networks in eager fp32, 14 s their measures and 6 s the "
        "import of libraries; trainings this short do not pay for compiling, and run one after another, though on two cores two "
        "processes of one thread each would do about 1.3 x as much."
    ),
}
