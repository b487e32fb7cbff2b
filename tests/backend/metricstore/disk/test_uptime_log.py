"""Periods in which the store did not run, so that their gaps are not blamed on senders."""

import os
from pathlib import Path

import pytest

from cc_backend.metricstore import MetricSpec, MetricStore
from cc_backend.metricstore.disk.uptime_log import UptimeLog
from cc_backend.runtime.trusted_clock import TrustedClock

T0 = 1_790_000_040


def touched(path: Path, time_s: int) -> None:
    path.write_bytes(b"")
    os.utime(path, (time_s, time_s))


def test_a_first_start_knows_of_no_outage(tmp_path: Path) -> None:
    assert UptimeLog(tmp_path, now_s=T0).downtimes() == []


def test_the_time_between_two_runs_is_an_outage(tmp_path: Path) -> None:
    UptimeLog(tmp_path, now_s=T0).heartbeat(T0 + 100)
    assert UptimeLog(tmp_path, now_s=T0 + 500).downtimes() == [(T0 + 100, T0 + 500)]


def test_a_batch_in_the_log_is_a_sign_of_life_too(tmp_path: Path) -> None:
    UptimeLog(tmp_path, now_s=T0).heartbeat(T0 + 100)
    touched(tmp_path / "000000000001.wal", T0 + 130)
    assert UptimeLog(tmp_path, now_s=T0 + 500).downtimes() == [(T0 + 130, T0 + 500)]


@pytest.mark.parametrize(("after_s", "last_s"), [(900, T0 + 1000), (901, T0 + 130), (10**9, T0 + 130)])
def test_a_batch_long_after_the_last_word_was_dated_by_a_clock_that_had_jumped(
    tmp_path: Path, after_s: int, last_s: int
) -> None:
    UptimeLog(tmp_path, now_s=T0).heartbeat(T0 + 100)
    touched(tmp_path / "000000000001.wal", T0 + 100 + after_s)
    touched(tmp_path / "000000000002.wal", T0 + 130)
    assert UptimeLog(tmp_path, now_s=T0 + 10**8).last_heartbeat_s == last_s


def test_without_any_word_batches_are_all_that_tells_of_a_run(tmp_path: Path) -> None:
    touched(tmp_path / "000000000001.wal", T0 + 3600)
    assert UptimeLog(tmp_path, now_s=T0 + 5000).last_heartbeat_s == T0 + 3600


def test_outages_are_remembered_until_nothing_of_their_time_is_kept(tmp_path: Path) -> None:
    for start_s in (T0, T0 + 1000, T0 + 2000):
        UptimeLog(tmp_path, now_s=start_s).heartbeat(start_s + 100)
    runs = UptimeLog(tmp_path, now_s=T0 + 3000)
    assert runs.downtimes() == [(T0 + 100, T0 + 1000), (T0 + 1100, T0 + 2000), (T0 + 2100, T0 + 3000)]
    runs.heartbeat(T0 + 3001, forget_before_s=T0 + 2000)
    assert runs.downtimes() == [(T0 + 1100, T0 + 2000), (T0 + 2100, T0 + 3000)]
    assert UptimeLog(tmp_path, now_s=T0 + 3001).downtimes() == runs.downtimes()


def test_a_clock_that_was_set_back_makes_no_outage(tmp_path: Path) -> None:
    UptimeLog(tmp_path, now_s=T0).heartbeat(T0)
    assert UptimeLog(tmp_path, now_s=T0 - 3600).downtimes() == []


@pytest.mark.parametrize("text", [b"", b"down 1\nup 7\nalive x\ndown 5 y\n", b"\xff\xfe\n", b"alive"])
def test_a_damaged_file_is_no_record_and_no_fault(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "runs").write_bytes(text)
    assert UptimeLog(tmp_path, now_s=T0).downtimes() == []


def test_a_disk_that_cannot_be_written_is_no_fault(tmp_path: Path) -> None:
    runs = UptimeLog(tmp_path / "gone", now_s=T0)
    runs.heartbeat(T0)
    assert runs.downtimes() == []


def test_a_store_tells_since_when_it_runs_and_when_it_did_not(tmp_path: Path) -> None:
    metrics = {"demo": {"load": MetricSpec(60)}}
    with MetricStore.open(tmp_path, metrics, now_s=T0) as store:
        assert (store.started_s, store.downtimes()) == (T0, [])
        store.upkeep(T0 + 60, {})
    with MetricStore.open(tmp_path, metrics, now_s=T0 + 300) as store:
        assert (store.started_s, store.downtimes()) == (T0 + 300, [(T0 + 60, T0 + 300)])


def test_a_snapshot_at_the_end_leaves_word_of_when_that_was(tmp_path: Path) -> None:
    metrics = {"demo": {"load": MetricSpec(60)}}
    with MetricStore.open(tmp_path, metrics, now_s=T0) as store:
        store.ingest(b"load,cluster=demo,hostname=n1 value=1 %d" % T0, received_s=T0)
        store.upkeep(T0 + 60, {})
        assert store.snapshot(T0 + 110)
    with MetricStore.open(tmp_path, metrics, now_s=T0 + 300) as store:
        assert store.downtimes() == [(T0 + 110, T0 + 300)]


def test_an_outage_that_a_wrong_clock_noted_ends_when_the_clock_is_right(tmp_path: Path) -> None:
    UptimeLog(tmp_path, now_s=T0).heartbeat(T0 + 100)
    uptime_s = 0.0
    ahead = UptimeLog(tmp_path, now_s=T0 + 10**9, monotonic=lambda: uptime_s)
    ahead.heartbeat(T0 + 200)
    assert ahead.downtimes() == [(T0 + 100, T0 + 200)]
    uptime_s += 100
    ahead.heartbeat(T0 + 300)
    assert ahead.downtimes() == [(T0 + 100, T0 + 200)]
    assert UptimeLog(tmp_path, now_s=T0 + 300).downtimes() == [(T0 + 100, T0 + 200)]


def test_an_outage_is_known_whole_once_the_clock_is_trusted_that_was_in_doubt_after_it(tmp_path: Path) -> None:
    UptimeLog(tmp_path, now_s=T0).heartbeat(T0 + 100)
    uptime_s, back_s = 0.0, T0 + 3 * 86_400
    runs = UptimeLog(tmp_path, now_s=back_s, monotonic=lambda: uptime_s)
    clock = TrustedClock(lambda: back_s + uptime_s, monotonic=lambda: uptime_s, last_known_s=runs.last_heartbeat_s)
    assert clock.in_doubt
    while clock.in_doubt:
        uptime_s += 60
        clock.observe_sample("n1", int(back_s + uptime_s))
        clock.resolve_doubt()
        runs.heartbeat(int(clock.now_s()))
    assert runs.downtimes() == [(T0 + 100, back_s)]
    assert UptimeLog(tmp_path, now_s=int(back_s + uptime_s)).downtimes() == [(T0 + 100, back_s)]


def test_the_last_sign_of_life_is_known(tmp_path: Path) -> None:
    assert UptimeLog(tmp_path, now_s=T0).last_heartbeat_s == 0
    UptimeLog(tmp_path, now_s=T0).heartbeat(T0 + 100)
    assert UptimeLog(tmp_path, now_s=T0 - 10**8).last_heartbeat_s == T0 + 100
