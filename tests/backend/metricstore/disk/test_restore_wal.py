import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from cc_backend.metricstore import MetricSpec, MetricStore, Query
from cc_backend.metricstore.disk.wal.wal_format import encode_batch, encode_key, encode_series, file_header
from cc_backend.metricstore.model import Identity

NOW = 1_790_000_000
SERIES = [encode_key(Identity("demo", "n1", "load"))]


def sample(number: int, value: float) -> bytes:
    return encode_batch(np.array([number]), np.array([value], np.float32), NOW)


@pytest.mark.parametrize(
    "record", [sample(2**32 - 1, 9), encode_series(2**32 - 2, SERIES), encode_series(2**30, SERIES) + sample(2**30, 9)]
)
def test_a_number_that_no_series_of_a_segment_can_have_costs_neither_memory_nor_other_samples(
    tmp_path: Path, record: bytes
) -> None:
    content = file_header(NOW) + encode_series(0, SERIES) + record + sample(0, 1)
    (tmp_path / "000000000001.wal").write_bytes(content)
    tracemalloc.start()
    try:
        with MetricStore.open(tmp_path, {"demo": {"load": MetricSpec(60)}}, now_s=NOW) as store:
            ((found,),) = store.query("demo", [Query("load", "n1")], from_s=NOW - NOW % 60, to_s=NOW + 1)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.data.tolist() == [1]
    assert peak_bytes < 100 << 20


def test_segments_that_define_the_same_or_other_series_in_any_order_are_told_apart(tmp_path: Path) -> None:
    definitions = [
        ["n1", "n2", "n3"],
        ["n1", "n2", "n3"],
        ["n3", "n2", "n1"],
        ["n2", "n9", "n1"],
        ["n1", "n2"],
    ]
    for segment, names in enumerate(definitions):
        records = [encode_series(0, [encode_key(Identity("demo", name, "load")) for name in names])]
        for at, name in enumerate(names):
            value = np.array([100 * segment + int(name[1:])], np.float32)
            records.append(encode_batch(np.array([at]), value, NOW + 60 * segment))
        (tmp_path / f"{segment:012}.wal").write_bytes(file_header(NOW) + b"".join(records))
    with MetricStore.open(tmp_path, {"demo": {"load": MetricSpec(60)}}, now_s=NOW) as store:
        for name in ("n1", "n2", "n3", "n9"):
            ((found,),) = store.query("demo", [Query("load", name)], from_s=NOW - NOW % 60, to_s=NOW + 241)
            there = [100 * at + int(name[1:]) if name in names else np.nan for at, names in enumerate(definitions)]
            np.testing.assert_array_equal(found.data, np.array(there, np.float32))
        store.validate()


def test_samples_of_series_that_are_no_longer_kept_are_counted_in_every_segment(tmp_path: Path) -> None:
    names = [(b"demo", b"load"), (b"gone", b"load"), (b"demo", b"gone")]
    keys = [b"%b\0n1\0%b\0\0\0\0" % name for name in names]
    for segment in range(2):
        samples = encode_batch(np.arange(3), np.ones(3, np.float32), NOW + 60 * segment)
        (tmp_path / f"{segment:012}.wal").write_bytes(file_header(NOW) + encode_series(0, keys) + samples)
    with MetricStore.open(tmp_path, {"demo": {"load": MetricSpec(60)}}, now_s=NOW) as store:
        restored = store.counters().restore
        assert (restored.samples, restored.skipped_samples) == (2, 4)
        store.validate()
