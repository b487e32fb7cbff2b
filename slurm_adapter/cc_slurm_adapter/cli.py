"""The commands for people; `run` and `once` stand here for their help only, `__main__` takes them past this module."""

from __future__ import annotations

import os
import sys
from typing import Annotated, List, Optional

import typer

from cc_common import __version__
from cc_common.settings import format_settings
from cc_slurm_adapter.options import HELP, AdapterOptions
from cc_slurm_adapter.settings import load_configuration

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Watch Slurm and tell the backend of jobs and nodes.",
)

Config = Annotated[Optional[str], typer.Option("--config", help=HELP["config"], metavar="FILE")]
Url = Annotated[Optional[str], typer.Option("--url", help=HELP["url"], metavar="URL")]
TokenFile = Annotated[Optional[str], typer.Option("--token-file", help=HELP["token_file"], metavar="FILE")]
StateDir = Annotated[Optional[str], typer.Option("--state-dir", help=HELP["state_dir"], metavar="FOLDER")]
Cluster = Annotated[Optional[str], typer.Option("--cluster", help=HELP["cluster"], metavar="NAME")]
Interval = Annotated[Optional[str], typer.Option("--interval", help=HELP["interval"], metavar="TIME")]
TopologyFile = Annotated[Optional[str], typer.Option("--topology-file", help=HELP["topology_file"], metavar="FILE")]
LogLevel = Annotated[str, typer.Option("--log-level", help=HELP["log_level"], metavar="LEVEL")]


def main(words: List[str]) -> int:
    """Run a command; its exit status. Raises CockpitError; what is wrong with the command line is told here."""
    command = typer.main.get_command(app)
    try:
        result = command.main(args=words or ["--help"], prog_name="cc-slurm-adapter", standalone_mode=False)
    except Exception as error:
        # The class of usage errors moved between versions of typer and click; their method did not.
        text = getattr(error, "format_message", None)
        if text is None:
            raise
        sys.stderr.write(f"cc-slurm-adapter: {' '.join(text().split())} (see cc-slurm-adapter --help)\n")
        return 2
    return result if isinstance(result, int) else 0


@app.command()
def run(
    config: Config = None,
    url: Url = None,
    token_file: TokenFile = None,
    state_dir: StateDir = None,
    cluster: Cluster = None,
    interval: Interval = None,
    topology_file: TopologyFile = None,
    log_level: LogLevel = "info",
) -> int:
    """Watch Slurm and send events until stopped."""
    from cc_slurm_adapter.service import run as run_service  # noqa: PLC0415 the other commands need no service

    options = AdapterOptions(config, url, token_file, state_dir, cluster, interval, topology_file, log_level)
    return run_service(options, os.environ)


@app.command()
def once(
    config: Config = None,
    url: Url = None,
    token_file: TokenFile = None,
    state_dir: StateDir = None,
    cluster: Cluster = None,
    interval: Interval = None,
    topology_file: TopologyFile = None,
    log_level: LogLevel = "info",
) -> int:
    """Look at Slurm once, and send what has changed."""
    from cc_slurm_adapter.service import run_once as look_once  # noqa: PLC0415 the other commands need it not

    options = AdapterOptions(config, url, token_file, state_dir, cluster, interval, topology_file, log_level)
    return look_once(options, os.environ)


@app.command()
def check(
    config: Config = None,
    url: Url = None,
    token_file: TokenFile = None,
    state_dir: StateDir = None,
    cluster: Cluster = None,
    interval: Interval = None,
    topology_file: TopologyFile = None,
) -> int:
    """Tell whether settings, Slurm, journal and topology can be used, and what is parked; 1 if something cannot."""
    from cc_slurm_adapter.check import run_checks  # noqa: PLC0415 the other commands need it not

    options = AdapterOptions(config, url, token_file, state_dir, cluster, interval, topology_file)
    findings = run_checks(load_configuration(options, os.environ), os.environ)
    for finding in findings:
        print(finding)
    return int(any(finding.bad for finding in findings))


@app.command()
def retry(config: Config = None, state_dir: StateDir = None) -> int:
    """Let parked events wait again, once their reason is gone; a running adapter sends them at its next poll."""
    from cc_slurm_adapter.check import retry_parked  # noqa: PLC0415 the other commands need it not

    count = retry_parked(load_configuration(AdapterOptions(config=config, state_dir=state_dir), os.environ))
    print(f"{count} events wait again")
    return 0


@app.command("show-config")
def show_config(
    config: Config = None,
    url: Url = None,
    token_file: TokenFile = None,
    state_dir: StateDir = None,
    cluster: Cluster = None,
    interval: Interval = None,
    topology_file: TopologyFile = None,
) -> int:
    """Print all settings in force with their origin; secrets are hidden."""
    options = AdapterOptions(config, url, token_file, state_dir, cluster, interval, topology_file)
    configuration = load_configuration(options, os.environ)
    print(format_settings(configuration.loaded), end="")
    for warning in configuration.warnings:
        print(f"cc-slurm-adapter: warning: {warning}", file=sys.stderr)
    return 0


@app.command()
def version() -> int:
    """Print the version."""
    print(f"cc-slurm-adapter {__version__}")
    return 0
