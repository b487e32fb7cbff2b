"""The commands of cc-agent; each imports what it needs when it runs."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any, Dict

from cc_agent.options import AgentOptions
from cc_common.check_report import print_report
from cc_common.command import Command, Program

if TYPE_CHECKING:
    from cc_agent.control.requests import ControlRequest

_SAMPLING = ("config", "hostname", "cluster", "interval")
_SENDING = (*_SAMPLING, "url", "token_file", "token", "ca_file")
_ALL = (*_SENDING, "spool_dir")
_RUNNING = (*_ALL, "log_level")


def _run(options: AgentOptions) -> int:
    from cc_agent.agent import run  # noqa: PLC0415 each command loads only what it needs

    return run(options, os.environ)


def _run_once(options: AgentOptions) -> int:
    from cc_agent.preview import run_once  # noqa: PLC0415 same

    return run_once(options, os.environ)


def _doctor(options: AgentOptions) -> int:
    from cc_agent.doctor import run_checks  # noqa: PLC0415 same
    from cc_agent.settings import load_configuration  # noqa: PLC0415 same

    return print_report(run_checks(load_configuration(options, os.environ), os.environ, processor=_processor_name()))


def _topology(options: AgentOptions) -> int:
    from cc_agent.cluster_file import describe_cluster  # noqa: PLC0415 same
    from cc_agent.settings import load_configuration  # noqa: PLC0415 same

    description = describe_cluster(load_configuration(options, os.environ), processor=_processor_name())
    sys.stdout.write(json.dumps(description.document, indent=2) + "\n")
    for note in description.notes:
        sys.stderr.write(f"{PROGRAM.name}: {note}\n")
    return 0


def _show_config(options: AgentOptions) -> int:
    from cc_agent.settings import load_configuration  # noqa: PLC0415 same
    from cc_common.settings import format_settings  # noqa: PLC0415 same

    configuration = load_configuration(options, os.environ)
    sys.stdout.write(format_settings(configuration.loaded))
    for name, settings in configuration.sinks:
        sys.stdout.write(f"# sink {name}: type {settings.type}\n")
    PROGRAM.print_warnings(configuration.warnings)
    return 0


def _ask(options: AgentOptions, request: ControlRequest) -> Dict[str, Any]:
    from cc_agent.control.client import ask_agent, socket_path  # noqa: PLC0415 same

    return ask_agent(socket_path(options.socket, os.environ), request)


def _status(options: AgentOptions) -> int:
    from cc_agent.control.requests import StatusRequest  # noqa: PLC0415 same
    from cc_agent.control.status import format_status  # noqa: PLC0415 same

    answer = _ask(options, StatusRequest())
    sys.stdout.write(json.dumps(answer, indent=2) + "\n" if options.format == "json" else format_status(answer))
    return 0


def _mark(options: AgentOptions) -> int:
    from cc_agent.control.requests import MarkRequest, parse_marks  # noqa: PLC0415 same

    _ask(options, MarkRequest(parse_marks(options.marks)))
    return 0


def _pause(options: AgentOptions) -> int:
    from cc_agent.control.requests import (  # noqa: PLC0415 same
        DEFAULT_PAUSE_S,
        MAX_PAUSE_S,
        PauseRequest,
        check_job,
        check_pause,
    )
    from cc_common.settings import parse_duration  # noqa: PLC0415 same

    job = check_job(options.job or "")
    longest_s = MAX_PAUSE_S if job else DEFAULT_PAUSE_S
    seconds = check_pause(parse_duration(options.seconds)) if options.seconds else longest_s
    return _print_collectors("released", _ask(options, PauseRequest(seconds, job)))


def _resume(options: AgentOptions) -> int:
    from cc_agent.control.requests import ResumeRequest  # noqa: PLC0415 same

    return _print_collectors("taken again", _ask(options, ResumeRequest()))


def _print_collectors(done: str, answer: Dict[str, Any]) -> int:
    sys.stdout.write(f"{done}: {', '.join(answer['collectors']) or 'nothing, this agent holds no counters'}\n")
    return 0


def _processor_name() -> str:
    """The name of the processor by py-cpuinfo; "" if that is missing or fails: then /proc/cpuinfo is used."""
    try:
        import cpuinfo  # noqa: PLC0415 takes a second and starts processes

        return str(cpuinfo.get_cpu_info().get("brand_raw", ""))
    except Exception:  # noqa: BLE001 the name is not essential
        return ""


PROGRAM = Program(
    name="cc-agent",
    help="Sample this node and send.",
    extra="agent",
    options=AgentOptions,
    commands=(
        Command("run", "Sample and send until stopped.", _run, _RUNNING),
        Command("once", "Print one set of samples, or send it to --url.", _run_once, (*_RUNNING, "format")),
        Command("doctor", "Check what the agent needs on this node; 1 if it could not do its work.", _doctor, _ALL),
        Command("topology", "Print a cluster.json for this machine alone.", _topology, _SAMPLING),
        Command("status", "Print what the running agent of this node does.", _status, ("socket", "format")),
        Command("mark", "Record numbers of the job that this runs in, drawn on its page.", _mark, ("marks", "socket")),
        Command("pause", "Release the hardware counters for a user's own tools.", _pause, ("seconds", "job", "socket")),
        Command("resume", "Take the hardware counters again.", _resume, ("socket",)),
        Command("show-config", "Print all settings with their origin; secrets are hidden.", _show_config, _ALL),
    ),
)
