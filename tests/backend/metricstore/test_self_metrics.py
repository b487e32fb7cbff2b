import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.metricstore import MetricSpec, MetricStore, Query
from cc_backend.metricstore.gaps.analysis import GapQuery
from cc_backend.metricstore.self_metrics import TIMED_WORK, Histogram, SelfMetrics, SelfMetricsSnapshot

T0 = 1_790_000_040


def test_a_value_belongs_to_the_first_bound_that_it_does_not_exceed() -> None:
    histogram = Histogram((1, 5, 10))
    for value in (0, 1, 1.5, 5, 10, 10.5, 1e9):
        histogram.observe(value)
    found = histogram.snapshot()
    assert (found.bounds, found.counts, found.count) == ((1, 5, 10), (2, 2, 1, 2), 7)
    assert found.sum == pytest.approx(1e9 + 28)


@pytest.mark.parametrize("bounds", [(2, 1), (1, 1)])
def test_bounds_must_rise(bounds: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="rise"):
        Histogram(bounds)


@given(st.lists(st.floats(0, 20)))
def test_every_value_is_in_one_bucket(values: list[float]) -> None:
    histogram = Histogram((1, 5, 10))
    for value in values:
        histogram.observe(value)
    low, middle, high, above = histogram.snapshot().counts
    assert (low, middle) == (sum(v <= 1 for v in values), sum(1 < v <= 5 for v in values))
    assert (high, above) == (sum(5 < v <= 10 for v in values), sum(v > 10 for v in values))


def test_no_value_is_lost_between_threads() -> None:
    histogram, together = Histogram((1,)), threading.Barrier(4)

    def work() -> None:
        together.wait()
        for _ in range(2000):
            histogram.observe(0.5)

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(work) for _ in range(4)]:
            future.result()
    assert (histogram.snapshot().count, histogram.snapshot().sum) == (8000, 4000)


def test_work_is_timed_also_when_it_fails() -> None:
    times = iter((10.0, 10.25, 20.0, 23.0))
    measured = SelfMetrics(clock=lambda: next(times))
    with measured.timed("query"):
        pass
    with pytest.raises(LookupError), measured.timed("query"):
        raise LookupError
    found = measured.snapshot().seconds["query"]
    assert (found.count, found.sum) == (2, 3.25)


def test_a_sample_of_the_future_has_no_lag() -> None:
    measured = SelfMetrics()
    measured.observe_lag(received_s=T0, oldest_s=T0 + 30)
    assert measured.snapshot().lag_s.sum == 0


def report(store: MetricStore) -> SelfMetricsSnapshot:
    found = store.counters().self_metrics
    assert found is not None
    return found


def test_a_store_measures_its_own_work(tmp_path: Path) -> None:
    with MetricStore.open(tmp_path, {"demo": {"load": MetricSpec(60)}}, now_s=T0) as store:
        batch = b"load,cluster=demo,hostname=n1 value=1 %d\nload,cluster=demo,hostname=n1 value=1 %d"
        store.ingest(batch % (T0 - 100, T0 - 40), received_s=T0)
        store.ingest(b"load,cluster=demo,hostname=n1 value=1 %d" % T0, received_s=T0 + 2)
        store.ingest(b"nonsense", received_s=T0)
        store.query("demo", [Query("load", "n1")], from_s=T0, to_s=T0 + 60)
        store.statistics("demo", [Query("load", "n1")], from_s=T0, to_s=T0 + 60)
        store.explain_gaps("demo", [GapQuery(Query("load", "n1"), T0, T0 + 60)], now_s=T0 + 900)
        found = report(store)
    counts = {work: distribution.count for work, distribution in found.seconds.items()}
    assert (found.lag_s.count, found.lag_s.sum) == (2, 102)
    assert set(counts) == set(TIMED_WORK)
    assert (counts["ingest"], counts["log_append"], counts["query"], counts["statistics"]) == (3, 2, 1, 1)
    assert counts["why_no_data"] == 1
