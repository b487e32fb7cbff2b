"""A day of jobs as Slurm's commands tell it: scripts in a folder for PATH that print what is true at a moment of it."""

import json
import random
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faultrig.site import CLUSTER

HOSTS = tuple(f"n{number}" for number in range(1, 10))
DAY_S = 86_400
REMEMBERED_S = 300  # the controller forgets a job so long after its end
LATE_S = 60  # and the accounting learns of it so late
ENDS = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY")

_SCRIPTS = {
    "squeue": 'cat "$now/queue"',
    "sacct": 'cat "$now/accounting"',
    "sinfo": "echo slurm 22.05.8",
    "scontrol": """case "$1 $2" in
  "show config") echo "ClusterName = here" ;;
  "ping ") echo "Slurmctld(primary) at here is UP" ;;
  "show nodes") cat "$now/nodes" ;;
  "show job") cat "$now/details" ;;
  *) exit 1 ;;
esac""",
}


@dataclass(frozen=True)
class Run:
    """One run of a job."""

    job_id: int
    submit_s: int
    start_s: int
    end_s: int
    state: str
    hosts: tuple[str, ...]
    user: str
    restarts: int = 0

    def expected(self) -> tuple[Any, ...]:
        """What the backend has to say of it: number, start, duration, state, hosts, user, project."""
        return (
            self.job_id,
            self.start_s,
            self.end_s - self.start_s,
            self.state.lower(),
            self.hosts,
            self.user,
            f"of-{self.user}",
        )


def make_day(chance: random.Random, begin_s: int, jobs: int) -> list[Run]:
    """Runs of so many jobs over a day, some of them requeued after a node failed."""
    runs = []
    for job_id in range(1001, 1001 + jobs):
        submit_s = begin_s + chance.randrange(DAY_S - 12_000)
        start_s = submit_s + chance.randrange(1, 600)
        end_s = start_s + chance.choice((5, 40, 600, 3600, 7200)) + chance.randrange(60)
        hosts = tuple(sorted(chance.sample(HOSTS, chance.choice((1, 1, 2, 4)))))
        user = f"user{chance.randrange(6)}"
        requeued = chance.random() < 0.1
        state = "NODE_FAIL" if requeued else chance.choice(ENDS)
        runs.append(Run(job_id, submit_s, start_s, end_s, state, hosts, user))
        if requeued:
            again_s = end_s + 130
            runs.append(Run(job_id, end_s + 1, again_s, again_s + 700, "COMPLETED", hosts[:1], user, 1))
    return runs


class SlurmDay:
    """The commands, and the moment they speak of."""

    def __init__(self, directory: Path, runs: list[Run]) -> None:
        self.commands = directory / "bin"
        self.commands.mkdir(parents=True)
        self._directory, self._runs, self._step = directory, runs, 0
        for name, body in _SCRIPTS.items():
            script = self.commands / name
            # one look at the link, so that a command tells of one moment; `broken` names the commands that fail
            script.write_text(
                f'#!/bin/sh\n[ -e "{directory}/broken-{name}" ] && {{ echo "slurm_load: failed" >&2; exit 1; }}\n'
                f'now=$(readlink "{directory}/now")\n{body}\n',
                "utf-8",
            )
            script.chmod(script.stat().st_mode | stat.S_IXUSR)

    def break_command(self, name: str, *, broken: bool) -> None:
        """Let a command fail from now on, or work again."""
        path = self._directory / f"broken-{name}"
        if broken:
            path.touch()
        else:
            path.unlink(missing_ok=True)

    def turn_to(self, now_s: int) -> None:
        """Let the commands tell of this moment."""
        self._step += 1
        folder = self._directory / f"step{self._step}"
        folder.mkdir()
        queue = [_queued(run, now_s) for run in self._in_queue(now_s)]
        accounting = [_accounted(run, now_s) for run in self._runs if run.start_s <= now_s]
        meta = {"plugin": {"type": "openapi/v0.0.38"}}
        (folder / "queue").write_text(json.dumps({"meta": meta, "errors": [], "jobs": queue}), "utf-8")
        (folder / "accounting").write_text(json.dumps({"meta": meta, "errors": [], "jobs": accounting}), "utf-8")
        (folder / "details").write_text("", "utf-8")
        nodes = (f"NodeName={host} CPUAlloc=0 CPUTot=2\n   AllocMem=0 State=IDLE\n" for host in HOSTS)
        (folder / "nodes").write_text("\n".join(nodes), "utf-8")
        link = self._directory / "next"
        link.symlink_to(folder)
        link.rename(self._directory / "now")

    def _in_queue(self, now_s: int) -> list[Run]:
        """The newest run of each job that the controller knows."""
        newest: dict[int, Run] = {}
        for run in self._runs:
            if run.submit_s <= now_s < run.end_s + REMEMBERED_S:
                newest[run.job_id] = run
        return list(newest.values())


def _queued(run: Run, now_s: int) -> dict[str, Any]:
    state = "PENDING" if now_s < run.start_s else "RUNNING" if now_s < run.end_s else run.state
    started = now_s >= run.start_s
    return {
        "job_id": run.job_id,
        "job_state": state,
        "cluster": CLUSTER,
        "user_name": run.user,
        "account": f"of-{run.user}",
        "partition": "main",
        "name": "work",
        "nodes": ",".join(run.hosts) if started else "",
        "node_count": len(run.hosts),
        "tres_alloc_str": f"cpu={2 * len(run.hosts)},mem=2000M,node={len(run.hosts)}",
        "submit_time": run.submit_s,
        "start_time": run.start_s if started else 0,
        "end_time": run.end_s if now_s >= run.end_s else run.start_s + 7200,
        "time_limit": 120,
        "restart_cnt": run.restarts,
        "array_job_id": 0,
    }


def _accounted(run: Run, now_s: int) -> dict[str, Any]:
    over = now_s >= run.end_s + LATE_S
    return {
        "job_id": run.job_id,
        "state": {"current": run.state if over else "RUNNING"},
        "cluster": CLUSTER,
        "association": {"user": run.user},
        "account": f"of-{run.user}",
        "partition": "main",
        "name": "work",
        "nodes": ",".join(run.hosts),
        "allocation_nodes": len(run.hosts),
        "tres": {"allocated": [{"type": "cpu", "name": "", "count": 2 * len(run.hosts)}]},
        "time": {
            "submission": run.submit_s,
            "start": run.start_s,
            "end": run.end_s if over else 0,
            "limit": 120,
        },
    }
