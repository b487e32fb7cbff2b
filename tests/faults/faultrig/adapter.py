"""The Slurm adapter as a process, and what the backend has of its jobs."""

import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

from processes import BIN

from faultrig.relay import Relay
from faultrig.site import CLUSTER, Site
from faultrig.slurmday import SlurmDay


class Adapter:
    """The adapter with its state folder."""

    def __init__(self, directory: Path, relay: Relay, token: str, day: SlurmDay) -> None:
        directory.mkdir()
        self.state = directory / "state"
        self._log = directory / "adapter.log"
        self._config = directory / "adapter.json"
        document = {
            "cluster": CLUSTER,
            "interval": "1s",
            "state-directory": str(self.state),
            "backend": {"url": relay.url, "token": token, "timeout": "1s"},
            "slurm": {"command-directory": str(day.commands)},
        }
        self._config.write_text(json.dumps(document), "utf-8")
        self._config.chmod(0o600)
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """What it said."""
        return self._log.read_text("utf-8") if self._log.exists() else ""

    def start(self) -> None:
        """Begin to look."""
        with self._log.open("ab") as output:
            command = [BIN / "cc-slurm-adapter", "run", "--config", self._config]
            self._running = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)

    def kill(self) -> None:
        """SIGKILL."""
        if self._running is not None:
            self._running.kill()
            self._running.wait()
            self._running = None

    def stop(self) -> None:
        """End it as systemd would; it may have ended by itself."""
        if self._running is not None:
            self._running.terminate()
            self._running.wait(timeout=20)
            self._running = None

    def is_done(self) -> bool:
        """Whether one more cycle finds nothing new and leaves nothing waiting."""
        said = self.once()
        return "sent: 0 starts, 0 stops" in said and "waiting: 0" in said

    def once(self) -> str:
        """One cycle; what it says of it."""
        command = [BIN / "cc-slurm-adapter", "once", "--config", self._config]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120).stdout


def rows_of(site: Site) -> Counter[tuple[Any, ...]]:
    """What the backend has, in the form of `Run.expected`, and how often."""
    return Counter(
        (
            row["jobId"],
            row["startTime"],
            row["duration"],
            row["jobState"],
            tuple(sorted(resource["hostname"] for resource in row["resources"])),
            row["user"],
            row["project"],
        )
        for row in site.jobs()
    )
