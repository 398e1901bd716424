"""joined.json: finished studies side by side, on the same test images; no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from vicinal.results.base import Number, Pair, Part
from vicinal.results.measurement import MeasuredDifference, read_sealed_part
from vicinal.workspace import write_sealed_json

JOINED_FILE = "joined.json"
JOINED_SCHEMA = 1


class JoinedStudy(Part):
    """One of the studies."""

    name: str = Field(description="what it is called here: by its folder")
    folder: str = Field(description="as it was given")
    study: str
    version: str = Field(description="of vicinal, that wrote its results")
    command: str = ""
    created: str | None = None
    seeds: list[int]
    selection: str = Field(description="which epoch of a network is kept")


class SettingDifference(Part):
    """A key of the study file, or of the machine, that is not the same everywhere."""

    key: str = Field(description="dotted; arms and teachers by their names")
    values: list[str | None] = Field(description="of each study, as text; null where it has no such key")


class JoinedImages(Part):
    """The test images of all the studies."""

    name: str
    images: int
    class_names: list[str]
    known_by: Literal["content", "place"] = Field(
        description="how they are known to be the same: by their pixels and labels, or by their places in the same source"
    )


class JoinedFigure(Part):
    """A figure of a network, in its unit: shares as fractions."""

    value: Number = Field(description="the mean over seeds")
    spread: Number = Field(description="sample standard deviation over seeds; null for one seed")
    interval: Pair | None = Field(description="of one seed, over its images")


class JoinedEntry(Part):
    """A network as one of the studies has it."""

    label: str
    model: str | None = Field(None, description="the network's name in timm")
    teacher: str | None = None
    temperature: float | str | None = None
    budget: float = 1.0
    seeds: list[int]
    scale_free: bool = Field(False, description="the scale of its logits means nothing, so that only scaled figures do")
    figures: dict[str, JoinedFigure] = Field(description="by their key; at λ = 1/2 ending in _at_half")
    parameters: int | None = None
    forward_flops: int | None = None
    weights_bytes: int | None = None
    predicted_per_second: Number = None
    training_s: Number = Field(None, description="seconds, mean over seeds")


class JoinedNetwork(Part):
    """What the studies have of one network: an arm's student, or a teacher."""

    role: Literal["teacher", "student"]
    name: str
    entries: list[JoinedEntry | None] = Field(description="of each study; null where it has none")


class JoinedDifference(MeasuredDifference):
    """A figure of one study less that of another, on the same images; accuracies in percentage points."""

    seeds: int = Field(description="that both have and that are set against each other")
    of_networks: bool = Field(description="one seed: of these networks, since another training would be another number")


class NetworkDifferences(Part):
    """The differences of one network between two studies."""

    network: int = Field(description="position in `networks`")
    differences: dict[str, JoinedDifference] = Field(description="by the figure's key")


class StudyComparison(Part):
    """A study less the first one."""

    study: int = Field(description="position in `studies`")
    pairs: Literal["training", "test"] | None = Field(
        description="whose pairs the figures at λ = 1/2 are of; null where both studies have none in common"
    )
    networks: list[NetworkDifferences]
    mean: dict[str, JoinedDifference] = Field(
        description="the mean difference over all students that both have, by the figure's key; of teachers where there are no students"
    )
    mean_of: Literal["teacher", "student"] | None = Field(description="what the mean is over")
    clear: list[int] = Field(
        description="positions in `networks` whose accuracy differs, by Holm's correction over all of this comparison"
    )
    notes: list[str] = Field(description="what a reader should know of these differences")


class JoinedResults(Part):
    """All of joined.json."""

    kind: Literal["joined"] = "joined"
    schema_version: int = Field(alias="schema", ge=JOINED_SCHEMA, le=JOINED_SCHEMA)
    version: str = Field(description="of vicinal, that wrote it")
    command: str = ""
    created: str | None = Field(None, description="ISO 8601, UTC")
    confidence_level: float = Field(description="of every interval, a fraction; the largest of the studies")
    studies: list[JoinedStudy] = Field(min_length=2)
    images: JoinedImages
    settings: list[SettingDifference] = Field(description="of the study files; names and descriptions are no settings")
    environment: list[SettingDifference] = Field(description="of versions and machines")
    networks: list[JoinedNetwork]
    comparisons: list[StudyComparison] = Field(description="every further study less the first")
    notes: list[str] = Field([], description="what a reader should know beside it")
    sha256: str | None = Field(None, description="of all other keys, in the file alone: tested when it is read")

    def to_json(self) -> dict[str, object]:
        """As plain values."""
        return self.model_dump(mode="json", by_alias=True, exclude={"sha256"})


def write_joined_results(folder: Path, results: JoinedResults) -> Path:
    """Write joined.json of a folder, whole or not at all. Raises VicinalError where it cannot be written."""
    write_sealed_json(folder / JOINED_FILE, results.to_json())
    return folder / JOINED_FILE


def read_joined_results(folder: Path) -> JoinedResults:
    """The joined studies of a folder; UsageError in one line where they are missing, damaged or of another schema."""
    return read_sealed_part(folder / JOINED_FILE, JoinedResults, JOINED_SCHEMA, "join again with `vicinal compare`")
