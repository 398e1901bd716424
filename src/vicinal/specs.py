"""What a run and a study are: frozen, validated, fingerprinted values. Imports no torch, so that errors come at once.

A study file (YAML, read by `vicinal.study_file`) becomes a `StudySpec`; `vicinal.study` expands it into `RunSpec`s, whose
fingerprints name the run folders. Unknown keys fail.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator

SCHEMA = 1  # of study folders and results.json; raised when an older reader or writer would go wrong
TRAINING_SEMANTICS = 2  # raised when the same RunSpec would train to other weights; part of every run's fingerprint

# A name becomes part of a folder's name, of which file systems take 255 bytes.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", max_length=64)]


class Frozen(BaseModel):
    """A value: immutable, no unknown keys, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    @field_validator("*", mode="before")
    @classmethod
    def _yes_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML's true would pass as 1."""
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError(f"{str(value).lower()} is no value here; only keys that are switches take true or false")
        return value


# --- mixing, augmentation, objectives ---------------------------------------------------------------------------------


class MixingSpec(Frozen):
    """How λ (`lam`) is drawn for each sample of a batch. `none` leaves every image as it is."""

    distribution: Literal["none", "uniform", "beta", "fixed"] = "uniform"
    a: float | None = Field(None, gt=0, description="beta: λ ~ Beta(a, a)")
    lam: float | None = Field(None, ge=0, le=1, description="fixed: the λ of every sample")
    unmixed_share: float = Field(0.0, ge=0, le=1, description="share of samples left as they are, exact over an epoch")

    @model_validator(mode="after")
    def _parameters_fit(self) -> Self:
        if (self.a is not None) != (self.distribution == "beta"):
            raise ValueError("'a' goes with distribution: beta, and beta needs it (λ ~ Beta(a, a))")
        if (self.lam is not None) != (self.distribution == "fixed"):
            raise ValueError("'lam' goes with distribution: fixed, and fixed needs it")
        if self.distribution == "none" and self.unmixed_share:
            raise ValueError("'unmixed_share' has no meaning with distribution: none")
        return self

    @property
    def mixes(self) -> bool:
        return self.distribution != "none"


class AugmentSpec(Frozen):
    """Random crops and flips of training images. Test images are resized (and centre-cropped after `resize`) only."""

    crop: Literal["none", "pad", "resize"] = "none"
    pad: int = Field(
        2,
        ge=1,
        description="crop: pad — zero pixels added on each side of the image as it is stored, before the random crop",
    )
    resize: int | None = Field(None, ge=1, description="crop: resize — side before the random crop to the image size")
    flip: bool = False

    @model_validator(mode="after")
    def _parameters_fit(self) -> Self:
        if (self.resize is not None) != (self.crop == "resize"):
            raise ValueError("'resize' goes with crop: resize, and that crop needs it (for example resize: 236)")
        return self


SIGMA_TEMPERATURES = ("sigma", "teacher_sigma")


def _check_temperature(value: Any) -> Any:
    allowed = f"a positive number, {' or '.join(SIGMA_TEMPERATURES)}"
    if value in SIGMA_TEMPERATURES:
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"a temperature is {allowed}, not {value!r}") from None
    if isinstance(value, bool) or not 0 < number < float("inf"):
        raise ValueError(f"a temperature is {allowed}, not {value!r}")
    return number


Temperature = Annotated[float | Literal["sigma", "teacher_sigma"], BeforeValidator(_check_temperature)]


Target = Literal["teacher", "linear"]


class Objective(Frozen):
    """What a network is trained on: α·CE(mixed labels) + β·T²·KL(teacher^T ‖ student^T) on images mixed as `mixing` says (eq. 2).

    `temperature` is a positive number, `sigma` (each network's logits over their own per-sample deviation, no T²: the
    authors' code) or `teacher_sigma` (both over the teacher's deviation: the paper's text). The loss is in `vicinal.objectives`.
    `target` is the teacher's answer to the mixed image, or `linear`: λ p_t(x_i) + (1 − λ) p_t(x_j), the answer that a perfectly
    linear teacher would give, as a control for what its confusion between images does.
    """

    alpha: float = Field(0.0, ge=0)
    beta: float = Field(1.0, ge=0)
    temperature: Temperature = 2.0
    mixing: MixingSpec = MixingSpec(distribution="none")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of every true label spread over all classes")
    target: Target = "teacher"

    @model_validator(mode="after")
    def _teaches_something(self) -> Self:
        if self.alpha == 0 and self.beta == 0:
            raise ValueError("alpha and beta are both 0: nothing to learn from; set one above 0")
        if self.alpha == 0 and self.label_smoothing:
            raise ValueError("label_smoothing has no meaning where alpha is 0: no true labels are learned from")
        if self.target == "linear" and (self.beta == 0 or not self.mixing.mixes):
            raise ValueError(
                "target: linear is the mix of the teacher's two answers, so it needs beta above 0 and mixing"
            )
        if self.target == "linear" and self.temperature == "teacher_sigma":
            raise ValueError("target: linear mixes two answers of the teacher, so there is no single teacher_sigma")
        return self

    @property
    def asks_teacher(self) -> bool:
        return self.beta > 0


NO_MIXING = MixingSpec(distribution="none")
UNIFORM_MIXING = MixingSpec(distribution="uniform")
ARMS: Mapping[str, Objective] = {
    "baseline": Objective(alpha=1, beta=0, mixing=NO_MIXING),
    "mixup": Objective(alpha=1, beta=0, mixing=UNIFORM_MIXING),
    "kd": Objective(alpha=0, beta=1, mixing=NO_MIXING),
    "kd_mixup": Objective(alpha=0, beta=1, mixing=UNIFORM_MIXING),
    "linear_target": Objective(alpha=0, beta=1, mixing=UNIFORM_MIXING, target="linear"),
    "label_smoothing": Objective(alpha=1, beta=0, mixing=NO_MIXING, label_smoothing=0.1),
}


class ArmSpec(Frozen):
    """One way to train the student. A known name brings its values; `like` starts a new name from a known one."""

    name: Name
    like: Literal["baseline", "mixup", "kd", "kd_mixup", "linear_target", "label_smoothing"] | None = None
    alpha: float = Field(ge=0)
    beta: float = Field(ge=0)
    temperature: tuple[Temperature, ...] = (2.0,)
    mixing: MixingSpec
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    target: Target = "teacher"
    teachers: tuple[str, ...] | None = Field(None, min_length=1, description="ask these teachers; default: all")

    @model_validator(mode="before")
    @classmethod
    def _fill_from_known_arm(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = {"name": value}
        if not isinstance(value, Mapping):
            return value
        known = value.get("like") or value.get("name")
        if isinstance(known, str) and known in ARMS:
            start = ARMS[known]
            keys = ("alpha", "beta", "mixing", "label_smoothing", "target")
            return {**{key: getattr(start, key) for key in keys}, **value}
        if "alpha" not in value or "beta" not in value or "mixing" not in value:
            raise ValueError(
                f"arm {value.get('name')!r} is not a known one ({', '.join(ARMS)}): "
                "give it 'like: <a known arm>', or alpha, beta and mixing"
            )
        return value

    @field_validator("temperature", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        values = value if isinstance(value, list | tuple) else [value]
        if not values:
            raise ValueError("give at least one temperature")
        return values

    @model_validator(mode="after")
    def _objectives_hold(self) -> Self:
        if len(set(self.temperature)) != len(self.temperature):
            raise ValueError(f"temperature lists a value twice: {list(self.temperature)}")
        if self.beta == 0 and len(self.temperature) > 1:
            raise ValueError(f"arm {self.name!r} asks no teacher (beta 0), so a list of temperatures has no meaning")
        if self.beta == 0 and self.teachers is not None:
            raise ValueError(f"arm {self.name!r} asks no teacher (beta 0), so 'teachers' has no meaning")
        self.objectives()
        return self

    def objectives(self) -> tuple[Objective, ...]:
        """One objective for each temperature (one in all for an arm that asks no teacher)."""
        shared = {key: getattr(self, key) for key in ("alpha", "beta", "mixing", "label_smoothing", "target")}
        return tuple(Objective(**shared, temperature=t) for t in self.temperature)


# --- data and networks ------------------------------------------------------------------------------------------------


class DataSpec(Frozen):
    """Where images come from and how they are split."""

    source: str = Field(
        min_length=1,
        description="embedded/fashion-mnist, torch/cifar100, hfds/OWNER/NAME, a folder of class folders, or Parquet",
    )
    name: str | None = Field(
        None, min_length=1, description="what tables call the data; default: the source's own name"
    )
    image_size: int | None = Field(
        None,
        ge=4,
        description="side in px that networks see; default: the images' own size (smaller ones are stored as they are)",
    )
    validation: float = Field(0.1, ge=0, lt=1, description="share of the training images kept for validation")
    test: float = Field(0.2, gt=0, lt=1, description="share cut off for testing where the source has no test split")
    split_seed: int = Field(0, ge=0)
    stream: bool = Field(False, description="read images as they are needed instead of holding all in memory")
    train_images: int | None = Field(
        None, ge=2, description="keep this many training images (class-balanced); default: all"
    )
    test_images: int | None = Field(None, ge=1, description="keep this many test images (class-balanced); default: all")
    image_column: str | None = Field(None, description="Parquet and hfds: default img or image")
    label_column: str | None = Field(None, description="Parquet and hfds: default label")
    root: str | None = Field(None, description="torch/...: folder that holds (or receives) the files")


class PlateauSpec(Frozen):
    """schedule: plateau — lr falls by `factor` after `patience_epochs` without a better watched accuracy, down to `min_lr`."""

    patience_epochs: int = Field(10, ge=1)
    factor: float = Field(0.1, gt=0, lt=1)
    min_lr: float = Field(0.0, ge=0)


Head = Literal["linear", "bottleneck", "keep"]


class NetworkSpec(Frozen):
    """A network and how it is trained. `epochs: 0` takes the weights as they are (a classifier you already have)."""

    model: str = Field(min_length=1, description="any timm name")
    weights: str | None = Field(None, description="hub, a safetensors file, or none")
    head: Head = Field(
        "linear", description="linear, bottleneck (the paper's 256 unit head), keep (the one in the weights)"
    )
    image_size: int | None = Field(
        None, ge=4, description="the network resizes its input to this side; default: as given"
    )
    mean: tuple[float, ...] | None = Field(
        None, description="normalisation; default: the one timm states for the model"
    )
    std: tuple[float, ...] | None = None

    train_images: int | None = Field(None, ge=2, description="train on this many images (class-balanced); default: all")
    augment: AugmentSpec = AugmentSpec()
    epochs: int = Field(ge=0)
    stream_epochs: int | None = Field(
        None,
        ge=1,
        description="the input stream repeats after this many epochs (each mixed image is seen several times: other "
        "sampling than fresh inputs every epoch); default: always fresh",
    )
    batch_size: int = Field(100, ge=1)
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1, description="sgd")
    schedule: Literal["one_cycle", "cosine", "constant", "piecewise", "plateau"] = "one_cycle"
    rise: float = Field(
        0.2, ge=0, lt=1, description="one_cycle, cosine: share of the steps in which lr rises to its peak"
    )
    lr_segments: tuple[tuple[float, float, float, float, Literal["linear", "cosine"]], ...] | None = Field(
        None, description="piecewise: [first epoch, last epoch, lr at its start, lr at its end, linear or cosine]"
    )
    plateau: PlateauSpec | None = Field(None, description="schedule: plateau — when and how far lr falls")
    head_warmup_epochs: int = Field(0, ge=0, description="first train the head alone, on true labels, backbone frozen")
    head_warmup_lr: float = Field(1e-3, gt=0)
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="of training; auto: bf16 on CUDA, fp32 elsewhere"
    )
    channels_last: bool = True

    @model_validator(mode="after")
    def _parameters_fit(self) -> Self:
        if (self.mean is None) != (self.std is None):
            raise ValueError("give 'mean' and 'std' together")
        if self.std is not None and min(self.std) <= 0:
            raise ValueError("'std' must be above 0")
        if (self.lr_segments is not None) != (self.schedule == "piecewise"):
            raise ValueError("'lr_segments' goes with schedule: piecewise, and piecewise needs it")
        if (self.plateau is not None) != (self.schedule == "plateau"):
            raise ValueError("'plateau' goes with schedule: plateau, and that schedule needs it ({} for its defaults)")
        end = 0.0
        for first, last, *lrs, _shape in self.lr_segments or ():
            if first != end or last <= first or min(lrs) <= 0:
                raise ValueError(
                    "'lr_segments' must start at epoch 0, follow one another without gaps and have lr above 0"
                )
            end = last
        if self.lr_segments is not None and end < self.epochs:
            raise ValueError(f"'lr_segments' end at epoch {end:g}, before the {self.epochs} epochs asked for")
        if self.head == "keep" and self.weights is None:
            raise ValueError("head: keep needs 'weights' that hold a head")
        if self.epochs == 0 and self.weights is None:
            raise ValueError("epochs: 0 takes a trained network as it is, so it needs 'weights'")
        return self


class TeacherSpec(NetworkSpec):
    """A teacher: trained on true labels (on mixed images where `mixing` says so), then frozen."""

    mixing: MixingSpec = NO_MIXING
    ask_precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="of its answers to students; auto: bf16 where it is faster and changes the answers little"
    )

    def objective(self) -> Objective:
        return Objective(alpha=1, beta=0, mixing=self.mixing)


class StudentSpec(NetworkSpec):
    """The student: one for the study, trained anew by every arm, temperature, teacher and seed."""


# --- measures, runtime, study -----------------------------------------------------------------------------------------


class VicinitySpec(Frozen):
    """The vicinal curves: NL, H, D and I_lin over a grid of λ, on pairs of the students' training images."""

    pairs: int = Field(1000, ge=2, description="pairs, each measured in both orders; with precision_nats at most these")
    precision_nats: float | None = Field(
        None,
        gt=0,
        description="as many pairs as bring NL's interval to ± this at every λ, by a pilot on the first teacher; default: all",
    )
    lam_points: int = Field(21, ge=3, description="grid from 0 to 1, both ends included; odd, so that it holds 0.5")
    seed: int = Field(0, ge=0)

    @field_validator("lam_points")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("must be odd, so that the grid holds λ = 0.5")
        return value


Corruption = Literal["gaussian_noise", "motion_blur", "fog", "jpeg_compression", "contrast", "pixelate"]
CORRUPTIONS: tuple[Corruption, ...] = (
    "gaussian_noise",
    "motion_blur",
    "fog",
    "jpeg_compression",
    "contrast",
    "pixelate",
)  # the six of the paper's section 7.5, in its order


class CorruptionsSpec(Frozen):
    """Accuracy and ECE on corrupted test images (section 7.5), at five severities."""

    names: tuple[Corruption, ...] = Field(CORRUPTIONS, min_length=1)
    images: int | None = Field(None, ge=1, description="corrupt this many test images (class-balanced); default: all")
    published: str | None = Field(
        None, min_length=1, description="folder of published .npy files (CIFAR-10-C, CIFAR-100-C) to read instead"
    )
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _parameters_fit(self) -> Self:
        if self.published is not None and self.images is not None:
            raise ValueError("'images' goes with corruptions made here; the published files have all test images")
        return self


class RepresentationSpec(Frozen):
    """Penultimate features of a few classes of test images: t-SNE, V-score and silhouette (appendix A)."""

    classes: tuple[str, ...] | None = Field(
        None, min_length=2, description="default: the paper's five, else the five that the first teacher confuses most"
    )
    images_per_class: int = Field(100, ge=2)
    seed: int = Field(0, ge=0)


class MeasuresSpec(Frozen):
    """What is measured of every network. Calibration, the vicinal curves and alignment always are."""

    ece_bins: int = Field(15, ge=1)
    vicinity: VicinitySpec = VicinitySpec()
    corruptions: CorruptionsSpec | None = Field(None, description="{} for the six corruptions; default: not measured")
    representation: RepresentationSpec | None = Field(None, description="{} for its defaults; default: not measured")
    ood: DataSpec | None = Field(
        None, description="other images, as under data: how well confidence tells them from the test images"
    )
    bootstrap: int = Field(1000, ge=100, description="resamples behind every interval")
    interval: float = Field(0.95, gt=0, lt=1, description="coverage of the intervals")


class RuntimeSpec(Frozen):
    """Where, how often and how fast; changes no result on one machine but in its last digits, so it is no part of a fingerprint."""

    device: str = Field("auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")
    threads: int | None = Field(None, ge=1, description="CPU threads; default: torch's choice")
    checkpoint_seconds: float = Field(20.0, ge=0)
    bank_gb: float = Field(
        2.0, ge=0, description="disk that teachers' stored answers may take, where several runs read them; 0: none"
    )
    students_at_once: int | None = Field(
        None,
        ge=1,
        description="students stepped together on one answer of their teacher; default: all that share it and fit into memory",
    )
    compile: Literal["auto", "always", "never"] = Field(
        "auto",
        description="call networks through torch.compile; auto: on a GPU, where the training is long enough to pay for it",
    )


class AnswersSpec(Frozen):
    """The form in which students get their teachers' answers, live as from a bank. The default is exact."""

    dtype: Literal["float32", "float16"] = Field(
        "float32", description="of the logits; float16 halves a bank and rounds them to 11 bits"
    )
    top_k: int | None = Field(
        None, ge=1, description="keep the largest logits, and of the others their common mass; default: keep all"
    )

    @property
    def is_exact(self) -> bool:
        return self == AnswersSpec()


Selection = Literal["last", "best_validation", "paper_best_test"]
SELECTION_SENTENCES: Mapping[str, str] = {
    "last": "Every network is the one after its last epoch.",
    "best_validation": "Every network is the epoch with the best validation accuracy.",
    "paper_best_test": "The paper's protocol: every network is the epoch with the best TEST accuracy, "
    "so its test figures are optimistic.",
}


class StudySpec(Frozen):
    """Teachers × arms × seeds and what is measured: one YAML file."""

    name: Name
    title: str = ""
    description: str = ""
    data: DataSpec
    teachers: dict[Name, TeacherSpec] = Field(min_length=1)
    student: StudentSpec | None = None
    arms: tuple[ArmSpec, ...] = ()
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field((0,), min_length=1)
    teacher_seed: int | None = Field(
        None, ge=0, description="one teacher for all seeds; default: each seed trains its own"
    )
    stream_seed: int | None = Field(
        None,
        ge=0,
        description="one input stream for all seeds, so that only initialisations differ; default: each its own",
    )
    selection: Selection = "last"
    validate_every_epochs: int = Field(1, ge=1)
    answers: AnswersSpec = AnswersSpec()
    measures: MeasuresSpec = MeasuresSpec()
    runtime: RuntimeSpec = RuntimeSpec()

    @field_validator("seeds", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [value] if isinstance(value, int) and not isinstance(value, bool) else value

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if self.arms and self.student is None:
            raise ValueError("arms are given but no 'student' to train")
        if self.student is not None and not self.arms:
            raise ValueError(f"a student is given but no 'arms'; known ones: {', '.join(ARMS)}")
        taken: set[tuple[str, str | None, Temperature | None]] = set()
        for arm in self.arms:
            unknown = [name for name in arm.teachers or () if name not in self.teachers]
            if unknown:
                known = ", ".join(self.teachers)
                raise ValueError(f"arm {arm.name!r} asks {unknown[0]!r}, which is no teacher: {known}")
            # One arm may stand twice, for other teachers or temperatures.
            own: set[tuple[str, str | None, Temperature | None]] = {(arm.name, None, None)}
            if arm.beta > 0:
                own = {(arm.name, name, t) for name in arm.teachers or self.teachers for t in arm.temperature}
            if taken & own:
                raise ValueError(f"two arms have one name, teacher and temperature: {arm.name}")
            taken |= own
            scaled = [t for t in arm.temperature if t in SIGMA_TEMPERATURES]
            if arm.beta > 0 and scaled and self.answers.top_k is not None:
                raise ValueError(
                    f"answers.top_k keeps no deviation over all classes, which arm {arm.name!r} at temperature {scaled[0]} needs: "
                    "leave top_k out (dtype: float16 halves the answers too), or give that arm a number"
                )
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds lists a value twice: {list(self.seeds)}")
        for path, network in self.networks().items():
            target, before = self.data.image_size, network.augment.resize
            if before is not None and (target is None or before < target):
                raise ValueError(
                    f"{path}.augment.resize is the side before the crop, so data.image_size must be given and no larger"
                )
        if self.selection == "best_validation" and self.data.validation == 0:
            raise ValueError("selection: best_validation needs data.validation above 0")
        for path, network in self.networks().items():
            if network.schedule == "plateau" and self.selection != "paper_best_test" and self.data.validation == 0:
                raise ValueError(
                    f"{path}.schedule: plateau watches validation images, so data.validation must be above 0"
                )
            if network.schedule == "plateau" and self.validate_every_epochs != 1:
                raise ValueError(f"{path}.schedule: plateau looks at every epoch, so validate_every_epochs must be 1")
        return self

    def networks(self) -> dict[str, NetworkSpec]:
        """Every network of the study by its dotted path."""
        found: dict[str, NetworkSpec] = {f"teachers.{name}": teacher for name, teacher in self.teachers.items()}
        return found | ({"student": self.student} if self.student is not None else {})


class RunSpec(Frozen):
    """One training, by everything that decides its weights. Its fingerprint names its folder."""

    role: Literal["teacher", "student"]
    name: str  # readable part of the folder's name: teacher's name, or arm and temperature
    network: NetworkSpec
    objective: Objective
    seed: int
    given_stream_seed: int | None = None  # of the input stream, where it is not the run's own seed
    data: dict[str, Any]  # hashes of the images it trains on and selects by, and their size: not where they lie
    weights_hash: str | None = None  # of the local weights file, so that a path does not matter and a changed file does
    teacher: str | None = None  # fingerprint of the teacher's run
    teacher_ask_precision: str | None = None
    answers: AnswersSpec | None = None  # the form of the teacher's answers, where they are not exact
    selection: Selection = "last"
    validate_every_epochs: int = 1

    @property
    def watches(self) -> bool:
        """Whether the watched images decide something: which epoch is kept, or when lr falls."""
        return self.selection != "last" or self.network.schedule == "plateau"

    @property
    def stream_seed(self) -> int:
        """The seed of the input stream."""
        return self.seed if self.given_stream_seed is None else self.given_stream_seed

    def fingerprint(self) -> str:
        """12 hex digits over all that decides the weights."""
        value = self.model_dump(mode="json", exclude={"name"})
        if self.given_stream_seed is None:
            del value["given_stream_seed"]  # fingerprints from before there was one stay
        if value["weights_hash"] is not None:
            value["network"]["weights"] = None
        if not self.watches:
            value["validate_every_epochs"] = None  # only looked at, decides nothing
        if value["answers"] is None:
            del value["answers"]
        if self.network.stream_epochs is None:
            del value["network"]["stream_epochs"]  # as before there was such a key
        return fingerprint({"semantics": TRAINING_SEMANTICS, **value})

    @property
    def folder(self) -> str:
        return f"{self.role}-{self.name}-s{self.seed}-{self.fingerprint()}"


def fingerprint(value: Any) -> str:
    """12 hex digits of the SHA-256 of a JSON value in canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
