import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cc_backend.errors import InvalidInput
from cc_backend.metricstore import Limits, MetricSpec, MetricStore, Query
from cc_backend.metricstore.ingest.identity import Rejection
from cc_backend.metricstore.migrate.checkpoint_import import (
    CheckpointReader,
    ImportReport,
    checkpoint_identity,
    import_checkpoints,
)
from cc_backend.metricstore.model import HostPart, Identity

NAN = math.nan
NOW = 1_790_000_000 - 1_790_000_000 % 3600
HOUR = 3600
METRICS = {
    "demo": {"load": MetricSpec(60, "avg"), "power": MetricSpec(10, "sum"), "flops": MetricSpec(60, "sum")},
    "other": {"load": MetricSpec(60)},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


def put(folder: Path, name: str, content: bytes) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def taken(folder: Path, store: MetricStore, retention_s: int = 48 * HOUR) -> ImportReport:
    *_, report = import_checkpoints(store, folder, METRICS, now_s=NOW, retention_s=retention_s)
    return report


def store(directory: Path | None = None, limits: Limits | None = None) -> MetricStore:
    return MetricStore.open(directory, METRICS, now_s=NOW, limits=limits)


def samples(store: MetricStore, query: Query, from_s: int, count: int, cluster: str = "demo") -> list[float]:
    timestep_s = METRICS[cluster][query.metric].timestep_s
    ((found,),) = store.query(cluster, [query], from_s=from_s, to_s=from_s + count * timestep_s)
    return [round(value, 3) for value in found.data.tolist()]


def nearly(*values: float) -> Any:
    return pytest.approx(list(values), nan_ok=True)


def test_snapshots_and_log_of_a_host_become_its_samples(reference: Any, folder: Path) -> None:
    begin = NOW - HOUR
    core = reference.Level({"flops": (60, begin, [1.0, 2.0])})
    put(
        folder,
        f"demo/n1/{begin}.bin",
        reference.binary(reference.Level({"load": (60, begin, [1, NAN, 3])}, {"core1": core}), begin),
    )
    put(
        folder,
        f"demo/n1/{begin + 180}.json",
        reference.json_text(reference.Level({"load": (60, begin + 180, [4.5])}), begin + 180),
    )
    put(
        folder, "demo/n1/current.wal", reference.log((begin + 240, "load", [], 5), (begin + 240, "flops", ["core1"], 6))
    )
    put(folder, f"other/n1/{begin}.bin", reference.binary(reference.Level({"load": (60, begin, [7])}), begin))
    store_ = store()
    report = taken(folder, store_)
    assert samples(store_, Query("load", "n1"), begin, 6) == nearly(1, NAN, 3, 4.5, 5, NAN)
    assert samples(store_, Query("flops", "n1", type="core", type_ids=("1",)), begin, 5) == nearly(1, 2, NAN, NAN, 6)
    assert samples(store_, Query("load", "n1"), begin, 1, "other") == [7]
    assert (report.hosts, report.files, report.samples) == (2, 4, 8)
    assert (report.skipped, report.faults, report.already_stored, report.durable) == ({}, [], 0, True)
    store_.validate()


def test_what_was_taken_over_is_there_after_a_restart(reference: Any, folder: Path, tmp_path: Path) -> None:
    put(folder, "demo/n1/1.bin", reference.binary(reference.Level({"load": (60, NOW - 120, [1, 2])})))
    with store(tmp_path / "store") as first:
        assert taken(folder, first).durable
    with store(tmp_path / "store") as second:
        assert samples(second, Query("load", "n1"), NOW - 120, 2) == [1, 2]


def test_of_two_files_for_one_slot_the_newer_wins_whatever_its_kind(reference: Any, folder: Path) -> None:
    begin = NOW - HOUR
    put(folder, "demo/n1/300.bin", reference.binary(reference.Level({"load": (60, begin, [3, 3, 3])})))
    put(folder, "demo/n1/1000.json", reference.json_text(reference.Level({"load": (60, begin, [4, None or NAN])})))
    put(folder, "demo/n1/20.bin", reference.binary(reference.Level({"load": (60, begin, [2, 2, 2, 2])})))
    put(folder, "demo/n1/current.wal", reference.log((begin + 120, "load", [], 5)))
    store_ = store()
    taken(folder, store_)
    assert samples(store_, Query("load", "n1"), begin, 5) == nearly(4, 3, 5, 2, NAN)


def test_a_sample_that_the_store_has_already_stays(reference: Any, folder: Path) -> None:
    begin = NOW - HOUR
    core = reference.Level({"flops": (60, begin, [1, 1])})
    root = reference.Level({"load": (60, begin, [1, 1, 1])}, {"core1": core})
    put(folder, "demo/n1/1.bin", reference.binary(root))
    store_ = store()
    lines = (
        f"load,cluster=demo,hostname=n1 value=9 {begin + 70}\n"
        f"flops,cluster=demo,hostname=n1,type=core,type-id=1 value=9 {begin}\n"
        f"flops,cluster=demo,hostname=n1,type=core,type-id=2 value=9 {begin + 60}"
    )
    store_.ingest(lines.encode(), received_s=NOW)
    report = taken(folder, store_)
    assert (report.samples, report.already_stored) == (3, 2)
    assert samples(store_, Query("load", "n1"), begin, 3) == [1, 9, 1]
    assert samples(store_, Query("flops", "n1", type="core", type_ids=("1",)), begin, 2) == [9, 1]
    again = taken(folder, store_)
    assert (again.samples, again.already_stored) == (0, 5)


def test_a_host_keeps_its_samples_although_the_store_has_such_of_its_parts(reference: Any, folder: Path) -> None:
    put(folder, "demo/n1/1.bin", reference.binary(reference.Level({"flops": (60, NOW - 60, [100])})))
    store_ = store()
    lines = [f"flops,cluster=demo,hostname=n1,type=core,type-id={core} value=9 {NOW - 60}" for core in range(2)]
    store_.ingest("\n".join(lines).encode(), received_s=NOW)
    assert taken(folder, store_).samples == 1
    assert samples(store_, Query("flops", "n1"), NOW - 60, 1) == [100]


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ((), HostPart()),
        (("0",), HostPart()),
        (("socket1",), HostPart("socket", "1")),
        (("core",), HostPart("core")),
        (("hwthread103",), HostPart("hwthread", "103")),
        (("memoryDomain7",), HostPart("memoryDomain", "7")),
        (("cpu5",), HostPart("cpu", "5")),
        (("accelerator00000000:17:00.0",), HostPart("accelerator", "00000000:17:00.0")),
        (("acceleratorGPU-7f3a",), HostPart("accelerator", "GPU-7f3a")),
        (("accelerator0", "mig1"), HostPart("accelerator", "0", "mig", "1")),
        (("socket0", "disksda"), HostPart("socket", "0", "disk", "sda")),
        (("socket0", "networkib0"), HostPart("socket", "0", "network", "ib0")),
        (("socket0", "lane"), HostPart("socket", "0", "lane")),
        (("0", "filesystem/home"), HostPart("", "", "filesystem", "/home")),
        (("fan2b",), HostPart("fan", "2b")),
    ],
)
def test_names_of_levels_lead_to_the_series_of_their_lines(path: tuple[str, ...], part: HostPart) -> None:
    assert checkpoint_identity("demo", "n1", path, "load", METRICS) == Identity("demo", "n1", "load", part)


@pytest.mark.parametrize(
    ("cluster", "path", "metric", "reason"),
    [
        ("demo", (), "unheard", "unknown_metric"),
        ("nowhere", (), "load", "unknown_cluster"),
        ("demo", ("a", "b", "c"), "load", "bad_name"),
        ("demo", ("core\n1",), "load", "bad_name"),
        ("demo", ("c" * 300,), "load", "bad_name"),
    ],
)
def test_other_names_lead_to_none(cluster: str, path: tuple[str, ...], metric: str, reason: str) -> None:
    found = checkpoint_identity(cluster, "n1", path, metric, METRICS)
    assert isinstance(found, Rejection)
    assert found.reason == reason


def test_what_cannot_be_kept_is_counted_by_reason(reference: Any, folder: Path) -> None:
    root = reference.Level(
        {
            "unheard": (60, NOW - 60, [1, NAN, 3]),
            "load": (60, NOW - 3 * HOUR, [1.0] * 140),
            "flops": (60, NOW, [1.0] * 20),
        }
    )
    put(folder, "demo/n1/1.bin", reference.binary(root))
    put(folder, "nowhere/n1/1.bin", reference.binary(reference.Level({"load": (60, NOW, [1])})))
    put(
        folder,
        "demo/n2/current.wal",
        reference.log((2**62, "load", [], 1), (-(2**62), "load", [], 1), (NOW, "load", [], NAN)),
    )
    store_ = store()
    report = taken(folder, store_, retention_s=HOUR)
    assert report.skipped == {"unknown_metric": 2, "unknown_cluster": 1, "too_old": 121, "future": 10}
    assert report.metrics == {"unheard"}
    assert report.samples == 20 + 11


def test_limits_on_series_hold_here_too(reference: Any, folder: Path) -> None:
    put(folder, "demo/n1/1.bin", reference.binary(reference.Level({"load": (60, NOW, [1]), "flops": (60, NOW, [1])})))
    report = taken(folder, store(limits=Limits(series=1)))
    assert (report.samples, report.skipped) == (1, {"series_limit": 1})


def test_another_timestep_than_the_configured_one_costs_no_sample_its_time(reference: Any, folder: Path) -> None:
    root = reference.Level({"power": (60, NOW - 120, [1, 2]), "load": (10, NOW - 60, [1, 2, 3, 4, 5, 6])})
    put(folder, "demo/n1/1.bin", reference.binary(root))
    store_ = store()
    taken(folder, store_)
    assert samples(store_, Query("power", "n1"), NOW - 120, 8) == nearly(1, *[NAN] * 5, 2, NAN)
    assert samples(store_, Query("load", "n1"), NOW - 60, 1) == [6]


def test_slots_around_the_first_sample_become_slots_of_the_wall_clock(reference: Any, folder: Path) -> None:
    """Samples at :58 of each minute, so that the reference has slots from :28 to :28; a snapshot was cut at :20."""
    begin = NOW - HOUR
    root = reference.Level({"load": (60, begin + 20, [1, 2])})
    put(folder, f"demo/n1/{begin + 20}.bin", reference.binary(root, begin + 20))
    put(folder, "demo/n1/current.wal", reference.log((begin + 118, "load", [], 3)))
    store_ = store()
    taken(folder, store_)
    assert samples(store_, Query("load", "n1"), begin - 60, 4) == nearly(1, 2, 3, NAN)


def test_a_damaged_file_costs_only_what_is_damaged_and_is_named(reference: Any, folder: Path) -> None:
    whole = reference.binary(reference.Level({"load": (60, NOW - 60, [1]), "flops": (60, NOW - 60, [2])}))
    put(folder, "demo/n1/1.bin", whole[:-10])
    put(folder, "demo/n2/1.json", b"{")
    put(folder, "demo/n3/current.wal", reference.log((NOW, "load", [], 1)) + b"torn")
    put(folder, "demo/n4/1.bin", whole)
    store_ = store()
    report = taken(folder, store_)
    assert report.damaged_files == 3
    assert [fault.removeprefix(f"{folder}/demo/").partition(":")[0] for fault in report.faults] == [
        "n1/1.bin", "n2/1.json", "n3/current.wal",
    ]  # fmt: skip
    assert report.samples == 4
    assert store_.hosts("demo") == ["n1", "n3", "n4"]


def test_files_that_are_no_checkpoints_are_left_alone(reference: Any, folder: Path) -> None:
    whole = reference.binary(reference.Level({"load": (60, NOW, [1])}))
    for name in ("n1/1.bin.tmp", "n1/x.bin", "n1/1.avro", "n1/60_1/1.bin", "stray.bin", "n2/1.bin"):
        put(folder, f"demo/{name}", whole)
    put(folder, "stray.json", b"{}")
    report = taken(folder, store())
    assert (report.files, report.samples, report.faults) == (1, 1, [])


def test_a_folder_whose_name_is_no_text_costs_only_its_host(reference: Any, folder: Path, tmp_path: Path) -> None:
    content = reference.binary(reference.Level({"load": (60, NOW - HOUR, [1.0, 2.0])}))
    for host in ("n1", os.fsdecode(b"n\xff"), "n2"):
        put(folder, f"demo/{host}/1.bin", content)
    with store(tmp_path / "store") as opened:
        report = taken(folder, opened)
        assert (report.samples, report.skipped, report.durable) == (4, {"bad_name": 2}, True)
        assert opened.hosts("demo") == ["n1", "n2"]


def test_a_file_beyond_any_size_of_the_reference_is_not_loaded(folder: Path) -> None:
    put(folder, "demo/n1/1.bin", b"")
    with (folder / "demo/n1/1.bin").open("r+b") as file:
        file.truncate(2**40)
    report = taken(folder, store())
    assert report.files == 0
    assert "it has 1099511627776 bytes" in report.faults[0]


def test_what_cannot_be_opened_is_named_and_the_rest_is_read(reference: Any, folder: Path) -> None:
    put(folder, "demo/n1/2.bin", reference.binary(reference.Level({"load": (60, NOW, [1])})))
    (folder / "demo/n1/1.bin").mkdir()
    (folder / "demo/n1/3.bin").symlink_to("nothing")
    report = taken(folder, store())
    assert report.samples == 1
    assert report.faults == [
        f"{folder}/demo/n1/1.bin: it cannot be read: Is a directory",
        f"{folder}/demo/n1/3.bin: it cannot be read: No such file or directory",
    ]


def test_a_folder_that_is_none_is_refused(folder: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read: No such file"):
        taken(folder, store())


def test_a_host_without_anything_gives_nothing(folder: Path) -> None:
    (folder / "demo/n1").mkdir(parents=True)
    report = ImportReport()
    (host,) = CheckpointReader(METRICS, oldest_s=0, newest_s=NOW, report=report).read_hosts(folder)
    assert host.identities == []
    assert host.values.dtype == np.float32
    assert taken(folder, store()).samples == 0
