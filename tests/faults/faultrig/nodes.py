"""Real agents that keep a record of what they sampled, and what of it the backend has."""

import json
import os
import re
import signal
import subprocess
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
from processes import BIN

from cc_backend.clusters import load_clusters
from cc_backend.jobdata.store_tables import build_metric_table
from cc_backend.metricstore import MetricStore, Query, StoredSeries
from cc_common.line_protocol import decode
from faultrig.site import CLUSTER, Site, soon

_BATCH = re.compile(rb"cc-batch 1 ([0-9]+) ([0-9a-f]{8})\n(.*)", re.DOTALL)
RETENTION_S = 172_800


class Key(NamedTuple):
    """One sample: host, metric, type, type-id, stype, stype-id, time."""

    host: str
    metric: str
    type: str
    type_id: str
    stype: str
    stype_id: str
    time_s: int


Samples = dict[Key, np.float32]


class Node:
    """An agent with its folder; what it sampled goes to `record` as well, before it goes anywhere else."""

    def __init__(self, directory: Path, hostname: str, url: str, token: str, **sink: Any) -> None:
        self.directory, self.hostname = directory, hostname
        directory.mkdir(parents=True, exist_ok=True)
        self.record, self.spool = directory / "record", directory / "spool"
        self.environment: dict[str, str] = {}
        self.running: subprocess.Popen[bytes] | None = None
        self._log = directory / "agent.log"
        document = {
            "main": {
                "interval": "1s",
                "cluster": CLUSTER,
                "hostname": hostname,
                "spool-directory": str(self.spool),
            },
            "sinks": {
                "record": {"type": "stdout", "output_file": str(self.record)},
                "up": {"type": "http", "url": url, "jwt": token, "timeout": "2s", **sink},
            },
        }
        self.config = directory / "agent.json"
        self.config.write_text(json.dumps(document), "utf-8")

    @property
    def log(self) -> str:
        """What it said."""
        return self._log.read_text("utf-8") if self._log.exists() else ""

    @property
    def batches(self) -> Path:
        """The folder with its spooled batches."""
        return self.spool / "up"

    def start(self, *prefix: str) -> None:
        """Begin to sample; `prefix` is put before the command."""
        command = [*prefix, BIN / "cc-agent", "run", "--config", self.config]
        with self._log.open("ab") as output:
            self.running = subprocess.Popen(
                command, stdout=output, stderr=output, env={**os.environ, **self.environment}, start_new_session=True
            )

    def pause(self) -> None:
        """Make it stand still; returns when it does."""
        assert self.running is not None
        self.running.send_signal(signal.SIGSTOP)
        soon("the agent standing still", lambda: self._status() == psutil.STATUS_STOPPED)

    def go_on(self) -> None:
        """Let it go on after a pause."""
        assert self.running is not None
        self.running.send_signal(signal.SIGCONT)

    def _status(self) -> str:
        assert self.running is not None
        return psutil.Process(self.running.pid).status()

    def kill(self) -> None:
        """SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it as systemd would, if it runs."""
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        if self.running is not None:
            self.running.send_signal(number)
            try:
                self.running.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.running.kill()
                self.running.wait()
            self.running = None

    def recorded(self) -> Samples:
        """Everything that it sampled; a line that a kill cut short is left out."""
        whole = self.record.read_bytes().rpartition(b"\n")[0] if self.record.exists() else b""
        return samples_of([whole])

    def unexplained_gaps(self) -> set[int]:
        """Ticks between its first and its last that it neither sampled nor said to have left out.

        What keeps it from a tick for longer than the interval goes unsaid, so that it is found here.
        """
        times = {key.time_s for key in self.recorded()}
        left_out = {int(time_s) for time_s in re.findall(r"tick skipped time=(\d+)", self.log)}
        return set(range(min(times), max(times) + 1)) - times - left_out

    def is_over_outages(self, at_least: int = 1) -> bool:
        """Whether it told as many ends as beginnings of times in which it could not deliver, and so many at least."""
        return at_least <= self.log.count("cannot deliver") == self.log.count("delivering again")

    def recorded_bytes(self) -> int:
        """How much it has put on record; more after each tick."""
        return self.record.stat().st_size if self.record.exists() else 0

    def waiting(self) -> int:
        """How many batches are in its spool folder."""
        return sum(1 for _ in self.batches.glob("*.batch"))

    def spooled(self) -> dict[str, bytes]:
        """The batches in its spool folder that are whole, by file name."""
        found = {}
        for path in sorted(self.batches.glob("*.batch")):
            try:
                match = _BATCH.fullmatch(path.read_bytes())
            except FileNotFoundError:  # delivered meanwhile
                continue
            if match and len(match[3]) == int(match[1]) and zlib.crc32(match[3]) == int(match[2], 16):
                found[path.name] = match[3]
        return found


def samples_of(batches: Iterable[bytes]) -> Samples:
    """The samples in batches of line protocol; a sample with two values is an error."""
    found: Samples = {}
    for batch in batches:
        points, errors = decode(batch, received_s=0)
        assert errors == []
        for point in points:
            tags = point.tags
            parts = [tags.get(name, "") for name in ("type", "type-id", "stype", "stype-id")]
            if parts[0] == "node":
                parts[:2] = ["", ""]
            key = Key(tags["hostname"], point.metric, *parts, point.time_s)
            value = np.float32(point.value)
            assert found.setdefault(key, value) == value, f"{key} has two values"
    return found


def stored(site: Site, *, from_s: int, to_s: int) -> Samples:
    """Everything that a backend holds, read from its log; it must not be running."""
    assert site.running is None, "stop the backend first"
    clusters, _ = load_clusters(site.directory / "var/job-archive")
    table = build_metric_table(clusters)
    found: Samples = {}
    folder = site.directory / "var/metric-store"
    with MetricStore.open(folder, table, now_s=to_s, retention_s=RETENTION_S) as store:
        assert store.counters().restore.damaged_files == 0
        for host in store.hosts(CLUSTER):
            for metric in table[CLUSTER]:
                for part in ("", "hwthread"):
                    query = Query(metric, host, part) if part else Query(metric, host)
                    for series in store.query(CLUSTER, [query], from_s=from_s, to_s=to_s)[0]:
                        found |= _samples_in(series, host, metric, part)
    return found


def _samples_in(series: StoredSeries, host: str, metric: str, part: str) -> Samples:
    if series.error is not None:
        return {}
    type_id = (series.id or "") if part else ""
    return {
        Key(host, metric, part, type_id, "", "", series.from_s + int(at) * series.timestep_s): series.data[at]
        for at in np.flatnonzero(~np.isnan(series.data))
    }


def findings(wanted: Samples, found: Samples) -> list[str]:
    """What of the wanted is not found, or is found with another value."""
    return [
        f"{key}: {value} was wanted, {found.get(key)} is there"
        for key, value in wanted.items()
        if found.get(key) != value
    ][:20]
