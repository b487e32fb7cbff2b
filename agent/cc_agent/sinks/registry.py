"""The supported types of sinks, and those of cc-metric-collector that are not supported."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Type, Union

from cc_agent.processor import FIELD_RULES
from cc_agent.sinks.base import MESSAGE_CLASSES, Sink
from cc_agent.sinks.http import HttpSettings, make_sender
from cc_agent.sinks.influx import InfluxAsyncSettings, InfluxSettings, make_influx_sender
from cc_agent.sinks.nats import NatsSettings, make_nats_sender
from cc_agent.sinks.network import NetworkSettings, NetworkSink
from cc_agent.sinks.prometheus import PrometheusSettings, PrometheusSink
from cc_agent.sinks.stdout import StdoutSettings, StdoutSink
from cc_agent.sinks.victoriametrics import (
    PrometheusConverter,
    VictoriaMetricsSettings,
    make_victoriametrics_sender,
)
from cc_common.errors import SettingsError
from cc_common.settings import load

if TYPE_CHECKING:
    from cc_common.delivery import BatchSender

AnySinkSettings = Union[
    HttpSettings,
    InfluxAsyncSettings,
    InfluxSettings,
    NatsSettings,
    PrometheusSettings,
    StdoutSettings,
    VictoriaMetricsSettings,
]

SINK_TYPES: Dict[str, Type[AnySinkSettings]] = {
    "http": HttpSettings,
    "influxasync": InfluxAsyncSettings,
    "influxdb": InfluxSettings,
    "nats": NatsSettings,
    "prometheus": PrometheusSettings,
    "stdout": StdoutSettings,
    "victoriametrics": VictoriaMetricsSettings,
}
UNSUPPORTED_SINKS = ("questdb", "ganglia", "libganglia")

_LEGACY = {f"process_messages.{key}": advice for key, advice in FIELD_RULES.items()}


class SinkDescription(NamedTuple):
    """A sink as configured."""

    name: str
    settings: AnySinkSettings


class LoadedSinks(NamedTuple):
    """The supported sinks of a configuration, and warnings for the operator."""

    sinks: List[SinkDescription]
    warnings: List[str]


def load_sinks(
    document: Mapping[str, Any],
    *,
    source: str,
    base_directory: Optional[Path],
    environment: Mapping[str, str],
    overrides: Mapping[str, Optional[str]] = MappingProxyType({}),
    file: Optional[Path] = None,
) -> LoadedSinks:
    """The sinks of a `sinks` object; unsupported types are left out with a warning.

    `overrides` are options of the command line for all http sinks; None means not given. `file` holds the object.
    Raises SettingsError.
    """
    loaded = LoadedSinks([], [])
    for name, options in document.items():
        where = f"{source}: sinks.{name}"
        if not isinstance(options, dict):
            raise SettingsError(f"sinks.{name}", f"{where}: must be an object")
        kind = options.get("type")
        if kind in UNSUPPORTED_SINKS:
            loaded.warnings.append(f"{where}: sinks of type {kind!r} are not supported yet; this one is left out")
            continue
        if kind not in SINK_TYPES:
            raise SettingsError(
                f"sinks.{name}.type", f"{where}.type: must be one of {', '.join(sorted(SINK_TYPES))}, not {kind!r}"
            )
        loaded_sink = load(
            SINK_TYPES[kind],
            options,
            source=where,
            base_directory=base_directory,
            environment=environment,
            overrides=overrides if kind == "http" else {},
            legacy=_LEGACY,
            file=file,
        )
        for message_class in loaded_sink.value.message_classes:
            if message_class not in MESSAGE_CLASSES:
                key = f"sinks.{name}.message_types"
                classes = ", ".join(MESSAGE_CLASSES)
                raise SettingsError(key, f"{source}: {key}: there is no class {message_class!r}, only {classes}")
        loaded.sinks.append(SinkDescription(name, loaded_sink.value))
        loaded.warnings.extend(loaded_sink.warnings)
    return loaded


class NetworkParts(NamedTuple):
    """How a sink over a network sends: what makes its sender, and what turns lines into what the server wants."""

    make_sender: Callable[[], BatchSender]
    convert: Optional[Callable[[bytes], bytes]] = None


def network_parts(settings: AnySinkSettings) -> Optional[NetworkParts]:
    """How a sink with these settings sends; None if it does not send over a network."""
    if isinstance(settings, HttpSettings):
        return NetworkParts(partial(make_sender, settings))
    if isinstance(settings, NatsSettings):
        return NetworkParts(partial(make_nats_sender, settings))
    if isinstance(settings, (InfluxAsyncSettings, InfluxSettings)):
        return NetworkParts(partial(make_influx_sender, settings))
    if isinstance(settings, VictoriaMetricsSettings):
        return NetworkParts(partial(make_victoriametrics_sender, settings), PrometheusConverter())
    return None


def make_sink(description: SinkDescription, spool: Optional[Path]) -> Sink:
    """The sink, not started yet; `spool` is the common spool folder."""
    name, settings = description
    parts = network_parts(settings)
    if parts is not None and isinstance(settings, NetworkSettings):
        return NetworkSink(name, settings, parts.make_sender, spool=spool, convert=parts.convert)
    if isinstance(settings, PrometheusSettings):
        return PrometheusSink(name, settings)
    if isinstance(settings, StdoutSettings):
        return StdoutSink(name, settings)
    raise TypeError(f"no sink for {settings!r}")
