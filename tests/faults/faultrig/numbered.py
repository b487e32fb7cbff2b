"""Numbered samples and numbered jobs: posted until they are acknowledged, counted by value afterwards."""

import http.client
import threading
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from faultrig.site import CLUSTER, METRICS, Site

RETRY_S = 0.03
OPEN_JOBS = 3
STEPS_PER_JOB = 4


def value_of(host: int, metric: int, slot: int) -> int:
    """The one right value of a sample; exact in single precision."""
    return (slot * 31 + metric * 7919 + host * 104_729) % 1_000_003


class Poster(threading.Thread):
    """A thread that goes on until it is told to end, and keeps what went wrong in it."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.ending = threading.Event()
        self.wrong: list[str] = []
        self.needs_answers = False
        """Whether a request without an answer is wrong: the backend is not killed."""

    def run(self) -> None:
        while not self.ending.is_set():
            self.step()

    def step(self) -> None:
        """One thing."""
        raise NotImplementedError

    def end(self) -> None:
        """End after the present step."""
        self.ending.set()
        self.join(timeout=30)
        assert not self.is_alive(), f"{self.name} does not end"

    def insist(self, send: Callable[[], int | None]) -> int | None:
        """The first status that is an answer and not 503; None if told to end before."""
        while not self.ending.is_set():
            try:
                status = send()
            except (OSError, http.client.HTTPException) as error:
                status = None
                if self.needs_answers:
                    self.wrong.append(f"{self.name}: no answer: {error!r}")
            if status is not None and status != HTTPStatus.SERVICE_UNAVAILABLE:
                return status
            self.ending.wait(RETRY_S)
        return None


class SampleSender(Poster):
    """Posts one batch a slot for one host, the same again until it is acknowledged; `acknowledged` is how many were."""

    def __init__(self, site: Site, host: int, base_s: int, *, pause_s: float = 0.004) -> None:
        super().__init__(f"samples of n{host}")
        self._site, self.host, self.base_s, self._pause_s = site, host, base_s, pause_s
        self.acknowledged = 0

    def batch(self, slot: int) -> bytes:
        """The lines of a slot."""
        tags = f"cluster={CLUSTER},hostname=n{self.host},type=node"
        lines = (
            f"{name},{tags} value={value_of(self.host, number, slot)} {self.base_s + slot}"
            for number, name in enumerate(METRICS)
        )
        return "\n".join(lines).encode()

    def value(self, metric: int, slot: int) -> int:
        """The value of a sample."""
        return value_of(self.host, metric, slot)

    def step(self) -> None:
        """The next slot."""
        batch = self.batch(self.acknowledged)
        status = self.insist(lambda: self._site.write(batch))
        if status == HTTPStatus.OK:
            self.acknowledged += 1
        elif status is not None:
            self.wrong.append(f"{self.name}: status {status} at slot {self.acknowledged}")
            self.ending.set()
        self.ending.wait(self._pause_s)

    def missing(self, found: dict[int, float], metric: int, *, upto: int | None = None) -> list[str]:
        """What of the acknowledged is not there, and what is there with a wrong value or was never sent."""
        count = self.acknowledged if upto is None else upto
        wrong = [
            f"n{self.host} {METRICS[metric]} slot {slot}: {found.get(self.base_s + slot)}"
            for slot in range(count)
            if found.get(self.base_s + slot) != value_of(self.host, metric, slot)
        ]
        for time_s, value in found.items():
            slot = time_s - self.base_s
            if not 0 <= slot <= self.acknowledged or value != value_of(self.host, metric, slot):
                wrong.append(f"n{self.host} {METRICS[metric]} slot {slot}: {value} was never sent")
        return wrong


@dataclass
class PostedJob:
    """A job as far as it was acknowledged; an event `in doubt` was sent and got no answer yet."""

    job_id: int
    start_s: int
    host: int
    stop_s: int = 0
    started: bool = False
    stopped: bool = False
    in_doubt: set[str] = field(default_factory=set)


class JobPoster(Poster):
    """Starts and stops jobs on the host of a sender, each event again until it is acknowledged.

    Each third job number runs twice (requeued): two runs of one id, told apart by the start time.
    """

    def __init__(self, site: Site, sender: SampleSender, *, first_id: int) -> None:
        super().__init__(f"jobs on n{sender.host}")
        self._site, self._sender, self._next_id = site, sender, first_id
        self.jobs: list[PostedJob] = []
        self._open: list[PostedJob] = []
        self._again: list[int] = []

    def step(self) -> None:
        """Start a job, or stop the oldest."""
        now_s = self._sender.base_s + self._sender.acknowledged
        if len(self._open) < OPEN_JOBS:
            self._start_job(now_s)
        elif now_s > self._open[0].start_s + STEPS_PER_JOB:
            self._stop_job(self._open.pop(0), now_s)
        self.ending.wait(RETRY_S)

    def _start_job(self, now_s: int) -> None:
        if self._again and now_s > self.jobs[-1].start_s:
            job_id = self._again.pop(0)
        else:
            job_id, self._next_id = self._next_id, self._next_id + 1
        job = PostedJob(job_id, now_s, self._sender.host)
        self.jobs.append(job)
        document = {
            "jobId": job_id,
            "cluster": CLUSTER,
            "user": f"user{job_id % 7}",
            "project": "faults",
            "startTime": now_s,
            "numNodes": 1,
            "resources": [{"hostname": f"n{job.host}"}],
            "metaData": {"number": str(len(self.jobs))},
        }
        if self._post("start_job", job, document, HTTPStatus.CREATED):
            job.started = True
            self._open.append(job)

    def _stop_job(self, job: PostedJob, now_s: int) -> None:
        job.stop_s = now_s
        document = {
            "jobId": job.job_id,
            "cluster": CLUSTER,
            "startTime": job.start_s,
            "stopTime": now_s,
            "jobState": "completed",
        }
        if self._post("stop_job", job, document, HTTPStatus.OK):
            job.stopped = True
            if job.job_id % 3 == 0 and sum(1 for other in self.jobs if other.job_id == job.job_id) == 1:
                self._again.append(job.job_id)

    def _post(self, event: str, job: PostedJob, document: dict[str, Any], right: int) -> bool:
        answers: list[bytes] = []

        def send() -> int:
            answers.clear()
            repeated = event in job.in_doubt
            job.in_doubt.add(event)
            status, body = self._site.post_job(event, document)
            answers.append(body)
            # known already: an earlier try had arrived, only its answer was lost
            return right if repeated and status == HTTPStatus.UNPROCESSABLE_ENTITY else status

        status = self.insist(send)
        if status is None:
            return False
        job.in_doubt.discard(event)
        if status != right:
            self.wrong.append(f"{event} of {job}: status {status} {b''.join(answers)[:300]!r}")
            self.ending.set()
        return status == right


def job_findings(
    site: Site, posters: Sequence[JobPoster], *, besides: AbstractSet[tuple[int, int]] = frozenset()
) -> list[str]:
    """Job events that are not there exactly once, or with other values than were acknowledged.

    `besides` names runs, by number and start, that somebody else posted.
    """
    rows: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for row in site.jobs():
        rows.setdefault((row["jobId"], row["startTime"]), []).append(row)
    wrong = [f"{key} is there {len(found)} times" for key, found in rows.items() if len(found) != 1]
    for poster in posters:
        for job in poster.jobs:
            found = rows.pop((job.job_id, job.start_s), [])
            wrong += _job_finding(job, found)
    wrong += [f"{key} was never started" for key in rows.keys() - besides]
    return wrong


def _job_finding(job: PostedJob, found: list[dict[str, Any]]) -> list[str]:
    if not found:
        return [f"{job} is lost"] if job.started else []
    row = found[0]
    states = {"completed"} if job.stopped else {"running", "completed"} if "stop_job" in job.in_doubt else {"running"}
    if row["jobState"] not in states:
        return [f"{job} has the state {row['jobState']}"]
    if job.stopped and row["duration"] != job.stop_s - job.start_s:
        return [f"{job} has the duration {row['duration']}"]
    if row["resources"] != [{"hostname": f"n{job.host}"}]:
        return [f"{job} has the resources {row['resources']}"]
    return []
