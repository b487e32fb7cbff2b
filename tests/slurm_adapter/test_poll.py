"""One look, from Slurm's commands to the journal."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest

from cc_slurm_adapter.journal import Journal
from cc_slurm_adapter.poll import SiteConfig, SlurmPoller
from cc_slurm_adapter.settings import SlurmSettings
from cc_slurm_adapter.sources.commands import CommandRunner
from cc_slurm_adapter.sources.slurm import SlurmClient
from cc_slurm_adapter.topology import ClusterTopology, TopologyCache, parse_cluster

NOW = int(time.time())
START = NOW - 3600
CORES = {"core": [[0, 4], [1, 5], [2, 6], [3, 7]], "socket": [[0, 1, 4, 5], [2, 3, 6, 7]]}


def described(nodes: str) -> ClusterTopology:
    return parse_cluster({"subClusters": [{"name": "main", "nodes": nodes, "topology": CORES}]}, source="test")


class Rig:
    """An adapter on false commands, with a journal that others may look into."""

    def __init__(self, folder: Path, environment: Dict[str, str], **settings: Any) -> None:
        self.path = folder / "state" / "journal.sqlite"
        self.journal = Journal(self.path)
        self.written: List[int] = []
        self.asked_for_topology = 0
        self.nodes = "n1"
        self.poller = SlurmPoller(
            SiteConfig("alpha", "alpha", SlurmSettings(**settings)),
            SlurmClient(CommandRunner(environment)),
            self.journal,
            topology=TopologyCache(self._describe, pause_s=0.0),
            report_nodes=lambda _report: None,
            clock=time.time,
            on_recorded=self._note,
        )

    def _describe(self) -> ClusterTopology:
        self.asked_for_topology += 1
        return described(self.nodes)

    def _note(self) -> None:
        """How many events another process would find now."""
        other = Journal(self.path)
        self.written.append(other.counts().waiting)
        other.close()

    def events(self, kind: str = "start") -> List[Dict[str, Any]]:
        return [json.loads(event.body) for event in self.journal.waiting() if event.kind == kind]

    def reported(self, kind: str = "start") -> List[Tuple[int, int]]:
        return [(event["jobId"], event["startTime"]) for event in self.events(kind)]


@pytest.fixture
def make_rig(tmp_path: Path, environment: Dict[str, str]) -> Iterator[Callable[..., Rig]]:
    rigs: List[Rig] = []

    def make(**settings: Any) -> Rig:
        rigs.append(Rig(tmp_path, environment, **settings))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.journal.close()


def test_a_large_first_poll_is_recorded_piece_by_piece(make_rig: Callable[..., Rig], slurm: Any, make_job: Any) -> None:
    slurm.show([make_job.queued(number, START) for number in range(1, 451)], [])
    rig = make_rig()
    assert rig.poller.poll() == (450, 0)
    assert rig.written[:5] == [100, 200, 300, 400, 450]


def test_a_reused_job_id_brings_no_old_run_of_another_user(
    make_rig: Callable[..., Rig], slurm: Any, make_job: Any
) -> None:
    old = make_job.accounted(500, 1_507_037_969, 1_507_041_000, user="somebody")
    new = make_job.accounted(500, START, NOW - 30)
    slurm.show([make_job.queued(500, START)], [])
    slurm.show_asked([old, new])
    rig = make_rig()
    rig.poller.poll()
    slurm.show([], [])
    for _ in range(4):
        rig.poller.poll()
    assert rig.reported() == [(500, START)]
    assert rig.reported("stop") == [(500, START)]
    assert [event["stopTime"] for event in rig.events("stop")] == [NOW - 30]
    (asked,) = {call for call in slurm.calls("accounting") if "--jobs=500" in call}
    assert f"--starttime={time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(START))}" in asked


def test_an_array_that_is_requested_brings_none_of_its_other_tasks(
    make_rig: Callable[..., Rig], slurm: Any, make_job: Any
) -> None:
    tasks = [make_job.accounted(number, START - 86_400 * 30, START, array={"job_id": 10}) for number in (10, 11)]
    slurm.show([make_job.queued(12, START)], [])
    slurm.show_asked([*tasks, make_job.accounted(12, START, NOW - 5, array={"job_id": 10})])
    rig = make_rig()
    rig.poller.poll()
    slurm.show([], [])
    rig.poller.poll()
    rig.poller.poll()
    assert (rig.reported(), rig.reported("stop")) == ([(12, START)], [(12, START)])


def test_components_of_a_heterogeneous_job_end_each_for_itself(
    make_rig: Callable[..., Rig], slurm: Any, make_job: Any
) -> None:
    slurm.show([make_job.queued(20, START, het_job_id=20), make_job.queued(21, START, het_job_id=20)], [])
    rig = make_rig()
    rig.poller.poll()
    slurm.show([make_job.queued(20, START, het_job_id=20)], [make_job.accounted(21, START, NOW - 9, state="FAILED")])
    rig.poller.poll()
    assert (rig.reported(), rig.reported("stop")) == ([(20, START), (21, START)], [(21, START)])


def test_the_same_run_in_several_records_is_reported_once(
    make_rig: Callable[..., Rig], slurm: Any, make_job: Any
) -> None:
    ended = make_job.accounted(7, START, NOW - 5)
    slurm.show([make_job.queued(7, START), make_job.queued(7, START)], [ended, ended])
    rig = make_rig()
    rig.poller.poll()
    rig.poller.poll()
    assert (rig.reported(), rig.reported("stop")) == ([(7, START)], [(7, START)])


@pytest.mark.parametrize("accounting", [True, False])
def test_without_accounting_a_job_ends_after_two_polls_without_it_and_not_after_one(
    make_rig: Callable[..., Rig], slurm: Any, make_job: Any, *, accounting: bool
) -> None:
    rig = make_rig(accounting=accounting)
    slurm.show([make_job.queued(7, START), make_job.queued(8, START)], [])
    rig.poller.poll()
    slurm.show([make_job.queued(8, START)], [])
    rig.poller.poll()
    assert rig.reported("stop") == []
    slurm.break_down("queue")
    rig.poller.poll()
    assert rig.reported("stop") == [], "a failed poll does not count"
    slurm.recover()
    rig.poller.poll()
    assert rig.reported("stop") == ([] if accounting else [(7, START)])


ODD_JOBS: List[Dict[str, Any]] = [
    {"nodes": "n["},
    {"nodes": "n[1-99999999]"},
    {"nodes": "$(reboot)"},
    {"nodes": ""},
    {"nodes": "None assigned"},
    {"nodes": "(null)"},
    {"job_state": ["PENDING", "REQUEUED"], "job_resources": {"nodes": {"allocation": []}}},
    {"job_resources": []},
    {"job_resources": {"nodes": {"allocation": [{"name": "n1", "sockets": [{"index": 2**63, "cores": [[]]}]}]}}},
    {"start_time": 2**63},
    {"start_time": 0xFFFFFFFE},
    {"submit_time": 2**64 - 2},
    {"submit_time": 1e300},
    {"time_limit": "Partition_Limit"},
    {"time_limit": {"set": True, "infinite": False, "number": 2**63}},
    {"restart_cnt": 2**63},
    {"array_job_id": 2**70},
    {"cpus": -5, "tres_alloc_str": "cpu=" + "9" * 40},
    {"tres_req_str": "mem=" + "9" * 40 + "P"},
    {"name": "\ud800\x00"},
    {"user_name": None},
    {"gres_detail": ["gpu:a100:2(IDX:0-99999999)"]},
    {"threads_per_core": float("nan")},
]


@pytest.mark.parametrize("odd", ODD_JOBS, ids=lambda odd: json.dumps(odd)[:50])
def test_an_invalid_job_affects_no_other_job(
    make_rig: Callable[..., Rig], slurm: Any, make_job: Any, odd: Dict[str, Any]
) -> None:
    slurm.show([make_job.queued(1, START), make_job.queued(2, START, **odd), make_job.queued(3, START)], [])
    rig = make_rig()
    rig.poller.poll()
    assert [number for number, _ in rig.reported() if number != 2] == [1, 3]
    slurm.show([make_job.queued(3, START)], [make_job.accounted(1, START, NOW - 5)])
    rig.poller.poll()
    assert (1, START) in rig.reported("stop")


def test_details_of_another_run_of_the_job_are_not_used(
    make_rig: Callable[..., Rig], slurm: Any, make_job: Any
) -> None:
    def details(start_s: int) -> str:
        start = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(start_s))
        lines = f"   StartTime={start} EndTime=Unknown Deadline=N/A\n     Nodes=n1 CPU_IDs=0-1 Mem=1 GRES=\n"
        return f"JobId=7 JobName=w\n{lines}"

    slurm.show([make_job.queued(7, START)], [])
    slurm.say("details", details(START - 900))
    rig = make_rig()
    rig.poller.poll()
    slurm.show([make_job.queued(8, START)], [])
    slurm.say("details", details(START).replace("JobId=7", "JobId=8"))
    rig.poller.poll()
    threads = {event["jobId"]: event["resources"][0].get("hwthreads") for event in rig.events()}
    assert threads == {7: None, 8: [0, 4]}


def test_a_node_that_was_added_to_the_description_is_found_without_a_restart(
    make_rig: Callable[..., Rig], slurm: Any, make_job: Any
) -> None:
    line = "JobId={0} JobName=w\n     Nodes={1} CPU_IDs=0-1 Mem=1 GRES=\n"
    slurm.say("details", line.format(7, "n1") + line.format(8, "n2"))
    rig = make_rig()
    slurm.show([make_job.queued(7, START)], [])
    rig.poller.poll()
    rig.nodes = "n[1-2]"
    slurm.show([make_job.queued(7, START), make_job.queued(8, START, nodes="n2")], [])
    rig.poller.poll()
    assert [event["resources"] for event in rig.events()] == [
        [{"hostname": host, "hwthreads": [0, 4]}] for host in ("n1", "n2")
    ]
    assert rig.asked_for_topology == 2


def test_only_ended_jobs_are_requested_from_the_accounting(
    make_rig: Callable[..., Rig], slurm: Any, make_job: Any
) -> None:
    slurm.show([make_job.queued(7, START)], [])
    make_rig().poller.poll()
    (call,) = slurm.calls("accounting")
    states = next(word for word in call.split() if word.startswith("--state=")).partition("=")[2].split(",")
    assert {"CD", "F", "CA", "TO", "OOM", "NF", "RQ"} <= set(states)
    assert not {"R", "PD", "S"} & set(states)
