"""The paper's claims, judged on a study's results: the same list, by the same rule, as `vicinal paper` runs on the paper's tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any

from vicinal.claims import RULE, Curve, Evidence, Judgement, Number, Subject, Toward, Verdict, judge, judge_all, mean
from vicinal.paper import DATA_SETS, paper_evidence
from vicinal.report.paper.printed import paper_data_set
from vicinal.report.rows import SCALED, Model, Results, Row, against
from vicinal.report.tables import csv_text, markdown_line

VERDICT_CLASSES: dict[Verdict, str] = {
    "supported": "yes",
    "contradicted": "no",
    "undecided": "undecided",
    "not held": "fact",
}
# key of a Subject: key of a model, and the factor to the Subject's unit
_SCALARS = {
    "accuracy": ("accuracy", 100.0),
    "confidence": ("confidence", 100.0),
    "ece": ("ece", 1.0),
    "ece_scaled": ("ece" + SCALED, 1.0),
}
_CURVES = ("nonlinearity", "entropy", "dominance")


@dataclass(frozen=True)
class JudgedRow:
    """One claim as judged on a study, for tables and the page."""

    key: str
    claim: str
    where: str
    statistic: str
    rule: str
    verdict: Verdict
    effect: str  # of the whole, or of the case least in favour
    effect_of: str
    detail: str
    paper: Verdict | None  # on the paper's tables of the same data set; None for other data


@dataclass(frozen=True)
class JudgedSection:
    """All claims as judged on a study: those it can answer, and those whose runs it does not hold."""

    rows: tuple[JudgedRow, ...]
    not_held: tuple[JudgedRow, ...]
    paper_data: str | None  # the paper's data set of that name, as shown
    rule: str = RULE

    @property
    def classes(self) -> dict[Verdict, str]:
        """The style of every verdict."""
        return VERDICT_CLASSES


def judged_section(results: Results) -> JudgedSection:
    """The paper's claims judged on a study's results, with the paper's own verdicts where it has the same data set."""
    judgements = judge_all(study_evidence(results))
    data = paper_data_set(results.raw["data"])
    rows = [_row(judgement, data) for judgement in judgements]
    held = tuple(row for row in rows if row.verdict != "not held")
    missing = tuple(row for row in rows if row.verdict == "not held")
    return JudgedSection(held, missing, None if data is None else DATA_SETS[data])


def _row(judgement: Judgement, data: str | None) -> JudgedRow:
    claim, effect = judgement.claim, judgement.effect
    of_paper = None if data is None else judge(claim, paper_evidence()[data]).verdict
    return JudgedRow(
        claim.key, claim.sentence, claim.where, claim.statistic, claim.rule, judgement.verdict,
        effect.text if effect else "", effect.of if effect else "", judgement.detail, of_paper,
    )  # fmt: skip


# --- tables -----------------------------------------------------------------------------------------------------------

CSV_HEADER = (
    "claim", "where", "statistic", "rule", "verdict", "effect", "unit", "lower", "upper", "effect_of",
    "holds", "fails", "undecided", "paper_verdict", "selection", "detail",
)  # fmt: skip


def claims_csv(results: Results) -> str:
    """Every claim with its verdict, effect and counts, full precision, one claim a line."""
    data = paper_data_set(results.raw["data"])
    lines: list[list[Any]] = []
    for judgement in judge_all(study_evidence(results)):
        row, effect = _row(judgement, data), judgement.effect
        bounds = (effect.interval or (None, None)) if effect else (None, None)
        counts = [judgement.count(sign) for sign in (1, -1, 0)]
        size = (effect.value, effect.unit, *bounds) if effect else (None,) * 4
        told = (row.key, row.where, row.statistic, row.rule, row.verdict, *size, row.effect_of, *counts)
        lines.append([*told, row.paper, results.raw["selection"], row.detail])
    return csv_text(CSV_HEADER, lines)


def claims_markdown(results: Results) -> str:
    """The claims that the study can answer as a Markdown table, the others in a line below."""
    section = judged_section(results)
    head = [
        "Claim",
        "Where",
        "Verdict",
        *([f"Paper, {section.paper_data}"] if section.paper_data else []),
        "Least effect",
        "Detail",
    ]
    lines = [markdown_line(head), markdown_line(["---"] * len(head))]
    for row in section.rows:
        effect = f"{row.effect}{f', {row.effect_of}' if row.effect_of else ''}" if row.effect else "–"
        paper = [row.paper or "–"] if section.paper_data else []
        lines.append(markdown_line([row.claim, row.where, f"**{row.verdict}**", *paper, effect, row.detail]))
    notes = [results.selection_sentence, section.rule]
    if section.not_held:
        notes.append(
            "Not held: "
            + "; ".join(
                f"{row.claim.rstrip('.')} ({row.detail[:1].lower()}{row.detail[1:].rstrip('.')})"
                for row in section.not_held
            )
            + "."
        )
    return "\n".join(lines) + "\n\n" + "\n\n".join(notes) + "\n"


# --- evidence from results.json ---------------------------------------------------------------------------------------


def study_evidence(results: Results) -> Evidence:
    """A study's results as the claims want them: numbers by seed, or with their bootstrap interval where there is one seed."""
    data = results.raw["data"]
    teachers = tuple(_teacher(row, results) for row in results.teachers)
    students = tuple(_student(row, results) for row in results.students)
    classes = len(data.get("class_names") or [])
    return Evidence(str(data.get("name") or data.get("source") or "data"), teachers, students, classes or None)


def _teacher(row: Row, results: Results) -> Subject:
    model = row.models[0]
    mixed = ((model.get("objective") or {}).get("mixing") or _spec_mixing(results, row.label)).get(
        "distribution", "none"
    ) != "none"
    return Subject(
        row.label, model=model.get("model"), trained_with_mixup=mixed, numbers=_numbers(row), curves=_curves(row)
    )


def _spec_mixing(results: Results, teacher: str) -> Mapping[str, Any]:
    """How a teacher's images were mixed, from the study's own text: older results hold no objectives."""
    found = ((results.raw.get("spec") or {}).get("teachers") or {}).get(teacher) or {}
    return found.get("mixing") or {}


def _student(row: Row, results: Results) -> Subject:
    names = [teacher.label for teacher in results.teachers]
    toward = {name: found for name in names if (found := _toward(row, name)) is not None}
    return Subject(
        row.label, row.arm, row.teacher, row.temperature, row.models[0].get("model"), scale_free=row.scale_free,
        numbers=_numbers(row), curves=_curves(row), toward=toward, corruption_gain=_corruption_gain(row),
    )  # fmt: skip


def _number(
    row: Row, value: Callable[[Model], float | None], interval: Callable[[Model], Sequence[float | None] | None]
) -> Number | None:
    """A figure of a row over its seeds; the interval counts where there is one seed. None where no seed has the figure."""
    by_seed = {
        model["seed"]: float(found)
        for model in row.models
        if (found := value(model)) is not None and math.isfinite(found)
    }
    if not by_seed:
        return None
    bounds = interval(row.models[0]) if len(row.models) == 1 else None
    low, high = bounds if bounds is not None else (None, None)
    return Number(fmean(by_seed.values()), by_seed, None if low is None or high is None else (float(low), float(high)))


def _numbers(row: Row) -> dict[str, Number]:
    found: dict[str, Number | None] = {name: _scalar(row, *where) for name, where in _SCALARS.items()}
    found["v_score"] = _number(row, lambda m: (m.get("representation") or {}).get("v_score"), lambda _: None)
    curve = _curve(row, "nonlinearity")
    if curve:
        found["nl_mean"] = mean(list(curve.values()))
        found["nl_peak"] = max(curve.values(), key=lambda number: number.value)
    return {key: number for key, number in found.items() if number is not None}


def _scalar(row: Row, key: str, factor: float) -> Number | None:
    def value(model: Model) -> float | None:
        found = model.get(key)
        return None if found is None else factor * found

    def bounds(model: Model) -> list[float | None] | None:
        found = (model.get("intervals") or {}).get(key)
        return None if found is None else [None if bound is None else factor * bound for bound in found]

    return _number(row, value, bounds)


def _curves(row: Row) -> dict[str, Curve]:
    return {quantity: curve for quantity in _CURVES if (curve := _curve(row, quantity))}


def _curve(row: Row, quantity: str) -> dict[float, Number]:
    """A vicinal quantity by λ."""
    return _by_lam(
        row, lambda m: m["vicinity"][quantity], lambda m: (m["vicinity"].get("intervals") or {}).get(quantity)
    )  # fmt: skip


def _by_lam(row: Row, values: Callable[[Model], Any], bounds: Callable[[Model], Any]) -> dict[float, Number]:
    """Numbers by λ, from functions that give a model's list over λ and its `lower` and `upper` lists, or None."""
    curve = {
        float(lam): _number(
            row, partial(_entry, values=values, position=k), partial(_bounds, bounds=bounds, position=k)
        )
        for k, lam in enumerate(row.models[0]["vicinity"]["lam"])
    }
    return {lam: number for lam, number in curve.items() if number is not None}


def _entry(model: Model, values: Callable[[Model], Any], position: int) -> float | None:
    found = values(model)
    return None if found is None else found[position]


def _bounds(model: Model, bounds: Callable[[Model], Any], position: int) -> list[float | None] | None:
    found = bounds(model)
    return None if not found else [found["lower"][position], found["upper"][position]]


def _toward(row: Row, teacher: str) -> Toward | None:
    """A student as seen from a teacher: gain by λ and alignment. None where that was not measured."""
    if all(against(model, teacher) is None for model in row.models):
        return None

    def alignment(key: str) -> Number | None:
        def part(model: Model) -> Mapping[str, Any]:
            return (against(model, teacher) or {}).get("alignment") or {}

        return _number(row, lambda m: part(m).get(key), lambda m: (part(m).get("intervals") or {}).get(key))

    curve = _by_lam(
        row,
        lambda m: (against(m, teacher) or {}).get("linearity_gain"),
        lambda m: (against(m, teacher) or {}).get("linearity_gain_interval"),
    )
    peak = max(curve.values(), key=lambda number: number.value, default=None)
    return Toward(curve, peak, alignment("kl_real"), alignment("kl_mixed"), alignment("independent_response"))


def _corruption_gain(row: Row) -> dict[str, dict[int, Number]]:
    """Percentage points over the baseline by corruption and severity; empty where they were not measured."""
    gains: dict[str, dict[int, Number]] = {}
    for name, measured in (row.models[0].get("corruptions") or {}).items():
        values, bounds = (
            partial(_corrupted, name=name, key="gain_pp"),
            partial(_corrupted, name=name, key="gain_pp_interval"),
        )
        for position, severity in enumerate(measured["severity"]):
            number = _number(
                row, partial(_entry, values=values, position=position), partial(_bounds, bounds=bounds, position=position)
            )  # fmt: skip
            if number is not None:
                gains.setdefault(name, {})[int(severity)] = number
    return gains


def _corrupted(model: Model, name: str, key: str) -> Any:
    return ((model.get("corruptions") or {}).get(name) or {}).get(key)
