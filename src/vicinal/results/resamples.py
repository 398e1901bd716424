"""resamples.npz beside results.json: how far each figure moves when the images are drawn again.

Shapes: R resamples, L values of λ, S severities, C numbers of a figure (1, L or S), n networks that have it.

Resample r is the same images for every network, so a difference, a ratio or a mean of figures over networks is that of their
deviations, resample by resample, and what they share cancels by itself.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vicinal.results.study import StudyResults
from vicinal.workspace import write_atomically

if TYPE_CHECKING:  # and inside the functions that need it: the schema is printed without numpy
    import numpy as np
    from numpy.typing import NDArray

    Deviations = Mapping[str, NDArray[np.floating]]  # of one network, by key: (R, ...)

RESAMPLES_FILE = "resamples.npz"


@dataclass(frozen=True, eq=False)
class _Figure:
    """One key's deviations, of the networks that have it."""

    networks: tuple[int, ...]  # (n,) their positions
    units: NDArray[np.float16]  # (n, R, C) in standard deviations; the first half of a curve that is symmetric in λ
    scale: NDArray[np.float32]  # (n, C) the standard deviations
    shape: tuple[int, ...]  # of one resample: (), (L,) or (S,)

    def of(self, network: int) -> NDArray[np.float64] | None:
        import numpy as np

        if network not in self.networks:
            return None
        at = self.networks.index(network)
        values: NDArray[np.float64] = self.units[at].astype(np.float64) * self.scale[at]
        if self.shape and values.shape[1] < self.shape[0]:  # a mirrored curve
            values = np.concatenate([values, values[:, -2::-1]], 1)
        return values.reshape(len(values), *self.shape)


class Resamples:
    """The deviations of a study's figures, by network and key."""

    def __init__(self, resamples: int, figures: Mapping[str, _Figure]) -> None:
        self.resamples, self._figures = resamples, dict(figures)

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that some network has."""
        return tuple(self._figures)

    def of(self, position: int, key: str) -> NDArray[np.float64] | None:
        """(R, ...) float64: resampled figure less figure, in the figure's unit; None where the network has no such figure.

        Args:
            position: of the network in `teachers` + `students` of results.json.
            key: dotted, as in results.json, with a teacher's alignment directly under its name: `accuracy`,
                `vicinity.nonlinearity`, `versus_teacher.NAME.kl_real`, `corruptions.fog.accuracy`.
        """
        figure = self._figures.get(key)
        return None if figure is None else figure.of(position)


def write_resamples(folder: Path, deviations: Sequence[Deviations]) -> str:
    """Write resamples.npz of a study folder, whole or not at all. Returns its SHA-256, which goes into results.json.

    Kept in float16 in units of each number's own standard deviation, which moves no quantile by more than a thousandth of it.

    Args:
        deviations: of the networks in the order of results.json; all of the same R.

    Raises VicinalError where it cannot be written.
    """
    import numpy as np

    keys = list(dict.fromkeys(key for own in deviations for key in own))
    arrays: dict[str, NDArray[np.generic]] = {"keys": np.array(keys, dtype=np.str_)}
    for number, key in enumerate(keys):
        networks = [position for position, own in enumerate(deviations) if key in own]
        whole = np.stack([deviations[position][key] for position in networks])
        n, resamples, *shape = whole.shape
        flat = whole.reshape(n, resamples, -1)
        if shape and shape[0] % 2 and np.array_equal(flat, flat[:, :, ::-1]):
            flat = flat[:, :, : shape[0] // 2 + 1]
        scale = flat.std(1).astype(np.float32)
        units = flat / np.where(scale > 0, scale, 1)[:, None]
        arrays |= {
            f"{number}.networks": np.array(networks, dtype=np.int32),
            f"{number}.units": np.clip(units, -6e4, 6e4).astype(np.float16),
            f"{number}.scale": scale,
            f"{number}.shape": np.array(shape, dtype=np.int32),
        }
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    data = buffer.getvalue()
    write_atomically(folder / RESAMPLES_FILE, data)
    return hashlib.sha256(data).hexdigest()


def read_resamples(
    folder: Path, results: StudyResults, say: Callable[[str], None] = lambda _: None
) -> Resamples | None:
    """The deviations behind a study's results; None where there are none, or they are not those of these results.

    Args:
        results: of results.json in the same folder.
        say: told in a line where the file is lacking, stale or damaged.
    """
    expected, path = results.measures.resamples_sha256, folder / RESAMPLES_FILE
    if expected is None:  # an older version's
        return None
    again = "differences are compared as if networks had seen other images until the study's command is given again"
    try:
        data = path.read_bytes() if path.is_file() else None
    except OSError:
        data = None
    if data is None:
        say(f"{path} cannot be read; {again}")
        return None
    if hashlib.sha256(data).hexdigest() != expected:
        say(f"{path} is not what results.json was written with; {again}")
        return None
    try:
        return _parsed(data)
    except (ValueError, KeyError, OSError, zipfile.BadZipFile):
        say(f"{path} is of a form that this version does not know; {again}")
        return None


def _parsed(data: bytes) -> Resamples:
    import numpy as np

    figures, resamples = {}, 0
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        for number, key in enumerate(arrays["keys"].tolist()):
            networks, units, scale, shape = (
                arrays[f"{number}.{part}"] for part in ("networks", "units", "scale", "shape")
            )
            figures[key] = _Figure(tuple(networks.tolist()), units, scale, tuple(shape.tolist()))
            resamples = units.shape[1]
    return Resamples(resamples, figures)
