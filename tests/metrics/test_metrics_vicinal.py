import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics import Metric

from vicinal import functional as vf
from vicinal import metrics
from vicinal.metrics import Alignment, Calibration, Information, InformationBound, Recall, VicinalCurves, lam_grid
from vicinal.metrics.robustness import Robustness

CURVES = ("nonlinearity", "entropy", "dominance", "linearity_information")
UNASKED = pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")
TWO_PROCESSES = {"distributed_available_fn": lambda: True, "dist_sync_fn": lambda x, group=None: [x, x]}


def answers(pairs=30, points=21, k=4, seed=0):
    """Logits for the two images of each pair and along the grid, whose ends are the clean answers."""
    generator = np.random.default_rng(seed)
    i, j = (torch.from_numpy(generator.normal(size=(pairs, k)) * 3) for _ in "ij")
    mixed = torch.from_numpy(generator.normal(size=(pairs, points, k)) * 3)
    mixed[:, 0], mixed[:, -1] = j, i
    return i, j, mixed


def curves(i, j, mixed, batch=None, **values):
    metric = VicinalCurves(lam_grid(mixed.shape[1]), **values)
    for part in zip(*(t.split(batch or len(i)) for t in (i, j, mixed)), strict=True):
        metric.update(*part)
    return metric


def assert_same(got, expected, names=CURVES):
    for name in names:
        torch.testing.assert_close(got[name], expected[name], msg=name)


@pytest.mark.parametrize("points", [3, 5, 21, 101])
def test_the_grid_is_symmetric_and_holds_its_ends_and_middle(points):
    grid = lam_grid(points)
    assert bool((grid + grid.flip(0) == 1).all())
    assert (grid[0], grid[points // 2], grid[-1]) == (0, 0.5, 1)
    torch.testing.assert_close(grid, torch.linspace(0, 1, points, dtype=torch.float64))


def test_the_curves_are_means_of_the_pure_functions():
    i, j, mixed = answers()
    got = curves(i, j, mixed, batch=7, both_orders=False).compute()
    assert torch.equal(got["lam"], lam_grid())
    for at, lam in enumerate(lam_grid().tolist()):
        args = i, j, mixed[:, at], lam
        nonlinearity, entropy = vf.nonlinearity_residual(*args), vf.prediction_entropy(mixed[:, at])
        assert float(got["nonlinearity"][at]) == pytest.approx(float(nonlinearity.mean()))
        assert float(got["entropy"][at]) == pytest.approx(float(entropy.mean()))
        assert float(got["dominance"][at]) == pytest.approx(float(nonlinearity.mean() / entropy.mean()))
        assert float(got["linearity_information"][at]) == pytest.approx(float(vf.linearity_information(*args).mean()))


@settings(max_examples=15, deadline=None)
@given(pairs=st.integers(1, 20), batch=st.integers(1, 20), seed=st.integers(0, 1000), both=st.booleans())
def test_batches_of_any_size_give_the_same_curves(pairs, batch, seed, both):
    i, j, mixed = answers(pairs, 5, seed=seed)
    assert_same(curves(i, j, mixed, batch, both_orders=both).compute(), curves(i, j, mixed, both_orders=both).compute())


def test_both_orders_are_pairs_and_their_swaps():
    i, j, mixed = answers()
    got = curves(i, j, mixed).compute()
    swapped = torch.cat([i, j]), torch.cat([j, i]), torch.cat([mixed, mixed.flip(1)])
    assert_same(got, curves(*swapped, both_orders=False).compute())
    for name in CURVES:
        torch.testing.assert_close(got[name], got[name].flip(0), msg=name)


def test_both_orders_need_a_symmetric_grid():
    grid = torch.tensor([0.0, 0.3, 1.0])
    with pytest.raises(ValueError, match=r"symmetric about 0\.5"):
        VicinalCurves(grid)
    VicinalCurves(grid, both_orders=False)


def test_dominance_is_0_at_the_ends_and_above_0_between():
    got = curves(*answers()).compute()
    for name in ("nonlinearity", "dominance"):
        assert got[name][[0, -1]].tolist() == [0, 0]
        assert bool((got[name][1:-1] > 0).all())


def test_a_model_whose_probabilities_are_linear_has_no_residual():
    i, j, _ = answers()
    lam = lam_grid()[None, :, None]
    p = lam * i.softmax(-1)[:, None] + (1 - lam) * j.softmax(-1)[:, None]
    got = curves(i, j, p.log() + 3).compute()  # a constant changes nothing
    torch.testing.assert_close(got["nonlinearity"], torch.zeros(21, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(got["linearity_information"], got["entropy"])


def test_float32_answers_are_measured_in_float64():
    low = [t.float() for t in answers()]
    assert_same(curves(*low).compute(), curves(*(t.double() for t in low)).compute())
    assert all(t.dtype == torch.float64 for t in curves(*low).compute().values())


def test_values_are_kept_for_each_pair():
    metric = curves(*answers(), batch=8)
    for name in ("nonlinearity", "entropy", "linearity_information"):
        assert metric.per_pair(name).shape == (30, 21)
        torch.testing.assert_close(metric.per_pair(name).mean(0), metric.compute()[name])


def test_intervals_hold_the_curves():
    metric = curves(*answers(200))
    got, intervals = metric.compute(), metric.intervals(300)
    assert set(intervals) == set(CURVES)
    for name, (low, high) in intervals.items():
        inner = slice(1, -1)
        assert bool((low[inner] < got[name][inner]).all()), name
        assert bool((got[name][inner] < high[inner]).all()), name
    low, high = intervals["dominance"]
    assert (low[0], high[0], low[-1], high[-1]) == (0, 0, 0, 0)
    narrow = metric.intervals(300, confidence_level=0.5)["nonlinearity"]
    assert bool(((narrow[1] - narrow[0]) <= intervals["nonlinearity"][1] - intervals["nonlinearity"][0]).all())


def test_two_networks_on_the_same_pairs_share_their_resamples():
    i, j, mixed = answers(40, seed=1)
    first, second = curves(i, j, mixed), curves(i + 1, j + 1, mixed + 1)
    for (a, b), (c, d) in zip(first.intervals(100).values(), second.intervals(100).values(), strict=True):
        torch.testing.assert_close(a, c)
        torch.testing.assert_close(b, d)


@UNASKED
def test_curves_forward_reset_and_merge():
    i, j, mixed = answers()
    metric = VicinalCurves()
    for part in zip(i.split(20), j.split(20), mixed.split(20), strict=True):
        assert_same(metric(*part), curves(*part).compute())
    assert_same(metric.compute(), curves(i, j, mixed).compute())
    first, second = curves(i[:5], j[:5], mixed[:5]), curves(i[5:], j[5:], mixed[5:])
    first.merge_state(second)
    assert_same(first.compute(), curves(i, j, mixed).compute())
    metric.reset()
    with pytest.raises(ValueError, match="call update first"):
        metric.compute()


def test_curves_of_processes_are_gathered():
    data = answers()
    assert_same(curves(*data, **TWO_PROCESSES).compute(), curves(*data).compute())


@pytest.mark.parametrize("shape", [(30, 20, 4), (29, 21, 4), (30, 21, 3), (30, 4)])
def test_curves_refuse_other_shapes(shape):
    i, j, _ = answers()
    with pytest.raises(ValueError, match=r"expected \(P, K\), \(P, K\) and \(P, 21, K\)"):
        VicinalCurves().update(i, j, torch.zeros(shape))


# --- sums only --------------------------------------------------------------------------------------------------------


@UNASKED
@settings(max_examples=20, deadline=None)
@given(
    pairs=st.integers(1, 40),
    batch=st.integers(1, 20),
    ranks=st.integers(1, 8),
    both=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_sums_of_batches_and_slices_are_those_of_the_whole(pairs, batch, ranks, both, seed):
    data = answers(pairs, 5, seed=seed)
    kept = curves(*data, both_orders=both)
    streamed = curves(*data, batch, both_orders=both, keep_pairs=False, resamples=101, seed=seed)
    merged = VicinalCurves(lam_grid(5), both, keep_pairs=False, resamples=101, seed=seed)
    for rank in range(ranks):
        rows = slice(pairs * rank // ranks, pairs * (rank + 1) // ranks)
        part = VicinalCurves(lam_grid(5), both, keep_pairs=False, resamples=101, seed=seed)
        part.update(*(t[rows] for t in data), first_pair=rows.start)
        merged.merge_state(part)
    expected = curves(*data, both_orders=both, keep_pairs=False, resamples=101, seed=seed)
    for metric in (streamed, merged):
        for name in CURVES:
            torch.testing.assert_close(metric.compute()[name], kept.compute()[name], rtol=1e-12, atol=1e-12)
        bounds = metric.intervals(101, seed=seed), expected.intervals(101, seed=seed)
        for name in CURVES:
            for got, whole in zip(bounds[0][name], bounds[1][name], strict=True):
                torch.testing.assert_close(got, whole, rtol=1e-9, atol=1e-12)


def test_intervals_of_sums_are_near_those_of_kept_pairs():
    data = answers(400)
    kept, streamed = curves(*data).intervals(2000), curves(*data, 60, keep_pairs=False, resamples=2000).intervals(2000)
    for name in CURVES:
        width = (kept[name][1] - kept[name][0])[1:-1]
        for got, expected in zip(streamed[name], kept[name], strict=True):
            assert bool(((got - expected)[1:-1].abs() < 0.15 * width).all()), name


def test_sums_do_not_grow_with_the_pairs():
    metric = VicinalCurves(keep_pairs=False, resamples=100)

    def size():
        return sum(state.nbytes for state in metric.metric_state.values())

    before = size()
    for _ in range(5):
        metric.update(*answers())
    assert size() == before
    assert int(metric.count) == 150


@UNASKED
def test_sums_are_resampled_while_they_are_formed():
    metric = curves(*answers(), keep_pairs=False, resamples=100, seed=3)
    with pytest.raises(ValueError, match="100 times from seed 3"):
        metric.intervals(100)
    with pytest.raises(ValueError, match="keep_pairs=True"):
        metric.per_pair("entropy")
    metric.reset()
    with pytest.raises(ValueError, match="call update first"):
        metric.compute()


@UNASKED
def test_sums_forward_counts_on():
    i, j, mixed = answers()
    metric, whole = (VicinalCurves(keep_pairs=False, resamples=50) for _ in range(2))
    for part in zip(i.split(20), j.split(20), mixed.split(20), strict=True):
        assert_same(metric(*part), curves(*part).compute())
    whole.update(i, j, mixed)
    torch.testing.assert_close(metric.intervals(50), whole.intervals(50))


# --- every metric, by slices ------------------------------------------------------------------------------------------


def metrics_and_their_data():
    """Each public metric: how to make it, and its (P, ...) arguments."""
    i, j, mixed = answers()
    other = [t + t.roll(1, -1) / 2 for t in (i, j, mixed)]
    labels = torch.arange(30) % 4
    return {
        "Calibration": (Calibration, (i, labels)),
        "VicinalCurves": (VicinalCurves, (i, j, mixed)),
        "Alignment": (Alignment, (i, other[0], mixed, other[2])),
        "Information": (Information, (i, j, mixed)),
        "InformationBound": (InformationBound, (mixed, other[2])),
        "Recall": (Recall, (i, labels)),
        "Robustness": (Robustness, (i, labels)),
    }


def test_every_public_metric_is_tried_by_slices():
    classes = {name: getattr(metrics, name) for name in metrics.__all__ if isinstance(getattr(metrics, name), type)}
    public = [name for name, found in classes.items() if issubclass(found, Metric)]
    assert sorted(metrics_and_their_data()) == sorted(public)


def flat(value):
    """All numbers in what a metric computes."""
    if isinstance(value, dict):
        return [number for part in value.values() for number in flat(part)]
    if isinstance(value, (list, tuple)):
        return [number for part in value for number in flat(part)]
    if isinstance(value, torch.Tensor):
        return value.double().flatten().tolist()
    return [float("nan") if value is None else float(value)]


@pytest.mark.parametrize("ranks", [2, 3, 8])
@pytest.mark.parametrize("name", metrics_and_their_data())
def test_slices_merged_give_the_figures_of_the_whole(name, ranks):
    make, data = metrics_and_their_data()[name]

    def seen(rows):
        metric = make()
        for severity in (1, 3) if name == "Robustness" else (None,):
            where = () if severity is None else ("fog", severity)
            metric.update(*where, *(t[rows] + (severity or 0) * (k == 0) for k, t in enumerate(data)))
        return metric

    whole, merged = seen(slice(None)), seen(slice(0, 30 // ranks))
    for rank in range(1, ranks):
        part = seen(slice(30 * rank // ranks, 30 * (rank + 1) // ranks))
        # What is merged in comes before what is there, and processes are gathered in their order.
        part.merge_state(merged)
        merged = part
    assert flat(merged.compute()) == pytest.approx(flat(whole.compute()), rel=1e-12, nan_ok=True)
    for method in ("intervals", "interval"):
        if hasattr(whole, method):
            resamples = () if name == "Recall" else (100,)
            got, expected = (flat(getattr(metric, method)(*resamples)) for metric in (merged, whole))
            assert got == pytest.approx(expected, rel=1e-9, abs=1e-12, nan_ok=True)


# --- alignment --------------------------------------------------------------------------------------------------------


def networks(pairs=30, points=21):
    teacher, _, teacher_mixed = answers(pairs, points, seed=1)
    student, _, student_mixed = answers(pairs, points, seed=2)
    return teacher, student, teacher_mixed, student_mixed


def alignment(*data, batch=None, **values):
    metric = Alignment(lam_grid(data[2].shape[1]), **values)
    for part in zip(*(t.split(batch or len(data[0])) for t in data), strict=True):
        metric.update(*part)
    return metric


def test_alignment_is_the_mean_divergence_of_the_student_from_its_teacher():
    data = networks()
    got = alignment(*data, batch=7).compute()
    teacher, student, teacher_mixed, student_mixed = (t.softmax(-1).numpy() for t in data)
    real = (teacher * np.log(teacher / student)).sum(-1).mean()
    by_lam = (teacher_mixed * np.log(teacher_mixed / student_mixed)).sum(-1).mean(0)
    mixed = np.trapezoid(by_lam, np.linspace(0, 1, 21))
    assert float(got["kl_real"]) == pytest.approx(real)
    np.testing.assert_allclose(got["kl_mixed_by_lam"], by_lam)
    assert float(got["kl_mixed"]) == pytest.approx(mixed)
    assert float(got["independent_response"]) == pytest.approx(mixed - real)


def test_a_student_that_is_its_teacher_has_no_divergence():
    teacher, _, teacher_mixed, _ = networks()
    for value in alignment(teacher, teacher + 2, teacher_mixed, teacher_mixed - 5).compute().values():
        torch.testing.assert_close(value, torch.zeros_like(value), atol=1e-12, rtol=0)


@UNASKED
def test_alignment_forward_reset_and_merge():
    data = networks()
    expected, metric = alignment(*data).compute(), Alignment()
    names = tuple(expected)
    for part in zip(*(t.split(20) for t in data), strict=True):
        assert_same(metric(*part), alignment(*part).compute(), names)
    assert_same(metric.compute(), expected, names)
    first = alignment(*(t[:5] for t in data))
    first.merge_state(alignment(*(t[5:] for t in data)))
    assert_same(first.compute(), expected, names)
    metric.reset()
    with pytest.raises(ValueError, match="call update first"):
        metric.compute()


def test_alignment_of_processes_is_gathered():
    expected = alignment(*networks()).compute()
    assert_same(alignment(*networks(), **TWO_PROCESSES).compute(), expected, tuple(expected))


def test_alignment_refuses_answers_off_the_grid():
    teacher, student, teacher_mixed, student_mixed = networks()
    with pytest.raises(ValueError, match=r"expected|shapes differ"):
        Alignment().update(teacher, student, teacher_mixed[:, :5], student_mixed[:, :5])
    with pytest.raises(ValueError, match=r"expected|shapes differ"):
        Alignment().update(teacher, student, teacher_mixed, student_mixed[:, :5])


def test_a_pair_s_clean_answers_are_those_of_its_update():
    teacher_mixed, student_mixed = networks()[2:]
    pairs, metric, expected = len(teacher_mixed), Alignment(), Alignment()
    clean = [torch.cat([z[:, -1], z[:, 0]]) for z in (teacher_mixed, student_mixed)]
    expected.update(*clean, teacher_mixed, student_mixed)
    for first, last in ((0, 7), (7, 8), (8, pairs)):
        part = slice(first, last)
        both = [torch.cat([z[part, -1], z[part, 0]]) for z in (teacher_mixed, student_mixed)]
        metric.update(*both, teacher_mixed[part], student_mixed[part])
    for got, whole in zip(metric.per_pair(), expected.per_pair(), strict=True):
        torch.testing.assert_close(got, whole)
    assert float(metric.per_pair()[0].mean()) == pytest.approx(float(metric.compute()["kl_real"]))
    torch.testing.assert_close(metric.interval(50), expected.interval(50))


def test_updates_of_one_and_of_two_clean_answers_a_pair_do_not_go_together():
    teacher, student, teacher_mixed, student_mixed = networks()
    metric = Alignment()
    metric.update(teacher, student, teacher_mixed, student_mixed)
    metric.update(torch.cat([teacher, teacher]), torch.cat([student, student]), teacher_mixed, student_mixed)
    with pytest.raises(ValueError, match="do not go with"):
        metric.interval(50)


def test_intervals_over_images_are_wider_where_pairs_share_them():
    i, j, mixed = answers(60)
    metric = curves(i, j, mixed)
    apart = torch.arange(120).view(60, 2)
    twice = curves(*(torch.cat([z, z]) for z in (i, j, mixed)))
    sharing = torch.cat([apart, apart + torch.tensor([0, 120])])  # one image alone makes the answers of both its pairs
    widths = []
    for found, images in ((metric, None), (metric, apart), (twice, None), (twice, sharing)):
        low, high = found.intervals(2000, images=images)["entropy"]
        widths.append(float((high - low).mean()))
    assert widths[1] == pytest.approx(widths[0], rel=0.06)
    assert widths[2] == pytest.approx(widths[0] / 2**0.5, rel=0.06)
    assert widths[3] == pytest.approx(widths[0], rel=0.08)
    with pytest.raises(ValueError, match=r"expected \(60, 2\)"):
        metric.intervals(100, images=apart[:5])
    with pytest.raises(ValueError, match="too few for an interval"):
        curves(*answers(3)).intervals(100, images=torch.tensor([[0, 1], [1, 2], [0, 2]]))
    with pytest.raises(ValueError, match="keep_pairs=True"):
        curves(i, j, mixed, keep_pairs=False, resamples=100).intervals(100, images=apart)


def test_the_interval_of_the_independent_response_holds_it_and_shrinks_with_pairs():
    generator = torch.Generator().manual_seed(0)

    def measured(pairs: int) -> tuple[float, float, float]:
        teacher, student = (torch.randn(pairs, 5, 4, generator=generator) for _ in range(2))
        metric = Alignment(lam_grid(5))
        # Clean images of both ends: the first P and the last P rows belong to the same pairs.
        metric.update(*(torch.cat([z[:, -1], z[:, 0]]) for z in (teacher, student)), teacher, student)
        low, high = metric.interval(200)
        return float(low), float(metric.compute()["independent_response"]), float(high)

    few, many = measured(20), measured(500)
    assert few[0] < few[1] < few[2]
    assert many[0] < many[1] < many[2]
    assert many[2] - many[0] < few[2] - few[0]
