"""Teachers × arms × seeds and what is measured: the value behind one YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, field_validator, model_validator

from vicinal.config.arm import ArmSpec
from vicinal.config.base import MOST_EPOCHS, Frozen, Name, Seed, each_once, no_boolean, one_or_many
from vicinal.config.data import DataSpec
from vicinal.config.measures import MeasuresSpec
from vicinal.config.network import NetworkSpec, StudentSpec, TeacherSpec, TeacherVariant
from vicinal.config.objective import ARMS
from vicinal.config.temperature import Temperature

DEVICE_PATTERN = r"^(auto|cpu|mps|cuda(:\d{1,3})?)$"
MOST_RUNS = 100_000


TrackerName = Literal["tensorboard", "wandb", "mlflow", "trackio"]


def _in_a_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


_MOST = 1e12  # bytes of memory are the largest numbers here
_Option = Annotated[int, Field(ge=-_MOST, le=_MOST)] | Annotated[float, Field(ge=-_MOST, le=_MOST)] | str


class RuntimeSpec(Frozen):
    """Where, how often and how fast; changes results of one machine from their last digits on at most, and no fingerprint."""

    device: str = Field("auto", pattern=DEVICE_PATTERN)
    threads: int | None = Field(
        None,
        ge=1,
        le=4096,
        description="CPU threads; default: torch's choice. A run is continued on as many as it began on: others make other weights",
    )
    workers: Annotated[int, Field(ge=0, le=1024)] | Literal["auto"] = Field(
        1,
        description="processes that train runs side by side, each with its own threads or GPU; 0: only those that `vicinal work` "
        "starts elsewhere; auto: as many as there are cores, memory or GPUs for, each with `threads`",
    )
    executor: Literal["local", "slurm", "ray"] = Field(
        "local",
        description="what starts the workers: this machine, or a cluster whose nodes all see the study's folder",
    )
    executor_options: dict[str, _Option | list[_Option]] = Field(
        {},
        max_length=50,
        description="of each worker on a cluster: as submitit's update_parameters (timeout_min, mem_gb, slurm_partition, ...) or a "
        "task of Ray (num_gpus, memory, ...) takes them",
    )
    checkpoint_seconds: float = Field(20.0, ge=0, le=1e6)
    bank_gb: float = Field(
        2.0,
        ge=0,
        le=1e6,
        description="disk that teachers' stored answers may take, where several runs read them; 0: none",
    )
    students_at_once: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="students stepped together on one answer of their teacher; default: all that share it and fit into memory",
    )
    compile: Literal["auto", "always", "never"] = Field(
        "auto",
        description="call networks through torch.compile; auto: on a GPU, where the training is long enough to pay for it",
    )
    devices: int = Field(
        1,
        ge=1,
        le=1024,
        description="processes that vicinal run starts for each training, with a GPU each where there are GPUs",
    )
    parallel: Literal["teacher", "data", "auto"] = Field(
        "teacher",
        description="what several processes share of a training: the teacher's batches, with the weights of one process to the bit; or "
        "the rows of every batch, with other last digits; auto: rows where students are much of the arithmetic",
    )
    shard_teacher: bool = Field(
        False,
        description="spread each teacher's parameters over the processes, for one that fits on no device; nothing where there is one",
    )
    micro_batch_size: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="rows of a batch that a network in training is given at once, in each process; gradients of the parts are added up "
        "before the step, for networks without batch norms; default: the whole batch",
    )
    trackers: Annotated[
        tuple[TrackerName, ...],
        AfterValidator(each_once),
        BeforeValidator(_in_a_list, json_schema_input_type=TrackerName | tuple[TrackerName, ...]),
    ] = Field(
        (),
        max_length=4,
        description="experiment trackers that are told of every epoch, of the results and of the report; one or a list",
    )

    @model_validator(mode="after")
    def _check_executor(self) -> Self:
        if self.executor == "local" and self.executor_options:
            raise ValueError(
                "executor_options are of a cluster, and runtime.executor is local: slurm or ray takes them"
            )
        if self.executor != "local" and self.workers == 0:
            raise ValueError(
                f"workers: 0 starts none, so there is nothing for executor: {self.executor} to do; leave one out"
            )
        return self

    @model_validator(mode="after")
    def _side_by_side_or_together(self) -> Self:
        if self.devices > 1 and self.workers not in (1, "auto"):
            raise ValueError(
                f"workers={self.workers} trains runs side by side, devices={self.devices} trains each run in that many processes; "
                "state one of them"
            )
        return self


class AnswersSpec(Frozen):
    """The form in which students get their teachers' answers, live as from a bank. The default is exact."""

    dtype: Literal["float32", "float16"] = Field(
        "float32", description="of the logits; float16 halves a bank and rounds them to 11 bits"
    )
    top_k: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="keep the largest logits, and of the others their common mass; default: keep all",
    )

    @property
    def is_exact(self) -> bool:
        return self == AnswersSpec()


Budget = Annotated[float, Field(gt=0, le=1000), BeforeValidator(no_boolean)]
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
    title: str = Field("", max_length=1000)
    description: str = Field("", max_length=20_000)
    data: DataSpec
    teachers: dict[Name, TeacherSpec] = Field(min_length=1)
    ensembles: dict[Name, Annotated[tuple[Name, ...], AfterValidator(each_once)]] = Field(
        {},
        max_length=100,
        description="teachers that are several of `teachers` together, by name: the mean of their probabilities; arms learn from them "
        "as from any teacher, and they are measured beside them",
    )
    student: StudentSpec | None = None
    arms: tuple[ArmSpec, ...] = ()
    seeds: Annotated[tuple[Seed, ...], AfterValidator(each_once)] = Field(
        (0,), min_length=1, max_length=10_000, description="one or a list"
    )
    budgets: Annotated[
        tuple[Budget, ...],
        AfterValidator(each_once),
        BeforeValidator(
            one_or_many, json_schema_input_type=Budget | Annotated[tuple[Budget, ...], Field(min_length=1)]
        ),
    ] = Field(
        (1.0,),
        min_length=1,
        max_length=100,
        description="multiples of student.epochs that every arm's student is trained for, its schedule stretched with them; one or a "
        "list, whose first the claims and the paper's tables are about",
    )
    teacher_seed: Seed | None = Field(None, description="one teacher for all seeds; default: each seed trains its own")
    input_seed: Seed | None = Field(
        None,
        description="one input stream for all seeds, so that only initialisations differ; default: each its own",
    )
    selection: Selection = "last"
    validate_every_epochs: int = Field(1, ge=1, le=MOST_EPOCHS)
    answers: AnswersSpec = AnswersSpec()
    measures: MeasuresSpec = MeasuresSpec()
    runtime: RuntimeSpec = RuntimeSpec()

    @field_validator("seeds", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [value] if isinstance(value, int) and not isinstance(value, bool) else value

    @model_validator(mode="after")
    def _validate_cross_fields(self) -> Self:
        self._check_student_and_arms()
        self._check_budgets()
        self._check_ensembles()
        self._check_arms_differ()
        self._check_teachers_of_arms()
        self._check_answers_suffice()
        self._check_runs()
        self._check_crops()
        self._check_selection()
        return self

    def _check_student_and_arms(self) -> None:
        if self.arms and self.student is None:
            raise ValueError("arms are given but no 'student' to train")
        if self.student is not None and not self.arms:
            raise ValueError(f"a student is given but no 'arms'; known ones: {', '.join(ARMS)}")

    def _check_budgets(self) -> None:
        if self.student is None:
            if self.budgets != (1.0,):
                raise ValueError("budgets are multiples of student.epochs, and there is no 'student'")
            return
        for budget in self.budgets:
            try:
                self.student.stretched(budget)
            except ValidationError as error:
                reason = error.errors()[0]
                where = ".".join(map(str, reason["loc"]))
                raise ValueError(f"budgets: student.{where} times {budget:g}: {reason['msg']}") from None
            except ValueError as error:
                raise ValueError(f"budgets: {error}") from None

    def _check_ensembles(self) -> None:
        single = {variant.name for name, variant in self.teacher_variants.items() if name not in self.ensembles}
        for name, members in self.ensembles.items():
            unknown = [member for member in members if member not in self.teachers]
            if unknown:
                raise ValueError(f"ensembles.{name}: {unknown[0]!r} is not one of teachers: {', '.join(self.teachers)}")
            if len(members) < 2:
                raise ValueError(f"ensembles.{name}: a mean is of two teachers or more; name them")
            if name in single | self.teachers.keys():
                raise ValueError(f"ensembles.{name} has the name of a teacher; give it another")

    def _check_runs(self) -> None:
        """Before they are planned: lists of a thousand each would make more runs than memory holds."""
        of_arms = sum(
            len(arm.teachers or self.teacher_variants) * len(arm.objectives()) if arm.objective.uses_teacher else 1
            for arm in self.arms
        )
        runs = (len(self.teachers) + of_arms * len(self.budgets)) * len(self.seeds)
        if runs > MOST_RUNS:
            raise ValueError(f"a study trains at most {MOST_RUNS:,} networks, and this one {runs:,}")

    def _check_teachers_of_arms(self) -> None:
        variants = self.teacher_variants
        for arm in self.arms:
            for name in arm.teachers or ():
                if name in variants:
                    continue
                base = name.partition("@")[0]
                problem = f"arm {arm.name!r} learns from {name!r}, which is not a teacher: {', '.join(variants)}"
                if base in self.teachers:
                    scales = ", ".join(f"{scale:g}" for scale in self.teachers[base].logit_scale)
                    problem += f" (teachers.{base}.logit_scale: {scales})"
                raise ValueError(problem)

    def _check_arms_differ(self) -> None:
        """One arm may stand twice, for other teachers or temperatures."""
        taken: set[tuple[str, str | None, Temperature | None]] = set()
        for arm in self.arms:
            own: set[tuple[str, str | None, Temperature | None]] = {(arm.name, None, None)}
            if arm.objective.uses_teacher:
                temperatures = arm.temperatures or (None,)
                own = {(arm.name, name, t) for name in arm.teachers or self.teacher_variants for t in temperatures}
            if taken & own:
                raise ValueError(f"two arms have one name, teacher and temperature: {arm.name}; give one another name")
            taken |= own

    def _check_answers_suffice(self) -> None:
        scaled_teacher = next((v.base for v in self.teacher_variants.values() if v.scale != 1), None)
        if self.answers.top_k is not None and scaled_teacher is not None:
            raise ValueError(
                f"answers.top_k keeps the common mass of the small logits at the teacher's own scale, so teachers.{scaled_teacher}."
                "logit_scale cannot be applied to it: leave top_k out (dtype: float16 halves the answers too), or logit_scale"
            )
        for arm in self.arms if self.answers.top_k is not None else ():
            scaled = [t for t in arm.temperatures if isinstance(t, str)]
            if scaled:
                raise ValueError(
                    f"answers.top_k keeps no deviation over all classes, which arm {arm.name!r} at temperature {scaled[0]} needs: "
                    "leave top_k out (dtype: float16 halves the answers too), or give that arm a number"
                )

    def _check_crops(self) -> None:
        for path, network in self.networks().items():
            target, before = self.data.image_size, network.augment.resize
            if before is not None and (target is None or before < target):
                raise ValueError(
                    f"{path}.augment.resize is the side before the crop, so data.image_size must be given and no larger"
                )

    def _check_selection(self) -> None:
        if self.selection == "best_validation" and self.data.validation == 0:
            raise ValueError("selection: best_validation needs data.validation above 0")
        for path, network in self.networks().items():
            if network.schedule == "plateau" and self.selection != "paper_best_test" and self.data.validation == 0:
                raise ValueError(
                    f"{path}.schedule: plateau watches validation images, so data.validation must be above 0"
                )
            if network.schedule == "plateau" and self.validate_every_epochs != 1:
                raise ValueError(f"{path}.schedule: plateau looks at every epoch, so validate_every_epochs must be 1")

    @property
    def teacher_variants(self) -> dict[str, TeacherVariant]:
        """The teachers that arms may learn from, by name: every trained network at each of its scales, then ensembles."""
        variants = [TeacherVariant(base, s) for base, teacher in self.teachers.items() for s in teacher.logit_scale]
        variants += [TeacherVariant(name, 1.0) for name in self.ensembles]
        return {variant.name: variant for variant in variants}

    def networks(self) -> dict[str, NetworkSpec]:
        """Every network of the study by its dotted path."""
        found: dict[str, NetworkSpec] = {f"teachers.{name}": teacher for name, teacher in self.teachers.items()}
        return found | ({"student": self.student} if self.student is not None else {})
