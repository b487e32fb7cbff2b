"""The settings of the agent, from the configuration file, the environment and the command line."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Optional
from urllib.parse import parse_qs, urlsplit

from cc_agent.aggregates import Aggregator, TopologyIndex, left_out_rules
from cc_agent.collectors.registry import (
    CollectorsSettings,
    check_metric_names,
    collector_warnings,
)
from cc_agent.config_file import AssembledDocument, read_document
from cc_agent.default_metrics import DEFAULT_INTERVAL_S, default_collectors, default_router
from cc_agent.options import AgentOptions
from cc_agent.processor import FIELD_RULES, Processor
from cc_agent.receivers.registry import ReceiverDescription, load_receivers
from cc_agent.router import Router, RouterSettings, build_router
from cc_agent.sinks.http import HttpSettings
from cc_agent.sinks.registry import SinkDescription, load_sinks
from cc_agent.topology import read_topology
from cc_common.errors import SettingsError
from cc_common.settings import LoadedSettings, load, option, read_token_option, section

BUILT_IN = "built-in defaults"

_LEGACY = {
    "router.normalize_metrics": "is no longer known; write normalize_units instead",
    "collectors.lustrestat.send_all_metrics": "is no longer known; choose with include_metrics and exclude_metrics",
    "collectors.ipmistat.send_*": "is no longer known; sensors have values only",
    **{f"router.process_messages.{key}": advice for key, advice in FIELD_RULES.items()},
}


@dataclass(frozen=True)
class AgentMainSettings:
    """Name and cluster of this node, and the sampling interval."""

    interval_s: float = option(
        DEFAULT_INTERVAL_S,
        "time between samples; an integer number of seconds",
        key="interval",
        kind="duration",
        minimum=1.0,
    )
    duration_s: float = option(
        1.0, "time a measurement may take; accepted for compatibility", key="duration", kind="duration", minimum=0.0
    )
    cluster: str = option(
        "", "name of the cluster in samples; empty means the name of this node", env="CC_AGENT_CLUSTER"
    )
    markers_enabled: bool = option(
        False, "end the samples of each tick with a sample 'ccmc-end', from which programs see that they are complete"
    )
    hostname: str = option("", "name of this node in samples; empty means the host name up to its first dot")
    spool_directory: str = option(
        "", "folder for batches that cannot be sent now; empty means memory only", kind="path", env="STATE_DIRECTORY"
    )
    report_node: bool = option(
        True, "tell the backend, at the start and after changes, what this node is and which collectors work"
    )
    control_directory: str = option(
        "",
        "folder of control.sock, where cc-agent status, mark, pause and resume reach the agent; empty means none",
        kind="path",
        env="RUNTIME_DIRECTORY",
    )

    def __post_init__(self) -> None:
        """Check the duration against the interval."""
        if self.interval_s != int(self.interval_s):
            raise SettingsError("interval", "must be an integer number of seconds: samples have their time in seconds")
        if self.duration_s > self.interval_s:
            raise SettingsError("duration", "must not be longer than 'interval'")


@dataclass(frozen=True)
class AgentSettings:
    """All settings of the configuration file."""

    main: AgentMainSettings = section(AgentMainSettings, "Name and cluster of this node, and the sampling interval.")
    collectors: CollectorsSettings = section(
        CollectorsSettings,
        "Which collectors run; those that are named, each with its options. Without this section a lean built-in set.",
    )
    router: RouterSettings = section(
        RouterSettings,
        "Tags, names and units of everything that is sent. "
        "The built-in rules apply only where neither `router` nor `collectors` is given.",
    )
    sinks: Mapping[str, Any] = option(
        {}, "name -> where samples go: an object with `type` and the keys of that type, see below"
    )
    receivers: Mapping[str, Any] = option(
        {}, "name -> where messages of others come from: an object with `type` and the keys of that type, see below"
    )


@dataclass(frozen=True)
class AgentConfiguration:
    """Checked settings and the values derived from them; `source` names the file."""

    loaded: LoadedSettings[AgentSettings]
    sinks: List[SinkDescription]
    receivers: List[ReceiverDescription]
    hostname: str
    cluster: str
    source: str
    warnings: List[str]
    cluster_is_given: bool = True

    @property
    def settings(self) -> AgentSettings:
        """The settings."""
        return self.loaded.value

    @property
    def interval_s(self) -> int:
        """Seconds between samples."""
        return int(self.settings.main.interval_s)

    @property
    def collectors_are_built_in(self) -> bool:
        """Whether the collectors are those that run by themselves, not chosen by anybody."""
        origins = self.loaded.origins.items()
        return any(origin == BUILT_IN for key, origin in origins if key.startswith("collectors."))

    def make_router(self, sink: Optional[SinkDescription] = None, before: Iterable[Processor] = ()) -> Router:
        """The router, with the rules of a receiver before it and those of a sink after it. Raises SettingsError."""
        own = [] if sink is None else sink.settings.make_processors(sink.name)
        precision = "s" if sink is None else sink.settings.time_precision
        return build_router(
            self.settings.router,
            hostname=self.hostname,
            cluster=self.cluster,
            before=before,
            more=own,
            precision=precision,
        )

    def make_aggregator(self, root: Path = Path("/")) -> Optional[Aggregator]:
        """What computes the aggregates of the router; None if there are none. Raises CockpitError."""
        router = self.settings.router
        if not router.interval_aggregates or not router.num_cache_intervals:
            return None
        return Aggregator(
            router.interval_aggregates,
            TopologyIndex(read_topology(root)),
            rename=self.make_router().preview,
            hostname=self.hostname,
            keep=router.num_cache_intervals,
        )

    @property
    def spool_folder(self) -> Optional[Path]:
        """The spool folder; None if batches wait in memory only."""
        return _first_folder(self.settings.main.spool_directory)

    @property
    def control_folder(self) -> Optional[Path]:
        """The folder of the control socket; None if there is none."""
        return _first_folder(self.settings.main.control_directory)


def _first_folder(folders: str) -> Optional[Path]:
    """The first of the folders that systemd separates by colons, which is ours."""
    folder = folders.split(":", 1)[0]
    return Path(folder) if folder else None


def load_configuration(options: AgentOptions, environment: Mapping[str, str]) -> AgentConfiguration:
    """The configuration for the options of a command line. Raises SettingsError."""
    path = Path(options.config) if options.config else None
    document = read_document(path) if path else AssembledDocument({}, [], {})
    source = str(path) if path else BUILT_IN
    built_in = _built_in_sections(document.content)
    loaded = load(
        AgentSettings,
        {**built_in, **document.content},
        source=source,
        base_directory=path.parent if path else None,
        environment=environment,
        overrides={
            "main.interval": options.interval,
            "main.cluster": options.cluster,
            "main.hostname": options.hostname,
            "main.spool-directory": options.spool_dir,
        },
        legacy=_LEGACY,
        other_sources=dict.fromkeys(built_in, BUILT_IN),
    )
    sinks = load_sinks(
        {"url": {"type": "http", "url": options.url}} if options.url else loaded.value.sinks,
        source="command line" if options.url else source,
        base_directory=path.parent if path else None,
        environment=environment,
        overrides={"jwt": _read_token(options), "ca_file": options.ca_file},
        file=document.files.get("sinks", path),
    )
    receivers = load_receivers(
        loaded.value.receivers,
        source=source,
        base_directory=path.parent if path else None,
        environment=environment,
        file=document.files.get("receivers", path),
    )
    warnings = [*document.warnings, *loaded.warnings, *sinks.warnings, *receivers.warnings]
    router = loaded.value.router
    warnings += [f"{source}: {text}" for text in left_out_rules(router.interval_aggregates, router.num_cache_intervals)]
    hostname = loaded.value.main.hostname or os.uname().nodename.split(".", 1)[0]
    cluster = loaded.value.main.cluster or _cluster_from_url(sinks.sinks)
    check_metric_names(loaded.value.collectors, source)
    warnings += collector_warnings(loaded.value.collectors, source)
    return AgentConfiguration(
        loaded,
        sinks.sinks,
        receivers.receivers,
        hostname,
        cluster or hostname,
        source,
        warnings,
        cluster_is_given=bool(cluster),
    )


def _cluster_from_url(sinks: List[SinkDescription]) -> str:
    """The cluster in the address of a sink, `?cluster=NAME` as in configurations of cc-metric-collector; "" if none."""
    for sink in sinks:
        if isinstance(sink.settings, HttpSettings):
            names = parse_qs(urlsplit(sink.settings.url).query).get("cluster")
            if names:
                return names[0]
    return ""


def _built_in_sections(content: Mapping[str, Any]) -> Dict[str, Any]:
    """The built-in value of each section that a configuration lacks.

    The built-in router rules are for the built-in collectors: a file with its own collectors and no router gets no
    rules, and thereby the metric names and units of the collectors.
    """
    if "collectors" in content:
        return {}
    sections = {"collectors": default_collectors(), "router": default_router()}
    return {key: section for key, section in sections.items() if key not in content}


def _read_token(options: AgentOptions) -> Optional[str]:
    if options.token is not None and options.token_file is not None:
        raise SettingsError("token", "command line: --token and --token-file are both given; keep one")
    return options.token if options.token_file is None else read_token_option(options.token_file)
