"""The options of the commands of cc-slurm-adapter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from cc_common.command import LOG_LEVELS, command_option


@dataclass(frozen=True)
class AdapterOptions:
    """The options of a command line; None means not given."""

    config: Optional[str] = command_option("configuration file (JSON)", "FILE")
    url: Optional[str] = command_option("address of the backend, such as https://monitoring.example.org", "URL")
    token_file: Optional[str] = command_option("file with the token for the backend", "FILE")
    state_dir: Optional[str] = command_option("folder for the journal; default: $STATE_DIRECTORY", "FOLDER")
    cluster: Optional[str] = command_option("name of the cluster in events; default: Slurm's name of it", "NAME")
    interval: Optional[str] = command_option("time between polls of Slurm, such as 60s", "TIME")
    topology_file: Optional[str] = command_option(
        "description of the cluster (cluster.json); default: fetched from the backend", "FILE"
    )
    log_level: str = command_option("error, warning, info or debug", "LEVEL", choices=LOG_LEVELS, default="info")
