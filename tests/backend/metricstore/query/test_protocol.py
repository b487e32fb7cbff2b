"""The query protocol: what clients of the reference send and expect, and what is answered beyond that."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.errors import InvalidInput, TooLarge
from cc_backend.metricstore import MetricSpec, MetricStore, Query, StoredSeries
from cc_backend.metricstore.query.execute import execute
from cc_backend.metricstore.query.json_codec import decode_json, encode_json, encode_request
from cc_backend.metricstore.query.protocol import QueryLimits, SampleSource, parse_request
from cc_common.errors import PayloadError

T0 = 1_790_000_040
METRICS = {
    "orion": {
        "mem_used": MetricSpec(60, ""),
        "flops_any": MetricSpec(60, "sum"),
        "clock": MetricSpec(60, "avg"),
        "ib_recv": MetricSpec(30, "sum"),
    }
}
# what cc-backend 1.5.4 sends, as its struct is written out
SAMPLE = """{"cluster":"orion","from":%d,"to":%d,"with-stats":true,"with-data":true,"with-padding":false,
 "queries":[{"metric":"mem_used","host":"n017","resolution":0,"aggreg":false},
            {"metric":"flops_any","host":"n017","type":"hwthread","type-ids":["0","1"],"resolution":240,"aggreg":true}],
 "for-all-nodes":null}"""


@pytest.fixture
def store() -> MetricStore:
    return MetricStore.open(None, METRICS, now_s=T0)


def put(store: MetricStore, metric: str, values: list[float | None], *, host: str = "n017", tags: str = "") -> None:
    """Values one timestep after another from T0; None leaves a gap."""
    step_s = METRICS["orion"][metric].timestep_s
    lines = [
        f"{metric},cluster=orion,hostname={host}{tags} value={value!r} {T0 + at * step_s}"
        for at, value in enumerate(values)
        if value is not None
    ]
    assert store.ingest("\n".join(lines).encode(), received_s=T0 + len(values) * step_s).accepted == len(lines)


def thread(number: int) -> str:
    return f",type=hwthread,type-id={number}"


def raw(store: SampleSource, body: str | bytes, bounds: QueryLimits = QueryLimits()) -> dict[str, Any]:  # noqa: B008
    request = parse_request(body.encode() if isinstance(body, str) else body, bounds)
    document: dict[str, Any] = json.loads(encode_json(execute(request, store, bounds)))
    return document


class Watched:
    """A store, how many queries it got at once, and how many slots were read from it for samples."""

    def __init__(self, store: MetricStore) -> None:
        self._store = store
        self.slots_read = 0
        self.asked: list[int] = []
        self.statistics = store.statistics
        self.hosts = store.hosts

    def query(self, cluster: str, queries: Sequence[Query], *, from_s: int, to_s: int) -> list[list[StoredSeries]]:
        """As the store, counted."""
        self.asked.append(len(queries))
        rows = self._store.query(cluster, queries, from_s=from_s, to_s=to_s)
        self.slots_read += sum(len(one.data) for row in rows for one in row)
        return rows


def ask(store: MetricStore, *queries: dict[str, Any], slots: int = 3, **more: Any) -> list[list[dict[str, Any]]]:
    document = {"cluster": "orion", "from": T0, "to": T0 + slots * 60, "queries": list(queries), **more}
    rows: list[list[dict[str, Any]]] = raw(store, json.dumps(document))["results"]
    return rows


def q(metric: str, host: str = "n017", **more: Any) -> dict[str, Any]:
    return {"metric": metric, "host": host, **{key.replace("_", "-"): value for key, value in more.items()}}


class TestShape:
    def test_the_sample_request_of_the_reference_is_answered_as_it_expects(self, store: MetricStore) -> None:
        put(store, "mem_used", [91.25, None, 92.05])
        document = raw(store, SAMPLE % (T0, T0 + 180))
        assert list(document) == ["results"], "queries are echoed only with for-all-nodes"
        (series,), second = document["results"]
        assert second == [], "a metric without data is an empty row, not an error"
        assert series == {
            "data": [91.25, None, 92.05],
            "from": T0,
            "to": T0 + 180,
            "resolution": 60,
            "avg": pytest.approx(91.65, abs=1e-4),
            "min": 91.25,
            "max": pytest.approx(92.05, abs=1e-4),
        }

    @pytest.mark.parametrize("empty", ["null", "[]"])
    def test_null_and_empty_lists_are_the_same(self, store: MetricStore, empty: str) -> None:
        body = f'{{"cluster":"orion","from":0,"to":60,"queries":{empty},"for-all-nodes":{empty}}}'
        assert raw(store, body) == {"results": []}

    def test_unknown_keys_are_ignored_at_both_levels(self, store: MetricStore) -> None:
        put(store, "mem_used", [1])
        rows = ask(store, q("mem_used", future_key={"a": [1]}), **{"another-key": 7})
        assert rows[0][0]["data"] == [1, None, None]

    def test_keys_in_another_case_are_understood(self, store: MetricStore) -> None:
        put(store, "mem_used", [1])
        body = f'{{"Cluster":"orion","FROM":{T0},"To":{T0 + 60},"Queries":[{{"Metric":"mem_used","HOST":"n017"}}]}}'
        assert raw(store, body)["results"][0][0]["data"] == [1]

    def test_one_row_per_query_in_order_whatever_is_missing(self, store: MetricStore) -> None:
        put(store, "mem_used", [1])
        rows = ask(store, q("mem_used", "n999"), q("nope"), q("mem_used"), q("flops_any"))
        assert [len(row) for row in rows] == [0, 1, 1, 0]
        assert "nope" in rows[1][0]["error"]
        assert "error" not in rows[2][0]

    def test_a_cluster_nobody_configured_is_an_error_in_every_row(self, store: MetricStore) -> None:
        rows = raw(store, '{"cluster":"heron","from":0,"to":60,"queries":[{"metric":"mem_used","host":"a"}]}')[
            "results"
        ]
        assert "heron" in rows[0][0]["error"]

    def test_what_follows_the_first_json_value_is_not_looked_at(self, store: MetricStore) -> None:
        assert raw(store, '{"cluster":"orion","from":0,"to":60} {"x"') == {"results": []}

    @pytest.mark.parametrize("body", ["", "{", "null", "[]", "7", '{"from":NaN}', '"x"', "{" * 2000, b"\xff\xfe"])
    def test_what_is_no_request_is_refused_with_a_text(self, store: MetricStore, body: str | bytes) -> None:
        with pytest.raises((InvalidInput, PayloadError)):
            raw(store, body)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("from", "1"),
            ("from", 1.5),
            ("from", True),
            ("to", 10**30),
            ("to", 2**63),
            ("cluster", 7),
            ("queries", {}),
            ("queries", "x"),
            ("for-all-nodes", [{}]),
            ("for-all-nodes", "mem_used"),
            ("with-stats", "yes"),
            ("resample-algo", 1),
        ],
    )
    def test_a_wrong_field_of_the_request_is_named(self, store: MetricStore, field: str, value: Any) -> None:
        with pytest.raises(InvalidInput, match=field):
            ask(store, **{field: value})

    def test_a_wrong_element_of_a_list_is_named(self, store: MetricStore) -> None:
        with pytest.raises(InvalidInput, match=r"^for-all-nodes\[1\] must be a string, not 1\.5$"):
            ask(store, **{"for-all-nodes": ["clock", 1.5]})


class TestGrid:
    def test_the_whole_range_is_returned_with_null_at_both_ends(self, store: MetricStore) -> None:
        put(store, "mem_used", [None, None, 7, None, 9])
        (series,) = ask(store, q("mem_used"), slots=7)[0]
        assert series["data"] == [None, None, 7, None, 9, None, None]

    @pytest.mark.parametrize("padding", [True, False])
    def test_padding_changes_nothing_as_the_whole_range_comes_anyway(self, store: MetricStore, padding: bool) -> None:  # noqa: FBT001
        put(store, "mem_used", [None, 7])
        (series,) = ask(store, q("mem_used"), **{"with-padding": padding})[0]
        assert (series["from"], series["data"]) == (T0, [None, 7, None])

    def test_from_and_to_are_aligned_to_the_timestep(self, store: MetricStore) -> None:
        put(store, "mem_used", [1, 2, 3])
        (series,) = ask(store, q("mem_used"), **{"from": T0 + 59, "to": T0 + 61})[0]
        assert (series["from"], series["to"], series["data"]) == (T0, T0 + 120, [1, 2])

    def test_a_range_without_any_sample_has_null_statistics(self, store: MetricStore) -> None:
        put(store, "mem_used", [1])
        (series,) = ask(store, q("mem_used"), **{"from": T0 + 600, "to": T0 + 720})[0]
        assert series["data"] == [None, None]
        assert (series["avg"], series["min"], series["max"]) == (None, None, None)

    def test_an_empty_range_has_no_data_at_all(self, store: MetricStore) -> None:
        put(store, "mem_used", [1])
        (series,) = ask(store, q("mem_used"), slots=0)[0]
        assert "data" not in series
        assert (series["from"], series["to"], series["avg"]) == (T0, T0, None)

    def test_a_range_that_ends_before_it_begins_is_an_error_of_each_row(self, store: MetricStore) -> None:
        put(store, "mem_used", [1])
        rows = ask(store, q("mem_used"), q("clock"), to=T0 - 1)
        assert ["after its end" in row[0]["error"] for row in rows] == [True, True]

    def test_each_series_says_its_own_timestep(self, store: MetricStore) -> None:
        put(store, "mem_used", [1, 2])
        put(store, "ib_recv", [1, 2, 3, 4])
        rows = ask(store, q("mem_used"), q("ib_recv"), slots=2)
        assert [(row[0]["resolution"], row[0]["data"]) for row in rows] == [(60, [1, 2]), (30, [1, 2, 3, 4])]


class TestParts:
    @pytest.fixture(autouse=True)
    def threads(self, store: MetricStore) -> None:
        for number, values in ((0, [1, 2, 4]), (1, [10, None, 40]), (3, [100, 200, None])):
            put(store, "flops_any", values, tags=thread(number))  # type: ignore[arg-type]
            put(store, "clock", values, tags=thread(number))  # type: ignore[arg-type]

    def test_parts_that_are_missing_shift_no_label_as_each_series_says_its_id(self, store: MetricStore) -> None:
        (row,) = ask(store, q("flops_any", type="hwthread", type_ids=["3", "2", "1", "0"]))
        assert [(series["id"], series["data"][0]) for series in row] == [("3", 100), ("1", 10), ("0", 1)]

    def test_numbers_for_ids_are_taken_for_texts(self, store: MetricStore) -> None:
        (row,) = ask(store, q("flops_any", type="hwthread", type_ids=[3, 0]))
        assert [series["id"] for series in row] == ["3", "0"]

    @pytest.mark.parametrize("ids", [None, []])
    def test_a_type_without_ids_is_an_empty_row(self, store: MetricStore, ids: Any) -> None:
        assert ask(store, q("flops_any", type="hwthread", type_ids=ids), q("flops_any", type="core")) == [[], []]

    def test_a_sum_is_over_what_is_there_and_says_how_much_that_is(self, store: MetricStore) -> None:
        (row,) = ask(store, q("flops_any", type="hwthread", type_ids=["0", "1", "3"], aggreg=True))
        (series,) = row
        assert series["data"] == [111, 202, 44]
        assert (series["members"], series["coverage"]) == (3, [3, 2, 2])
        assert (series["min"], series["max"], series["avg"]) == (44, 202, 119)
        assert "id" not in series

    def test_a_mean_is_over_what_is_there(self, store: MetricStore) -> None:
        (row,) = ask(store, q("clock", type="hwthread", type_ids=["0", "1"], aggreg=True))
        assert row[0]["data"] == [5.5, 2, 22]

    def test_a_whole_combination_needs_no_coverage(self, store: MetricStore) -> None:
        (row,) = ask(store, q("flops_any", type="hwthread", type_ids=["0", "3"], aggreg=True), slots=2)
        assert row[0]["members"] == 2
        assert "coverage" not in row[0]

    def test_where_nobody_has_a_sample_null_says_it_all(self, store: MetricStore) -> None:
        around = {"from": T0 - 60, "to": T0 + 120}
        (row,) = ask(store, q("flops_any", type="hwthread", type_ids=["0", "3"], aggreg=True), **around)
        assert row[0]["data"] == [None, 101, 202]
        assert "coverage" not in row[0]

    def test_a_host_without_series_of_its_own_is_the_sum_of_its_parts(self, store: MetricStore) -> None:
        assert ask(store, q("flops_any"))[0][0]["data"] == [111, 202, 44]

    def test_the_type_node_means_the_host(self, store: MetricStore) -> None:
        assert ask(store, q("flops_any", type="node"))[0][0]["data"] == [111, 202, 44]

    def test_what_cannot_be_combined_is_an_error_with_its_timestep(self, store: MetricStore) -> None:
        for number in (0, 1):
            put(store, "mem_used", [1], tags=thread(number))
        rows = ask(store, q("mem_used"), q("flops_any"))
        assert "aggregation" in rows[0][0]["error"]
        assert (rows[0][0]["resolution"], rows[0][0]["avg"]) == (60, 0)
        assert rows[1][0]["data"] == [111, 202, 44]

    def test_subtypes_are_found_below_their_part_and_below_the_host(self, store: MetricStore) -> None:
        put(store, "ib_recv", [5], tags=",type=accelerator,type-id=0,stype=mig,stype-id=1")
        put(store, "ib_recv", [6], tags=",stype=disk,stype-id=sda")
        below = {"type": "accelerator", "type_ids": ["0"], "subtype": "mig", "subtype_ids": ["0", "1"]}
        mig, disk = ask(store, q("ib_recv", **below), q("ib_recv", subtype="disk", subtype_ids=["sda"]), slots=1)
        assert [(one["id"], one["subtype-id"], one["data"]) for one in mig] == [("0", "1", [5, None])]
        assert [(one["subtype-id"], one["data"]) for one in disk] == [("sda", [6, None])]


class TestStatistics:
    def test_they_are_of_the_native_samples_at_full_precision(self, store: MetricStore) -> None:
        values = [float(i * i % 17) for i in range(2000)]
        put(store, "mem_used", values)  # type: ignore[arg-type]
        (series,) = ask(store, q("mem_used", resolution=240), slots=2000)[0]
        assert series["resolution"] == 240
        assert len(series["data"]) == 500
        assert series["avg"] == pytest.approx(sum(values) / 2000, rel=1e-12)
        assert (series["min"], series["max"]) == (0, 16)

    def test_alone_they_cost_no_samples_and_say_the_same(self, store: MetricStore) -> None:
        put(store, "flops_any", [1, 2.5, None], tags=thread(0))
        put(store, "flops_any", [1, None, None], tags=thread(1))
        put(store, "mem_used", [-3, 4])
        queries = (
            q("flops_any", scale_by=-2),
            q("mem_used", scale_by=0.1),
            q("flops_any", type="hwthread", type_ids=["1"]),
        )
        crooked = {"from": T0 + 59, "to": T0 + 121}
        whole = ask(store, *queries, **crooked)
        alone = ask(store, *queries, **crooked, **{"with-data": False})
        assert not any("data" in series for row in alone for series in row)
        for row, other in zip(whole, alone, strict=True):
            for series in row:
                series.pop("data")
                series.pop("coverage", None)
            assert row == other

    def test_without_them_the_numbers_are_zero_as_the_reference_has_it(self, store: MetricStore) -> None:
        put(store, "mem_used", [5])
        (series,) = ask(store, q("mem_used"), **{"with-stats": False})[0]
        assert (series["avg"], series["min"], series["max"], series["data"][0]) == (0, 0, 0, 5)

    def test_scaling_changes_data_and_statistics_and_zero_does_not(self, store: MetricStore) -> None:
        put(store, "mem_used", [2, 4])
        scaled, negative, plain = ask(
            store, q("mem_used", scale_by=0.5), q("mem_used", scale_by=-1), q("mem_used", scale_by=0)
        )
        assert (scaled[0]["data"], scaled[0]["avg"], scaled[0]["max"]) == ([1, 2, None], 1.5, 2)
        assert (negative[0]["data"], negative[0]["min"], negative[0]["max"]) == ([-2, -4, None], -4, -2)
        assert plain[0]["data"] == [2, 4, None]

    def test_a_scaled_sample_is_the_nearest_that_single_precision_has(self, store: MetricStore) -> None:
        put(store, "mem_used", [1843.5, 7.25, 91.25])
        for scale, scaled in ((0.001, [1.8435, 0.00725, 0.09125]), (1e-6, [0.0018435, 7.25e-6, 9.125e-5])):
            (series,) = ask(store, q("mem_used", scale_by=scale))[0]
            assert series["data"] == scaled

    def test_a_scaled_sample_beyond_single_precision_is_null_and_no_warning(self, store: MetricStore) -> None:
        put(store, "mem_used", [1, 10, -10])
        (series,) = ask(store, q("mem_used", scale_by=1e38))[0]
        assert series["data"] == [1e38, None, None]
        assert (series["min"], series["max"]) == (-1e39, 1e39)


class TestResampling:
    @pytest.fixture(autouse=True)
    def curves(self, store: MetricStore) -> None:
        for host in ("n017", "n018"):
            put(store, "mem_used", [float((i + len(host)) % 13) for i in range(1200)], host=host)

    def test_all_series_of_a_request_share_one_grid(self, store: MetricStore) -> None:
        put(store, "mem_used", [None, 3], host="n019")
        rows = ask(store, *(q("mem_used", host, resolution=600) for host in ("n017", "n018", "n019")), slots=1200)
        assert {(row[0]["from"], row[0]["resolution"], len(row[0]["data"])) for row in rows} == {(T0, 600, 120)}

    def test_a_query_may_ask_for_another_way(self, store: MetricStore) -> None:
        ways = ["lttb", "average", "simple", "minmax"]
        rows = ask(
            store,
            q("mem_used", resolution=600),
            *(q("mem_used", resolution=600, resample_algo=w) for w in ways),
            slots=1200,
        )
        found = [tuple(row[0]["data"]) for row in rows]
        assert found[0] == found[1], "lttb is what comes when nothing is said"
        assert len(set(found)) == 4

    def test_the_request_may_say_it_for_all_its_queries(self, store: MetricStore) -> None:
        whole = ask(store, q("mem_used", resolution=600), slots=1200, **{"resample-algo": "average"})
        single = ask(store, q("mem_used", resolution=600, resample_algo="average"), slots=1200)
        assert whole == single

    def test_an_unknown_way_costs_only_its_own_row(self, store: MetricStore) -> None:
        rows = ask(store, q("mem_used", resample_algo="magic"), q("mem_used"))
        assert "magic" in rows[0][0]["error"]
        assert rows[1][0]["data"]

    def test_a_resolution_that_is_no_multiple_costs_only_its_own_row(self, store: MetricStore) -> None:
        rows = ask(store, q("mem_used", resolution=90), q("mem_used", resolution=600), slots=1200)
        assert "multiple" in rows[0][0]["error"]
        assert rows[0][0]["resolution"] == 60
        assert len(rows[1][0]["data"]) == 120

    @pytest.mark.parametrize("end", [b"", b" and more, which the quick reader refuses"])
    def test_a_resolution_beyond_any_time_costs_only_its_own_row(self, end: bytes) -> None:
        one, other = parse_request(b'{"queries":[{"resolution":%b},{"resolution":60}]}%b' % (b"7" * 60, end)).items
        assert one.fault.startswith("resolution must be a")
        assert one.resolution_s == 0
        assert (other.fault, other.resolution_s) == ("", 60)

    @pytest.mark.parametrize("resolution_s", [0, 1, 30, 60, -5])
    def test_finer_than_the_timestep_is_the_timestep(self, store: MetricStore, resolution_s: int) -> None:
        (row,) = ask(store, q("mem_used", resolution=resolution_s), slots=1200)
        assert (row[0]["resolution"], len(row[0]["data"])) == (60, 1200)

    def test_short_series_stay_as_they_are(self, store: MetricStore) -> None:
        (row,) = ask(store, q("mem_used", resolution=600), slots=999)
        assert (row[0]["resolution"], len(row[0]["data"])) == (60, 999)

    def test_coverage_is_the_least_of_each_step(self, store: MetricStore) -> None:
        put(store, "flops_any", [1.0] * 1200, tags=thread(0))
        put(store, "flops_any", [None] * 15 + [1.0] * 1185, tags=thread(1))
        (row,) = ask(store, q("flops_any", resolution=600), slots=1200)
        assert row[0]["coverage"] == [1, 1] + [2] * 118


class TestAllNodes:
    def test_its_queries_come_after_the_others_and_all_are_echoed_in_line(self, store: MetricStore) -> None:
        put(store, "mem_used", [1])
        put(store, "mem_used", [2], host="n018")
        put(store, "clock", [3], host="n018")
        single = q("clock", "n018", type="core", type_ids=["0"], scale_by=2, resolution=120, aggreg=True)
        document = raw(
            store,
            json.dumps(
                {
                    "cluster": "orion",
                    "from": T0,
                    "to": T0 + 60,
                    "queries": [single],
                    "for-all-nodes": ["mem_used", "clock"],
                }
            ),
        )
        assert [(one["host"], one["metric"]) for one in document["queries"]] == [
            ("n018", "clock"),
            ("n017", "mem_used"),
            ("n017", "clock"),
            ("n018", "mem_used"),
            ("n018", "clock"),
        ]
        assert document["queries"][0] == {
            "metric": "clock",
            "host": "n018",
            "type": "core",
            "type-ids": ["0"],
            "scale-by": 2,
            "resolution": 120,
            "aggreg": True,
        }
        assert [[one.get("data") for one in row] for row in document["results"]] == [[], [[1]], [], [[2]], [[3]]]

    def test_a_cluster_without_hosts_gives_no_rows(self, store: MetricStore) -> None:
        assert raw(store, '{"cluster":"orion","from":0,"to":60,"for-all-nodes":["clock"]}') == {
            "queries": [],
            "results": [],
        }


class TestBadQueries:
    @pytest.mark.parametrize(
        "bad",
        [
            7,
            None,
            [],
            q("mem_used", resolution="x"),
            q("mem_used", type=7),
            q("mem_used", type="core", type_ids="0"),
            q("mem_used", type="core", type_ids=[None]),
            q("mem_used", type="core", type_ids=[1.5]),
            q("mem_used", scale_by="2"),
            q("mem_used", scale_by=1e300),
            q("mem_used", aggreg=1),
            {"metric": {}, "host": "n017"},
            {"metric": "mem_used", "host": ["n017"]},
            q("m" * 256),
            q("mem_used", "n" * 256),
            q("mem_used", type="core", type_ids=["1" * 256]),
            q("mem_used", type="core", type_ids=["0"] * 10_001),
            q("mem_used", type="core", type_ids=["0"] * 101, subtype="mig", subtype_ids=["1"] * 100),
        ],
        ids=lambda bad: str(bad)[:80],
    )
    def test_it_costs_only_its_own_row(self, store: MetricStore, bad: Any) -> None:
        put(store, "mem_used", [1])
        rows = ask(store, q("mem_used"), bad, q("mem_used"))
        assert rows[0] == rows[2]
        assert rows[0][0]["data"] == [1, None, None]
        (refused,) = rows[1]
        assert refused.pop("error")
        assert refused == {"from": 0, "to": 0, "resolution": 0, "avg": 0, "min": 0, "max": 0}

    def test_one_with_nothing_in_it_asks_for_a_metric_that_is_not_there(self, store: MetricStore) -> None:
        assert "error" in ask(store, {})[0][0]

    @given(
        document=st.dictionaries(
            st.sampled_from(["metric", "host", "type", "type-ids", "subtype", "subtype-ids", "resolution", "scale-by"]),
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text()
            | st.lists(st.text()),
        )
    )
    def test_no_query_whatever_keeps_the_others_from_their_answer(self, document: dict[str, Any]) -> None:
        store = MetricStore.open(None, METRICS, now_s=T0)
        put(store, "mem_used", [1])
        rows = ask(store, document, q("mem_used"))
        assert len(rows) == 2
        assert rows[1][0]["data"] == [1, None, None]


class TestBounds:
    def test_too_large_a_body(self) -> None:
        with pytest.raises(TooLarge, match="100 bytes"):
            parse_request(b" " * 101, QueryLimits(body_bytes=100))

    def test_too_many_queries(self, store: MetricStore) -> None:
        body = json.dumps({"cluster": "orion", "from": 0, "to": 60, "queries": [q("clock")] * 4})
        raw(store, body, QueryLimits(queries=4))
        with pytest.raises(TooLarge, match="limit is 4"):
            raw(store, body.replace('"queries": [', '"queries": [{},'), QueryLimits(queries=4))

    def test_too_many_series_however_short_the_request_that_names_them(self, store: MetricStore) -> None:
        """Ids multiply with subtype ids, and a list of the same id compresses to nothing."""
        queries = [
            q("flops_any", type="hwthread", type_ids=["0"] * 4),
            q("mem_used", subtype="disk", subtype_ids=["a", "b"]),
            q("flops_any", type="accelerator", type_ids=["0"] * 3, subtype="mig", subtype_ids=["1"] * 2),
            q("clock"),
        ]
        body = json.dumps({"cluster": "orion", "from": 0, "to": 60, "queries": queries})
        raw(store, body, QueryLimits(series=13))
        with pytest.raises(TooLarge, match="13 series; the limit is 12"):
            raw(store, body, QueryLimits(series=12))

    @pytest.mark.parametrize("more", [{"cluster": "c" * 256}, {"for-all-nodes": ["clock", "m" * 256]}], ids=list)
    def test_names_that_are_longer_than_any_are_not_repeated_for_every_host(
        self, store: MetricStore, more: dict[str, Any]
    ) -> None:
        body = json.dumps({"cluster": "orion", "from": 0, "to": 60, **more})
        with pytest.raises(InvalidInput, match="at most 255 characters long, not 256"):
            raw(store, body)

    def test_too_many_queries_for_all_nodes(self, store: MetricStore) -> None:
        put(store, "mem_used", [1])
        put(store, "mem_used", [1], host="n018")
        body = '{"cluster":"orion","from":0,"to":60,"for-all-nodes":["clock","mem_used"]}'
        raw(store, body, QueryLimits(queries=4))
        with pytest.raises(TooLarge, match="3 queries"):
            raw(store, body, QueryLimits(queries=3))

    def test_too_many_samples(self, store: MetricStore) -> None:
        put(store, "mem_used", [1])
        body = json.dumps({"cluster": "orion", "from": T0, "to": T0 + 600, "queries": [q("mem_used")] * 3})
        raw(store, body, QueryLimits(samples=30))
        with pytest.raises(TooLarge, match="29 samples"):
            raw(store, body, QueryLimits(samples=29))

    def test_statistics_of_too_many_samples(self, store: MetricStore) -> None:
        for number in range(4):
            put(store, "flops_any", [1], tags=thread(number))
        asked = {"cluster": "orion", "from": T0, "to": T0 + 600, "with-data": False, "queries": [q("flops_any")] * 3}
        body = json.dumps(asked)
        raw(store, body, QueryLimits(slots=120))
        with pytest.raises(TooLarge, match="119 samples"):
            raw(store, body, QueryLimits(slots=119))

    def test_a_range_of_a_thousand_years_is_refused_before_anything_is_read(self, store: MetricStore) -> None:
        put(store, "mem_used", [1])
        with pytest.raises(TooLarge):
            ask(store, q("mem_used"), **{"from": 0, "to": 2**61})

    @pytest.mark.parametrize("portion", [0, 1])
    def test_too_many_samples_are_refused_before_they_are_read(self, store: MetricStore, portion: int) -> None:
        """Whatever was read would have to be held first: gigabytes for a request of a hundred bytes."""
        put(store, "mem_used", [1])
        put(store, "ib_recv", [1], tags=thread(0))
        source = Watched(store)
        queries = [q("mem_used")] * 128 * portion + [q("mem_used"), q("ib_recv"), q("nope"), q("clock")]
        body = json.dumps({"cluster": "orion", "from": T0, "to": T0 + 6000, "queries": queries})
        with pytest.raises(TooLarge, match="samples"):
            raw(source, body, QueryLimits(samples=299 + 12_800 * portion))
        assert source.slots_read == 100 * 128 * portion
        assert len(raw(source, body, QueryLimits(samples=300 + 12_800 * portion))["results"]) == len(queries)

    def test_many_queries_are_answered_in_portions_without_a_seam(self, store: MetricStore) -> None:
        for number in range(300):
            put(store, "clock", [number], host=f"n{number}")
        rows = ask(store, *(q("clock", f"n{number}") for number in range(300)), slots=1)
        assert [row[0]["data"] for row in rows] == [[number] for number in range(300)]

    def test_queries_for_many_parts_are_asked_in_smaller_portions(self, store: MetricStore) -> None:
        """While a portion is answered, nothing can be written."""
        source = Watched(store)
        many = q("flops_any", type="hwthread", type_ids=list(map(str, range(3000))))
        body = json.dumps({"cluster": "orion", "from": T0, "to": T0 + 60, "queries": [many] * 5 + [q("clock")] * 130})
        raw(source, body)
        assert source.asked == [2, 2, 128, 3]


class TestOtherEnd:
    def test_an_answer_survives_the_way_as_json(self, store: MetricStore) -> None:
        put(store, "flops_any", [1, None, 4.25], tags=thread(0))
        put(store, "flops_any", [1, None, None], tags=thread(1))
        queries = [q("flops_any"), q("nope"), q("clock"), q("flops_any", type="hwthread", type_ids=["1", "0"])]
        document = {"cluster": "orion", "from": T0, "to": T0 + 180, "queries": queries}
        request = parse_request(json.dumps(document).encode())
        there = execute(request, store)
        back = decode_json(encode_json(there))
        assert [len(row) for row in back.rows] == [1, 1, 0, 2]
        for row, other in zip(there.rows, back.rows, strict=True):
            for one, two in zip(row, other, strict=True):
                assert (one.id, one.members, one.error) == (two.id, two.members, two.error)
                assert (one.from_s, one.to_s, one.resolution_s) == (two.from_s, two.to_s, two.resolution_s)
                if one.data is not None:
                    assert two.data is not None
                    np.testing.assert_array_equal(one.data, two.data)
                    assert (one.min, one.avg, one.max) == (two.min, two.avg, two.max)
        coverage = back.rows[0][0].coverage
        assert coverage is not None
        assert coverage.tolist() == [2, 0, 1]

    def test_a_request_survives_the_way_as_json(self) -> None:
        request = parse_request((SAMPLE % (T0, T0 + 60)).encode())
        assert parse_request(encode_request(request)) == request

    @pytest.mark.parametrize(
        "body", [b"", b"[]", b"null", b'{"results":7}', b'{"results":[[{"data":["x"]}]]}', b'{"results":[[7]]}',
                 b'{"results":[[{"data":[[1]]}]]}', b'{"results":[[{"data":"12"}]]}', b'{"results":[[{"from":"x"}]]}',
                 b'{"results":[[{"from":1e400}]]}', b'{"results":[[{"to":1e30}]]}', b"<html>"]
    )  # fmt: skip
    def test_what_is_no_answer_is_said(self, body: bytes) -> None:
        with pytest.raises(InvalidInput, match="not a response"):
            decode_json(body)

    def test_the_answer_of_the_reference_is_read(self) -> None:
        series = b'{"data":[91.250,null],"from":5,"to":125,"resolution":60,"avg":91.25,"min":null,"max":1}'
        first, second, third = decode_json(b'{"results":[[%b],[],null]}' % series).rows
        assert first[0].data is not None
        np.testing.assert_array_equal(first[0].data, np.array([91.25, np.nan], np.float32))
        assert (first[0].min, first[0].avg, first[0].id) == (None, 91.25, None)
        assert second == third == []
