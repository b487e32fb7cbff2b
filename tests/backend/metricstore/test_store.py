from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from cc_backend.metricstore import Limits, MetricSpec, MetricStore, Query
from cc_backend.metricstore.disk.wal.group_commit import Fsync

METRICS = {"demo": {"load": MetricSpec(60, "avg"), "flops": MetricSpec(60, "sum"), "power": MetricSpec(10, "sum")}}
T0 = 1_790_000_040


def opened(folder: Path | None = None, **more: object) -> MetricStore:
    return MetricStore.open(folder, METRICS, now_s=T0, **more)  # type: ignore[arg-type]  # settings of the test


def values(store: MetricStore, metric: str = "load", host: str = "n1", slots: int = 5) -> list[float]:
    rows = store.query("demo", [Query(metric, host)], from_s=T0, to_s=T0 + slots * 60)[0]
    return [round(float(v), 3) for row in rows for v in row.data if v == v]  # noqa: PLR0124 not NaN


def test_a_batch_goes_in_and_comes_out() -> None:
    store = opened()
    result = store.ingest(b"load,hostname=n1 value=1.5 %d\nload,hostname=n1 value=x 1\nother,a=b value=1 1\n" % T0,
                          received_s=T0, default_cluster="demo")  # fmt: skip
    assert (result.accepted, result.rejected, result.durable) == (1, {"syntax": 1, "unknown_metric": 1}, True)
    assert [error.line_number for error in result.errors] == [2]
    assert result.faulty_lines == 1
    assert values(store) == [1.5]
    store.validate()


def test_late_samples_go_to_their_own_slot_and_the_last_in_a_slot_counts() -> None:
    store = opened()
    for offset_s, value in ((120, 3), (0, 1), (60, 2), (90, 2.5), (119, 2.7)):
        store.ingest(b"load,cluster=demo,hostname=n1 value=%f %d" % (value, T0 + offset_s), received_s=T0 + 200)
    assert values(store) == [1, 2.7, 3]


def test_counters_add_up() -> None:
    store = opened()
    store.ingest(b"load,cluster=demo,hostname=n1 value=1 %d\nbad" % T0, received_s=T0)
    store.ingest(b"load,cluster=demo,hostname=n2 value=1 %d\nx,y=z value=1 1\nx,y=z value=1 1" % T0, received_s=T0)
    store.ingest(b"", received_s=T0)
    counters = store.counters()
    assert (counters.batches, counters.lines, counters.accepted) == (3, 5, 2)
    assert counters.rejected == {"syntax": 1, "unknown_metric": 2}
    assert (counters.series, counters.hosts) == (2, 2)
    assert counters.sample_bytes > 0
    assert not counters.log.enabled


def test_hosts_and_when_they_were_last_heard_from() -> None:
    store = opened()
    store.ingest(b"load,cluster=demo,hostname=n2 value=1 %d\nflops,cluster=demo,hostname=n1 value=1 %d\n"
                 b"load,cluster=demo,hostname=n1 value=1 %d" % (T0, T0 + 60, T0 - 60), received_s=T0)  # fmt: skip
    assert store.hosts("demo") == ["n1", "n2"]
    assert store.hosts("elsewhere") == []
    assert store.last_seen_s("demo", "n1") == T0 + 60
    assert store.last_seen_s("demo", "n2") == T0
    assert store.last_seen_s("demo", "n3") is None


def test_a_step_of_the_clock_costs_only_what_is_out_of_bounds() -> None:
    store = opened()
    line = b"load,cluster=demo,hostname=n1 value=1 %d"
    assert store.ingest(line % T0, received_s=T0).accepted == 1
    assert store.ingest(line % (T0 + 60), received_s=T0 - 86400).rejected == {"future": 1}
    assert store.ingest(line % (T0 + 60), received_s=T0 + 7 * 86400).rejected == {"too_old": 1}
    assert store.ingest(line % (T0 + 60), received_s=T0 + 60).accepted == 1
    assert values(store) == [1, 1]


def test_hosts_without_samples_are_forgotten_and_their_room_is_used_again() -> None:
    store = opened(limits=Limits(hosts=1))
    store.ingest(b"load,cluster=demo,hostname=n1 value=1 %d" % T0, received_s=T0)
    assert store.ingest(b"load,cluster=demo,hostname=n2 value=1 %d" % T0, received_s=T0).rejected == {"host_limit": 1}
    assert store.free(before_s=T0 + 86400, holds={}) > 0
    store.validate()
    assert store.hosts("demo") == []
    assert store.counters().sample_bytes == 0
    now_s = T0 + 86400
    assert store.ingest(b"load,cluster=demo,hostname=n2 value=1 %d" % now_s, received_s=now_s).accepted == 1
    store.validate()


def test_protected_hosts_keep_their_samples_in_memory() -> None:
    store = opened()
    store.ingest(b"load,cluster=demo,hostname=n1 value=1 %d\nload,cluster=demo,hostname=n2 value=1 %d" % (T0, T0),
                 received_s=T0)  # fmt: skip
    store.free(before_s=T0 + 86400, holds={"demo": {"n1": T0 - 10, "unknown": 0}, "else": {"n1": 0}})
    assert store.hosts("demo") == ["n1"]
    assert values(store) == [1]
    store.validate()


def test_everything_is_there_again_after_a_restart(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    written = random.random((5, 40)).round(3)
    with opened(tmp_path, segment_bytes=1000) as store:
        for slot, row in enumerate(written):
            time_s = T0 + 60 * slot
            batch = "\n".join(f"load,cluster=demo,hostname=n{host} value={v} {time_s}" for host, v in enumerate(row))
            assert store.ingest(batch.encode(), received_s=time_s).durable
        store.ingest(b"power,cluster=demo,hostname=n1 value=7 %d\npower,cluster=demo,hostname=n1 value=8 %d"
                     % (T0, T0 + 10), received_s=T0)  # fmt: skip
    with opened(tmp_path) as store:
        for host in range(40):
            assert values(store, host=f"n{host}") == written[:, host].tolist()
        assert values(store, "power") == [7, 8]
        assert store.last_seen_s("demo", "n3") == T0 + 240
        restored = store.counters().restore
        assert (restored.samples, restored.damaged_files, restored.skipped_samples) == (202, 0, 0)
        store.validate()


def test_a_batch_that_is_logged_twice_counts_once(tmp_path: Path) -> None:
    batch = b"load,cluster=demo,hostname=n1 value=1 %d" % T0
    for _ in range(2):
        with opened(tmp_path) as store:
            store.ingest(batch, received_s=T0)
    with opened(tmp_path) as store:
        assert values(store) == [1]


def test_the_last_sample_of_a_slot_is_the_last_after_a_restart_too(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        for value in range(10):
            store.ingest(b"load,cluster=demo,hostname=n1 value=%d %d" % (value, T0 + value), received_s=T0)
        assert values(store) == [9]
    with opened(tmp_path) as store:
        assert values(store) == [9]


def test_what_is_no_longer_configured_is_left_out_at_the_start(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.ingest(b"load,cluster=demo,hostname=n1 value=1 %d\npower,cluster=demo,hostname=n1 value=2 %d" % (T0, T0),
                     received_s=T0)  # fmt: skip
    with MetricStore.open(tmp_path, {"demo": {"power": MetricSpec(10, "sum")}}, now_s=T0) as store:
        assert values(store, "power") == [2]
        assert store.counters().restore.skipped_samples == 1


def test_a_damaged_segment_costs_only_its_damaged_records_and_the_start_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(tmp_path) as store:
        for slot in range(5):
            time_s = T0 + 60 * slot
            store.ingest(b"load,cluster=demo,hostname=n1 value=%d %d" % (slot, time_s), received_s=time_s)
    (segment,) = tmp_path.glob("*.wal")
    data = bytearray(segment.read_bytes())
    data[-100] ^= 1
    segment.write_bytes(data[:-3])
    with opened(tmp_path) as store:
        assert values(store) == [0, 1, 3]
        restored = store.counters().restore
        assert (restored.damaged_files, restored.damaged_bytes) == (1, 77)
    assert f"file={segment} is damaged: skipped_bytes=77 of size_bytes={len(data) - 3}" in caplog.text


def test_a_lost_definition_costs_its_samples_and_mixes_up_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.ingest(b"load,cluster=demo,hostname=n1 value=1 %d" % T0, received_s=T0)
        store.ingest(b"load,cluster=demo,hostname=n2 value=2 %d" % T0, received_s=T0)
    (segment,) = tmp_path.glob("*.wal")
    data = bytearray(segment.read_bytes())
    data[60] ^= 1
    segment.write_bytes(data)
    with opened(tmp_path) as store:
        assert store.hosts("demo") == ["n2"]
        assert values(store, host="n2") == [2]
        assert store.counters().restore.skipped_samples == 1


def test_a_new_timestep_takes_effect_at_once_and_keeps_what_was_there(tmp_path: Path) -> None:
    line = b"load,cluster=demo,hostname=n1 value=%d %d"
    changed = {"demo": {"load": MetricSpec(120, "avg")}}
    with opened(tmp_path) as store:
        for slot in range(4):
            store.ingest(line % (slot, T0 + 60 * slot), received_s=T0 + 60 * slot)
        store.reload(changed)
        store.ingest(line % (4, T0 + 240), received_s=T0 + 240)
        store.validate()
        live = store.query("demo", [Query("load", "n1")], from_s=T0, to_s=T0 + 300)[0][0]
        assert store.query("demo", [Query("power", "n1")], from_s=T0, to_s=T0)[0][0].error
    with MetricStore.open(tmp_path, changed, now_s=T0) as store:
        again = store.query("demo", [Query("load", "n1")], from_s=T0, to_s=T0 + 300)[0][0]
    assert live.timestep_s == again.timestep_s == 120
    assert live.data.tolist() == again.data.tolist() == [1, 3, 4]


def test_samples_that_could_not_be_logged_are_in_memory_and_the_sender_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with opened(tmp_path) as store:
        line = b"load,cluster=demo,hostname=n1 value=%d %d"
        with monkeypatch.context() as patch:
            patch.setattr("os.pwrite", full)
            assert not store.ingest(line % (1, T0), received_s=T0).durable
            assert "No space left" in store.counters().log.fault
        assert values(store) == [1]
        assert store.ingest(line % (1, T0), received_s=T0).durable
        assert store.ingest(line % (2, T0 + 60), received_s=T0 + 60).durable
        assert store.counters().log.fault == ""
    with opened(tmp_path) as store:
        assert values(store) == [1, 2]


@pytest.mark.parametrize("mode", ["always", "interval", "never"])
def test_a_batch_of_which_nothing_is_kept_need_not_be_sent_again(tmp_path: Path, mode: Fsync) -> None:
    with opened(tmp_path, fsync=mode) as store:
        for _ in range(2):
            for batch in (
                b"",
                b"unknown,cluster=demo,hostname=n1 value=1 17",
                b"load,cluster=demo,hostname=n1 value=x 17",
            ):
                result = store.ingest(batch, received_s=T0)
                assert (result.accepted, result.durable) == (0, True)
            assert store.ingest(b"load,cluster=demo,hostname=n1 value=1 %d" % T0, received_s=T0).durable


def test_a_closed_store_tells_senders_to_keep_their_samples(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.close()
    store.close()
    assert not store.ingest(b"load,cluster=demo,hostname=n1 value=1 %d" % T0, received_s=T0).durable


ROUNDS = 30


def write(store: MetricStore, writer: int) -> None:
    for number in range(ROUNDS):
        time_s = T0 + 60 * number
        lines = [f"flops,cluster=demo,hostname=w{writer}n{h} value={number} {time_s}" for h in range(20)]
        assert store.ingest("\n".join(lines).encode(), received_s=time_s).durable


def read(store: MetricStore) -> None:
    for _ in range(ROUNDS):
        queries = [Query("flops", host) for host in store.hosts("demo")]
        for row in store.query("demo", queries, from_s=T0, to_s=T0 + 60 * ROUNDS):
            there = row[0].data[~np.isnan(row[0].data)]
            assert there.tolist() == list(range(len(there)))
        store.counters()


def free(store: MetricStore) -> None:
    for _ in range(ROUNDS):
        store.free(before_s=T0 - 3600, holds={})


def test_threads_that_write_read_and_free_do_not_disturb_each_other(tmp_path: Path) -> None:
    writers = range(4)
    with opened(tmp_path, fsync="always", segment_bytes=20_000) as store:
        with ThreadPoolExecutor(8) as pool:
            work = [pool.submit(write, store, number) for number in writers]
            work += [pool.submit(job, store) for job in (read, read, free)]
        for one in work:
            one.result()
        store.validate()
    with opened(tmp_path) as store:
        for number in writers:
            assert values(store, "flops", f"w{number}n7", ROUNDS) == list(range(ROUNDS))
