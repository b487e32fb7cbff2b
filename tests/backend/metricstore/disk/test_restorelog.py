import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from cc_backend.metricstore import MetricSpec, MetricStore, Query
from cc_backend.metricstore.disk.walformat import batch_record, file_header, series_record
from cc_backend.metricstore.model import Identity

NOW = 1_790_000_000
SERIES = [Identity("demo", "n1", "load")]


def sample(number: int, value: float) -> bytes:
    return batch_record(np.array([number]), np.array([value], np.float32), NOW)


@pytest.mark.parametrize(
    "record", [sample(2**32 - 1, 9), series_record(2**32 - 2, SERIES), series_record(2**30, SERIES) + sample(2**30, 9)]
)
def test_a_number_that_no_series_of_a_segment_can_have_costs_neither_memory_nor_other_samples(
    tmp_path: Path, record: bytes
) -> None:
    content = file_header(NOW) + series_record(0, SERIES) + record + sample(0, 1)
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
