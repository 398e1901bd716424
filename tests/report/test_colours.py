"""Arms can be told apart by their colours with normal, deuteranopic and protanopic eyes, and without any by their markers."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from made_up_results import make_results

from vicinal.report.figures import ARM_SLOTS, COLOURS, Styles, all_figures
from vicinal.report.figures.core import ARM_MARKERS, MARKERS
from vicinal.report.rows import arrange

# Of linear RGB, severity 1: Machado, Oliveira and Fernandes (2009), A Physiologically-based Model for Simulation of Color
# Vision Deficiency, IEEE TVCG 15(6), table 1.
EYES = {
    "normal": np.eye(3),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
}
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
LEAST_DIFFERENCE, LEAST_CONTRAST = 15.0, 3.0  # CIEDE2000; WCAG 2.2, 1.4.11


def linear(colour: str) -> np.ndarray:
    values = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(colour: str, eyes: str) -> np.ndarray:
    xyz = TO_XYZ @ np.clip(EYES[eyes] @ linear(colour), 0, 1) / [0.95047, 1, 1.08883]
    x, y, z = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def ciede2000(one: np.ndarray, other: np.ndarray) -> float:
    """Sharma, Wu and Dalal (2005), equations 2 to 22."""
    chroma = (np.hypot(*one[1:]) + np.hypot(*other[1:])) / 2
    stretch = 1 + 0.5 * (1 - np.sqrt(chroma**7 / (chroma**7 + 25**7)))
    (l1, a1, b1), (l2, a2, b2) = one, other
    c1, c2 = np.hypot(a1 * stretch, b1), np.hypot(a2 * stretch, b2)
    h1, h2 = (np.degrees(np.arctan2(b, a * stretch)) % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = (h2 - h1 + 180) % 360 - 180 if c1 * c2 else 0.0
    hue = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2))
    light, colourful, middle = (l1 + l2) / 2, (c1 + c2) / 2, (h1 + turn / 2) % 360 if c1 * c2 else h1 + h2
    waves = ((-0.17, 1, -30), (0.24, 2, 0), (0.32, 3, 6), (-0.20, 4, -63))
    t = 1 + sum(weight * np.cos(np.radians(k * middle + phase)) for weight, k, phase in waves)
    sl, sc = 1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2), 1 + 0.045 * colourful
    sh = 1 + 0.015 * colourful * t
    rotated = (
        2
        * np.sqrt(colourful**7 / (colourful**7 + 25**7))
        * np.sin(np.radians(60 * np.exp(-(((middle - 275) / 25) ** 2))))
    )
    dl, dc, dh = (l2 - l1) / sl, (c2 - c1) / sc, hue / sh
    return float(np.sqrt(dl**2 + dc**2 + dh**2 - rotated * dc * dh))


@pytest.mark.parametrize(
    ("one", "other", "difference"),
    [  # of the table of Sharma, Wu and Dalal
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 0, 0), (50, -1, 2), 2.3669),
        ((50, 2.4900, -0.0010), (50, -2.4900, 0.0011), 7.2195),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_the_difference_is_the_published_one(one, other, difference):
    assert ciede2000(np.array(one, float), np.array(other, float)) == pytest.approx(difference, abs=1e-4)


def grounds() -> dict[str, dict[str, str]]:
    """The colours of every ground that figures lie on: the page's in light, dark and print, and a file's own."""
    import vicinal.report

    page = (Path(vicinal.report.__file__).parent / "report.html.j2").read_text(encoding="utf-8")
    found = re.findall(r"--figure-ink: (\S+);.*?--figure-surface: (\S+);\s*(--arm-1:[^\n]+)", page)
    parts = {
        name: {"ink": ink, "surface": surface.replace("#fff", "#ffffff") if len(surface) == 4 else surface}
        | {f"arm-{k}": value for k, value in re.findall(r"--arm-(\d): (#\w{6});", arms)}
        for name, (ink, surface, arms) in zip(("light", "dark", "print"), found, strict=True)
    }
    return parts | {"file": {name: value for name, (_, _, value) in COLOURS.items()}}


ARMS = [f"arm-{slot}" for slot in range(1, ARM_SLOTS + 1)]


@pytest.mark.parametrize("ground", ["light", "dark", "print", "file"])
@pytest.mark.parametrize("eyes", EYES)
def test_any_two_arms_are_told_apart(ground, eyes):
    colours = grounds()[ground]
    seen = {name: lab(colours[name], eyes) for name in [*ARMS, "ink"]}
    differences = {pair: ciede2000(seen[pair[0]], seen[pair[1]]) for pair in itertools.combinations(seen, 2)}
    assert min(differences.values()) >= LEAST_DIFFERENCE, min(differences, key=differences.__getitem__)


def test_the_colours_before_would_not_do():
    seen = [lab(colour, "deuteranopia") for colour in ("#cc4a0a", "#94700a")]
    assert ciede2000(*seen) < 5


@pytest.mark.parametrize("ground", ["light", "dark", "print", "file"])
def test_lines_stand_out_from_their_ground(ground):
    colours = grounds()[ground]
    light = {name: TO_XYZ[1] @ linear(value) + 0.05 for name, value in colours.items()}
    for name in ARMS:
        assert max(light[name] / light["surface"], light["surface"] / light[name]) >= LEAST_CONTRAST, name


def test_arms_have_markers_of_their_own_in_every_figure():
    arms = ("baseline", "mixup", "kd", "kd_mixup", "gentle", "strong")
    results = arrange(make_results(teachers=2, arms=arms))
    styles = Styles.of(results)
    marks = {arm: styles.arm_marker(arm) for arm in arms}
    assert len(set(marks.values())) == len(arms)
    assert not {*marks.values()} & {*MARKERS}  # which are teachers'
    figures = [keys for figure in all_figures(results) if (keys := [key for key in figure.keys if key.colour in ARMS])]
    assert len(figures) == 3
    for keys in figures:
        assert all(key.marker in ARM_MARKERS for key in keys)
        assert all(key.swatch().count("<path") == 2 for key in keys), "a marker without a drawing"
