"""What was acknowledged is there afterwards, whatever happens to the process and to the disk."""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cc_backend.metricstore import MetricSpec, MetricStore, Query

ROUNDS = 24
KILLS = 100
HOSTS = 30
SLOTS_PER_ROUND = 4000
START = 1_790_000_000
RETENTION_S = ROUNDS * SLOTS_PER_ROUND + 10

COMMON = f"""
import os, sys
from pathlib import Path
from cc_backend.metricstore import MetricSpec, MetricStore
METRICS = {{"demo": {{"load": MetricSpec(1, "sum")}}}}
def batch(time_s):
    return "\\n".join(
        f"load,cluster=demo,hostname=n{{h}} value={{(time_s * 31 + h * 7) % 100003}} {{time_s}}" for h in range({HOSTS})
    ).encode()
def opened():
    return MetricStore.open(
        Path(sys.argv[1]), METRICS, now_s={START}, retention_s={RETENTION_S}, segment_bytes=30_000, fsync="interval"
    )
"""

WRITER = (
    COMMON
    + """
store = opened()
begin = int(sys.argv[2])
os.write(1, b"ready\\n")
for time_s in range(begin, begin + int(sys.argv[3])):
    if store.ingest(batch(time_s), received_s=time_s).durable:
        os.write(1, b"%d\\n" % time_s)
"""
)


def child(program: str, *arguments: object) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)


def acknowledged_before_kill(folder: Path, begin: int, after: int) -> list[int]:
    """Times of the batches that a process acknowledged before it was killed, some after `after` of them."""
    with child(WRITER, folder, begin, SLOTS_PER_ROUND) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(after + 1)]
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
        process.wait()
    return [int(line) for line in lines[1:] if line.endswith(b"\n")]


def value_at(times: np.ndarray, host: int) -> np.ndarray:
    return ((times * 31 + host * 7) % 100003).astype(np.float32)


@pytest.mark.integration
def test_no_acknowledged_sample_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    chance = random.Random(7)  # noqa: S311 not for secrets
    acknowledged: list[int] = []
    for number in range(ROUNDS):
        begin = START + number * SLOTS_PER_ROUND
        acknowledged += acknowledged_before_kill(tmp_path, begin, chance.randrange(1, 300))
    assert len(acknowledged) > ROUNDS
    times = np.array(acknowledged)
    metrics = {"demo": {"load": MetricSpec(1, "sum")}}
    with MetricStore.open(tmp_path, metrics, now_s=START, retention_s=RETENTION_S) as store:
        store.validate()
        for host in range(HOSTS):
            (series,) = store.query("demo", [Query("load", f"n{host}")], from_s=START, to_s=START + RETENTION_S)[0]
            np.testing.assert_array_equal(series.data[times - START], value_at(times, host))
            there = np.flatnonzero(~np.isnan(series.data)) + START
            np.testing.assert_array_equal(series.data[there - START], value_at(there, host))


@pytest.mark.integration
def test_no_sample_is_lost_when_the_process_is_killed_in_snapshots_restores_and_retention(tmp_path: Path) -> None:
    """`storekills.py` says how; the benchmark of the same name does it more often."""
    command = [sys.executable, str(Path(__file__).with_name("storekills.py")), str(tmp_path / "store"), str(KILLS)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(command, check=False, capture_output=True, env=environment, timeout=600)
    assert run.returncode == 0, run.stderr.decode()
    assert f"counted kills={KILLS} ".encode() in run.stdout
    assert b"lost=0 wrong=0" in run.stdout
    assert b"Traceback" not in run.stderr


FULL = (
    COMMON
    + f"""
import resource
store = opened()
def say(time_s):
    print(int(store.ingest(batch(time_s), received_s=time_s).durable), flush=True)
say({START})
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
(segment,) = Path(sys.argv[1]).glob("*.wal")
resource.setrlimit(resource.RLIMIT_FSIZE, (segment.stat().st_size + 50, hard))
say({START} + 1)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
say({START} + 2)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
say({START} + 3)
"""
)


def restored_values(folder: Path, slots: int) -> list[list[float]]:
    with MetricStore.open(folder, {"demo": {"load": MetricSpec(1, "sum")}}, now_s=START) as store:
        assert store.counters().restore.damaged_files == 0
        queries = [Query("load", f"n{host}") for host in range(HOSTS)]
        return [row[0].data.tolist() for row in store.query("demo", queries, from_s=START, to_s=START + slots)]


@pytest.mark.integration
def test_a_limit_on_file_sizes_is_told_to_senders_and_overcome(tmp_path: Path) -> None:
    if resource.getrlimit(resource.RLIMIT_FSIZE)[1] != resource.RLIM_INFINITY:
        pytest.skip("the size of files is limited here already")
    with child(FULL, tmp_path) as process:
        output, _ = process.communicate(timeout=60)
    assert output.split() == [b"1", b"1", b"0", b"1"]
    for host, data in enumerate(restored_values(tmp_path, 4)):
        wanted = [float(value_at(np.array(START + at), host)) for at in (0, 1, 3)]
        assert data[:2] + data[3:] == wanted
        assert np.isnan(data[2])


DISK_FULL = (
    COMMON
    + f"""
store = opened()
time_s = {START}
while store.ingest(batch(time_s), received_s=time_s).durable:
    time_s += 1
    if time_s == {START} + 5:
        assert store.snapshot(time_s)
print(time_s - {START}, flush=True)
for _ in range(3):
    assert not store.snapshot(time_s)
assert "No space left" in store.counters().snapshots.fault
(Path(sys.argv[1]).parent / "ballast").unlink()
for at in range(time_s, time_s + 20):
    assert store.ingest(batch(at), received_s=at).durable
assert store.snapshot(time_s)
assert not list(Path(sys.argv[1]).glob("*.wal"))
for at in range(time_s + 20, time_s + 25):
    assert store.ingest(batch(at), received_s=at).durable
"""
)


@pytest.mark.integration
def test_a_full_disk_is_told_to_senders_and_overcome(tmp_path: Path) -> None:
    if os.geteuid() or shutil.which("unshare") is None:
        pytest.skip("a small file system can be mounted only by root with unshare")
    mount = f"mount -t tmpfs -o size=256k cc-test {tmp_path}"
    fill = f"head -c 128k /dev/zero > {tmp_path}/ballast"
    keep = f'mkdir {tmp_path}/log && $0 -c "$1" {tmp_path}/log && tar -C {tmp_path}/log -c . > "$2"'
    archive = tmp_path.with_suffix(".tar")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    probe = subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True)
    if probe.returncode:
        pytest.skip(f"no mount namespace here: {probe.stderr.decode().strip()}")
    command = ["unshare", "-m", "sh", "-ec", f"{mount}; {fill}; {keep}", sys.executable, DISK_FULL, str(archive)]
    run = subprocess.run(command, check=False, capture_output=True, env=environment, timeout=60)
    if b"mount:" in run.stderr:
        pytest.skip(f"no tmpfs here: {run.stderr.decode().strip()}")
    assert run.returncode == 0, run.stderr.decode()
    assert run.stderr.count(b"snapshots in") == 2, "told once, and when it is over"
    before = int(run.stdout)
    assert before > 10
    unpacked = tmp_path.with_name(tmp_path.name + "-log")
    shutil.unpack_archive(archive, unpacked, filter="data")
    for host, data in enumerate(restored_values(unpacked, before + 25)):
        present = np.arange(START, START + before + 25)
        np.testing.assert_array_equal(data, value_at(present, host))


@pytest.mark.parametrize("step_s", [3600, -3600])
def test_a_clock_that_steps_an_hour_and_back_costs_only_what_is_out_of_bounds(tmp_path: Path, step_s: int) -> None:
    metrics = {"demo": {"load": MetricSpec(1, "sum")}}
    line = b"load,cluster=demo,hostname=n1 value=%d %d"
    taken: dict[int, int] = {}

    def send(store: MetricStore, time_s: int, now_s: int) -> None:
        result = store.ingest(line % (time_s % 1000, time_s), received_s=now_s)
        assert result.accepted or result.rejected.keys() <= {"future", "too_old"}
        if result.accepted:
            taken[time_s] = time_s % 1000

    for now_s in (START, START + step_s, START + 300):
        with MetricStore.open(tmp_path, metrics, now_s=now_s, retention_s=7200) as store:
            for second in range(now_s, now_s + 200):
                send(store, second, second)
                send(store, START + second % 400, second)  # of a sender whose clock did not step
                if second % 50 == 0:
                    assert store.snapshot(second)
                    store.upkeep(second, {})
            assert all(begin < end for begin, end in store.downtimes())
    assert len(taken) > 500
    with MetricStore.open(tmp_path, metrics, now_s=START) as store:
        ((series,),) = store.query("demo", [Query("load", "n1")], from_s=START - 4000, to_s=START + 4000)
        there = np.flatnonzero(~np.isnan(series.data))
    assert dict(zip((series.from_s + there).tolist(), series.data[there].tolist(), strict=True)) == taken
