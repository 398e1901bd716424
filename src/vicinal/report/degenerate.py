"""Networks that answer nothing: always one class, no better than the class shares alone, or never right on a class.

What such a network is calibrated or linear by is not what anybody wants of it, so the report says it wherever it judges one.
"""

from __future__ import annotations

from statistics import fmean
from typing import Any

from vicinal.claims import listed
from vicinal.report.rows import Model, Results, Row, stored_interval


def answers_of(model: Model) -> dict[str, Any]:
    """What a model answers on the test images, as in results.json; empty where an older version left it out."""
    found: dict[str, Any] | None = model.get("answers")
    return found or {}


def class_name(results: Results, position: int) -> str:
    """A class as shown."""
    names = results.data.get("class_names") or []
    return f"“{names[position]}”" if position < len(names) else f"class {position}"


def percent(value: float) -> str:
    """A fraction as shown."""
    return f"{100 * value:.1f}\u00a0%"


def uninformative(row: Row, results: Results) -> str:
    """Why a row's networks answer nothing, to follow its name; nothing where they do answer. With several seeds, in any of them."""
    reasons = {model["seed"]: reason for model in row.models if (reason := answers_nothing(model, results))}
    if not reasons:
        return ""
    first = next(iter(reasons.values()))
    return first if len(row.models) == 1 else f"{first} (in {len(reasons)} of {len(row.models)} seeds)"


def answers_nothing(model: Model, results: Results) -> str:
    """Why one network answers nothing, to follow its name; nothing where it does answer."""
    found = answers_of(model)
    if not found:
        return ""
    if found["predicted_classes"] == 1:
        return f"always answers {class_name(results, found['commonest_answer'])}"
    bounds = stored_interval(model, "accuracy")
    prior = found["prior_accuracy"]
    if (model["accuracy"] if bounds is None else bounds[0]) > prior:
        return ""
    known = f" ({percent(bounds[0])} to {percent(bounds[1])})" if bounds else ""
    return (
        f"is no better than chance as far as the test images tell: accuracy {percent(model['accuracy'])}{known}, and always "
        f"answering the commonest class gives {percent(prior)}"
    )


def missed_classes(row: Row, results: Results) -> list[str]:
    """The classes of which no test image is classified correctly, in every seed."""
    recalls = [answers_of(model).get("class_accuracy") for model in row.models]
    if not recalls or not all(recalls):
        return []
    by_class = zip(*(recall for recall in recalls if recall), strict=True)
    return [class_name(results, k) for k, values in enumerate(by_class) if all(value == 0 for value in values)]


def objections(row: Row, results: Results) -> list[str]:
    """What keeps a student from being taken, whatever its figures; clauses that begin with "it"."""
    found = []
    reason = uninformative(row, results)
    if reason:
        found.append(f"it {reason}")
    missed = missed_classes(row, results)
    if missed and "always answers" not in reason:
        found.append(f"it never recognises {some(missed)}")
    return found


def worse_than_the_prior(row: Row) -> tuple[float, float] | None:
    """Mean NLL of a row and of the class shares, nats, where the former is not below the latter; None where it is."""
    key = "nll_after_temperature_scaling" if row.scale_free else "nll"
    pairs = [
        (float(model[key]), float(answers_of(model)["prior_nll"]))
        for model in row.models
        if answers_of(model) and model.get(key) is not None
    ]
    if not pairs or fmean(nll for nll, _ in pairs) < fmean(prior for _, prior in pairs):
        return None
    return fmean(nll for nll, _ in pairs), fmean(prior for _, prior in pairs)


def what_it_tells(row: Row) -> str:
    """A row's information and NLL, beside what the class shares alone have, in a sentence; nothing where not stored."""
    models = [model for model in row.models if answers_of(model)]
    if not models:
        return ""
    information = fmean(answers_of(model)["information"] for model in models)
    nll, prior = fmean(model["nll"] for model in models), fmean(answers_of(model)["prior_nll"] for model in models)
    return (
        f"The entropy of its mean answer less the mean entropy of its answers is {information:.3f} nats, its NLL {nll:.3f} where the "
        f"class shares alone have {prior:.3f}."
    )


def some(names: list[str], most: int = 5, kind: str = "classes") -> str:
    """a, b and c; of many the first few and how many more."""
    return listed(names) if len(names) <= most else f"{', '.join(names[:most])} and {len(names) - most} more {kind}"
