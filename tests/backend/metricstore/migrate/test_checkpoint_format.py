import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cc_backend.metricstore.migrate.checkpoint_format import (
    MAX_LEVELS,
    CheckpointLog,
    CheckpointSnapshot,
    LoggedSeries,
    SampleRun,
    read_binary,
    read_json,
    read_log,
    sample_phases,
    samples_of_run,
)

NAN = math.nan
START = 1_760_000_040


def listed(runs: list[SampleRun]) -> list[tuple[object, ...]]:
    return [(run.path, run.metric, run.timestep_s, run.start_s, run.values.tolist()) for run in runs]


@pytest.fixture
def tree(reference: Any) -> Any:
    mig = reference.Level({"acc_power": (60, START, [311.0])})
    accelerator = reference.Level({"acc_power": (60, START, [300.0, 301.0])}, {"mig1": mig})
    socket = reference.Level({"mem_bw": (30, START + 30, [1.5])})
    return reference.Level(
        {"mem_used": (60, START, [91.25, NAN, 92.0]), "cpu_load": (10, START, [])},
        {"accelerator00000000:17:00.0": accelerator, "socket1": socket},
    )


RUNS = [
    ((), "mem_used", 60, START, pytest.approx([91.25, NAN, 92.0], nan_ok=True)),
    ((), "cpu_load", 10, START, []),
    (("accelerator00000000:17:00.0",), "acc_power", 60, START, [300.0, 301.0]),
    (("accelerator00000000:17:00.0", "mig1"), "acc_power", 60, START, [311.0]),
    (("socket1",), "mem_bw", 30, START + 30, [1.5]),
]


def test_a_binary_snapshot_is_read_from_the_host_down() -> None:
    head = bytes.fromhex("01005bcc 286fe76800000000 646fe76800000000")
    load = (
        bytes.fromhex("0400") + b"load" + bytes.fromhex("3c00000000000000 286fe76800000000 02000000 0000c03f 0000c07f")
    )
    core = bytes.fromhex("0500") + b"core1" + bytes.fromhex("00000000 00000000")
    snapshot = read_binary(head + bytes.fromhex("01000000") + load + bytes.fromhex("01000000") + core)
    assert listed(snapshot.runs) == [((), "load", 60, 1_759_997_736, pytest.approx([1.5, NAN], nan_ok=True))]
    assert not snapshot.runs[0].first_write
    assert snapshot.fault == ""


def test_both_forms_of_a_snapshot_give_the_same_series(reference: Any, tree: Any) -> None:
    for snapshot in (read_binary(reference.binary(tree)), read_json(reference.json_text(tree))):
        assert listed(snapshot.runs) == RUNS
        assert snapshot.fault == ""


def test_a_series_that_begins_after_the_snapshot_begins_with_a_sample(reference: Any, tree: Any) -> None:
    for write, read in ((reference.binary, read_binary), (reference.json_text, read_json)):
        runs = read(write(tree, from_s=START)).runs
        assert [run.metric for run in runs if run.first_write] == ["mem_bw"]


def test_of_a_snapshot_that_ends_early_the_series_before_are_read(reference: Any, tree: Any) -> None:
    whole = reference.binary(tree)
    counts = []
    for length in range(len(whole)):
        snapshot = read_binary(whole[:length])
        assert snapshot.fault
        assert listed(snapshot.runs) == RUNS[: len(snapshot.runs)]
        counts.append(len(snapshot.runs))
    assert counts == sorted(counts)
    assert set(counts) == {0, 1, 2, 3, 4, 5}


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "it ends at byte 0"),
        (b"PK\3\4 this is a zip archive", "it does not begin like a snapshot"),
        (bytes(20), "it does not begin like a snapshot"),
    ],
)
def test_what_is_no_snapshot_is_said_to_be_none(data: bytes, fault: str) -> None:
    assert read_binary(data).fault.startswith(fault)
    assert read_binary(data).runs == []


HEAD = struct.pack("<Iqq", 0xCC5B0001, 0, 0)


@pytest.mark.parametrize(
    ("rest", "fault"),
    [
        ("ffffffff", "it ends at byte 24 in the middle of a name"),
        ("00000000 ffffffff", "it ends at byte 28 in the middle of a name"),
        ("01000000 ffff", "it ends at byte 26 in the middle of a name"),
        ("01000000 0100 6c 3c00000000000000 0000000000000000 ffffffff", "it ends at byte 47 in the middle of a series"),
        ("01000000 0100 6c 0000000000000000 0000000000000000 00000000", "series 'l' at byte 47 has a timestep of 0 s"),
        ("01000000 0100 6c ffffffffffffffff 0000000000000000 00000000", "series 'l' at byte 47 has a timestep of -1 s"),
        ("01000000 0100 6c 3c00000000000000 ffffffffffffff7f 00000000", "series 'l' at byte 47 begins at the time"),
        ("01000000 0100 ff", "the name at byte 26 is not UTF-8"),
        ("00000000 00000000 00", "1 bytes follow its end"),
    ],
)
def test_numbers_that_cannot_be_are_named_with_their_place(rest: str, fault: str) -> None:
    assert read_binary(HEAD + bytes.fromhex(rest)).fault.startswith(fault)


def test_a_snapshot_that_nests_without_end_is_given_up(reference: Any) -> None:
    bottom = reference.Level({"load": (60, START, [1.0])})
    for _ in range(MAX_LEVELS - 1):
        bottom = reference.Level(children={"core1": bottom})
    assert len(read_binary(reference.binary(bottom)).runs) == 1
    assert len(read_json(reference.json_text(bottom)).runs) == 1
    too_deep = reference.Level(children={"core1": bottom})
    assert read_binary(reference.binary(too_deep)).fault.startswith(f"it has more than {MAX_LEVELS} levels")
    assert read_json(reference.json_text(too_deep)).fault == "core1/core1/core1/core1 is not a level"
    endless = HEAD + bytes.fromhex("00000000 01000000 0000") * 100_000
    assert "levels" in read_binary(endless).fault
    assert "JSON" in read_json(b'{"children":{"a":' * 100_000).fault


@pytest.mark.parametrize(
    "run",
    [
        None,
        [],
        {},
        {"frequency": 60, "start": 0},
        {"frequency": 0, "start": 0, "data": [1]},
        {"frequency": 60.0, "start": 0, "data": [1]},
        {"frequency": True, "start": 0, "data": [1]},
        {"frequency": 60, "start": 10**18, "data": [1]},
        {"frequency": 60, "start": 0, "data": None},
        {"frequency": 60, "start": 0, "data": "12"},
        {"frequency": 60, "start": 0, "data": ["1"]},
        {"frequency": 60, "start": 0, "data": [True]},
        {"frequency": 60, "start": 0, "data": [[1]]},
    ],
)
def test_a_series_of_a_json_snapshot_that_is_none_is_left_out_and_named(run: object) -> None:
    import json  # noqa: PLC0415 only here

    good = {"frequency": 60, "start": 0, "data": [1, 1.5, None]}
    snapshot = read_json(json.dumps({"metrics": {"bad": run, "good": good}, "children": None}).encode())
    assert listed(snapshot.runs) == [((), "good", 60, 0, pytest.approx([1, 1.5, NAN], nan_ok=True))]
    assert snapshot.fault == "series 'bad' of the host cannot be read"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"", "it is not JSON"),
        (b'{"metrics": {', "it is not JSON"),
        (b"\xff\xfe", "it is not JSON"),
        (b"[]", "the host is not a level"),
        (b'{"metrics": [], "children": []}', "the metrics of the host are not an object, and 1 more faults"),
        (b'{"children": {"socket0": 7}}', "socket0 is not a level"),
    ],
)
def test_json_that_is_no_snapshot_is_said_to_be_none(text: bytes, fault: str) -> None:
    assert read_json(text).fault.startswith(fault)
    assert read_json(text).runs == []


def test_numbers_beyond_single_precision_become_infinite_and_are_no_samples() -> None:
    runs = read_json(b'{"metrics": {"a": {"frequency": 60, "start": 0, "data": [1e300, 1]}}}').runs
    assert runs[0].values.tolist() == [math.inf, 1]
    assert samples_of_run(runs[0], None)[1].tolist() == [1]


# The log


def logged(log: CheckpointLog) -> list[tuple[object, ...]]:
    return [(series.path, series.metric, series.times_s.tolist(), series.values.tolist()) for series in log.series]


def test_a_log_is_read_series_by_series(reference: Any) -> None:
    data = reference.log(
        (START, "mem_used", [], 91.25),
        (START, "acc_power", ["accelerator00000000:17:00.0", "mig1"], 311),
        (START + 61, "mem_used", [], 92),
        (START + 1, "mem_used", [], 90),
    )
    log = read_log(data)
    assert log.fault == ""
    assert logged(log) == [
        ((), "mem_used", [START, START + 61, START + 1], [91.25, 92.0, 90.0]),
        (("accelerator00000000:17:00.0", "mig1"), "acc_power", [START], [311.0]),
    ]


def test_the_bytes_of_a_record_are_those_of_the_description(reference: Any) -> None:
    payload = bytes.fromhex("286fe76800000000 0400") + b"load" + bytes.fromhex("01 05") + b"core1"
    data = bytes.fromhex("01a71dcc") + reference.framed(payload + bytes.fromhex("0000c03f"))
    assert logged(read_log(data)) == [(("core1",), "load", [1_759_997_736], [1.5])]


def test_an_empty_log_is_no_damage(reference: Any) -> None:
    assert read_log(b"") == read_log(reference.log()) == CheckpointLog()


def test_a_log_that_ends_early_gives_all_whole_records(reference: Any) -> None:
    rows = [(START + number, "load", ["core1"], float(number)) for number in range(3)]
    whole = reference.log(*rows)
    size = (len(whole) - 4) // 3
    for length in range(4, len(whole)):
        log = read_log(whole[:length])
        assert sum(len(series.times_s) for series in log.series) == (length - 4) // size
        assert bool(log.fault) == bool((length - 4) % size)


def test_after_damage_reading_goes_on_at_the_next_whole_record(reference: Any) -> None:
    rows = [(START + number, "load", ["core1"], float(number)) for number in range(3)]
    whole = reference.log(*rows)
    size = (len(whole) - 4) // 3
    for bit in range(8 * size):
        damaged = bytearray(whole)
        damaged[4 + size + bit // 8] ^= 1 << bit % 8
        log = read_log(bytes(damaged))
        assert logged(log) == [(("core1",), "load", [START, START + 2], [0.0, 2.0])]
        assert log.fault == f"{size} bytes from byte {4 + size} on hold no whole record"


def test_a_record_that_promises_too_much_costs_only_itself(reference: Any) -> None:
    good = reference.record(START, "load", [], 1.0)
    for length in (0, 11, 2**20 + 1, 2**31, 2**32 - 1):
        data = reference.log() + struct.pack("<II", 0xCC1DA7A1, length) + good
        assert logged(read_log(data)) == [((), "load", [START], [1.0])]


def test_records_with_a_right_checksum_that_hold_no_sample_are_counted(reference: Any) -> None:
    long_name = reference.record(START, "load", ["x" * 300], 2.0)
    too_deep = reference.record(START, "load", ["a", "b", "c", "d"], 3.0)
    not_text = reference.framed(struct.pack("<qH", START, 1) + b"\xff\0" + struct.pack("<f", 1))
    log = read_log(reference.log() + long_name + too_deep + not_text + reference.record(START, "load", [], 1.0))
    assert logged(log) == [((), "load", [START], [1.0])]
    assert log.fault == "3 records do not hold a sample"


def test_without_its_head_a_log_is_still_read(reference: Any) -> None:
    log = read_log(b"????" + reference.record(START, "load", [], 1.0))
    assert len(log.series) == 1
    assert log.fault == "it does not begin like a log"


# Anything


NAMES = st.text(st.characters(blacklist_categories=["Cs"]), max_size=20)
FLOATS = st.floats(width=32)
RUN = st.tuples(st.integers(1, 7 * 86400), st.integers(-(2**40), 2**40), st.lists(FLOATS, max_size=5))
TREES = st.recursive(
    st.tuples(st.dictionaries(NAMES, RUN, max_size=3), st.just({})),
    lambda deeper: st.tuples(st.dictionaries(NAMES, RUN, max_size=3), st.dictionaries(NAMES, deeper, max_size=2)),
    max_leaves=6,
)


def written(reference: Any, tree: Any) -> Any:
    metrics, children = tree
    return reference.Level(metrics, {name: written(reference, child) for name, child in children.items()})


def expected(tree: Any, path: tuple[str, ...] = ()) -> list[tuple[object, ...]]:
    metrics, children = tree
    runs: list[tuple[object, ...]] = [
        (path, name, timestep, start, np.array(values, np.float32).tobytes())
        for name, (timestep, start, values) in metrics.items()
    ]
    for name, child in children.items():
        runs += expected(child, (*path, name))
    return runs


def depth(tree: Any) -> int:
    return 1 + max(map(depth, tree[1].values()), default=0)


@given(tree=TREES.filter(lambda tree: depth(tree) <= MAX_LEVELS))
def test_any_binary_snapshot_is_read_as_it_was_written(reference: Any, tree: Any) -> None:
    snapshot = read_binary(reference.binary(written(reference, tree)))
    found = [(run.path, run.metric, run.timestep_s, run.start_s, run.values.tobytes()) for run in snapshot.runs]
    assert found == expected(tree)
    assert snapshot.fault == ""


@given(rows=st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), NAMES, st.lists(NAMES, max_size=3), FLOATS)))
def test_any_log_is_read_as_it_was_written(reference: Any, rows: list[Any]) -> None:
    log = read_log(reference.log(*rows))
    assert log.fault == ""
    wanted: dict[Any, list[Any]] = {}
    for time_s, metric, path, value in rows:
        wanted.setdefault((metric, *path), []).append((time_s, struct.pack("<f", value)))
    found = {
        (series.metric, *series.path): list(
            zip(series.times_s.tolist(), struct.iter_unpack("<4s", series.values.tobytes()), strict=True)
        )
        for series in log.series
    }
    assert {key: [(time_s, raw) for time_s, (raw,) in values] for key, values in found.items()} == wanted


@settings(max_examples=300)
@given(data=st.binary(max_size=200), head=st.sampled_from([b"", HEAD, HEAD[:4], b"\x01\xa7\x1d\xcc"]))
def test_nothing_makes_a_reader_fail(data: bytes, head: bytes) -> None:
    for found in (read_binary(head + data), read_json(data)):
        assert len(found.runs) <= len(data)
    read_log(head + data)


# Times


def run(start_s: int, count: int = 3, *, first_write: bool = False, timestep_s: int = 60) -> SampleRun:
    return SampleRun((), "load", timestep_s, start_s, np.arange(count, dtype=np.float32), first_write)


def one_log(*times_s: int) -> CheckpointLog:
    return CheckpointLog([LoggedSeries((), "load", np.array(times_s), np.ones(len(times_s), np.float32))])


def slots_of_reference(times_s: list[int], timestep_s: int, cut_s: int) -> SampleRun:
    """What the reference keeps of samples: slots around the first, read out from `cut_s` on."""
    begin_s = times_s[0] - timestep_s // 2
    kept = {(time_s - begin_s) // timestep_s: float(number) for number, time_s in enumerate(times_s)}
    start_s = max(cut_s, times_s[0])
    count = (times_s[-1] - start_s) // timestep_s + 1
    slots = [(start_s + index * timestep_s - begin_s) // timestep_s for index in range(count)]
    values = np.array([kept.get(slot, NAN) for slot in slots], np.float32)
    return SampleRun((), "load", timestep_s, start_s, values, start_s > cut_s)


@settings(max_examples=300)
@given(timestep_s=st.sampled_from([1, 10, 30, 60, 61]), phase=st.integers(0, 60), cut=st.integers(0, 10_000))
def test_with_a_known_phase_every_sample_keeps_its_time(timestep_s: int, phase: int, cut: int) -> None:
    times = [START + phase + timestep_s * index for index in range(100)]
    stored = slots_of_reference(times, timestep_s, times[0] - 10 + cut % (90 * timestep_s))
    phases = sample_phases([], one_log(times[-1]), {"load": timestep_s})
    found, values = samples_of_run(stored, phases[timestep_s])
    assert len(found) > 5
    assert found.tolist() == [times[int(value)] for value in values]


@settings(max_examples=300)
@given(timestep_s=st.sampled_from([1, 10, 30, 60, 61]), phase=st.integers(0, 60), cut=st.integers(0, 10_000))
def test_without_one_it_is_off_by_half_a_timestep_at_most(timestep_s: int, phase: int, cut: int) -> None:
    times = [START + phase + timestep_s * index for index in range(100)]
    found, values = samples_of_run(slots_of_reference(times, timestep_s, times[0] - 10 + cut % (90 * timestep_s)), None)
    assert max(abs(time_s - times[int(value)]) for time_s, value in zip(found.tolist(), values, strict=True)) <= (
        timestep_s / 2
    )


def test_the_phase_comes_from_the_newest_record_else_from_the_newest_first_write() -> None:
    older, newer = (
        CheckpointSnapshot([run(START + 5, first_write=True)]),
        CheckpointSnapshot([run(START + 7, first_write=True)]),
    )
    cut = CheckpointSnapshot([run(START + 33)])
    assert sample_phases([older, newer, cut], CheckpointLog(), {"load": 60}) == {60: (START + 7) % 60}
    assert sample_phases([older, newer, cut], one_log(START + 70, START + 72), {"load": 60}) == {60: (START + 72) % 60}
    assert sample_phases([cut], one_log(START), {}) == {}


def test_samples_have_no_gaps_and_nothing_infinite() -> None:
    gaps = run(600, 5)._replace(values=np.array([NAN, 1, math.inf, -math.inf, 2], np.float32))
    times, values = samples_of_run(gaps, None)
    assert times.tolist() == [660, 840]
    assert values.tolist() == [1, 2]
