"""The options of the commands of cc-agent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple

from cc_common.command import LOG_LEVELS, command_option, command_words


@dataclass(frozen=True)
class AgentOptions:
    """The options of a command line; None means not given."""

    config: Optional[str] = command_option(
        "configuration file (JSON); without one the built-in defaults are used", "FILE"
    )
    url: Optional[str] = command_option("address of the backend; replaces the sinks of the configuration", "URL")
    token_file: Optional[str] = command_option("file with the token for the backend", "FILE")
    token: Optional[str] = command_option(
        "the token itself; other users can see it in the process list, CC_AGENT_TOKEN or --token-file are safer",
        "TOKEN",
    )
    ca_file: Optional[str] = command_option(
        "certificates to trust instead of the system's, for a backend with a certificate of its own", "FILE"
    )
    hostname: Optional[str] = command_option(
        "name of this node in samples; default: the host name up to its first dot", "NAME"
    )
    cluster: Optional[str] = command_option("name of the cluster in samples; default: the name of this node", "NAME")
    interval: Optional[str] = command_option("time between samples, such as 10s; default: 60s", "TIME")
    spool_dir: Optional[str] = command_option(
        "folder for unsent batches; default: $STATE_DIRECTORY, without it memory only", "FOLDER"
    )
    socket: Optional[str] = command_option(
        "control socket of the running agent; default: control.sock in $RUNTIME_DIRECTORY, or in /run/cc-agent", "FILE"
    )
    seconds: Optional[str] = command_option("how long the counters stay released, such as 90m; default: 1h", "TIME")
    job: Optional[str] = command_option(
        "the counters stay released until this job of Slurm has ended, for a week at most", "ID"
    )
    format: Optional[str] = command_option(
        "line (line protocol, of samples only), json, or table for reading", "FORMAT", choices=("line", "json", "table")
    )
    marks: Tuple[str, ...] = command_words("what to record for this job, such as step=120 loss=0.31", "NAME=NUMBER")
    log_level: str = command_option("error, warning, info or debug", "LEVEL", choices=LOG_LEVELS, default="info")
