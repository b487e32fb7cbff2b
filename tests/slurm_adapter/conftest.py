"""A Slurm of shell scripts and a backend of a few lines, for tests of the whole adapter."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest

_COMMAND = """#!/bin/sh
case "$(basename "$0") $*" in
squeue*) what=queue ;;
sacct*) what=accounting ;;
sinfo*) what=version ;;
"scontrol show config") what=config ;;
"scontrol show job -d") what=details ;;
"scontrol show nodes") what=nodes ;;
"scontrol ping") what=ping ;;
*) echo "unexpected: $(basename "$0") $*" >&2; exit 99 ;;
esac
echo "$*" >> "{folder}/$what.calls"
if [ -e "{folder}/$what.slow" ]; then
  touch "{folder}/$what.busy"
  while [ -e "{folder}/$what.slow" ]; do sleep 0.02; done
  rm "{folder}/$what.busy"
fi
case "$what $*" in "accounting "*--jobs=*) [ -e "{folder}/asked" ] && what=asked ;; esac
[ -e "{folder}/$what.fails" ] && {{ cat "{folder}/$what.fails" >&2; exit 1; }}
cat "{folder}/$what"
"""


_META = {"meta": {"plugin": {"data_parser": "data_parser/v0.0.41"}}, "errors": [], "warnings": []}


class FakeSlurm:
    """Commands that print what the test has put there, in the layout of Slurm 24.05."""

    def __init__(self, folder: Path) -> None:
        self.commands = folder / "commands"
        self._answers = folder / "answers"
        self.commands.mkdir()
        self._answers.mkdir()
        for name in ("squeue", "sacct", "sinfo", "scontrol"):
            script = self.commands / name
            script.write_text(_COMMAND.format(folder=self._answers))
            script.chmod(0o755)
        self.say("config", "Configuration data as of now\nClusterName             = alpha\n")
        self.say("version", "slurm 24.05.1\n")
        self.say("ping", "Slurmctld(primary) at head is UP\n")
        self.say("nodes", node_text("n1") + node_text("n2"))
        self.say("details", "")
        self.show([], [])

    def say(self, what: str, text: str) -> None:
        """What a command prints from now on."""
        temporary = self._answers / f"{what}.new"
        temporary.write_text(text)
        temporary.replace(self._answers / what)

    def break_down(self, *what: str) -> None:
        """Let commands fail."""
        for name in what:
            (self._answers / f"{name}.fails").write_text("cannot reach the daemon\n")

    def recover(self) -> None:
        """No command fails any more."""
        for path in self._answers.glob("*.fails"):
            path.unlink()

    def hold_up(self, what: str) -> None:
        """Let a command take as long as it takes, until `should_continue`."""
        (self._answers / f"{what}.slow").touch()

    def go_on(self) -> None:
        """Let all commands answer."""
        for path in self._answers.glob("*.slow"):
            path.unlink()

    def is_busy(self, what: str) -> bool:
        """Whether a command runs that is held up."""
        return (self._answers / f"{what}.busy").exists()

    def calls(self, what: str) -> List[str]:
        """The options of all runs of a command."""
        path = self._answers / f"{what}.calls"
        return path.read_text().splitlines() if path.exists() else []

    def show_asked(self, accounting: List[Dict[str, Any]]) -> None:
        """What the accounting says when it is asked for jobs by their numbers."""
        self.say("asked", json.dumps({**_META, "jobs": accounting}))

    def show(self, queue: List[Dict[str, Any]], accounting: List[Dict[str, Any]]) -> None:
        """Jobs of controller and accounting."""
        self.say("queue", json.dumps({**_META, "jobs": queue}))
        self.say("accounting", json.dumps({**_META, "jobs": accounting}))


def node_text(name: str) -> str:
    """A node of two sockets, two cores each, two threads each."""
    return (
        f"NodeName={name} Arch=x86_64 CoresPerSocket=2 \n"
        "   CPUAlloc=2 CPUEfctv=8 CPUTot=8 CPULoad=0.1\n"
        "   RealMemory=16000 AllocMem=500 FreeMem=1 Sockets=2 Boards=1\n"
        "   State=MIXED*+DRAIN ThreadsPerCore=2 TmpDisk=0 Weight=1\n"
        "   CfgTRES=cpu=8,mem=16000M\n   AllocTRES=cpu=2,gres/gpu=1\n\n"
    )


def _number(value: int) -> Dict[str, Any]:
    return {"set": True, "infinite": False, "number": value}


def queued(job_id: int, start_s: int, *, state: str = "RUNNING", end_s: int = 0, **more: Any) -> Dict[str, Any]:
    """A job as squeue --json prints it."""
    return {
        "job_id": job_id,
        "job_state": [state],
        "cluster": "alpha",
        "user_name": "alice",
        "account": "prj",
        "partition": "main",
        "name": "work",
        "nodes": "n1",
        "submit_time": _number(start_s - 5),
        "start_time": _number(start_s),
        "end_time": _number(end_s or start_s + 3600),
        "time_limit": _number(60),
        "restart_cnt": 0,
        "shared": ["none"],
        "tres_alloc_str": "cpu=8,mem=16000M,node=1",
        "tres_req_str": "cpu=8,mem=16000M,node=1",
        **more,
    }


def accounted(job_id: int, start_s: int, end_s: int, *, state: str = "COMPLETED", **more: Any) -> Dict[str, Any]:
    """A run as sacct --json prints it."""
    return {
        "job_id": job_id,
        "state": {"current": [state], "reason": "None"},
        "cluster": "alpha",
        "user": "alice",
        "account": "prj",
        "partition": "main",
        "name": "work",
        "nodes": "n1",
        "allocation_nodes": 1,
        "time": {"submission": start_s - 5, "start": start_s, "end": end_s, "limit": _number(60)},
        "tres": {"allocated": [{"type": "cpu", "name": "", "count": 8}], "requested": []},
        **more,
    }


class FakeBackend:
    """Takes events as the real one does: a run once, a stop of what runs; `refuse` decides before that."""

    def __init__(self) -> None:
        self.received: List[Tuple[str, Dict[str, Any]]] = []
        self.runs: Dict[Tuple[int, int], str] = {}
        self.refuse: Callable[[str, Dict[str, Any]], int] = lambda _path, _document: 0
        self.describe: Callable[[], Tuple[int, Dict[str, Any]]] = lambda: (200, {"clusters": [CLUSTER]})
        self.lock = threading.Lock()
        backend = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with backend.lock:
                    self.answer(*backend.take(self.path, document))

            def do_GET(self) -> None:
                self.answer(*backend.describe())

            def answer(self, status: int, document: Dict[str, Any]) -> None:
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """A client that was killed has gone in the middle of an answer."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def take(self, path: str, document: Dict[str, Any]) -> Tuple[int, Dict[str, Any]]:
        """Status and answer for an event."""
        self.received.append((path, document))
        status = self.refuse(path, document)
        if status:
            return status, {"status": "no", "error": f"refused with {status}"}
        if path == "/api/nodestate/":
            return 200, {}
        key = (document["jobId"], document["startTime"])
        if path == "/api/jobs/start_job/":
            return self._start(key)
        return self._stop(key, document["jobState"])

    def _start(self, key: Tuple[int, int]) -> Tuple[int, Dict[str, Any]]:
        if key in self.runs:
            return 422, {"status": "no", "code": "job_known", "error": "there already"}
        if any(job == key[0] and state == "running" for (job, _), state in self.runs.items()):
            return 422, {"status": "no", "code": "job_running", "error": "still runs"}
        self.runs[key] = "running"
        return 201, {"msg": "success"}

    def _stop(self, key: Tuple[int, int], state: str) -> Tuple[int, Dict[str, Any]]:
        if key not in self.runs:
            return 404, {"status": "no", "code": "job_unknown", "error": "no such job"}
        if self.runs[key] != "running":
            return 422, {"status": "no", "code": "job_not_running", "error": "is over"}
        self.runs[key] = state
        return 200, {}

    def of(self, path_end: str) -> List[Dict[str, Any]]:
        """What came to an address."""
        return [document for path, document in self.received if path.endswith(path_end)]

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


CLUSTER = {
    "name": "alpha",
    "subClusters": [
        {
            "name": "main",
            "nodes": "n[1-2]",
            "topology": {
                "node": [0, 1, 2, 3, 4, 5, 6, 7],
                "socket": [[0, 1, 4, 5], [2, 3, 6, 7]],
                "core": [[0, 4], [2, 6], [1, 5], [3, 7]],
                "accelerators": [{"id": "00000000:01:00.0"}, {"id": "00000000:02:00.0"}],
            },
        }
    ],
}


class Jobs:
    """Makes records of jobs, as squeue and sacct print them."""

    queued = staticmethod(queued)
    accounted = staticmethod(accounted)


@pytest.fixture
def make_job() -> Jobs:
    return Jobs()


@pytest.fixture
def slurm(tmp_path: Path) -> FakeSlurm:
    return FakeSlurm(tmp_path)


@pytest.fixture
def backend() -> Iterator[FakeBackend]:
    fake = FakeBackend()
    yield fake
    fake.refuse = lambda _path, _document: 0
    fake.close()


@pytest.fixture
def environment(slurm: FakeSlurm) -> Dict[str, str]:
    """An environment in which Slurm's commands are the fake ones."""
    return {"PATH": f"{slurm.commands}:{os.environ['PATH']}", "CC_SLURM_ADAPTER_TOKEN": "secret"}
