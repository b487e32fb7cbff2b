"""A real Slurm cluster, a backend, an adapter and an agent: real processes on loopback, one set for all tests here."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

CLUSTER = "tbcluster"
USERS = ("tbalice", "tbbob")
PASSWORD = "a good long password"
LAYOUT = (2, 4, 2)
HOST_NODE = "tbh01"
FIRST_PORT, PORTS = 27400, 20
TREE = os.environ.get("SLURM_TESTBED_TREE", "").rstrip("/")
GPUS = tuple(f"00000000:{bus}:00.0" for bus in ("17", "3B", "65", "CA"))
DAEMONS = ("munged", "mariadbd", "slurmdbd", "slurmctld", "slurmd")
COLUMNS = (
    *("JobID", "JobIDRaw", "JobName", "User", "Account", "Partition", "State", "Start", "End", "Submit"),
    *("TimelimitRaw", "NNodes", "AllocCPUS", "AllocTRES", "NodeList"),
)


def invented_topology() -> dict[str, Any]:
    """Hardware threads of an invented node, numbered as Linux does: all first threads, then all second ones."""
    sockets, per_socket, threads = LAYOUT
    count = sockets * per_socket
    core = [[index + count * thread for thread in range(threads)] for index in range(count)]
    socket = [
        sorted(thread for index in range(number * per_socket, (number + 1) * per_socket) for thread in core[index])
        for number in range(sockets)
    ]
    return {"node": list(range(count * threads)), "socket": socket, "memoryDomain": socket, "core": core}


def cluster_document(processes: Any) -> dict[str, Any]:
    """The description of the whole cluster: two kinds of invented nodes, and one node that is this machine."""
    arguments = ("--cluster", CLUSTER, "--hostname", HOST_NODE, "--interval", "1s")
    document: dict[str, Any] = json.loads(processes.run("cc-agent", "topology", *arguments))
    (here,) = document["subClusters"]
    sockets, cores, threads = LAYOUT
    shape = {"socketsPerNode": sockets, "coresPerSocket": cores, "threadsPerCore": threads}
    accelerators = [{"id": gpu, "type": "Nvidia GPU", "model": "A100"} for gpu in GPUS]
    topology = invented_topology()
    document["subClusters"] = [
        {**here, **shape, "name": "cpu", "nodes": "tbn[01-02]", "topology": topology},
        {**here, **shape, "name": "gpu", "nodes": "tbg01", "topology": {**topology, "accelerators": accelerators}},
        {**here, "name": "host", "nodes": HOST_NODE},
    ]
    return document


@dataclass(frozen=True)
class Allocation:
    """What `scontrol show job` said of a running job: CPU ids of Slurm and GPU indices by host."""

    cpus: Mapping[str, tuple[int, ...]]
    gpus: Mapping[str, tuple[int, ...]]


@dataclass
class Slurm:
    """The cluster; its answers are the text of its own commands, read here and not by the adapter."""

    script: Path
    directory: Path
    environment: Mapping[str, str]
    allocations: dict[tuple[int, int], Allocation] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """The cluster's folder as its own processes see it: they may live in a tree with another Slurm."""
        return str(self.directory).removeprefix(TREE)

    def testbed(self, *arguments: object, timeout_s: float = 180) -> str:
        """What a sub-command of the test bed prints."""
        return self._run(["bash", self.script, *arguments], timeout_s)

    def command(self, name: str, *arguments: object) -> str:
        """What a Slurm command prints, with times in seconds since the epoch."""
        return self._run([self.directory / "bin" / name, *arguments], 60)

    def _run(self, command: list[Any], timeout_s: float, *, may_fail: bool = False) -> str:
        # into files: daemons would keep a pipe open for as long as they live
        with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
            done = subprocess.run(
                [*map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                env={**os.environ, **self.environment, "SLURM_TIME_FORMAT": "%s"},
                check=False,
                timeout=timeout_s,
            )
            output.seek(0)
            errors.seek(0)
            said = output.read()
            assert may_fail or done.returncode == 0, f"{command} ended with {done.returncode}: {errors.read()[-2000:]}"
        return said

    def submit(self, *arguments: object, user: str = USERS[0]) -> int:
        """Submit a batch job and return its id."""
        sbatch = ("sbatch", "--parsable", "--output=/dev/null")
        return int(self.testbed("run", user, self.folder, "--", *sbatch, *arguments).strip().split(";")[0])

    def down(self, daemon: str) -> None:
        """Stop one daemon of the cluster."""
        self.testbed("down", daemon, self.folder)

    def up(self, daemon: str) -> None:
        """Start one daemon of the cluster again."""
        self.testbed("up", daemon, self.folder)

    def lose(self, node: str) -> None:
        """Take a node away from under its jobs."""
        self.command("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")

    def resume(self, node: str) -> None:
        """Bring a lost node back; it may have come back by itself, which Slurm answers with an error."""
        command = [self.directory / "bin/scontrol", "update", f"NodeName={node}", "State=RESUME"]
        self._run(command, 60, may_fail=True)

    def look(self) -> None:
        """Remember what running jobs have; Slurm forgets the GPUs when a job ends."""
        for block in self.command("scontrol", "show", "job", "-d").split("\nJobId="):
            fields = dict(re.findall(r"^ {3}(JobState|StartTime)=(\S+)", block, re.MULTILINE))
            number = re.match(r"(?:JobId=)?(\d+)", block)
            if number and fields.get("JobState") == "RUNNING":
                allocation = self._allocation(block)
                if allocation.cpus:
                    self.allocations[int(number[1]), int(fields["StartTime"])] = allocation

    def _allocation(self, block: str) -> Allocation:
        cpus: dict[str, tuple[int, ...]] = {}
        gpus: dict[str, tuple[int, ...]] = {}
        for line in re.findall(r"^ {5}Nodes=(\S+) CPU_IDs=(\S+) Mem=\d+ GRES=(\S*)", block, re.MULTILINE):
            index = re.search(r"gpu[^(]*\(IDX:([0-9,-]+)\)", line[2])
            for host in self.command("scontrol", "show", "hostnames", line[0]).split():
                cpus[host] = numbers(line[1])
                gpus[host] = numbers(index[1]) if index else ()
        return Allocation(cpus, gpus)

    def runs(self, *ids: int) -> list[dict[str, str]]:
        """The accounting's records, one for each run; of all jobs or of these (and their array's other tasks)."""
        chosen = ("-j", ",".join(map(str, ids))) if ids else ()
        options = ("-a", "-D", "-X", "-P", "-n", "-S", "now-3hours", f"--format={','.join(COLUMNS)}")
        lines = self.command("sacct", *options, *chosen).splitlines()
        return [dict(zip(COLUMNS, line.split("|"), strict=True)) for line in lines]

    def wait_for(self, what: str, job_id: int, state: str, timeout_s: float = 40) -> dict[str, str]:
        """The newest record of a job once it is in a state; looks at running jobs meanwhile."""
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            self.look()
            found = [run for run in self.runs(job_id) if run["JobIDRaw"] == str(job_id)]
            if found and found[-1]["State"].startswith(state) and (state == "RUNNING" or found[-1]["End"].isdecimal()):
                return found[-1]
            time.sleep(0.3)
        pytest.fail(f"{what}: job {job_id} did not become {state}: {found}")


def numbers(text: str) -> tuple[int, ...]:
    """The numbers of a list such as 0-1,8-9."""
    parts = [part.split("-") for part in text.split(",")]
    return tuple(number for part in parts for number in range(int(part[0]), int(part[-1]) + 1))


def free_port_base() -> int:
    """The first of a row of ports nobody listens on."""
    with Path("/proc/net/tcp").open() as file:
        taken = {int(line.split()[1].split(":")[1], 16) for line in list(file)[1:]}
    for base in range(FIRST_PORT, 32000, PORTS):
        if not taken & set(range(base, base + PORTS)):
            return base
    pytest.fail("no row of free ports for a Slurm cluster")


def need_slurm() -> None:
    """Skip where no cluster can be started; in continuous integration that is a failure."""
    search = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [name for name in DAEMONS if not TREE and shutil.which(name, path=search) is None]
    reason = ""
    if os.geteuid() != 0:
        reason = "a Slurm cluster can be started by root only"
    elif missing:
        reason = f"no {', '.join(missing)} here; `make test-deps` installs Slurm"
    if reason and os.environ.get("CI") == "true" and os.geteuid() == 0:
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def cluster(processes: Any) -> dict[str, Any]:
    """The cluster.json of these tests."""
    return cluster_document(processes)


@pytest.fixture(scope="session")
def slurm(repository: Path, cluster: dict[str, Any]) -> Iterator[Slurm]:
    """The cluster, up; whatever was started is stopped afterwards."""
    need_slurm()
    host = cluster["subClusters"][-1]
    directory = Path(tempfile.mkdtemp(prefix="slurm-test-", dir=f"{TREE}/tmp" if TREE else None))
    directory.chmod(0o755)  # other users' jobs work below it
    environment = {
        "SLURM_TESTBED_CLUSTER": CLUSTER,
        "SLURM_TESTBED_LAYOUT": ":".join(map(str, LAYOUT)),
        "SLURM_TESTBED_GPUS": str(len(GPUS)),
        "SLURM_TESTBED_HOSTNODES": "1",
        "SLURM_TESTBED_HOSTLAYOUT": f"{host['socketsPerNode']}:{host['coresPerSocket']}:{host['threadsPerCore']}",
        "SLURM_TESTBED_CREDEXPIRE": "5",
        # commands give up a second before: several polls fit into a short outage
        "SLURM_TESTBED_EXTRA": "MessageTimeout=4",
        "SLURM_TESTBED_USERS": " ".join(USERS),
        "SLURM_TESTBED_PORT_BASE": str(free_port_base()),
    }
    slurm = Slurm(repository / "packaging" / "slurm_testbed.sh", directory, environment)
    try:
        slurm.testbed("start", slurm.folder)
        yield slurm
    finally:
        slurm.testbed("purge", slurm.folder)


@dataclass
class Site:
    """Backend, adapter and agent; the first two can be stopped and started."""

    processes: Any
    slurm: Slurm
    directory: Path
    backend: Any
    tokens: Mapping[str, str]
    parts: dict[str, tuple[ExitStack, Any]] = field(default_factory=dict)
    password: str = PASSWORD

    def up(self, name: str) -> None:
        """Start one part, unless it runs."""
        if name not in self.parts:
            stack = ExitStack()
            self.parts[name] = (stack, stack.enter_context(getattr(self, f"_{name}")()))

    def down(self, name: str, *, kill: bool = False) -> None:
        """Stop one part, gently or at once."""
        stack, process = self.parts.pop(name)
        if kill:
            process.kill()
        stack.close()

    @contextmanager
    def _server(self) -> Iterator[Any]:
        with self.backend.serving() as running:
            yield running

    def _adapter(self) -> Any:
        options = ("--url", self.backend.url, "--token-file", self._token_file("jobs"), "--cluster", CLUSTER)
        place = ("--state-dir", self.directory / "adapter", "--topology-file", self.directory / "cluster.json")
        path = {"PATH": f"{self.slurm.directory / 'bin'}:{os.environ['PATH']}"}
        command = (self.processes.BIN / "cc-slurm-adapter", "run", *options, *place, "--interval", "1s")
        return self.processes.process(*command, log=self.directory / "adapter.log", environment=path)

    def _agent(self) -> Any:
        options = ("--url", self.backend.url, "--token-file", self._token_file("agent"), "--cluster", CLUSTER)
        command = (self.processes.BIN / "cc-agent", "run", *options, "--hostname", HOST_NODE, "--interval", "1s")
        return self.processes.process(*command, log=self.directory / "agent.log")

    def _token_file(self, name: str) -> Path:
        path = self.directory / f"{name}-token"
        path.write_text(self.tokens[name], "utf-8")
        path.chmod(0o600)
        return path

    def jobs(self) -> list[dict[str, Any]]:
        """All jobs as the backend tells them."""
        query = {"items-per-page": 1000, "with-metadata": "true"}
        header = {"X-Auth-Token": self.tokens["jobs"]}
        answer = httpx.get(f"{self.backend.url}/api/jobs/", params=query, headers=header, timeout=20)
        assert answer.status_code == httpx.codes.OK, answer.text
        return list(answer.json()["jobs"])

    def rows(self, job_id: int) -> list[dict[str, Any]]:
        """The rows of one Slurm job, oldest run first."""
        return sorted((job for job in self.jobs() if job["jobId"] == job_id), key=lambda job: job["startTime"])

    def wait_until(self, what: str, probe: Any, timeout_s: float = 40) -> Any:
        """The first true answer of a probe, with the adapter's last words if none comes."""
        try:
            return self.processes.wait_for(what, probe, timeout_s)
        except pytest.fail.Exception as failure:
            said = (self.directory / "adapter.log").read_text("utf-8")[-3000:]
            pytest.fail(f"{failure}\nthe adapter said:\n{said}")


@pytest.fixture(scope="session")
def site(processes: Any, slurm: Slurm, cluster: dict[str, Any], tmp_path_factory: Any) -> Iterator[Site]:
    """Everything up: a backend that knows the cluster, the adapter beside Slurm, the agent of one node."""
    directory = tmp_path_factory.mktemp("site")
    backend = processes.new_backend(directory / "backend")
    (directory / "cluster.json").write_text(json.dumps(cluster), "utf-8")
    processes.run("cc-backend", "cluster", "add", "--config", backend.config, directory / "cluster.json")
    for name in USERS:
        account = ("user", "add", name, "--config", backend.config, "--role", "user")
        processes.run("cc-backend", *account, given=PASSWORD)
    tokens = {
        "agent": backend.token("agent", "--role", "api", "--scope", "write"),
        "jobs": backend.token("jobs", "--role", "api", "--scope", "jobs"),
    }
    site = Site(processes, slurm, directory, backend, tokens)
    try:
        for name in ("server", "adapter", "agent"):
            site.up(name)
        yield site
    finally:
        for name in reversed(list(site.parts)):
            site.down(name)


@pytest.fixture(autouse=True)
def everything_up(site: Site) -> None:
    """Each test starts with all parts running, whatever the one before has stopped."""
    for name in ("server", "adapter", "agent"):
        site.up(name)
        assert site.parts[name][1].poll() is None, f"the {name} ended by itself: see {site.directory}"
