"""Claims about the features before the last layer: V-scores of clusters of similar classes."""

from __future__ import annotations

from vicinal.claims.cases import mixed_and_plain, same_order
from vicinal.claims.evidence import Evidence, ModelResults
from vicinal.claims.judge import Case, Outcome
from vicinal.claims.numbers import mean


def mixup_lowers_v_score(evidence: Evidence) -> Outcome:
    """V-score of a network trained without mixup above that of the same model trained with it: the student, and teachers."""
    pairs = [(plain.name, mixed, plain) for mixed, plain in mixed_and_plain(evidence)]
    mixed, baseline = evidence.undistilled("mixup"), evidence.undistilled("baseline")
    if mixed is not None and baseline is not None:
        pairs.append(("the student", mixed, baseline))
    gaps = [(name, evidence.gap("v_score", plain, mixed)) for name, mixed, plain in pairs]
    cases = [Case.of(name, "", gap, "V-score") for name, gap in gaps if gap is not None]
    return Outcome(
        tuple(cases), missing="V-scores of the mixup arm and the baseline, or of a teacher trained both ways"
    )


def v_score_rises_with_capacity(evidence: Evidence) -> Outcome:
    """V-scores of networks trained without mixup and without a teacher, in the order of their parameters.

    Networks of one size count as one, by their mean: the claim says nothing of their order.
    """
    baseline = evidence.undistilled("baseline")
    networks = [(teacher.name, teacher) for teacher in evidence.plain_teachers]
    if baseline is not None:
        networks.append((baseline.model or "the student", baseline))
    by_size: dict[float, list[tuple[str, ModelResults]]] = {}
    for name, network in networks:
        if {"parameters", "v_score"} <= network.numbers.keys():
            by_size.setdefault(network.numbers["parameters"].value, []).append((name, network))
    items = [
        (
            " with ".join(sorted(name for name, _ in alike)),
            alike[0][1].numbers["parameters"],
            mean([network.numbers["v_score"] for _, network in alike]),
        )
        for alike in by_size.values()
    ]
    return same_order(
        items, "networks of two sizes or more, trained without mixup and without a teacher, each with a V-score"
    )
