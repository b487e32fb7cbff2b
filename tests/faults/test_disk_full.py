"""Disks fill up under each part: service goes on, says so in plain words, recovers, and nothing is lost."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faultrig.adapter import Adapter, rows_of
from faultrig.disks import full, moved_to_small_disk
from faultrig.nodes import Node, findings, stored
from faultrig.numbered import SampleSender
from faultrig.relay import Relay
from faultrig.site import CLUSTER, METRICS, Site, soon
from faultrig.slurmday import DAY_S, SlurmDay, make_day

pytestmark = pytest.mark.faults


@pytest.fixture
def relay(site: Site) -> Iterator[Relay]:
    relay = Relay(site.port)
    yield relay
    relay.close()
    site.stop()


def job(number: int, start_s: int) -> dict[str, Any]:
    return {
        "jobId": number,
        "cluster": CLUSTER,
        "user": "ada",
        "project": "engines",
        "startTime": start_s,
        "numNodes": 1,
        "resources": [{"hostname": "n1"}],
        "metaData": {"script": "#" * 2000},
    }


def test_a_full_disk_under_the_spool_of_an_agent_costs_no_sample(site: Site, relay: Relay, tmp_path: Path) -> None:
    node = Node(tmp_path / "n1", "n1", relay.url, site.write_token)
    relay.turn("away")
    with site.serving(), moved_to_small_disk(node.spool):
        try:
            node.start()
            soon("batches in the spool", lambda: node.waiting() >= 2)
            with full(node.spool):
                before = node.waiting()
                soon("word of it", lambda: "spool folder cannot be written" in node.log)
                seen = len(node.recorded())
                soon("sampling goes on", lambda: len(node.recorded()) > 3 * seen // 2)
                assert node.waiting() == before
            soon("batches in the spool again", lambda: node.waiting() > before + 2)
            relay.turn("open")
            soon("delivery", lambda: not node.waiting())
        finally:
            node.stop()
    recorded = node.recorded()
    times = [key.time_s for key in recorded]
    found = stored(site, from_s=min(times) - 10, to_s=max(times) + 10)
    assert findings(recorded, found) == []
    assert findings(found, recorded) == []
    assert node.log.count("spool folder cannot be written reason='No space left on device'") == 1, node.log
    assert "Traceback" not in node.log


def test_a_full_disk_under_the_database_is_told_to_senders_and_no_job_is_lost_or_doubled(site: Site) -> None:
    folder = site.directory / "db"
    folder.mkdir()
    for path in (site.directory / "var").glob("job.db*"):
        path.rename(folder / path.name)
    document = json.loads(site.backend.config.read_text("utf-8"))
    document["main"]["db"] = "db/job.db"
    site.backend.config.write_text(json.dumps(document), "utf-8")
    start_s = int(time.time()) - 1000
    taken: list[int] = []
    with moved_to_small_disk(folder, "4m"), site.serving():
        for number in range(1, 6):
            assert site.post_job("start_job", job(number, start_s))[0] == 201
            taken.append(number)
        with full(folder):
            for number in range(6, 400):
                status, body = site.post_job("start_job", job(number, start_s))
                if status != 201:
                    break
                taken.append(number)
            assert status == 503, body
            assert b"disk is full" in body
            assert site.ask("GET", "/healthz")[0] == 503
            assert site.get("/api/jobs/?items-per-page=1")["items"] == 1, "reading goes on"
            samples = SampleSender(site, 1, start_s)
            samples.step()
            assert samples.acknowledged == 1, "samples have a disk of their own"
        soon("a second try", lambda: site.post_job("start_job", job(number, start_s))[0] == 201)
        taken.append(number)
        soon("health", site.is_up)
        counted = Counter(row["jobId"] for row in site.jobs())
    assert counted == Counter(taken)
    assert "the disk is full" in site.log
    assert "Traceback" not in site.log


def test_a_full_disk_under_the_archive_delays_archiving_only(site: Site) -> None:
    base_s = int(time.time()) - 2000
    sender = SampleSender(site, 1, base_s)
    archive = site.directory / "var/job-archive"
    with moved_to_small_disk(archive), site.serving():
        assert site.post_job("start_job", job(77, base_s))[0] == 201
        while sender.acknowledged < 50:
            sender.step()
        with full(archive):
            stop = {"jobId": 77, "cluster": CLUSTER, "startTime": base_s, "stopTime": base_s + 40}
            assert site.post_job("stop_job", stop)[0] == 200
            soon("word of it", lambda: "archiving failed job=77" in site.log)
            sender.step()
            assert sender.acknowledged == 51, "service goes on"
            assert not list(archive.glob(f"{CLUSTER}/0/077/*/meta.json")), "nothing is there by half"
        soon("archiving", lambda: site.jobs()[0]["monitoringStatus"] == 3)
        meta, data = site.archived(77, base_s)
    assert meta["duration"] == 40
    for number, metric in enumerate(METRICS):
        (series,) = data[metric]["node"]["series"]
        assert series["data"] == [sender.value(number, slot) for slot in range(41)]
    assert "No space left on device" in site.log
    assert "Traceback" not in site.log


def test_a_full_disk_under_the_journal_of_the_adapter_costs_no_event(
    site: Site, relay: Relay, tmp_path: Path, chance: Any
) -> None:
    begin_s = int(time.time()) - DAY_S
    runs = make_day(chance, begin_s, 60)
    day = SlurmDay(tmp_path / "slurm", runs)
    adapter = Adapter(tmp_path / "adapter", relay, site.jobs_token, day)
    day.turn_to(begin_s + DAY_S // 3)
    with moved_to_small_disk(adapter.state), site.serving():
        try:
            adapter.start()
            soon("the first jobs", site.jobs)
            with full(adapter.state):
                day.turn_to(begin_s + 2 * DAY_S // 3)
                soon("word of it", lambda: "journal" in adapter.log and "full" in adapter.log)
        finally:
            adapter.stop()
        day.turn_to(begin_s + DAY_S)
        soon("the last event", adapter.is_done)
        found = rows_of(site)
    assert found == Counter(run.expected() for run in runs)
    assert "Traceback" not in adapter.log


def test_a_full_disk_under_the_metric_store_is_told_to_senders_and_snapshots_go_on_later(site: Site) -> None:
    document = json.loads(site.backend.config.read_text("utf-8"))
    document.setdefault("metric-store", {})["snapshot-interval"] = "10s"
    site.backend.config.write_text(json.dumps(document), "utf-8")
    folder = site.directory / "var/metric-store"
    start_s = int(time.time()) - 1000
    sender = SampleSender(site, 1, start_s)
    with moved_to_small_disk(folder):
        with site.serving():
            assert site.post_job("start_job", job(5, start_s))[0] == 201
            while sender.acknowledged < 50:
                sender.step()
            with full(folder):
                soon("word of it", lambda: "snapshots in" in site.log and "cannot be written" in site.log)
                statuses = {site.write(sender.batch(sender.acknowledged + at)) for at in range(1, 400)}
                assert statuses <= {200, 503}
                assert 503 in statuses, "senders are told to keep theirs"
            while sender.acknowledged < 500:
                sender.step()
            soon("a snapshot", lambda: list(folder.glob("windows/*")))
            soon("health", site.is_up)
        with site.serving():
            (row,) = site.jobs()
            for number in range(len(METRICS)):
                found = soon("its samples", lambda number=number: site.samples(row["id"], METRICS[number]))
                assert sender.missing(found, number) == []
    assert site.log.count("snapshots in") == 2, "told once, and when it is over"
    assert "Traceback" not in site.log
