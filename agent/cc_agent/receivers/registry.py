"""The supported types of receivers, and those of cc-metric-collector that are not supported."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Type, Union

from cc_agent.processor import FIELD_RULES
from cc_agent.receivers.base import Receiver
from cc_agent.receivers.http import HttpReceiver, HttpReceiverSettings
from cc_agent.receivers.intake import Intake
from cc_agent.receivers.ipmi import IpmiReceiver, IpmiReceiverSettings
from cc_agent.receivers.nats import NatsReceiver, NatsReceiverSettings
from cc_agent.receivers.prometheus import PrometheusReceiver, PrometheusReceiverSettings
from cc_agent.receivers.redfish import RedfishReceiver, RedfishReceiverSettings
from cc_common.errors import SettingsError
from cc_common.settings import load

AnyReceiverSettings = Union[
    HttpReceiverSettings,
    IpmiReceiverSettings,
    NatsReceiverSettings,
    PrometheusReceiverSettings,
    RedfishReceiverSettings,
]

RECEIVER_TYPES: Dict[str, Type[AnyReceiverSettings]] = {
    "http": HttpReceiverSettings,
    "ipmi": IpmiReceiverSettings,
    "nats": NatsReceiverSettings,
    "prometheus": PrometheusReceiverSettings,
    "redfish": RedfishReceiverSettings,
}
UNSUPPORTED_RECEIVERS = ("eecpt",)

_LEGACY = {f"process_messages.{key}": advice for key, advice in FIELD_RULES.items()}
_MAKERS: Dict[type, Callable[[str, Any, Intake], Receiver]] = {
    HttpReceiverSettings: HttpReceiver,
    IpmiReceiverSettings: IpmiReceiver,
    NatsReceiverSettings: NatsReceiver,
    PrometheusReceiverSettings: PrometheusReceiver,
    RedfishReceiverSettings: RedfishReceiver,
}


class ReceiverDescription(NamedTuple):
    """A receiver as configured."""

    name: str
    settings: AnyReceiverSettings


class LoadedReceivers(NamedTuple):
    """The supported receivers of a configuration, and warnings for the operator."""

    receivers: List[ReceiverDescription]
    warnings: List[str]


def load_receivers(
    document: Mapping[str, Any],
    *,
    source: str,
    base_directory: Optional[Path],
    environment: Mapping[str, str],
    file: Optional[Path] = None,
) -> LoadedReceivers:
    """The receivers of a `receivers` object, which is in `file`; unsupported types are left out with a warning.

    Raises SettingsError.
    """
    loaded = LoadedReceivers([], [])
    for name, options in document.items():
        where = f"{source}: receivers.{name}"
        if not isinstance(options, dict):
            raise SettingsError(f"receivers.{name}", f"{where}: must be an object")
        kind = options.get("type")
        if kind in UNSUPPORTED_RECEIVERS:
            loaded.warnings.append(f"{where}: receivers of type {kind!r} are not supported; this one is left out")
            continue
        if kind not in RECEIVER_TYPES:
            known = ", ".join(sorted(RECEIVER_TYPES))
            raise SettingsError(f"receivers.{name}.type", f"{where}.type: must be one of {known}, not {kind!r}")
        receiver = load(
            RECEIVER_TYPES[kind],
            options,
            source=where,
            base_directory=base_directory,
            environment=environment,
            legacy=_LEGACY,
            file=file,
        )
        receiver.value.make_processor(name)  # rules are checked before anything starts
        loaded.receivers.append(ReceiverDescription(name, receiver.value))
        loaded.warnings.extend(receiver.warnings)
        loaded.warnings.extend(f"{where}: {sentence}" for sentence in receiver.value.advice())
    return loaded


def make_receiver(description: ReceiverDescription, intake: Intake) -> Receiver:
    """The receiver, not started yet."""
    name, settings = description
    return _MAKERS[type(settings)](name, settings, intake)
