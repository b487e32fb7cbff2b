"""The whole adapter, from Slurm's commands to the backend's answers."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest

from cc_common.errors import CockpitError
from cc_slurm_adapter.check import run_checks
from cc_slurm_adapter.options import AdapterOptions
from cc_slurm_adapter.service import hold_state_directory
from cc_slurm_adapter.settings import load_configuration

NOW = int(time.time())
PROGRAM = [sys.executable, "-m", "cc_slurm_adapter"]
LIMIT_S = 30.0


@pytest.fixture
def run_once(tmp_path: Path, backend: Any, environment: Dict[str, str]) -> Callable[..., Tuple[int, str, str]]:
    """Runs `once`: exit status, output, log."""

    def run(*words: str) -> Tuple[int, str, str]:
        command = [*PROGRAM, "once", "--url", backend.url, "--state-dir", str(tmp_path / "state"), *words]
        done = subprocess.run(
            command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, done.stdout, done.stderr

    return run


def line(starts: int, stops: int, waiting: int = 0, nodes: int = 2) -> str:
    return f"sent: {starts} starts, {stops} stops, {nodes} node states; waiting: {waiting}\n"


def test_a_job_goes_from_slurm_to_the_backend_and_ends_there(
    run_once: Callable[..., Tuple[int, str, str]], slurm: Any, backend: Any, make_job: Any
) -> None:
    start = NOW - 100
    details = "JobId=7 JobName=w\n     Nodes=n1 CPU_IDs=0-1 Mem=500 GRES=gpu:1(IDX:1)\n"
    slurm.show([make_job.queued(7, start, tres_alloc_str="cpu=2,gres/gpu=1")], [])
    slurm.say("details", details)
    assert run_once() == (0, line(1, 0), "")
    slurm.show([], [make_job.accounted(7, start, start + 50, state="TIMEOUT")])
    assert run_once() == (0, line(0, 1), "")
    assert run_once() == (0, line(0, 0), "")
    (started,) = backend.of("start_job/")
    assert started["resources"] == [{"hostname": "n1", "hwthreads": [0, 4], "accelerators": ["00000000:02:00.0"]}]
    assert started["metaData"] == {"jobName": "work", "slurmInfo": details.strip()}
    assert backend.of("stop_job/") == [
        {"jobId": 7, "cluster": "alpha", "startTime": start, "jobState": "timeout", "stopTime": start + 50}
    ]
    states = backend.of("nodestate/")[0]
    assert states["cluster"] == "alpha"
    assert states["nodes"][0]["states"] == ["mixed", "drain"]


def test_an_empty_queue_of_a_controller_that_is_down_ends_no_job(
    run_once: Callable[..., Tuple[int, str, str]], slurm: Any, backend: Any, make_job: Any
) -> None:
    slurm.show([make_job.queued(7, NOW - 100)], [])
    run_once()
    slurm.show([], [])
    slurm.break_down("ping")
    for _ in range(3):
        status, output, log = run_once()
        assert (status, output) == (1, line(0, 0))
        assert "cannot get queue" in log
    assert backend.of("stop_job/") == []


def test_an_outage_of_the_accounting_delays_and_loses_nothing(
    run_once: Callable[..., Tuple[int, str, str]], slurm: Any, backend: Any, make_job: Any
) -> None:
    slurm.show([make_job.queued(7, NOW - 100)], [])
    run_once()
    slurm.break_down("accounting")
    slurm.show([], [make_job.accounted(7, NOW - 100, NOW - 50), make_job.accounted(8, NOW - 90, NOW - 80)])
    assert run_once()[:2] == (1, line(0, 0))
    slurm.recover()
    assert run_once()[:2] == (0, line(1, 2))
    assert backend.runs == {(7, NOW - 100): "completed", (8, NOW - 90): "completed"}


def test_events_survive_a_backend_that_is_unavailable(
    tmp_path: Path, run_once: Callable[..., Tuple[int, str, str]], slurm: Any, backend: Any, make_job: Any
) -> None:
    slurm.show([make_job.queued(7, NOW - 100)], [])
    backend.refuse = lambda _path, _document: 400
    status, output, log = run_once()
    assert (status, output) == (1, line(0, 0, nodes=0))
    assert "parked start cluster=alpha job=7" in log
    backend.refuse = lambda _path, _document: 0
    slurm.show([make_job.queued(8, NOW - 90)], [make_job.accounted(7, NOW - 100, NOW - 50)])
    status, output, log = run_once()
    assert (status, output) == (1, line(1, 0))
    assert backend.runs == {(8, NOW - 90): "running"}


def test_one_adapter_at_a_time_holds_the_folder(tmp_path: Path) -> None:
    with (
        hold_state_directory(tmp_path / "state"),
        pytest.raises(CockpitError, match="in use by another"),
        hold_state_directory(tmp_path / "state"),
    ):
        pass
    with hold_state_directory(tmp_path / "state"):
        pass


def test_the_check_shows_what_fails(tmp_path: Path, slurm: Any, backend: Any, environment: Dict[str, str]) -> None:
    configuration = load_configuration(AdapterOptions(url=backend.url, state_dir=str(tmp_path / "state")), environment)
    full = {**os.environ, **environment}
    assert [str(finding) for finding in run_checks(configuration, full) if finding.failed] == []
    slurm.break_down("accounting", "queue")
    bad = [finding for finding in run_checks(configuration, full) if finding.failed]
    assert [finding.subject for finding in bad] == ["queue", "accounting"]
    assert "cannot reach the daemon" in bad[0].text


class Service:
    """A running `cc-slurm-adapter run`; whatever happens, it does not outlive the test."""

    def __init__(self, url: str, state: Path, environment: Dict[str, str]) -> None:
        self._log = (state.parent / "log").open("ab")
        self.process = subprocess.Popen(
            [*PROGRAM, "run", "--url", url, "--state-dir", str(state), "--interval", "1s"],
            env={**os.environ, **environment},
            stderr=self._log,
        )

    def __enter__(self) -> "Service":  # noqa: PYI034 typing has no Self in Python 3.9
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.end(signal.SIGKILL)
        self._log.close()

    def end(self, number: int) -> int:
        """Send a signal and wait; the exit status."""
        self.process.send_signal(number)
        return self.process.wait(LIMIT_S)


def wait_for(what: Callable[[], bool]) -> None:
    end_s = time.monotonic() + LIMIT_S
    while not what():
        assert time.monotonic() < end_s, "did not happen in time"
        time.sleep(0.01)


def test_a_service_that_is_stopped_ends_well(
    tmp_path: Path, slurm: Any, backend: Any, environment: Dict[str, str], make_job: Any
) -> None:
    slurm.show([make_job.queued(7, NOW - 100)], [])
    with Service(backend.url, tmp_path / "state", environment) as service:
        wait_for(lambda: bool(backend.of("start_job/")))
        assert service.end(signal.SIGTERM) == 0
    assert "stopped" in (tmp_path / "log").read_text()


def test_a_slow_poll_delays_no_event(
    tmp_path: Path, slurm: Any, backend: Any, environment: Dict[str, str], make_job: Any
) -> None:
    """What waits goes out while Slurm's commands have not answered, however many intervals pass."""
    slurm.show([make_job.queued(number, NOW - 100) for number in range(1, 31)], [])
    backend.refuse = lambda _path, _document: 503
    with Service(backend.url, tmp_path / "state", environment):
        wait_for(lambda: bool(backend.of("start_job/")))
        slurm.hold_up("queue")
        wait_for(lambda: slurm.is_busy("queue"))
        backend.refuse = lambda _path, _document: 0
        wait_for(lambda: len(backend.runs) == 30)
        assert slurm.is_busy("queue")
        slurm.go_on()


def test_what_the_controller_shows_is_reported_before_the_accounting_was_polled(
    tmp_path: Path, slurm: Any, backend: Any, environment: Dict[str, str], make_job: Any
) -> None:
    slurm.show([make_job.queued(7, NOW - 100), make_job.queued(8, NOW - 90, state="FAILED", end_s=NOW - 80)], [])
    slurm.hold_up("accounting")
    with Service(backend.url, tmp_path / "state", environment):
        wait_for(lambda: backend.runs == {(7, NOW - 100): "running", (8, NOW - 90): "failed"})
        wait_for(lambda: slurm.is_busy("accounting"))
        slurm.go_on()


def test_a_slow_backend_delays_no_poll(
    tmp_path: Path, slurm: Any, backend: Any, environment: Dict[str, str], make_job: Any
) -> None:
    slurm.show([make_job.queued(7, NOW - 100)], [])
    asked, answering = threading.Event(), threading.Event()

    def slowly(_path: str, _document: Dict[str, Any]) -> int:
        asked.set()
        answering.wait(LIMIT_S)
        return 0

    backend.refuse = slowly
    with Service(backend.url, tmp_path / "state", environment):
        assert asked.wait(LIMIT_S)
        seen = len(slurm.calls("queue"))
        wait_for(lambda: len(slurm.calls("queue")) >= seen + 3)
        answering.set()
        wait_for(lambda: backend.runs == {(7, NOW - 100): "running"})


def test_a_service_ends_well_though_the_backend_does_not_respond(
    tmp_path: Path, slurm: Any, backend: Any, environment: Dict[str, str], make_job: Any
) -> None:
    slurm.show([make_job.queued(number, NOW - 100) for number in range(1, 60)], [])
    asked, answering = threading.Event(), threading.Event()

    def slowly(_path: str, _document: Dict[str, Any]) -> int:
        asked.set()
        answering.wait(LIMIT_S)
        return 0

    backend.refuse = slowly
    with Service(backend.url, tmp_path / "state", environment) as service:
        assert asked.wait(LIMIT_S)
        assert service.end(signal.SIGTERM) == 0
        answering.set()
    said = (tmp_path / "log").read_text()
    assert "stopped" in said
    assert "Traceback" not in said


def test_a_journal_that_fails_in_the_delivery_thread_ends_the_service_with_its_reason(
    tmp_path: Path, slurm: Any, backend: Any, environment: Dict[str, str], make_job: Any
) -> None:
    slurm.show([make_job.queued(7, NOW - 100)], [])
    slurm.hold_up("nodes")
    with Service(backend.url, tmp_path / "state", environment) as service:
        wait_for(lambda: slurm.is_busy("nodes"))
        database = sqlite3.connect(str(tmp_path / "state" / "journal.sqlite"))
        database.execute("DROP TABLE event")
        database.close()
        slurm.go_on()
        assert service.process.wait(LIMIT_S) == 1
    assert "journal" in (tmp_path / "log").read_text().splitlines()[-1]


def test_a_service_waits_for_a_slurm_that_is_down(
    tmp_path: Path, slurm: Any, backend: Any, environment: Dict[str, str]
) -> None:
    slurm.break_down("config")
    with Service(backend.url, tmp_path / "state", environment) as service:
        wait_for(lambda: "waiting for Slurm" in (tmp_path / "log").read_text())
        assert service.end(signal.SIGTERM) == 0


def test_what_is_in_the_journal_is_delivered_by_a_service_that_starts_while_slurm_is_down(
    tmp_path: Path, slurm: Any, backend: Any, environment: Dict[str, str], make_job: Any
) -> None:
    slurm.show([make_job.queued(7, NOW - 100)], [])
    backend.refuse = lambda _path, _document: 503
    with Service(backend.url, tmp_path / "state", environment) as service:
        wait_for(lambda: bool(backend.received))
        service.end(signal.SIGKILL)
    slurm.break_down("config", "ping", "queue", "accounting", "nodes", "details", "version")
    backend.refuse = lambda _path, _document: 0
    with Service(backend.url, tmp_path / "state", environment):
        wait_for(lambda: backend.runs == {(7, NOW - 100): "running"})


def test_killing_the_service_again_and_again_loses_nothing_and_doubles_nothing(
    tmp_path: Path, slurm: Any, backend: Any, environment: Dict[str, str], make_job: Any
) -> None:
    """Ten lives, each ended by SIGKILL at another point of its work; the eleventh brings everything home."""
    expected: Dict[Tuple[int, int], str] = {}
    queue: List[Dict[str, Any]] = []
    runs: List[Dict[str, Any]] = []
    for life in range(10):
        for number in range(6):
            job_id, start = 100 * life + number + 1, NOW - 1000 + life
            queue.append(make_job.queued(job_id, start))
            if number % 2:
                runs.append(make_job.accounted(job_id, start, start + 60, state="FAILED"))
                queue.pop()
            expected[job_id, start] = "failed" if number % 2 else "running"
        slurm.show(queue, runs)
        seen = len(backend.received)
        with Service(backend.url, tmp_path / "state", environment):
            wait_for(lambda seen=seen, life=life: len(backend.received) > seen + life)
    with Service(backend.url, tmp_path / "state", environment):
        wait_for(lambda: backend.runs == expected)
    assert backend.runs == expected
    reported: Dict[Tuple[int, int], Dict[str, Any]] = {}
    for document in backend.of("start_job/"):
        key = (document["jobId"], document["startTime"])
        assert reported.setdefault(key, document) == document
