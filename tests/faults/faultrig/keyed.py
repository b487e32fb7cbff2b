"""Job events with and without idempotency keys: posted until they are acknowledged, counted afterwards."""

import json
from collections import Counter
from http import HTTPStatus
from typing import Any

from faultrig.numbered import Poster
from faultrig.site import CLUSTER, Site

EVENTS = 60
HOST = "n1"


class KeyedPoster(Poster):
    """Starts and stops one job after the other; each request is repeated with its idempotency key until answered."""

    def __init__(self, site: Site, *, first_id: int) -> None:
        super().__init__(f"keyed events from {first_id}")
        self._site, self._job_id = site, first_id
        self.ids: dict[int, int] = {}
        """Job id -> database id of the jobs whose start was acknowledged."""
        self.stopped: set[int] = set()

    def step(self) -> None:
        """Start a job and stop it."""
        self._job_id += 1
        started = self._post("start_job", start(self._job_id), HTTPStatus.CREATED)
        if started is None:
            return
        self.ids[self._job_id] = started["id"]
        if self._post("stop_job", stop(self._job_id), HTTPStatus.OK) is not None:
            self.stopped.add(self._job_id)

    def _post(self, event: str, document: dict[str, Any], right: int) -> Any:
        return post(self, self._site, event, document, right, key=f"{event}-{self._job_id}")


class BulkPoster(Poster):
    """Posts many events at once: the starts of some jobs, and the stops of those of the request before.

    `keyed` requests are repeated with their idempotency key. Of others a repetition finds all events done, or none.
    """

    def __init__(self, site: Site, *, first_id: int, keyed: bool) -> None:
        super().__init__(f"many events from {first_id}")
        self._site, self._first_id, self._keyed = site, first_id, keyed
        self.started: set[int] = set()
        self.stopped: set[int] = set()
        self.repeated = 0

    def step(self) -> None:
        """One request."""
        starts = range(self._first_id, self._first_id + EVENTS // 2)
        stops = sorted(self.started - self.stopped)
        events = [{"event": "stop_job", **stop(job_id)} for job_id in stops]
        events += [{"event": "start_job", **start(job_id)} for job_id in starts]
        key = f"events-{self._first_id}" if self._keyed else ""
        answer = post(self, self._site, "events", {"events": events}, HTTPStatus.OK, key=key)
        if answer is None:
            return
        statuses = Counter(result["status"] for result in answer["results"])
        done = {HTTPStatus.CREATED: len(starts)} | ({HTTPStatus.OK: len(stops)} if stops else {})
        if statuses == {HTTPStatus.UNPROCESSABLE_ENTITY: len(events)} and not self._keyed:
            self.repeated += 1  # an earlier try had arrived, only its answer was lost
        elif statuses != done:
            self.wrong.append(f"{self.name}: a request was stored by halves: {statuses}")
            self.ending.set()
        self.started.update(starts)
        self.stopped.update(stops)
        self._first_id += EVENTS // 2


def start(job_id: int) -> dict[str, Any]:
    """The start of a job, the same at each call."""
    return {
        "jobId": job_id,
        "cluster": CLUSTER,
        "user": f"user{job_id % 7}",
        "project": "faults",
        "startTime": 1_700_000_000 + job_id,
        "numNodes": 1,
        "resources": [{"hostname": HOST}],
        "monitoringStatus": 0,
        "tags": [{"type": "number", "name": str(job_id % 5)}],
    }


def stop(job_id: int) -> dict[str, Any]:
    """Its stop, after some seconds."""
    return {"jobId": job_id, "cluster": CLUSTER, "stopTime": 1_700_000_000 + job_id + job_id % 1000}


def post(poster: Poster, site: Site, event: str, document: dict[str, Any], right: int, *, key: str) -> Any:
    """The answer with the right status; None if told to end before, or if it has another one."""
    answers: list[bytes] = []
    headers = {"Idempotency-Key": key} if key else {}

    def send() -> int:
        answers.clear()
        path = f"/api/jobs/{event}/"
        status, body = site.ask("POST", path, json.dumps(document).encode(), token=site.jobs_token, headers=headers)
        answers.append(body)
        return status

    status = poster.insist(send)
    if status == right:
        return json.loads(answers[0])
    if status is not None:
        poster.wrong.append(f"{poster.name}: status {status} {answers[0][:300]!r}")
        poster.ending.set()
    return None


def acknowledged(keyed: list[KeyedPoster], bulk: list[BulkPoster]) -> int:
    """The number of acknowledged starts."""
    return sum(len(poster.ids) for poster in keyed) + sum(len(poster.started) for poster in bulk)


def check(site: Site, keyed: list[KeyedPoster], bulk: list[BulkPoster]) -> None:
    """Compare the jobs with what was acknowledged; the last event of each poster may be there without an answer."""
    rows = site.jobs()
    by_job = {row["jobId"]: row for row in rows}
    assert len(by_job) == len(rows), "a job is there twice"
    for poster in keyed:
        assert {job_id: by_job[job_id]["id"] for job_id in poster.ids} == poster.ids
    stopped = set().union(*(poster.stopped for poster in [*keyed, *bulk]))
    started = set().union(*(poster.ids for poster in keyed), *(poster.started for poster in bulk))
    assert started <= by_job.keys()
    for job_id, row in by_job.items():
        if job_id in stopped:
            assert (row["jobState"], row["duration"]) == ("completed", job_id % 1000)
        assert row["resources"] == [{"hostname": HOST}]
        assert [tag["name"] for tag in row["tags"]] == [str(job_id % 5)]
    in_doubt = by_job.keys() - started
    for poster in bulk:
        mine = {job_id for job_id in in_doubt if job_id // 1_000_000 == min(poster.started) // 1_000_000}
        assert len(mine) in {0, EVENTS // 2}
