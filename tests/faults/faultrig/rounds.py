"""Rounds of killing, and the count after them."""

import random
import time
from collections.abc import Sequence

from faultrig.numbered import JobPoster, SampleSender, job_findings
from faultrig.site import CLUSTER, METRICS, Site, soon

WATCH_ID = 10
_WORK_ROUNDS = 10  # each tenth kill waits until the archiver is at work


def counted(**numbers: int) -> None:
    """Print what was counted, for benchmarks/reliability.py."""
    print("counted", *(f"{name}={number}" for name, number in numbers.items()))  # noqa: T201 - read there


def watch(site: Site, senders: Sequence[SampleSender]) -> dict[int, int]:
    """A job on the host of each sender that runs all the time, to read its samples through; host -> database id."""
    ids = {}
    for sender in senders:
        document = {
            "jobId": WATCH_ID + sender.host,
            "cluster": CLUSTER,
            "user": "watch",
            "project": "watch",
            "startTime": sender.base_s,
            "numNodes": 1,
            "resources": [{"hostname": f"n{sender.host}"}],
        }
        status, body = site.post_job("start_job", document)
        assert status == 201, body
        ids[sender.host] = next(row["id"] for row in site.jobs() if row["jobId"] == WATCH_ID + sender.host)
    return ids


def kill_backend_rounds(
    site: Site, senders: Sequence[SampleSender], posters: Sequence[JobPoster], chance: random.Random, *, rounds: int
) -> None:
    """Kill the backend that serves so many times, at moments drawn by chance.

    Moments are: during its start, after some acknowledged batches, and while the archiver works. The posters run
    when this returns no more, the backend is up.
    """
    for poster in [*senders, *posters]:
        poster.start()
    for number in range(rounds):
        if site.running is None:
            site.start(wait=False)
        _wait_for_a_moment(site, senders, chance, number)
        site.kill()
    if site.running is None:
        site.start(wait=False)
    site.wait_until_up()
    before = [sender.acknowledged for sender in senders]
    soon(
        "samples after the last kill",
        lambda: all(sender.acknowledged > count for sender, count in zip(senders, before, strict=True)),
    )
    for poster in [*posters, *senders]:
        poster.end()


def _wait_for_a_moment(site: Site, senders: Sequence[SampleSender], chance: random.Random, number: int) -> None:
    if number % 4 == 1:  # during the start
        time.sleep(chance.uniform(0.1, 0.9))
        return
    site.wait_until_up()
    if number % _WORK_ROUNDS == _WORK_ROUNDS - 1:
        seen = len(site.log)
        soon("the archiver at work", lambda: "archived job" in site.log[seen:])
        return
    done, more = sum(sender.acknowledged for sender in senders), chance.randrange(1, 60)
    soon("acknowledged samples", lambda: sum(sender.acknowledged for sender in senders) >= done + more)
    time.sleep(chance.uniform(0, 0.02))


def check_samples(site: Site, senders: Sequence[SampleSender], watched: dict[int, int]) -> list[str]:
    """Acknowledged samples that are lost or have another value, and samples that were never sent."""
    wrong = []
    for sender in senders:
        for number, metric in enumerate(METRICS):
            wrong += sender.missing(site.samples(watched[sender.host], metric), number)
    return wrong[:20]


def check_jobs(site: Site, senders: Sequence[SampleSender], posters: Sequence[JobPoster]) -> list[str]:
    """Job events that are lost, doubled or wrong, also in the archive once that is written."""
    for sender in senders:  # the archiver waits until each host was heard from after the stop
        sender.ending.clear()
        for _ in range(3):
            sender.step()
    stopped = [job for poster in posters for job in poster.jobs if job.stopped]

    def all_archived() -> bool:
        rows = [row for row in site.jobs() if row["jobState"] == "completed"]
        return all(row["monitoringStatus"] == 3 for row in rows)

    soon("archiving", all_archived)
    watched = {(WATCH_ID + sender.host, sender.base_s) for sender in senders}
    wrong = job_findings(site, posters, besides=watched)
    by_host = {sender.host: sender for sender in senders}
    for job in stopped:
        wrong += _archive_findings(site, job.job_id, job.start_s, job.stop_s, by_host[job.host])
    return wrong[:20]


def _archive_findings(site: Site, job_id: int, start_s: int, stop_s: int, sender: SampleSender) -> list[str]:
    try:
        meta, data = site.archived(job_id, start_s)
    except OSError as error:
        return [f"job {job_id} of {start_s} is not in the archive: {error}"]
    if (meta["jobId"], meta["startTime"], meta["duration"]) != (job_id, start_s, stop_s - start_s):
        return [f"job {job_id} of {start_s} has other values in the archive: {meta}"]
    wrong = []
    for number, metric in enumerate(METRICS):
        (series,) = data[metric]["node"]["series"]
        found = {time_s: value for time_s, value in enumerate(series["data"], start=start_s) if value is not None}
        first = start_s - sender.base_s
        expected = {start_s + at: sender.value(number, first + at) for at in range(stop_s - start_s)}
        lost = {time_s for time_s, value in expected.items() if found.get(time_s) != value}
        if lost:
            wrong.append(f"job {job_id} of {start_s}, {metric}: {len(lost)} samples are wrong in the archive")
    return wrong
