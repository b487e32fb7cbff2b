"""A living ClusterCockpit on this machine: backend, agent, and jobs that really load it. Ctrl-C ends all of it.

usage: demo.py [--directory DIR] [--port PORT] [--job-seconds N]
"""

import argparse
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

BIN = Path(sys.executable).parent
CLUSTER = "local"
INTERVAL_S = 5
JOB_SECONDS = 90
START_TIMEOUT_S = 30
USER, PROJECT = "demo", "demo-project"
BURN = "import os,sys\nos.sched_setaffinity(0,{int(sys.argv[1])})\nwhile True: pass"


def main() -> int:
    """Set up once, run until Ctrl-C."""
    options = parse_arguments()
    directory: Path = options.directory.resolve()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    config = prepare(directory, options.port)
    password = (directory / "demo-password").read_text("utf-8").strip()
    with ExitStack() as running:
        url = f"http://127.0.0.1:{options.port}"
        backend = running.enter_context(process(directory / "backend.log", "cc-backend", "serve", "--config", config))
        wait_until_up(url, backend, directory / "backend.log")
        arguments = ["--url", url, "--token-file", directory / "agent-token", "--cluster", CLUSTER]
        arguments += ["--interval", f"{INTERVAL_S}s"]
        running.enter_context(process(directory / "agent.log", "cc-agent", "run", *arguments))
        sys.stdout.write(
            f"\n  ClusterCockpit runs at  {url}\n  user {USER}, password {password}\n\n"
            f"  This machine is monitored as cluster '{CLUSTER}'; a job of {options.job_seconds} s loads it, "
            f"then the next one.\n  Logs are in {directory}. Ctrl-C ends everything.\n\n"
        )
        sys.stdout.flush()
        run_jobs(url, directory, options.job_seconds, stop)
    sys.stdout.write("All ended.\n")
    return 0


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0] if __doc__ else None)
    parser.add_argument("--directory", type=Path, default=Path("build/demo"), help="where the demo keeps its files")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--job-seconds", type=int, default=JOB_SECONDS)
    return parser.parse_args()


def prepare(directory: Path, port: int) -> Path:
    """Make the folder, the cluster, an account and the tokens, unless an earlier run did."""
    config = directory / "config.json"
    if not (directory / "demo-password").exists():
        directory.mkdir(parents=True, exist_ok=True)
        command("cc-backend", "init", directory)
        topology = command("cc-agent", "topology", "--cluster", CLUSTER, "--interval", f"{INTERVAL_S}s")
        (directory / "cluster.json").write_text(topology, "utf-8")
        command("cc-backend", "cluster", "add", "--config", config, directory / "cluster.json")
        for name, scope in (("agent", "write"), ("jobs", "jobs")):
            arguments = ["create", name, "--config", config, "--role", "api", "--scope", scope]
            write_private(directory / f"{name}-token", command("cc-backend", "token", *arguments))
        password = secrets.token_urlsafe(9)
        command("cc-backend", "user", "add", USER, "--config", config, "--role", "admin", given=password)
        write_private(directory / "demo-password", password)
    document = json.loads(config.read_text("utf-8"))
    document.setdefault("main", {})["addr"] = f"127.0.0.1:{port}"
    config.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    return config


def run_jobs(url: str, directory: Path, job_seconds: int, stop: threading.Event) -> None:
    """One job after the other, each with a real load on the hardware threads it was given."""
    token = (directory / "jobs-token").read_text("utf-8").strip()
    document = json.loads((directory / "cluster.json").read_text("utf-8"))
    threads = document["subClusters"][0]["topology"]["node"]
    host = socket.gethostname().split(".")[0]
    with httpx.Client(base_url=url, headers={"X-Auth-Token": token}, timeout=10) as client:
        number = int(time.time()) % 10_000_000
        while not stop.is_set():
            number += 1
            used = threads if number % 2 else threads[: max(1, len(threads) // 2)]
            one_job(client, number, host=host, threads=used, job_seconds=job_seconds, stop=stop)
            stop.wait(INTERVAL_S)


def one_job(
    client: httpx.Client, number: int, *, host: str, threads: list[int], job_seconds: int, stop: threading.Event
) -> None:
    """Start, load, stop."""
    event = {
        "jobId": number,
        "cluster": CLUSTER,
        "user": USER,
        "project": PROJECT,
        "partition": "main",
        "startTime": int(time.time()),
        "numNodes": 1,
        "numHwthreads": len(threads),
        "shared": "none",
        "walltime": job_seconds * 2,
        "resources": [{"hostname": host, "hwthreads": threads}],
        "metaData": {"jobName": f"burn_{len(threads)}_threads", "jobScript": "#!/bin/bash\n./burn\n"},
    }
    client.post("/api/jobs/start_job/", json=event).raise_for_status()
    with ExitStack() as loads:
        for thread in threads:
            loads.enter_context(child([sys.executable, "-c", BURN, str(thread)]))
        stop.wait(job_seconds)
    state = "cancelled" if stop.is_set() else "completed"
    stopped = {"jobId": number, "cluster": CLUSTER, "jobState": state, "stopTime": int(time.time())}
    client.post("/api/jobs/stop_job/", json=stopped).raise_for_status()


def command(name: str, *arguments: object, given: str = "") -> str:
    """What a command of the project prints; ends the demo with its message if it fails."""
    done = subprocess.run([BIN / name, *map(str, arguments)], input=given, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(done.stderr.strip() or f"{name} failed with status {done.returncode}")
    return done.stdout


@contextmanager
def process(log: Path, name: str, *arguments: object) -> Iterator["subprocess.Popen[bytes]"]:
    """A command of the project in the background, ended with SIGTERM."""
    with log.open("ab") as output, child([str(BIN / name), *map(str, arguments)], output) as running:
        yield running


@contextmanager
def child(arguments: list[str], output: object = subprocess.DEVNULL) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that a Ctrl-C at the terminal does not reach: the demo ends it itself, in order."""
    running = subprocess.Popen(arguments, stdout=output, stderr=output, start_new_session=True)  # type: ignore[call-overload]  # a file or DEVNULL
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.wait(timeout=20)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def wait_until_up(url: str, backend: "subprocess.Popen[bytes]", log: Path) -> None:
    """Return when the backend answers; end with its last log lines if it does not."""
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline_s and backend.poll() is None:
        try:
            if httpx.get(f"{url}/healthz").status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    lines = log.read_text("utf-8", errors="replace").splitlines()[-10:]
    raise SystemExit("The backend did not come up:\n" + "\n".join(lines))


def write_private(path: Path, text: str) -> None:
    """Write a secret that only its owner can read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    sys.exit(main())
