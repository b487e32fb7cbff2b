"""The commands of cc-slurm-adapter; each imports what it needs when it runs."""

from __future__ import annotations

import os
import sys

from cc_common.check_report import print_report
from cc_common.command import Command, Program
from cc_slurm_adapter.options import AdapterOptions

_ALL_BUT_LOG_LEVEL = ("config", "url", "token_file", "state_dir", "cluster", "interval", "topology_file")


def _run(options: AdapterOptions) -> int:
    from cc_slurm_adapter.service import run  # noqa: PLC0415 each command loads only what it needs

    return run(options, os.environ)


def _run_once(options: AdapterOptions) -> int:
    from cc_slurm_adapter.service import run_once  # noqa: PLC0415 same

    return run_once(options, os.environ)


def _check(options: AdapterOptions) -> int:
    from cc_slurm_adapter.check import run_checks  # noqa: PLC0415 same
    from cc_slurm_adapter.settings import load_configuration  # noqa: PLC0415 same

    return print_report(run_checks(load_configuration(options, os.environ), os.environ))


def _retry(options: AdapterOptions) -> int:
    from cc_slurm_adapter.check import retry_parked  # noqa: PLC0415 same
    from cc_slurm_adapter.settings import load_configuration  # noqa: PLC0415 same

    sys.stdout.write(f"{retry_parked(load_configuration(options, os.environ))} events wait again\n")
    return 0


def _show_config(options: AdapterOptions) -> int:
    from cc_common.settings import format_settings  # noqa: PLC0415 same
    from cc_slurm_adapter.settings import load_configuration  # noqa: PLC0415 same

    configuration = load_configuration(options, os.environ)
    sys.stdout.write(format_settings(configuration.loaded))
    PROGRAM.print_warnings(configuration.warnings)
    return 0


PROGRAM = Program(
    name="cc-slurm-adapter",
    help="Watch Slurm and send events of jobs and nodes to the backend.",
    extra="slurm",
    options=AdapterOptions,
    commands=(
        Command("run", "Poll Slurm and send events until stopped.", _run),
        Command("once", "Poll Slurm once, and send what has changed.", _run_once),
        Command("check", "Check settings, Slurm, journal and topology; 1 if one fails.", _check, _ALL_BUT_LOG_LEVEL),
        Command("retry", "Queue parked events again, once their reason is gone.", _retry, ("config", "state_dir")),
        Command(
            "show-config", "Print all settings with their origin; secrets are hidden.", _show_config, _ALL_BUT_LOG_LEVEL
        ),
    ),
)
