"""An arm of a study: an objective at one or several temperatures, and the teachers whose answers it learns from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    Field,
    GetJsonSchemaHandler,
    SerializationInfo,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from vicinal.config.base import Frozen, Name, Text, each_once
from vicinal.config.objective import ARMS, Objective
from vicinal.config.temperature import Temperature

TEMPERATURE = "temperature"  # the one key of Objective that an arm may give several values


def _check_known(name: str) -> str:
    if name not in ARMS:
        raise ValueError(f"no arm is known as {name!r}; known ones are {', '.join(ARMS)}")
    return name


class ArmSpec(Frozen):
    """One way to train the student. A known name brings its objective; `like` starts a new name from a known one.

    A study file writes it flat: the keys of `Objective` stand beside the name, and `temperature` is one or a list. So it is read,
    and so it is dumped. A new field of `Objective` is a key of every arm without a change here.
    """

    name: Name
    like: Annotated[str, AfterValidator(_check_known), Field(json_schema_extra={"enum": list(ARMS)})] | None = Field(
        None, description="the known arm that this one starts from"
    )
    teachers: Annotated[tuple[Text, ...], Field(min_length=1), AfterValidator(each_once)] | None = Field(
        None, description="learn from these teachers; default: all"
    )
    objective: Objective  # its temperature is each of `temperatures` in turn
    # Behind the objective, which says whether there are any; () where none are given.
    temperatures: Annotated[tuple[Temperature, ...], AfterValidator(each_once)] = Field(
        (), max_length=1000, alias=TEMPERATURE
    )

    @model_validator(mode="before")
    @classmethod
    def _from_flat(cls, value: Any) -> Any:
        """The keys of the objective, laid over those of a known arm, as one `Objective`."""
        if isinstance(value, str):
            value = {"name": value}
        if not isinstance(value, Mapping) or isinstance(value.get("objective"), Objective):
            return value
        if "objective" in value:
            raise ValueError(
                f"the keys of an objective stand beside the arm's name: {', '.join(Objective.model_fields)}"
            )
        given = {key: value[key] for key in Objective.model_fields if key in value and key != TEMPERATURE}
        arm = {key: item for key, item in value.items() if key not in given}
        if TEMPERATURE in arm and not isinstance(arm[TEMPERATURE], list | tuple):
            arm[TEMPERATURE] = [arm[TEMPERATURE]]
        if arm.get(TEMPERATURE) in ([], ()):
            raise ValueError("give at least one temperature")
        known = value.get("like") or value.get("name")
        start = dict(ARMS[known]) if isinstance(known, str) and known in ARMS else {}
        if not start and value.get("like") is None and not {"alpha", "beta", "mixing"} <= given.keys():
            raise ValueError(
                f"arm {value.get('name')!r} is not a known one ({', '.join(ARMS)}): "
                "give it 'like: <a known arm>', or alpha, beta and mixing"
            )
        return {**arm, "objective": {**start, **given}}

    @field_validator("temperatures", mode="before")
    @classmethod
    def _of_the_teacher(cls, value: Any, info: ValidationInfo) -> Any:
        """Those given, or the objective's own; none where no teacher's answer is learned from."""
        objective = info.data.get("objective")
        if objective is None or objective.uses_temperature:  # None: its own mistakes are told
            return value or (objective.temperature if objective else Objective().temperature,)
        if value:
            why = "learns from features alone" if objective.uses_teacher else "uses no teacher (beta 0)"
            raise ValueError(f"an arm that {why} has no temperature; leave it out")
        return ()

    @model_validator(mode="after")
    def _objectives_hold(self) -> Self:
        if not self.objective.uses_teacher and self.teachers is not None:
            raise ValueError(f"arm {self.name!r} uses no teacher (beta 0), so 'teachers' has no meaning")
        try:
            self.objectives()
        except ValidationError as error:
            raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
        return self

    def objectives(self) -> tuple[Objective, ...]:
        """One objective for each temperature; one in all for an arm without one."""
        if not self.temperatures:
            return (self.objective,)
        return tuple(Objective(**{**dict(self.objective), TEMPERATURE: t}) for t in self.temperatures)

    @model_serializer(mode="plain")
    def _flat(self, info: SerializationInfo) -> dict[str, Any]:
        """As a study file writes it."""
        temperatures: list[Any] | tuple[Any, ...] = (
            list(self.temperatures) if info.mode == "json" else self.temperatures
        )
        return {
            "name": self.name,
            **({"like": self.like} if self.like is not None else {}),
            **self.objective.model_dump(mode=info.mode, exclude={TEMPERATURE}),
            **({TEMPERATURE: temperatures} if temperatures else {}),
            **({"teachers": list(self.teachers)} if self.teachers is not None else {}),
        }

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """A known name, or the flat mapping of a study file."""
        reference = handler(core_schema)
        own = handler.resolve_ref_schema(reference)
        fields = own["properties"]
        objective = dict(handler.resolve_ref_schema(fields["objective"])["properties"])
        temperature = {key: value for key, value in objective.pop(TEMPERATURE).items() if key != "default"}
        flat = {
            "type": "object",
            "description": own["description"],
            "properties": {
                "name": {**fields["name"], "examples": list(ARMS)},
                "like": fields["like"],
                # A default would mislead: it is the known arm's.
                **{key: {k: v for k, v in part.items() if k != "default"} for key, part in objective.items()},
                TEMPERATURE: {"anyOf": [temperature, {"type": "array", "items": temperature, "minItems": 1}]},
                "teachers": fields["teachers"],
            },
            "required": ["name"],
            "additionalProperties": False,
        }
        own.clear()
        own.update({"title": cls.__name__, "anyOf": [{"enum": list(ARMS)}, flat]})
        return reference
