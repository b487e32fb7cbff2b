import numpy as np
import pytest

from cc_backend.insight.job_curves import MetricCurves
from cc_backend.insight.rating import Thresholds
from cc_backend.model import JobMetric, Level, MetricUnit, SampleSeries, Scope
from cc_backend.web.series_figure import MAX_LINES, build_series_figure, series_labels

NAN = float("nan")


def metric(*rows: list[float], ids: list[str] | None = None) -> MetricCurves:
    series = [
        SampleSeries(
            f"n{i:02d}" if ids is None else "n01", np.array(row, dtype=np.float32), None if ids is None else ids[i]
        )
        for i, row in enumerate(rows)
    ]
    return MetricCurves(JobMetric(MetricUnit("B/s", "G"), 60, series))


def test_one_series_is_one_neutral_line() -> None:
    figure = build_series_figure("mem_bw", metric([1, 2, 3]), Scope.NODE, unit="GB/s")
    assert [line.colour for line in figure.lines] == [0]
    assert (figure.minimum, figure.median, figure.maximum) == (1, 2, 3)


@pytest.mark.parametrize(("count", "each"), [(2, False), (3, False), (4, True), (8, True)])
def test_few_series_are_lines_in_their_own_colours_with_a_key(count: int, *, each: bool) -> None:
    rows = metric(*[[i, i] for i in range(count)])
    figure = build_series_figure("mem_bw", rows, Scope.NODE, unit="GB/s", separate_lines=each)
    assert [line.colour for line in figure.lines] == list(range(1, count + 1))
    assert figure.bands == ()
    assert figure.key == tuple((f"k{i + 1}", f"n{i:02d}") for i in range(count))


@pytest.mark.parametrize(("count", "each"), [(4, False), (8, False), (9, True)])
def test_from_four_series_on_a_median_with_bands_reads_better(count: int, *, each: bool) -> None:
    rows = metric(*[[i, i] for i in range(count)])
    figure = build_series_figure("mem_bw", rows, Scope.NODE, unit="GB/s", separate_lines=each)
    assert len(figure.bands) == 2
    assert figure.key == ()


def test_only_zeros_are_quiet() -> None:
    def quiet(*row: float) -> bool:
        return build_series_figure("file_bw", metric(list(row)), Scope.NODE, unit="MB/s").quiet

    assert quiet(0, NAN, 0)
    assert not quiet(0, 0.001)
    assert not quiet(NAN, NAN)


def test_more_series_become_a_median_with_two_bands() -> None:
    figure = build_series_figure("mem_bw", metric(*[[i, i + 1] for i in range(MAX_LINES + 1)]), Scope.NODE, unit="GB/s")
    assert [line.label for line in figure.lines] == ["median"]
    assert [band.inner for band in figure.bands] == [False, True]
    assert figure.bands[0].low.tolist() == [0, 1]
    assert figure.bands[0].high.tolist() == [8, 9]


def test_the_line_of_a_node_with_a_finding_has_its_level_and_lies_on_top() -> None:
    outliers = {"n01": Level.ALERT}
    figure = build_series_figure(
        "cpu_load", metric([15, 15], [0, 0], [15, 15]), Scope.NODE, unit="", outlier_levels=outliers
    )
    assert [(line.label, line.colour, line.level) for line in figure.lines] == [
        ("n00", 1, None),
        ("n02", 3, None),
        ("n01", 2, Level.ALERT),
    ]
    assert figure.outliers == ("n01",)
    assert figure.key == (("k1", "n00"), ("alert", "n01"), ("k3", "n02"))
    rows = [[15, 15]] * 9 + [[0, 0]]
    banded = build_series_figure("cpu_load", metric(*rows), Scope.NODE, unit="", outlier_levels={"n09": Level.CAUTION})
    assert [(line.label, line.level) for line in banded.lines] == [("n09", Level.CAUTION), ("median", None)]


def test_outliers_keep_lines_of_their_own_outside_the_bands() -> None:
    rows = [[95.0, 96.0]] * 10 + [[1.0, 1.0]] * 2
    figure = build_series_figure("cpu_load", metric(*rows), Scope.NODE, unit="")
    assert figure.outliers == ("n10", "n11")
    assert [line.label for line in figure.lines] == ["n10", "n11", "median"]
    assert figure.bands[0].low.tolist() == [95, 96]


def test_no_value_at_all_makes_a_figure_that_says_so() -> None:
    figure = build_series_figure("mem_bw", metric([NAN, NAN]), Scope.NODE, unit="GB/s")
    assert not figure.measured
    assert not build_series_figure(
        "mem_bw", MetricCurves(JobMetric(MetricUnit("B/s"), 60)), Scope.NODE, unit="B/s"
    ).measured


def test_series_of_different_length_are_filled_up_with_gaps() -> None:
    figure = build_series_figure("mem_bw", metric([1, 2, 3], [4]), Scope.NODE, unit="GB/s")
    assert [len(line.values) for line in figure.lines] == [3, 3]


def test_the_unit_of_the_figure_is_applied() -> None:
    assert build_series_figure(
        "mem_bw", metric([0.001, 0.002]), Scope.NODE, unit="MB/s", factor=1000
    ).maximum == pytest.approx(2)


def test_the_axis_shows_the_nearest_threshold_but_no_far_one() -> None:
    near = build_series_figure("x", metric([50, 60]), Scope.NODE, unit="", thresholds=Thresholds(200, 100, 40, 10))
    far = build_series_figure("x", metric([5, 6]), Scope.NODE, unit="", thresholds=Thresholds(200, 100, 40, 10))
    assert near.top == pytest.approx(106)
    assert far.top == pytest.approx(6.3)


def test_parts_of_nodes_are_called_by_their_own_ids() -> None:
    assert series_labels(metric([1], [2], ids=["0", "17"]).metric, Scope.CORE) == ["core 0", "core 17"]
    several = JobMetric(
        MetricUnit("%"),
        60,
        [SampleSeries("a", np.ones(1, np.float32), "3"), SampleSeries("b", np.ones(1, np.float32), "3")],
    )
    assert series_labels(several, Scope.ACCELERATOR) == ["a GPU 3", "b GPU 3"]
