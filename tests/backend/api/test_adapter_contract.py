"""Both ends of the job events: what this backend really answers, and what the Slurm adapter makes of it."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from cc_common.delivery.http_response import HttpResponse
from cc_slurm_adapter.backend_client import PATHS
from cc_slurm_adapter.response_decision import DeliveryDecision, decision_of, make_interpreter

START_S = 1_760_000_400
EVENT = {
    "cluster": "tern",
    "user": "mlindqv",
    "project": "hydro7",
    "partition": "day",
    "jobId": 7,
    "startTime": START_S,
    "numNodes": 1,
    "numHwthreads": 8,
    "resources": [{"hostname": "tn01"}],
    "walltime": 3600,
}
STOP = {"cluster": "tern", "jobId": 7, "startTime": START_S, "stopTime": START_S + 100, "jobState": "completed"}


class Ends:
    """Sends events through the real application and gives the adapter's verdict."""

    def __init__(self, site: Any) -> None:
        self._client: FlaskClient = site.client
        self.headers = site.headers(scopes=["jobs"])

    def start(self, **changed: Any) -> DeliveryDecision:
        return self.send("start", {**EVENT, **changed})

    def stop(self, **changed: Any) -> DeliveryDecision:
        return self.send("stop", {**STOP, **changed})

    def send(self, kind: str, document: Any, **more: Any) -> DeliveryDecision:
        answer = self._client.post(PATHS[kind], json=document, headers={**self.headers, **more})
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return decision_of(make_interpreter(kind)(HttpResponse(answer.status_code, headers, answer.data), now_s=0))


@pytest.fixture
def ends(site: Any) -> Ends:
    site.clock.advance(7200)
    return Ends(site)


def test_a_run_is_taken_once_and_ends_once(ends: Ends) -> None:
    assert [ends.start(), ends.start()] == [DeliveryDecision.ACCEPTED, DeliveryDecision.ALREADY_KNOWN]
    assert [ends.stop(), ends.stop()] == [DeliveryDecision.ACCEPTED, DeliveryDecision.ALREADY_KNOWN]
    assert ends.start() is DeliveryDecision.ALREADY_KNOWN


def test_a_second_run_waits_for_the_end_of_the_first_and_is_taken_then(ends: Ends) -> None:
    later = {"startTime": START_S + 500}
    assert [ends.start(), ends.start(**later)] == [DeliveryDecision.ACCEPTED, DeliveryDecision.OTHER_RUN_OPEN]
    assert [ends.stop(), ends.start(**later)] == [DeliveryDecision.ACCEPTED, DeliveryDecision.ACCEPTED]


def test_a_run_within_another_one_is_refused_for_good(ends: Ends) -> None:
    assert [ends.start(), ends.stop()] == [DeliveryDecision.ACCEPTED, DeliveryDecision.ACCEPTED]
    assert ends.start(startTime=START_S + 50) is DeliveryDecision.REJECTED


def test_a_stop_of_a_run_that_nobody_told_of_asks_for_its_start(ends: Ends) -> None:
    assert ends.stop() is DeliveryDecision.JOB_UNKNOWN
    assert [ends.start(), ends.stop()] == [DeliveryDecision.ACCEPTED, DeliveryDecision.ACCEPTED]


@pytest.mark.parametrize(
    "changed",
    [
        {"cluster": "no-such"},
        {"resources": [{"hostname": "stranger"}]},
        {"resources": []},
        {"numNodes": 2},
        {"user": ""},
        {"startTime": START_S * 100},
        {"resources": "text"},
    ],
)
def test_an_event_that_cannot_be_is_parked(ends: Ends, changed: dict[str, Any]) -> None:
    assert ends.start(**changed) is DeliveryDecision.REJECTED


def test_a_stop_before_the_start_is_parked(ends: Ends) -> None:
    assert ends.start() is DeliveryDecision.ACCEPTED
    assert ends.stop(stopTime=START_S - 1) is DeliveryDecision.REJECTED


@pytest.mark.parametrize("kind", ["start", "stop", "nodes"])
def test_a_token_that_may_not_do_it_stops_all_events_and_none_is_lost(site: Any, ends: Ends, kind: str) -> None:
    for headers in ({}, site.headers(scopes=["read"]), site.headers(scopes=["jobs"], clusters=["other"])):
        ends.headers = headers
        document = {"cluster": "tern", "nodes": []} if kind == "nodes" else EVENT if kind == "start" else STOP
        assert ends.send(kind, document) is DeliveryDecision.UNAVAILABLE


def test_node_states_are_taken(ends: Ends) -> None:
    node = {"hostname": "tn01", "states": ["idle"]}
    assert ends.send("nodes", {"cluster": "tern", "nodes": [node]}) is DeliveryDecision.ACCEPTED


def test_states_of_no_nodes_are_taken_and_change_nothing(site: Any, ends: Ends) -> None:
    """What `check` of the adapter sends, to see whether events would be taken."""
    assert (
        ends.send("nodes", {"cluster": "tern", "nodes": [{"hostname": "tn01", "states": ["idle"]}]})
        is DeliveryDecision.ACCEPTED
    )
    before = site.services.database.execute_sql("SELECT * FROM node_state").fetchall()
    assert ends.send("nodes", {"cluster": "tern", "nodes": []}) is DeliveryDecision.ACCEPTED
    assert site.services.database.execute_sql("SELECT * FROM node_state").fetchall() == before
    assert ends.send("nodes", {"cluster": "no-such", "nodes": []}) is DeliveryDecision.REJECTED
