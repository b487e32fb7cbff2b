"""docs/slurm-adapter.md, followed word for word as root, up to the service's own line, as the service's user.

All in a mount namespace of its own: users, /etc and /var/lib of this machine stay as they are.
"""

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CLUSTER = "mycluster"
NEEDED = ("unshare", "mount", "useradd", "setpriv", "install")

# Slurm's commands: each notes who ran it
_SLURM = """#!/bin/sh
echo "$(id -un) $(basename "$0") $*" >> {folder}/calls
case "$(basename "$0") $*" in
squeue*|sacct\\ *) echo '{{"jobs": [], "errors": []}}' ;;
sacctmgr*) case " $* " in *" -i "*) ;; *) echo "Would you like to commit? (y/N)"; read answer; exit 1 ;; esac ;;
sinfo*) echo slurm 24.05.1 ;;
"scontrol show config") echo "ClusterName = mycluster" ;;
"scontrol show nodes") echo "NodeName=n1 Sockets=1 CoresPerSocket=2 ThreadsPerCore=1 State=IDLE" ;;
"scontrol ping") echo "Slurmctld(primary) at head is UP" ;;
esac
"""
_TOUCHES_NOTHING_OUTSIDE = """
set -eu
mount --make-rprivate /
cp -a /etc "$FOLDER/etc" && mount --bind "$FOLDER/etc" /etc
mkdir "$FOLDER/lib" && mount --bind "$FOLDER/lib" /var/lib
case "$PYTHONS" in /root/*)  # a Python that only root may reach
  mkdir -p "$FOLDER/root$PYTHONS" && mount --rbind "$PYTHONS" "$FOLDER/root$PYTHONS"
  mount --rbind "$FOLDER/root/root" /root ;;
esac
cd "$FOLDER/clone"
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users may reach."""
    made = Path(tempfile.mkdtemp(prefix="slurm-guide-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def need_namespaces() -> None:
    """Skip where nobody may look like root without being it."""
    if os.geteuid() != 0 or any(shutil.which(name) is None for name in NEEDED):
        pytest.skip(f"needs root and {', '.join(NEEDED)}")
    if subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("no mount namespaces here")


def steps(text: str) -> list[str]:
    """The commands of the guide, in their order."""
    part = text[text.index("## Setting up") : text.index("All settings:")]
    return [
        re.sub("^ {3}", "", block, flags=re.MULTILINE) for block in re.findall(r"```sh\n(.*?) *```", part, re.DOTALL)
    ]


def service_line(unit: Path) -> tuple[str, str, str]:
    """User, umask and command of the unit."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # keys of units tell case apart
    parser.read_string(unit.read_text("utf-8"))
    service = parser["Service"]
    return service["User"], service["UMask"], service["ExecStart"]


def cluster_document() -> dict[str, Any]:
    threads = [0, 1]
    rate = {"unit": {"base": "F/s", "prefix": "G"}, "value": 1}
    metric = {"name": "load_one", "unit": {"base": ""}, "scope": "node", "aggregation": "avg", "timestep": 60}
    return {
        "name": CLUSTER,
        "metricConfig": [{**metric, "peak": 2, "normal": 2, "caution": 1, "alert": 1}],
        "subClusters": [
            {
                "name": "all",
                "nodes": "n1",
                "processorType": "test",
                "socketsPerNode": 1,
                "coresPerSocket": 2,
                "threadsPerCore": 1,
                "flopRateScalar": rate,
                "flopRateSimd": rate,
                "memoryBandwidth": {"unit": {"base": "B/s", "prefix": "G"}, "value": 1},
                "topology": {"node": threads, "socket": [threads], "memoryDomain": [threads], "core": [[0], [1]]},
            }
        ],
    }


@pytest.mark.integration
def test_the_guide_can_be_followed_word_for_word(processes: Any, repository: Path, folder: Path) -> None:
    need_namespaces()
    backend = processes.new_backend(folder / "site")
    (folder / "cluster.json").write_text(json.dumps(cluster_document()), "utf-8")
    processes.run("cc-backend", "cluster", "add", "--config", backend.config, folder / "cluster.json")
    commands = folder / "bin"
    commands.mkdir()
    for name in ("squeue", "sacct", "sacctmgr", "sinfo", "scontrol"):
        (commands / name).write_text(_SLURM.format(folder=folder), "utf-8")
        (commands / name).chmod(0o755)
    (commands / "systemctl").write_text(f'#!/bin/sh\necho "systemctl $*" >> {folder}/calls\n', "utf-8")
    (commands / "systemctl").chmod(0o755)
    (folder / "calls").touch()
    (folder / "calls").chmod(0o666)

    for part in ("etc", "systemd"):
        shutil.copytree(repository / "slurm_adapter" / part, folder / "clone" / "slurm_adapter" / part)
    user, umask, line = service_line(repository / "slurm_adapter/systemd/cc-slurm-adapter.service")
    once = line.replace("/usr/bin/cc-slurm-adapter run", f"{processes.BIN}/cc-slurm-adapter once")
    assert once != line
    blocks = steps((repository / "docs/slurm-adapter.md").read_text("utf-8"))
    assert len(blocks) == 4
    makes_user, makes_token, puts_in_place, checks_and_starts = blocks
    # what the guide asks to be written by hand: the address of the backend
    address = f"sed -i 's|https://monitoring.example.org|{backend.url}|' /etc/cc-slurm-adapter/cc-slurm-adapter.json\n"
    state = "/var/lib/cc-slurm-adapter"  # StateDirectory= of the unit
    as_service = f"env STATE_DIRECTORY={state} setpriv --reuid={user} --regid={user} --init-groups"
    script = "\n".join(
        [
            _TOUCHES_NOTHING_OUTSIDE,
            makes_user,
            'mkdir /var/lib/clustercockpit && mount --bind "$FOLDER/site" /var/lib/clustercockpit',
            makes_token,
            puts_in_place,
            address,
            checks_and_starts,
            f"install -d -m 0700 -o {user} -g {user} {state}",
            f"{as_service} sh -c {shlex.quote(f'umask {umask}; exec {once}')}",
            f"ls -ln {state} > {folder}/left",
        ]
    )
    with backend.serving():
        done = subprocess.run(
            ["unshare", "--mount", "bash", "-c", script],
            env={
                **os.environ,
                "FOLDER": str(folder),
                "PYTHONS": str(Path(sys.base_prefix).parent),
                "PATH": f"{commands}:{processes.BIN}:{os.environ['PATH']}:/usr/sbin:/sbin",
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "FAILS" not in said
    assert f"works  backend: {backend.url} accepts what is sent for cluster '{CLUSTER}'" in said
    assert "sent: 0 starts, 0 stops, 1 node states; waiting: 0" in said
    calls = (folder / "calls").read_text("utf-8").splitlines()
    assert "systemctl enable --now cc-slurm-adapter" in calls
    asked = [call.split()[:2] for call in calls if "systemctl" not in call]
    assert {who for who, what in asked if what == "sacctmgr"} == {"root"}
    assert {who for who, what in asked if what in {"squeue", "scontrol", "sacct"}} == {user}
    assert "journal.sqlite" in (folder / "left").read_text("utf-8")
    assert subprocess.run(["id", user], check=False, capture_output=True).returncode != 0, "the user is not left behind"
