"""The command behind `make demo`."""

import argparse
import json
import os
import signal
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

import httpx

from cc_backend.errors import BackendError
from cc_backend.wording.format import format_exact_duration
from cc_common.errors import CockpitError
from cc_demo.live.feed import Feeder, unix_now_s
from cc_demo.live.folder import ACCOUNTS, LOCAL, LOGINS, DemoFolder
from cc_demo.live.history import catch_up
from cc_demo.live.machine import host_name, run_jobs
from cc_demo.live.plan import FINISHED, SHAPE, Plan
from cc_demo.live.processes import find_free_port, last_lines, run_command, run_in_background, wait_until_up

INTERVAL_S = 5
JOB_SECONDS = 600
LONGEST_SLEEP_S = 1.0
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(arguments: list[str] | None = None) -> int:
    """Set up once, run until Ctrl-C or SIGTERM; 0 then, 1 if something went wrong."""
    options = parse_arguments(arguments)
    for number in ENDING:
        signal.signal(number, _interrupt)
    begun_s = time.monotonic()
    try:
        with ExitStack() as running:
            _run(options, running, begun_s)
    except KeyboardInterrupt:
        say("All ended.")
        return 0
    except (CockpitError, BackendError, httpx.HTTPError) as error:
        say(f"The demo ends: {error}")
    return 1


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="A living ClusterCockpit on this machine. Ctrl-C ends all of it.")
    parser.add_argument("--directory", type=Path, default=Path("build/demo"), help="where the demo keeps its files")
    parser.add_argument("--port", type=int, default=8080, help="the next free one is taken where this one is not")
    parser.add_argument(
        "--job-seconds",
        type=float,
        default=JOB_SECONDS,
        help="how long a job loads this machine at least; some run up to twice as long",
    )
    parser.add_argument("--finished", type=int, default=FINISHED, help="finished jobs of the made-up cluster")
    return parser.parse_args(arguments)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """The first signal ends the demo; more of them must not cut the ending short."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _run(options: argparse.Namespace, running: ExitStack, begun_s: float) -> None:
    folder = DemoFolder(options.directory.resolve())
    root, port = folder.root, find_free_port(options.port)
    if folder.prepare(now_s=unix_now_s(), local_cluster=_local_cluster):
        say(f"Making a cluster of {sum(node.nodes for node in SHAPE.sub_clusters)} nodes with {options.finished} jobs.")
    elif folder.renew_local(host_name(), os.sched_getaffinity(0), _local_cluster):
        say(f"This machine has changed, or its name has: cluster '{LOCAL}' is made anew for {host_name()}.")
    plan = Plan.at(unix_now_s(), anchor_s=folder.anchor_s)
    known = catch_up(folder, plan, now_s=unix_now_s(), most=options.finished)
    folder.mark_complete()
    url = f"http://127.0.0.1:{port}"
    os.environ["CC_BACKEND_ADDR"] = f"127.0.0.1:{port}"
    log = root / "backend.log"
    backend = running.enter_context(run_in_background(log, "cc-backend", "serve", "--config", folder.config))
    wait_until_up(url, backend, log)
    feed = Feeder(url, folder, plan)
    running.callback(feed.close)
    feed.begin(known, now_s=unix_now_s())
    given = (
        "--url",
        url,
        "--token-file",
        folder.token_file("agent"),
        "--cluster",
        LOCAL,
        "--interval",
        f"{INTERVAL_S}s",
    )
    agent = running.enter_context(run_in_background(root / "agent.log", "cc-agent", "run", *given))
    stop, failed = threading.Event(), list[str]()
    loading = threading.Thread(
        target=run_jobs,
        args=(url, folder.token_file("jobs"), _threads(folder)),
        kwargs={"job_seconds": options.job_seconds, "stop": stop, "failed": failed},
    )
    loading.start()
    running.callback(loading.join)
    running.callback(stop.set)
    if port != options.port:
        say(f"Port {options.port} is taken; this is the next free one.")
    say(introduction(url, folder, options.job_seconds, time.monotonic() - begun_s))
    while not failed:
        time.sleep(min(LONGEST_SLEEP_S, max(0.0, feed.next_s - time.time())))
        for name, child in (("backend", backend), ("agent", agent)):
            if child.poll() is not None:
                raise BackendError(f"the {name} has ended:\n{last_lines(root / f'{name}.log')}")
        feed.advance(unix_now_s())
    raise BackendError(failed[0])


def introduction(url: str, folder: DemoFolder, job_seconds: float, took_s: float) -> str:
    """What is printed once all is up."""
    passwords = folder.passwords()
    width = max(len(account.name) for account in ACCOUNTS)
    logins = "\n".join(
        f"    {account.name:<{width}}  {passwords[account.name]}   {account.role.value}: sees {account.sees}"
        for account in ACCOUNTS
    )
    nodes = sum(node.nodes for node in SHAPE.sub_clusters)
    return (
        f"\n  ClusterCockpit runs at  {url}   (after {took_s:.1f} s)\n\n  Sign in as\n{logins}\n\n"
        f"  Cluster '{LOCAL}' is this machine, measured for real; "
        f"jobs of {format_exact_duration(job_seconds)} and more load it.\n"
        f"  Cluster '{SHAPE.name}' is made up: {nodes} nodes, samples every {SHAPE.timestep_s} s, jobs come and go.\n"
        f"  Logs and {LOGINS} are in {folder.root}. Ctrl-C ends everything; the next start goes on from there.\n"
    )


def _local_cluster() -> dict[str, object]:
    text = run_command("cc-agent", "topology", "--cluster", LOCAL, "--interval", f"{INTERVAL_S}s")
    document: dict[str, object] = json.loads(text)
    return document


def _threads(folder: DemoFolder) -> list[int]:
    path = Path(folder.settings().archive.path) / LOCAL / "cluster.json"
    threads: list[int] = json.loads(path.read_text("utf-8"))["subClusters"][0]["topology"]["node"]
    return threads


def say(text: str) -> None:
    """Print a text at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
