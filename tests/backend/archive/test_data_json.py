import json
import math
import re
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cc_backend.archive.data_json import decode_data_json, encode_data_json, metric_parts
from cc_backend.errors import ArchiveError
from cc_backend.model import JobData, JobMetric, MetricUnit, SampleSeries, Scope, Statistic, StatisticsSeries

GAP = math.nan
LEAST: dict[str, Any] = {"unit": {"base": "W"}, "timestep": 60, "series": [{"hostname": "tn01", "data": [1, None]}]}


def _read(scope: str = "node", **changes: Any) -> JobMetric:
    data = decode_data_json(json.dumps({"m": {scope: LEAST | changes}}).encode(), source="data.json")
    return data["m"][Scope(scope)]


def _floats(*values: float) -> npt.NDArray[np.float32]:
    return np.array(values, dtype=np.float32)


def text_of(metric: JobMetric) -> bytes:
    return b"".join(metric_parts(metric))


def test_samples_are_written_as_every_reader_expects() -> None:
    metric = JobMetric(
        MetricUnit("B", "G"),
        60,
        [SampleSeries("tn01", _floats(3, GAP, 13)), SampleSeries("tn01", _floats(14.126), "1", Statistic(1, 2.004, 3))],
        StatisticsSeries(np.array([1.0, GAP]), None, np.array([2.125, 1.0]), np.array([3.0, GAP])),
    )
    assert text_of(metric).decode() == (
        '{"unit":{"base":"B","prefix":"G"},"timestep":60,"series":['
        '{"hostname":"tn01","statistics":{"min":3.00,"avg":8.00,"max":13.00},"data":[3.00,null,13.00]},'
        '{"hostname":"tn01","id":"1","statistics":{"min":1.00,"avg":2.00,"max":3.00},"data":[14.13]}],'
        '"statisticsSeries":{"mean":null,"median":[2.13,1.00],"min":[1.00,null],"max":[3.00,null]}}'
    )


def test_metrics_and_scopes_are_written_in_the_order_of_their_names() -> None:
    metric = JobMetric(MetricUnit(""), 60)
    raw = encode_data_json({"b": {Scope.NODE: metric, Scope.CORE: metric}, "a": {Scope.NODE: metric}})
    assert list(orjson.loads(raw)) == ["a", "b"]
    assert list(orjson.loads(raw)["b"]) == ["core", "node"]
    assert raw.endswith(b"}}\n")


def test_a_job_without_samples_is_an_empty_object() -> None:
    assert encode_data_json({}) == b"{}\n"
    assert decode_data_json(b"{}\n", source="data.json") == {}


def test_names_are_quoted_as_json_needs_it() -> None:
    data: JobData = {
        'a"b\\': {Scope.NODE: JobMetric(MetricUnit('"'), 1, [SampleSeries("h\ud800\n", _floats(1), None)])}
    }
    document = orjson.loads(encode_data_json(data))
    assert document['a"b\\']["node"]["series"][0]["hostname"] == "h?\n"


def test_an_unknown_statistic_makes_all_three_zero() -> None:
    series = SampleSeries("tn01", _floats(1), None, Statistic(GAP, 1, math.inf))
    raw = text_of(JobMetric(MetricUnit(""), 1, [series]))
    assert b'{"min":0.00,"avg":0.00,"max":0.00}' in raw


def test_a_series_without_any_sample_is_written_with_zero_statistics() -> None:
    raw = text_of(JobMetric(MetricUnit(""), 1, [SampleSeries("tn01", _floats(GAP, GAP))]))
    assert b'"statistics":{"min":0.00,"avg":0.00,"max":0.00},"data":[null,null]' in raw


def test_gaps_are_read_as_nan() -> None:
    assert np.array_equal(_read().series[0].data, _floats(1, GAP), equal_nan=True)
    assert _read().series[0].data.dtype == np.float32


def test_missing_statistics_are_made_from_the_samples() -> None:
    series: list[Any] = [
        {"hostname": "tn01", "data": [1, None, 4]},
        {"hostname": "tn02", "data": [], "statistics": {"min": 1}},
    ]
    assert [one.statistics for one in _read(series=series).series] == [Statistic(1, 2.5, 4), Statistic(0, 0, 0)]


def test_given_statistics_are_kept() -> None:
    series = [{"hostname": "tn01", "data": [1], "statistics": {"max": 9, "avg": 8, "min": 7}}]
    assert _read(series=series).series[0].statistics == Statistic(7, 8, 9)


def test_ids_at_node_scope_are_dropped() -> None:
    assert _read(series=[{"hostname": "tn01", "id": "0", "data": []}]).series[0].id is None


def test_ids_that_are_there_twice_become_the_places_of_the_series() -> None:
    series: list[Any] = [{"hostname": host, "id": "0", "data": []} for host in ("tn01", "tn01", "tn02")]
    assert [one.id for one in _read("socket", series=series).series] == ["0", "1", "0"]


@pytest.mark.parametrize(("identity", "read"), [(7, "7"), ("", None), (None, None), ("0000:01:00.0", "0000:01:00.0")])
def test_an_id_is_text_or_nothing(identity: Any, read: str | None) -> None:
    series = [{"hostname": "tn01", "id": identity, "data": []}]
    assert _read("accelerator", series=series).series[0].id == read


def test_statistics_over_time_are_read_with_mean_or_median() -> None:
    old = _read(statisticsSeries={"mean": [1, 2], "min": [0, None], "max": [3, 4]}).statistics_series
    new = _read(statisticsSeries={"mean": None, "median": [1], "min": [0], "max": [3]}).statistics_series
    assert old is not None
    assert old.mean is not None
    assert old.mean.tolist() == [1, 2]
    assert old.median is None
    assert math.isnan(old.min[1])
    assert new is not None
    assert new.mean is None


def test_statistics_over_time_without_a_minimum_have_gaps_there() -> None:
    series = _read(statisticsSeries={"median": [1, 2], "percentiles": {"10": [1]}}).statistics_series
    assert series is not None
    assert np.isnan(series.min).all()
    assert len(series.min) == len(series.max) == 2


def test_null_for_statistics_over_time_is_none() -> None:
    assert _read(statisticsSeries=None).statistics_series is None


def test_unknown_scopes_and_keys_are_ignored() -> None:
    raw = json.dumps({"m": {"rack": LEAST, "node": LEAST | {"extra": 1}, "core": None}}).encode()
    assert list(decode_data_json(raw, source="data.json")["m"]) == [Scope.NODE]


def test_old_units_are_read() -> None:
    assert _read(unit="GB/s").unit == MetricUnit("B/s", "G")
    assert _read(unit=None).unit == MetricUnit("")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"timestep": None}, "m.node.timestep: is missing"),
        ({"timestep": 0}, "m.node.timestep: must be an integer of at least 1"),
        ({"timestep": 0.5}, "m.node.timestep: must be an integer"),
        ({"series": {}}, "m.node.series: must be a list"),
        ({"series": [1]}, "m.node.series[0]: must be an object"),
        ({"series": [{"data": []}]}, "m.node.series[0].hostname: is missing"),
        ({"series": [{"hostname": "a", "data": 3}]}, "m.node.series[0].data: must be a list of numbers"),
        ({"series": [{"hostname": "a", "data": ["x"]}]}, "m.node.series[0].data: must be a list of numbers"),
        ({"series": [{"hostname": "a", "data": [[1]]}]}, "m.node.series[0].data: must be a list of numbers"),
        ({"series": [{"hostname": "a", "data": [[1], 2]}]}, "m.node.series[0].data: must be a list of numbers"),
        ({"series": [{"hostname": "a", "data": [{}]}]}, "m.node.series[0].data: must be a list of numbers"),
        ({"statisticsSeries": {"min": 1}}, "m.node.statisticsSeries.min: must be a list of numbers"),
    ],
)
def test_samples_that_cannot_be_read_are_refused_with_the_place(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ArchiveError) as refused:
        _read(**changes)
    assert str(refused.value).startswith(f"data.json: {said}")


@pytest.mark.parametrize("raw", [b"", b"null", b"[]", b'{"m":3}', b'{"m":{"node":{"series":[{"data":[NaN]}]}}}'])
def test_bytes_that_are_no_samples_are_refused(raw: bytes) -> None:
    with pytest.raises(ArchiveError, match=r"^data\.json: "):
        decode_data_json(raw, source="data.json")


def test_a_sample_too_large_for_32_bits_is_a_gap() -> None:
    assert np.isnan(_read(series=[{"hostname": "a", "data": [1e300]}]).series[0].data[0])


_sample = st.floats(width=32)
_series = st.builds(
    SampleSeries,
    st.text(min_size=1, max_size=4),
    st.lists(_sample, max_size=6).map(lambda values: _floats(*values)),
    st.none() | st.text(max_size=3),
)
_wide = st.lists(st.floats(), max_size=4).map(lambda values: np.array(values, dtype=np.float64))
_metric = st.builds(
    JobMetric,
    st.builds(MetricUnit, st.text(max_size=3), st.text(max_size=2)),
    st.integers(1, 3600),
    st.lists(_series, max_size=4),
    st.none() | st.builds(StatisticsSeries, _wide, st.none() | _wide, st.none() | _wide, _wide),
)
_data = st.dictionaries(st.text(max_size=4), st.dictionaries(st.sampled_from(Scope), _metric, max_size=2), max_size=3)


@given(_data)
@settings(max_examples=60)
def test_what_is_written_is_json_with_two_decimals_and_reads_back_to_itself(data: JobData) -> None:
    raw = encode_data_json(data)
    document = orjson.loads(raw)
    assert set(document) == {name.encode("utf-8", "replace").decode() for name in data}
    once = encode_data_json(decode_data_json(raw, source="data.json"))
    assert encode_data_json(decode_data_json(once, source="data.json")) == once


@given(st.lists(_sample, min_size=1, max_size=20))
def test_every_sample_has_exactly_two_decimals_or_is_null(values: list[float]) -> None:
    raw = text_of(JobMetric(MetricUnit(""), 1, [SampleSeries("a", _floats(*values))])).decode()
    (written,) = re.findall(r'"data":\[(.*?)\]', raw)
    numbers = written.split(",")
    assert len(numbers) == len(values)
    assert all(re.fullmatch(r"-?[0-9]+\.[0-9]{2}|null", number) for number in numbers)
    assert [number == "null" for number in numbers] == [not math.isfinite(value) for value in values]
