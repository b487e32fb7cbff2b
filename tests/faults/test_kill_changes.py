"""kill -9 of the backend while tags are attached, meta data is edited and jobs are removed, on both databases."""

import itertools
import json
import os
import random
import time
from http import HTTPStatus
from typing import Any

import pytest
from faultrig.keyed import HOST, start
from faultrig.numbered import Poster
from faultrig.site import Site, soon

pytestmark = pytest.mark.faults

ROUNDS = int(os.environ.get("CC_FAULT_ROUNDS", "3"))
TEXTS = {"first": "of two", "second": "of two"}
GIVEN = {"a", "b", "c"}


class ChangePoster(Poster):
    """Starts jobs, gives each three tags and two texts in one request each, and removes every third job.

    Each request is repeated until it is acknowledged.
    """

    def __init__(self, site: Site, first_id: int) -> None:
        super().__init__(f"changes from {first_id}")
        self._site, self._job_ids = site, itertools.count(first_id)
        self.tagged: set[int] = set()
        self.edited: set[int] = set()
        self.removed: set[int] = set()
        """Database ids of the jobs of which each change was acknowledged."""

    def step(self) -> None:
        """Start a job and change it."""
        job_id = next(self._job_ids)
        event = json.dumps({**start(job_id), "tags": []}).encode()
        key = {"Idempotency-Key": f"start-{job_id}"}
        started = self._insist("POST", "start_job/", event, {HTTPStatus.CREATED}, headers=key)
        if started is None:
            return
        id_ = json.loads(started)["id"]
        tags = json.dumps([{"type": "kill", "name": name} for name in sorted(GIVEN)]).encode()
        if self._insist("POST", f"tag_job/{id_}/", tags, {HTTPStatus.OK}) is not None:
            self.tagged.add(id_)
        if self._insist("PATCH", f"edit_meta/{id_}/", json.dumps(TEXTS).encode(), {HTTPStatus.OK}) is not None:
            self.edited.add(id_)
        gone = {HTTPStatus.OK, HTTPStatus.NOT_FOUND}  # the latter if an earlier try had arrived
        if job_id % 3 == 0 and self._insist("DELETE", f"delete_job/{id_}/", b"", gone) is not None:
            self.removed.add(id_)

    def _insist(
        self, method: str, path: str, body: bytes, right: set[HTTPStatus], *, headers: dict[str, str] | None = None
    ) -> bytes | None:
        answers: list[bytes] = []

        def send() -> int:
            answers.clear()
            status, answer = self._site.ask(
                method, f"/api/jobs/{path}", body, token=self._site.admin_token, headers=headers
            )
            answers.append(answer)
            return status

        status = self.insist(send)
        if status in right:
            return answers[0]
        if status is not None:
            self.wrong.append(f"{self.name}: {path} status {status} {answers[0][:300]!r}")
            self.ending.set()
        return None


def test_a_killed_backend_has_each_acknowledged_change_of_a_job_and_none_by_halves(
    site_on_engine: Site, chance: random.Random
) -> None:
    site = site_on_engine
    site.admin_token = site.backend.token("operator", "--scope", "all")
    posters = [ChangePoster(site, first_id=number * 1_000_000) for number in (1, 2, 3)]
    for poster in posters:
        poster.start()
    try:
        for _ in range(ROUNDS):
            site.start()
            before = count(posters)
            more = chance.randrange(1, 60)
            soon("acknowledged changes", lambda: count(posters) >= before + more)  # noqa: B023 - asked here
            time.sleep(chance.uniform(0, 0.02))
            site.kill()
        site.start()
        for poster in posters:
            poster.end()
        assert not [line for poster in posters for line in poster.wrong]
        check(site, posters)
    finally:
        for poster in posters:
            poster.end()
        site.stop()
    assert "Traceback" not in site.log
    assert min(len(poster.edited) for poster in posters) > 0


def count(posters: list[ChangePoster]) -> int:
    """The number of acknowledged changes."""
    return sum(len(poster.tagged) + len(poster.edited) + len(poster.removed) for poster in posters)


def check(site: Site, posters: list[ChangePoster]) -> None:
    """Compare the jobs, their tags and the totals with what was acknowledged."""
    document: dict[str, Any] = site.get("/api/jobs/?items-per-page=100000&with-metadata=true")
    rows = {row["id"]: row for row in document["jobs"]}
    assert len({row["jobId"] for row in rows.values()}) == len(rows) == document["total"]
    tagged, edited, removed = (
        set().union(*(getattr(poster, name) for poster in posters)) for name in ("tagged", "edited", "removed")
    )
    assert not removed & rows.keys()
    assert tagged - removed - rows.keys() <= set(), "a job is gone whose removal was not acknowledged"
    for id_, row in rows.items():
        tags, texts = {tag["name"] for tag in row.get("tags", ())}, row.get("metaData") or {}
        assert tags in ([GIVEN] if id_ in tagged else [GIVEN, set()])
        assert texts in ([TEXTS] if id_ in edited else [TEXTS, {}])
        assert row["resources"] == [{"hostname": HOST}]
    of_tag = site.get("/api/jobs/?tag=kill:a&items-per-page=100000")
    having = [id_ for id_, row in rows.items() if row.get("tags")]
    assert sorted(row["id"] for row in of_tag["jobs"]) == sorted(having)
    assert of_tag["total"] == len(having)
    assert site.get("/api/jobs/statistics/")["statistics"]["totalJobs"] == len(rows)
    assert site.get(f"/api/jobs/?node={HOST}")["total"] == len(rows)
