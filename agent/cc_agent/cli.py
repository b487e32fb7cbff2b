"""The commands for people; `run` and `once` stand here for their help only, `__main__` takes them past this module."""

from __future__ import annotations

import json
import os
import sys
from typing import Annotated, List, Optional

import typer

from cc_agent.options import HELP, AgentOptions
from cc_agent.settings import AgentConfiguration, load_configuration
from cc_common import __version__
from cc_common.settings import format_settings

app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, help="Sample this node and send."
)

Config = Annotated[Optional[str], typer.Option("--config", help=HELP["config"], metavar="FILE")]
Url = Annotated[Optional[str], typer.Option("--url", help=HELP["url"], metavar="URL")]
TokenFile = Annotated[Optional[str], typer.Option("--token-file", help=HELP["token_file"], metavar="FILE")]
Token = Annotated[Optional[str], typer.Option("--token", help=HELP["token"], metavar="TOKEN")]
CaFile = Annotated[Optional[str], typer.Option("--ca-file", help=HELP["ca_file"], metavar="FILE")]
Hostname = Annotated[Optional[str], typer.Option("--hostname", help=HELP["hostname"], metavar="NAME")]
Cluster = Annotated[Optional[str], typer.Option("--cluster", help=HELP["cluster"], metavar="NAME")]
Interval = Annotated[Optional[str], typer.Option("--interval", help=HELP["interval"], metavar="TIME")]
SpoolDir = Annotated[Optional[str], typer.Option("--spool-dir", help=HELP["spool_dir"], metavar="FOLDER")]
LogLevel = Annotated[str, typer.Option("--log-level", help=HELP["log_level"], metavar="LEVEL")]


def main(words: List[str]) -> int:
    """Run a command; its exit status. Raises CockpitError; what is wrong with the command line is told here."""
    command = typer.main.get_command(app)
    try:
        result = command.main(args=words or ["--help"], prog_name="cc-agent", standalone_mode=False)
    except Exception as error:
        # The class of usage errors moved between versions of typer and click; their method did not.
        text = getattr(error, "format_message", None)
        if text is None:
            raise
        sys.stderr.write(f"cc-agent: {' '.join(text().split())} (see cc-agent --help)\n")
        return 2
    return result if isinstance(result, int) else 0


@app.command()
def run(
    config: Config = None,
    url: Url = None,
    token_file: TokenFile = None,
    token: Token = None,
    ca_file: CaFile = None,
    hostname: Hostname = None,
    cluster: Cluster = None,
    interval: Interval = None,
    spool_dir: SpoolDir = None,
    log_level: LogLevel = "info",
) -> int:
    """Sample and send until stopped."""
    from cc_agent.agent import run as run_agent  # noqa: PLC0415 the other commands need no loop

    options = AgentOptions(config, url, token_file, token, ca_file, hostname, cluster, interval, spool_dir, log_level)
    return run_agent(options, os.environ)


@app.command()
def once(
    config: Config = None,
    url: Url = None,
    token_file: TokenFile = None,
    token: Token = None,
    ca_file: CaFile = None,
    hostname: Hostname = None,
    cluster: Cluster = None,
    interval: Interval = None,
) -> int:
    """Print one set of samples, or send it to --url."""
    from cc_agent.preview import run_once as look_once  # noqa: PLC0415 the other commands need it not

    return look_once(AgentOptions(config, url, token_file, token, ca_file, hostname, cluster, interval), os.environ)


@app.command()
def doctor(
    config: Config = None,
    url: Url = None,
    token_file: TokenFile = None,
    token: Token = None,
    ca_file: CaFile = None,
    hostname: Hostname = None,
    cluster: Cluster = None,
    interval: Interval = None,
    spool_dir: SpoolDir = None,
) -> int:
    """Tell what works on this node, what does not, and what to do; 1 if the agent could not do its work."""
    from cc_agent.doctor import run_checks  # noqa: PLC0415 the other commands need it not

    options = AgentOptions(config, url, token_file, token, ca_file, hostname, cluster, interval, spool_dir)
    findings = run_checks(load_configuration(options, os.environ), os.environ, processor=_processor())
    for finding in findings:
        print(finding)
    return int(any(finding.bad for finding in findings))


@app.command()
def topology(
    config: Config = None,
    hostname: Hostname = None,
    cluster: Cluster = None,
    interval: Interval = None,
) -> int:
    """Print the description of a cluster, cluster.json, that consists of this machine."""
    from cc_agent.cluster_file import describe_cluster  # noqa: PLC0415 the other commands need it not

    options = AgentOptions(config=config, hostname=hostname, cluster=cluster, interval=interval)
    description = describe_cluster(load_configuration(options, os.environ), processor=_processor())
    print(json.dumps(description.document, indent=2))
    for note in description.notes:
        print(f"cc-agent: {note}", file=sys.stderr)
    return 0


@app.command("show-config")
def show_config(
    config: Config = None,
    url: Url = None,
    token_file: TokenFile = None,
    token: Token = None,
    ca_file: CaFile = None,
    hostname: Hostname = None,
    cluster: Cluster = None,
    interval: Interval = None,
    spool_dir: SpoolDir = None,
) -> int:
    """Print all settings in force with their origin; secrets are hidden."""
    options = AgentOptions(config, url, token_file, token, ca_file, hostname, cluster, interval, spool_dir)
    configuration = load_configuration(options, os.environ)
    print(format_settings(configuration.loaded), end="")
    _print_sinks(configuration)
    for warning in configuration.warnings:
        print(f"cc-agent: warning: {warning}", file=sys.stderr)
    return 0


@app.command()
def version() -> int:
    """Print the version."""
    print(f"cc-agent {__version__}")
    return 0


def _print_sinks(configuration: AgentConfiguration) -> None:
    for name, settings in configuration.sinks:
        print(f"# sink {name}: type {settings.type}")


def _processor() -> str:
    """The name of the processor; empty where the library is missing or fails, then /proc/cpuinfo has to do."""
    try:
        import cpuinfo  # noqa: PLC0415 takes a second and starts processes

        return str(cpuinfo.get_cpu_info().get("brand_raw", ""))
    except Exception:  # noqa: BLE001 a name is no reason to fail
        return ""
