"""Results as tables for notebooks: pandas, where it is installed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vicinal.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

LABELS = ("role", "name", "arm", "teacher", "temperature", "seed", "model")
QUANTITIES = ("nonlinearity", "entropy", "dominance", "linearity_information")
# Mappings of a model whose numbers are columns. Intervals, settings and comparisons with every teacher are not.
_FLATTENED = (
    "answers",
    "validation",
    "selective",
    "alignment",
    "minus_baseline",
    "mcnemar_versus_baseline",
    "ood_auroc",
)


def frame_of(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows of one form as a table. Raises UsageError without pandas."""
    return _pandas().DataFrame(list(rows))


def model_table(results: Mapping[str, Any]) -> pd.DataFrame:
    """See `StudyResults.to_frame`; takes plain values of results.json."""
    rows = [{**labels, **dict(_scalars(model, labels))} for labels, model in _models(results)]
    columns = [*LABELS, *dict.fromkeys(key for row in rows for key in row if key not in LABELS)]
    return _pandas().DataFrame(rows, columns=columns)


def curves_table(results: Mapping[str, Any]) -> pd.DataFrame:
    """See `StudyResults.curves_frame`; takes plain values of results.json."""
    rows = [
        [*labels.values(), scaled, lam, quantity, value, lower, upper]
        for labels, model in _models(results)
        for scaled in (False, True)
        for quantity in QUANTITIES
        for lam, value, lower, upper in _points(
            model.get("vicinity_after_temperature_scaling" if scaled else "vicinity"), quantity
        )
    ]
    return _pandas().DataFrame(rows, columns=[*LABELS, "scaled", "lam", "quantity", "value", "lower", "upper"])


def _models(results: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], Mapping[str, Any]]]:
    """Every model with its labels."""
    for role in ("teacher", "student"):
        for model in results[f"{role}s"]:
            yield {"role": role, **{key: model.get(key) for key in LABELS[1:]}}, model


def _scalars(model: Mapping[str, Any], labels: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in model.items():
        if key in labels:
            continue
        if isinstance(value, Mapping) and key in _FLATTENED:
            yield from ((f"{key}.{name}", inner) for name, inner in value.items() if _is_scalar(inner))
        elif _is_scalar(value):
            yield key, value


def _is_scalar(value: Any) -> bool:
    return isinstance(value, int | float)


def _points(curves: Mapping[str, Any] | None, quantity: str) -> Iterator[tuple[Any, ...]]:
    if curves is None:
        return
    nothing = [None] * len(curves["lam"])
    bounds = (curves.get("intervals") or {}).get(quantity) or {"lower": nothing, "upper": nothing}
    yield from zip(curves["lam"], curves[quantity], bounds["lower"], bounds["upper"], strict=True)


def _pandas() -> Any:
    try:
        import pandas  # optional: a study and its report need none
    except ImportError:
        raise UsageError("tables of results need pandas: pip install pandas") from None
    return pandas
