"""What all commands understand, read without the command-line library for the commands that must stay small."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import NoReturn, Optional, Sequence

from cc_common.errors import SettingsError

HELP = {
    "config": "configuration file (JSON)",
    "url": "address of the backend, such as https://monitoring.example.org",
    "token_file": "file with the token for the backend",
    "state_dir": "folder for the journal; default: $STATE_DIRECTORY",
    "cluster": "name of the cluster in events; default: what Slurm calls it",
    "interval": "time between polls of Slurm, such as 60s",
    "topology_file": "description of the cluster (cluster.json); default: asked from the backend",
    "log_level": "error, warning, info or debug",
}


@dataclass(frozen=True)
class AdapterOptions:
    """The options of a command line; None is not given."""

    config: Optional[str] = None
    url: Optional[str] = None
    token_file: Optional[str] = None
    state_dir: Optional[str] = None
    cluster: Optional[str] = None
    interval: Optional[str] = None
    topology_file: Optional[str] = None
    log_level: str = "info"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SettingsError("", f"command line: {message} (see {self.prog} --help)")


def parse_options(command: str, arguments: Sequence[str], *, description: str) -> AdapterOptions:
    """The options in the arguments after the command. Raises SettingsError; --help prints and exits."""
    parser = _Parser(prog=f"cc-slurm-adapter {command}", description=description, allow_abbrev=False)
    for name, text in HELP.items():
        if name == "log_level":
            parser.add_argument(
                "--log-level", default="info", choices=("error", "warning", "info", "debug"), help=text, metavar="LEVEL"
            )
        else:
            parser.add_argument("--" + name.replace("_", "-"), help=text, metavar=name.upper())
    return AdapterOptions(**vars(parser.parse_args(list(arguments))))
