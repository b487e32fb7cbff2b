"""Heat map and roofline of the job page: what they show of jobs of every kind."""

import re
from collections.abc import Callable, Mapping

import numpy as np
import pytest

from cc_backend.clusters import SubCluster
from cc_backend.insight.assessment import assess_job, judged_metrics
from cc_backend.insight.job_curves import JobCurveSet, MetricCurves
from cc_backend.model import Job, JobData, JobMetric, Level, MetricUnit, SampleSeries, Scope
from cc_backend.web.figures.heatmap import draw_heatmap
from cc_backend.web.figures.roofline import Roof, RooflinePoint, draw_roofline
from cc_backend.web.job_heatmap import CaptionedFigure, build_heatmap, heatmap_maximum
from cc_backend.web.job_roofline import build_roofline, roofline_dots

NAN = float("nan")
HOSTS = tuple(f"bn{i:02d}" for i in range(1, 13))
ROOF = Roof(480, 6144, 520)
Pictures = Callable[..., tuple[CaptionedFigure | None, CaptionedFigure | None]]


@pytest.fixture
def pictures(make_job: Callable[..., Job], tarn: Mapping[str, SubCluster]) -> Pictures:
    """Heat map and roofline of a job with these samples."""

    def make(
        data: JobData, sub: str = "main", **changes: object
    ) -> tuple[CaptionedFigure | None, CaptionedFigure | None]:
        job, curves, metrics = make_job(**changes), JobCurveSet(data), judged_metrics(tarn[sub].metrics)
        found = assess_job(job, curves.select_nodes_and_gpus(metrics), tarn[sub], metrics)
        return (
            build_heatmap(job, curves, tarn[sub].metrics, [], found),
            build_roofline(job, curves, tarn[sub], found),
        )

    return make


def marks(figure: str) -> list[tuple[str, float, float]]:
    """Level, place in per cent and height of each glyph."""
    found = re.findall(r'<svg class="tm" data-v="(\w+)" x="([\d.]+)%" y="([\d.]+)">', figure)
    return [(level, float(x), float(y)) for level, x, y in found]


def bold(figure: str) -> list[str]:
    return re.findall(r'<text class="lb"[^>]*>([^<]+)</text>', figure)


def names(figure: str) -> list[str]:
    return re.findall(r'<text (?:class="lb" )?x="58"[^>]*>([^<]+)</text>', figure)


def test_the_glyph_stands_on_the_idle_node_where_it_begins_to_idle(
    pictures: Pictures, make_data: Callable[..., JobData]
) -> None:
    rows = {host: [94.0] * 60 + [0.4 if host == "bn08" else 94.0] * 60 for host in HOSTS}
    found, _ = pictures(make_data(cpu_load=rows, mem_used={"bn10": [300.0] * 120} | {
        host: [100.0] * 120 for host in HOSTS if host != "bn10"}), hosts=HOSTS)  # fmt: skip
    assert found is not None
    assert bold(found.figure) == ["bn08"]  # and not bn10, which differs in another metric
    ((level, x, y),) = marks(found.figure)
    row_h = round(220 / 12)
    assert (level, x) == ("alert", 50.0)
    assert 7 * row_h <= y < 8 * row_h
    assert {"bn07", "bn08", "bn09"} <= set(names(found.figure))  # neighbours keep their names


def test_the_glyph_has_the_level_of_its_finding() -> None:
    rows = np.vstack([np.full((3, 10), 94.0), np.full((1, 10), 50.0)])
    drawn = draw_heatmap(rows, ["a", "b", "c", "d"], 96, [], "", outlier_levels={"d": Level.CAUTION})
    assert [level for level, _, _ in marks(drawn)] == ["caution"]
    assert marks(draw_heatmap(rows, ["a", "b", "c", "d"], 96, [], "")) == []


def test_each_group_of_faulty_neighbours_has_one_glyph() -> None:
    rows = np.full((8, 10), 94.0)
    rows[[1, 2, 3, 6]] = 0.1
    outliers = dict.fromkeys(["n1", "n2", "n3", "n6"], Level.ALERT)
    drawn = draw_heatmap(rows, [f"n{i}" for i in range(8)], 96, [], "", outlier_levels=outliers)
    row_h = round(220 / 8)
    assert [int(y // row_h) for _, _, y in marks(drawn)] == [1, 6]


def test_a_node_that_never_sent_has_a_row_of_its_own(pictures: Pictures, make_data: Callable[..., JobData]) -> None:
    rows = {host: [94.0] * 60 for host in HOSTS if host != "bn03"}
    found, _ = pictures(make_data(cpu_load=rows), hosts=HOSTS)
    assert found is not None
    assert "bn03" in names(found.figure)
    assert found.figure.count('class="gap"') == 1
    assert "bn03 sent nothing." in found.figure


def test_a_gpu_job_is_shown_by_its_gpus(pictures: Pictures) -> None:
    def metric(value: float, unit: str) -> JobMetric:
        return JobMetric(
            MetricUnit(unit), 60, [SampleSeries(host, np.full(60, value, np.float32)) for host in ("tg001", "tg002")]
        )

    data: JobData = {"cpu_load": {Scope.NODE: metric(13.0, "")}, "acc_utilization": {Scope.NODE: metric(80.0, "%")}}
    found, _ = pictures(data, "gpu", hosts=("tg001", "tg002"), num_acc=8)
    assert found is not None
    assert found.title == "GPU use by node"


@pytest.mark.parametrize(("highest", "top"), [(96.0, 96.0), (105.6, 96.0), (105.7, 105.7), (0.0, 96.0), (None, 96.0)])
def test_the_strongest_shade_is_the_peak_as_long_as_nothing_is_a_tenth_above(highest: float | None, top: float) -> None:
    assert heatmap_maximum(highest, 96.0) == top
    assert heatmap_maximum(0.0, 0.0) == 1.0


# Roofline


def circles(figure: str) -> list[tuple[str, float, float]]:
    found = re.findall(r'<circle class="([^"]+)" cx="([\d.]+)%" cy="([\d.]+)"', figure)
    return [(kind, float(x), float(y)) for kind, x, y in found]


def curves(**rows: list[float]) -> MetricCurves:
    series = [SampleSeries(host, np.array(row, np.float32)) for host, row in rows.items()]
    return MetricCurves(JobMetric(MetricUnit("F/s", "G"), 60, series))


def test_every_dot_counts_however_low(pictures: Pictures, make_data: Callable[..., JobData]) -> None:
    slots = 540
    data = make_data(flops_any={"tn0001": [900.0] * 10 + [0.6] * 530}, mem_bw={"tn0001": [200.0] * 10 + [1.0] * 530})
    _, found = pictures(data, hosts=("tn0001",))
    assert found is not None
    assert found.read == ("median", "0.60 Flop/byte, 0.60 GFlop/s")
    assert len(circles(found.figure)) == slots


@pytest.mark.parametrize(("lowest", "begin"), [(1.0, "1"), (0.99, "0.01"), (0.05, "0.001"), (2e-3, "0.0001")])
def test_the_axis_begins_a_decade_below_that_of_the_lowest_dot(lowest: float, begin: str) -> None:
    drawn = draw_roofline([RooflinePoint(1.0, 100.0), RooflinePoint(1.0, lowest)], ROOF, "")
    assert re.findall(r'<text x="37"[^>]*>([^<]+)</text>', drawn)[0] == begin
    heights = [y for _, _, y in circles(drawn)]
    floor = max(float(y) for y in re.findall(r'<line class="al" x2="100%" y1="([\d.]+)"', drawn))
    assert all(y <= floor for y in heights)
    if lowest < 1:
        assert heights[1] < floor  # not on the axis itself


def test_a_node_that_computes_nothing_at_all_is_on_the_axis() -> None:
    drawn = draw_roofline([RooflinePoint(1.0, 100.0), RooflinePoint(0.0, 0.0)], ROOF, "")
    assert "nan" not in drawn
    assert len(circles(drawn)) == 2


def test_dots_are_nodes_at_times_with_their_intensity() -> None:
    dots = roofline_dots(
        curves(a=[10.0, NAN, 0.0], b=[0.5, 4.0, 1.0]), curves(a=[5.0, 1.0, 2.0], b=[1.0, 0.0, 4.0]), {}
    )
    assert [(dot.x, dot.y) for dot in dots] == [(2.0, 10.0), (0.0, 0.0), (0.5, 0.5), (0.25, 1.0)]
    assert [dot.late for dot in dots] == [False, True, False, True]


def test_only_what_is_faulty_is_drawn_as_such_and_named(pictures: Pictures, make_data: Callable[..., JobData]) -> None:
    hosts = HOSTS[:4]
    rows = {host: [94.0] * 60 + [0.4 if host == "bn04" else 94.0] * 60 for host in hosts}
    flops = {host: [900.0] * 60 + [0.5 if host == "bn04" else 900.0] * 60 for host in hosts}
    data = make_data(cpu_load=rows, flops_any=flops, mem_bw={host: [200.0] * 120 for host in hosts})
    _, found = pictures(data, hosts=hosts)
    assert found is not None
    kinds = [kind for kind, _, _ in circles(found.figure)]
    assert kinds.count("dot late warn") == 60  # only from when it idles
    assert not any("warn" in kind for kind in kinds[: len(kinds) - 60])  # and on top of all others
    assert found.read == ("median", "4.50 Flop/byte, 900 GFlop/s; bn04 0.50 GFlop/s")


def test_below_the_heat_map_stands_how_high_values_are_where_all_are_pale(
    pictures: Pictures, make_data: Callable[..., JobData]
) -> None:
    found, _ = pictures(make_data(cpu_load={host: [4.3] * 60 for host in HOSTS}), hosts=HOSTS)
    assert found is not None
    assert found.read == ("scale", "0 to 96, highest 4.30")
