"""What all commands understand, read without the command-line library for the commands that must stay small."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import NoReturn, Optional, Sequence

from cc_common.errors import SettingsError

HELP = {
    "config": "configuration file (JSON); without one the built-in defaults hold",
    "url": "address of the backend; takes the place of the sinks in the configuration",
    "token_file": "file with the token for the backend",
    "token": "the token itself; others can see it in the process list, CC_AGENT_TOKEN or --token-file are better",
    "ca_file": "certificates to trust instead of the system's, for a backend with a certificate of its own",
    "hostname": "name of this node in samples; default: the host name up to its first dot",
    "cluster": "name of the cluster in samples; default: the name of this node",
    "interval": "time between samples, such as 10s; default: 60s",
    "spool_dir": "folder for batches that cannot be sent now; default: $STATE_DIRECTORY, without it memory only",
    "log_level": "error, warning, info or debug",
}


@dataclass(frozen=True)
class AgentOptions:
    """The options of a command line; None is not given."""

    config: Optional[str] = None
    url: Optional[str] = None
    token_file: Optional[str] = None
    token: Optional[str] = None
    ca_file: Optional[str] = None
    hostname: Optional[str] = None
    cluster: Optional[str] = None
    interval: Optional[str] = None
    spool_dir: Optional[str] = None
    log_level: str = "info"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SettingsError("", f"command line: {message} (see {self.prog} --help)")


def parse_options(command: str, arguments: Sequence[str], *, description: str) -> AgentOptions:
    """The options in the arguments after the command. Raises SettingsError; --help prints and exits."""
    parser = _Parser(prog=f"cc-agent {command}", description=description, allow_abbrev=False)
    for name, text in HELP.items():
        if name == "log_level":
            parser.add_argument(
                "--log-level", default="info", choices=("error", "warning", "info", "debug"), help=text, metavar="LEVEL"
            )
        else:
            parser.add_argument("--" + name.replace("_", "-"), help=text, metavar=name.upper())
    return AgentOptions(**vars(parser.parse_args(list(arguments))))
