"""Sentences of the paper held against its own tables and against arithmetic, each by computation from the printed digits.

What a sentence says stands in text.yaml under the name of the check; a check finds something only where the numbers differ from it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from statistics import fmean

from vicinal.claims import (
    ORDER_OF_MAGNITUDE,
    SMOOTH_CORRUPTIONS,
    Number,
    corruption_text,
    decide,
    difference,
    kendall_tau,
    listed,
    mean,
    ratio,
    temperature_text,
)
from vicinal.config import CORRUPTIONS
from vicinal.paper.finding import Finding
from vicinal.paper.running_text import stated
from vicinal.paper.tables import (
    CLASSES,
    DATA_SETS,
    PERFORMANCE_TABLES,
    TEACHERS,
    TEST_IMAGES,
    Entry,
    Printed,
    corruption_gain,
    entries,
    number,
    printed_numbers,
)

SIGNIFICANCE = 0.05  # of McNemar's two-sided test, where the sentence on T = 2 says what it would need


def sentences() -> Iterator[Finding]:
    """Every sentence that the tables or arithmetic speak against."""
    for check in (
        *(_lowest_divergence, _divergence_ratio, _exception, _mean_dominance, _counted),
        *(_noise_at_first_severity, _corruption_baseline, _overconfidence, _consistently, _good_calibration),
        *(_sigma_confidence, _temperature_range, _most_accurate, _head),
    ):
        yield from check()


# --- between images: tables 5 and 6, figures 4 and 5 ------------------------------------------------------------------


def _lowest_divergence() -> Iterator[Finding]:
    said, table = stated()["lowest_kl_real"], printed_numbers()["table6_alignment_cifar100"]
    real = {name: table[name][1] for name in TEACHERS}
    lowest = min(real, key=lambda name: real[name])
    if decide(difference(number(real[said["teacher"]]), number(real[lowest]))) > 0:
        yield Finding(
            "lowest_kl_real", "fact",
            f"The lowest KL real of table 6 is {TEACHERS[lowest]}’s {real[lowest].text}, not {TEACHERS[said['teacher']]}’s "
            f"{real[said['teacher']].text}, which {said['where']} calls the lowest.",
            tuple((6, TEACHERS[name]) for name in (lowest, said["teacher"])),
            {TEACHERS[name]: float(value) for name, value in real.items()},
        )  # fmt: skip


def _divergence_ratio() -> Iterator[Finding]:
    said, table = stated()["kl_mixed_over_real"], printed_numbers()["table6_alignment_cifar100"]
    times = {name: ratio(number(table[name][2]), number(table[name][1])).value for name in TEACHERS}
    apart = [name for name, value in times.items() if round(value) != said["times"]]
    if apart:
        yield Finding(
            "kl_mixed_over_real", "fact",
            f"KL mixed is “{said['says']}” KL real in {said['where']}; by table 6 it is "
            + listed([f"{value:.1f} times ({TEACHERS[name]})" for name, value in times.items()])
            + f", near {said['times']} for {len(times) - len(apart)} of {len(times)} teachers.",
            tuple((6, TEACHERS[name]) for name in apart),
            {TEACHERS[name]: round(value, 3) for name, value in times.items()},
        )  # fmt: skip


def _exception() -> Iterator[Finding]:
    """Whose absence brings the order of mean NL nearest to that of ECE."""
    said, table = stated()["exception_of_table5"], printed_numbers()["table5_nonlinearity_cifar100"]

    def tau(left_out: str | None = None) -> float:
        return kendall_tau([(cells[2], cells[0]) for name, cells in table.items() if name != left_out])

    without = {name: tau(name) for name in TEACHERS}
    odd = max(without, key=lambda name: without[name])
    if without[said["teacher"]] < without[odd]:
        yield Finding(
            "exception_of_table5", "fact",
            f"{TEACHERS[said['teacher']]} is the exception in {said['where']}, yet without it ECE and mean NL order the teachers no "
            f"better (τ = {tau():.2f} over all {len(table)}, {without[said['teacher']]:.2f} without it); without {TEACHERS[odd]} "
            f"τ is {without[odd]:.2f}: the exception is {TEACHERS[odd]}.",
            ((5, TEACHERS[said["teacher"]]), (5, TEACHERS[odd])),
            {"tau": round(tau(), 3), "tau_without": {TEACHERS[name]: round(value, 3) for name, value in without.items()}},
        )  # fmt: skip


def _mean_dominance() -> Iterator[Finding]:
    """D and eq. 11 over all λ, for the one teacher whose mean entropy the text gives."""
    said = stated()["near_threshold"]
    nonlinearity, _, _ = printed_numbers()["table5_nonlinearity_cifar100"][said["teacher"]]
    entropy = printed_numbers()["global_entropy_cifar100"][said["teacher"]]
    dominance = ratio(number(nonlinearity), number(entropy))
    needed = difference(number(entropy), number(nonlinearity))
    if decide(dominance, 1.0) > 0:
        label = TEACHERS[said["teacher"]]
        yield Finding(
            "mean_dominance", "fact",
            f"{label}’s mean NL of {nonlinearity.text} nats (table 5) over its mean entropy H_global = {entropy.text} nats (§7.3) is "
            f"{dominance.value:.2f}: D is at least that at some λ, where {said['where']} says that it “{said['says']}” 1; and "
            f"eq. 11, averaged over λ, would need H[p(x)] = {_signed(needed.value, 2)} nats, which no entropy can be.",
            ((5, label),), {"dominance": round(dominance.value, 3), "entropy_needed": round(needed.value, 3)},
        )  # fmt: skip


def _counted() -> Iterator[Finding]:
    counts: Mapping[str, int] = stated()["teachers_counted"]
    if len(set(counts.values())) > 1:
        most = max(counts.values())
        fewer = [place for place, count in counts.items() if count < most]
        yield Finding(
            "teachers_counted", "disagreement",
            f"The text speaks of {most} teachers in {listed([p for p in counts if p not in fewer])}, and of "
            f"{listed(sorted({str(counts[place]) for place in fewer}))} in {listed(fewer)}.",
            data=dict(counts),
        )  # fmt: skip


# --- corrupted images: table 7 ----------------------------------------------------------------------------------------


def _noise_at_first_severity() -> Iterator[Finding]:
    said = stated()["largest_gains"]
    by_teacher = {name: {c: gains[1] for c, gains in corruption_gain(name).items()} for name in TEACHERS}
    gains: dict[str, Number] = {c: mean([by_teacher[name][c] for name in TEACHERS]) for c in CORRUPTIONS}
    noise = "gaussian_noise"
    if all(decide(difference(gains[noise], gains[c])) > 0 for c in SMOOTH_CORRUPTIONS):
        order = sorted(gains, key=lambda c: -gains[c].value)
        largest = sum(max(own, key=lambda c: own[c].value) == noise for own in by_teacher.values())
        yield Finding(
            "largest_gains", "fact",
            f"By {said['where']} {said['says']}; at severity 1 of table 7 Gaussian noise gains "
            f"{'most of all corruptions' if order[0] == noise else 'more than both'}, on average over teachers "
            + ", ".join(f"{corruption_text(c)} {_signed(gains[c].value)}" for c in order)
            + f" points, and most for {largest} of {len(TEACHERS)} teachers.",
            data={c: round(gains[c].value, 3) for c in order},
        )  # fmt: skip


def _corruption_baseline() -> Iterator[Finding]:
    """A student cannot well be better on corrupted images than on clean ones, so the two baselines are two networks."""
    said, table = stated()["corruption_baseline"], printed_numbers()["table7_corruption_cifar100_pct"]["baseline"]
    clean = {e.role: e for e in entries() if e.table == 1 and e.role in ("baseline", "mixup")}
    classic = printed_numbers()["table1_temperature_cifar100"]["classic_training"]["accuracy_pct"]
    above = [
        (f"{corruption_text(c)} {severity}", cell)
        for c in CORRUPTIONS
        for severity, cell in enumerate(table[c], 1)
        if decide(difference(number(cell), number(classic))) > 0
    ]
    if above:
        yield Finding(
            "corruption_baseline", "fact",
            f"Table 7’s baseline has {listed([f'{cell.text} % under {where}' for where, cell in above])}, more than classic training "
            f"has on clean images in table 1 ({classic.text} %), so it can hardly be that network; mixup classic has "
            f"{clean['mixup'].text[0]} %, and {said['where']} calls it both “{said['says'][0]}” and “{said['says'][1]}”.",
            ((7, "Baseline, fog"), (1, clean["baseline"].row)),
            {where: float(cell) for where, cell in above} | {"classic_training_clean": float(classic)},
        )  # fmt: skip


# --- accuracy and calibration: tables 2, 3 and 4 ----------------------------------------------------------------------


def _beside_baseline() -> list[tuple[Entry, Entry]]:
    """Every KD + mixup student of tables 2 to 4 with the baseline of its table."""
    rows = [e for e in entries() if e.table in PERFORMANCE_TABLES.values()]
    baselines = {e.table: e for e in rows if e.role == "baseline"}
    return [(e, baselines[e.table]) for e in rows if e.role == "kd_mixup"]


def _label(entry: Entry) -> str:
    return f"{DATA_SETS[entry.data]} {TEACHERS[entry.teacher or '']}"


def _overconfidence() -> Iterator[Finding]:
    """|confidence − accuracy|, which the impossible ECEs of the baselines leave untouched."""
    said = stated()["overconfidence_falls"]
    times = {_label(e): _distance(b).value / _distance(e).value for e, b in _beside_baseline()}
    tenfold = [name for name, value in times.items() if value >= ORDER_OF_MAGNITUDE]
    if len(tenfold) < len(times):
        others = [value for name, value in times.items() if name not in tenfold]
        which = f" ({listed([f'{name}, {times[name]:.1f}' for name in tenfold])})" if tenfold else ""
        yield Finding(
            "overconfidence_falls", "fact",
            f"KD + mixup “{said['says']}” in {said['where']}; |confidence − accuracy| falls tenfold from the baseline’s in "
            f"{len(tenfold)} of {len(times)} students of tables 2 to 4{which}, and {min(others):.1f}- to {max(others):.1f}-fold in the "
            "others.",
            data={name: round(value, 2) for name, value in times.items()},
        )  # fmt: skip


def _distance(entry: Entry) -> Number:
    """|confidence − accuracy|, a fraction."""
    assert entry.ece_bounds is not None
    return entry.ece_bounds[0]


def _consistently() -> Iterator[Finding]:
    said = stated()["consistently_improves"]
    gains = {_label(e): _points(e.accuracy, b.accuracy) for e, b in _beside_baseline()}
    below = {name: gain for name, gain in gains.items() if decide(gain) < 0}
    if below:
        least, gain = min(
            ((n, g) for n, g in gains.items() if n not in below), key=lambda item: item[1].value, default=("", None)
        )
        tail = f"; the least of the others is {_signed(gain.value, 2)} ({least})" if gain is not None else ""
        yield Finding(
            "consistently_improves", "fact",
            f"KD + mixup “{said['says']}” accuracy in {said['where']}; it falls below the baseline in {len(below)} of {len(gains)} "
            f"students of tables 2 to 4: {listed([f'{n}, {_signed(g.value, 2)} points' for n, g in below.items()])}{tail}.",
            tuple((e.table, e.row) for e, _ in _beside_baseline() if _label(e) in below),
            {name: round(gain.value, 3) for name, gain in gains.items()},
        )  # fmt: skip


def _points(a: Number | None, b: Number | None) -> Number:
    """a − b of two fractions, percentage points."""
    assert a is not None
    assert b is not None
    gap = difference(a, b)
    low, high = gap.interval or (gap.value, gap.value)
    return Number(100 * gap.value, interval=(100 * low, 100 * high), printed=True)


def _good_calibration() -> Iterator[Finding]:
    said = stated()["good_calibration"]
    rows = [e for e in entries() if e.data == said["data"] and e.role == "teacher" and e.ece is not None]
    ranked = sorted(rows, key=lambda e: e.ece.value if e.ece else 0)
    place = next(k for k, e in enumerate(ranked, 1) if e.teacher == said["teacher"])
    if place > len(ranked) / 2:
        order = ", ".join(f"{TEACHERS[e.teacher or '']} {e.text[2]}" for e in ranked)
        yield Finding(
            "good_calibration", "fact",
            f"{TEACHERS[said['teacher']]} has “{said['says']}” in {said['where']}; by ECE it is number {place} of {len(ranked)} "
            f"teachers of table {ranked[0].table} ({order}).",
            ((ranked[0].table, ranked[place - 1].row),), {TEACHERS[e.teacher or ""]: e.ece.value for e in ranked if e.ece},
        )  # fmt: skip


# --- temperatures: table 1; and the student's head --------------------------------------------------------------------


def _by_temperature(column: str) -> dict[str, dict[str, Printed]]:
    """A column of table 1's KD + mixup rows, by teacher and temperature."""
    table = printed_numbers()["table1_temperature_cifar100"]
    return {
        name: {temperature: cells[column] for temperature, cells in table[name].items() if temperature != "kd_classic"}
        for name in TEACHERS
    }


def _sigma_confidence() -> Iterator[Finding]:
    said, confidence = stated()["lowest_confidence"], _by_temperature("confidence_pct")
    sigma = said["temperature"]
    lowest = [name for name, values in confidence.items() if min(values, key=lambda t: values[t]) == sigma]
    highest = [name for name, values in confidence.items() if max(values, key=lambda t: values[t]) == sigma]
    if len(lowest) < len(confidence):
        where = "; ".join(
            f"it is {TEACHERS[name]}’s highest, {confidence[name][sigma].text} % where the fixed ones have "
            f"{min(confidence[name].values()).text} to {max(v for t, v in confidence[name].items() if t != sigma).text} %"
            for name in highest
        )
        yield Finding(
            "lowest_confidence", "fact",
            f"T = σ has the lowest average confidence of all temperatures in {said['where']}; so it has for {len(lowest)} of "
            f"{len(confidence)} teachers of table 1{f', but {where}' if highest else ''}.",
            tuple((1, f"{TEACHERS[name]}, T = {temperature_text(sigma)}") for name in confidence if name not in lowest),
            {TEACHERS[name]: {t: float(v) for t, v in values.items()} for name, values in confidence.items()},
        )  # fmt: skip


def _temperature_range() -> Iterator[Finding]:
    """“Above T = 4” read both ways: with T = 4, as the sentence's own “T = 4 → 10”, and without."""
    said, accuracy = stated()["accuracy_range_above_4_pp"], _by_temperature("accuracy_pct")
    least, most = said["range"]

    def widths(lowest: float) -> dict[str, float]:
        found = {}
        for name, values in accuracy.items():
            kept = [v for t, v in values.items() if t != "sigma" and float(t) >= lowest]
            found[TEACHERS[name]] = round(max(kept) - min(kept), 2)
        return found

    def inside(found: Mapping[str, float]) -> int:
        return sum(least <= value <= most for value in found.values())

    with_four, without = widths(4), widths(6)
    if inside(with_four) < len(with_four):
        yield Finding(
            "accuracy_range_above_4", "fact",
            f"Accuracies above T = 4 lie within {least.text} to {most.text} points of each other in {said['where']}; by table 1 "
            f"their ranges from T = 4 to 10 are {listed([f'{v:.2f} ({name})' for name, v in with_four.items()])}, within that "
            f"for {inside(with_four)} of {len(with_four)} teachers, and from T = 6 to 10 "
            f"{listed([f'{v:.2f}' for v in without.values()])}, {inside(without)} of {len(without)}.",
            data={"from_4": with_four, "from_6": without},
        )  # fmt: skip


def _most_accurate() -> Iterator[Finding]:
    """By how many test images T = 2 is the most accurate, and what a paired test would need to tell that from chance."""
    said, accuracy = stated()["most_accurate"], _by_temperature("accuracy_pct")
    images, best = TEST_IMAGES["cifar100"], str(said["temperature"])
    ahead: dict[str, int] = {}
    for name, values in accuracy.items():
        runner_up = max(value for t, value in values.items() if t != best)
        ahead[TEACHERS[name]] = round((values[best] - runner_up) * images / 100)
    least = min(ahead, key=lambda name: ahead[name])
    most_apart = largest_discordance(ahead[least])
    wrong = round(fmean(100 - float(values[best]) for values in accuracy.values()) * images / 100)
    counts = listed([f"{count} ({name})" for name, count in ahead.items()])
    yield Finding(
        "most_accurate", "fact",
        f"T = {best} is the most accurate temperature of table 1 ({said['where']}) by {counts} of {images:,} test images, one run "
        f"each. McNemar’s test would tell {least}’s {ahead[least]} from chance (p ≤ {SIGNIFICANCE}) only if no more than {most_apart} "
        f"images were answered rightly by one of the two students alone, and each is wrong on some {wrong:,}.",
        data={"images": images, "ahead": ahead, "most_discordant": {name: largest_discordance(n) for name, n in ahead.items()}},
    )  # fmt: skip


def largest_discordance(ahead: int) -> int:
    """The most images that two networks can be right on differently, one of them `ahead` more often, with p ≤ .05.

    By McNemar's exact test, two-sided. 0 where `ahead` is too small for any.
    """

    def p_value(discordant: int) -> float:
        term = total = 1  # of the binomial coefficients up to the smaller count
        for k in range((discordant - ahead) // 2):
            term = term * (discordant - k) // (k + 1)
            total += term
        return min(1.0, total / (1 << (discordant - 1)))

    # p rises with the count; by the normal approximation it is .05 near ahead² / 3.84, a little later than it is.
    counts = range(ahead, max(ahead * ahead // 3, ahead) + 3, 2)
    within = bisect_right(counts, SIGNIFICANCE, key=p_value) if ahead > 0 else 0
    return counts[within - 1] if within else 0


def _head() -> Iterator[Finding]:
    """Values of a head of 256 units between the features and the classes, against one straight from the features."""
    said = stated()["smaller_head"]
    units, features = printed_numbers()["setup"]["students"]["mobilenetv2"]["bottleneck"], said["features"]
    added = {}
    for data, classes in CLASSES.items():
        plain = features * classes + classes
        own = features * units + 2 * units + units * classes + classes  # no bias before the batch norm, which has two
        added[data] = own - plain
    more = [data for data, count in added.items() if count > 0]
    if more:
        parts = [f"{_signed(added[data] / 1e6, 3)} million on {DATA_SETS[data]}" for data in DATA_SETS]
        yield Finding(
            "smaller_head", "fact",
            f"A head of {units} units is said to “{said['says']}” in {said['where']}; between {features:,} features and the classes it "
            f"adds values on {len(more)} of {len(added)} data sets: {listed(parts)}.",
            data={DATA_SETS[data]: count for data, count in added.items()},
        )  # fmt: skip


def _signed(value: float, decimals: int = 1) -> str:
    return f"{value:+.{decimals}f}".replace("-", "−")
