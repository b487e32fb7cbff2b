"""Encoding readings as lines: base tags, the message processor, and a line prefix that is computed once per series."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from typing import Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

from cc_agent.aggregates import AggregateRule
from cc_agent.collectors.base import RawSeries, Reading
from cc_agent.processor import Processor, ProcessorSettings, TagRule
from cc_agent.rule_input import NeedsSampleError, RuleInput
from cc_common.errors import LineProtocolError
from cc_common.line_protocol import PRECISION_ZEROS, Message, encode_message, series_prefix
from cc_common.settings import option, section, sections

logger = logging.getLogger(__name__)

_MAX_EXTRA_ROUTES = 4096
_MAX_RECEIVED_ROUTES = 262_144
_MAX_INTEGER = (1 << 64) - 1


@dataclass(frozen=True)
class RouterSettings:
    """Tags, names and units of all samples; the keys are those of cc-metric-collector."""

    hostname_tag: str = option("hostname", "name of the tag that carries the host name", key="hostname_tag")
    process_messages: ProcessorSettings = section(ProcessorSettings, "rules", key="process_messages")
    interval_timestamp: bool = option(
        True, "accepted for compatibility: all samples of a tick carry its time", key="interval_timestamp"
    )
    num_cache_intervals: int = option(
        0,
        "number of intervals whose latest values take part in interval_aggregates; 0 switches these off",
        key="num_cache_intervals",
        minimum=0,
        maximum=1000,
    )
    max_forward: int = option(50, "accepted for compatibility: there is no queue to drain", key="max_forward")
    interval_aggregates: Tuple[AggregateRule, ...] = sections(
        AggregateRule, "metrics that are computed from the others of a tick", key="interval_aggregates"
    )
    add_tags: Tuple[TagRule, ...] = sections(TagRule, "old form of process_messages.add_tags_if", key="add_tags")
    delete_tags: Tuple[TagRule, ...] = sections(
        TagRule, "old form of process_messages.delete_tags_if", key="delete_tags"
    )
    drop_metrics: Tuple[str, ...] = option((), "old form of process_messages.drop_messages", key="drop_metrics")
    drop_metrics_if: Tuple[str, ...] = option(
        (), "old form of process_messages.drop_messages_if", key="drop_metrics_if"
    )
    rename_metrics: Mapping[str, str] = option({}, "old form of process_messages.rename_messages", key="rename_metrics")
    normalize_units: bool = option(False, "old form of process_messages.normalize_units", key="normalize_units")
    change_unit_prefix: Mapping[str, str] = option({}, "metric name -> prefix of its unit", key="change_unit_prefix")

    def processor(self) -> Processor:
        """The rules of both forms as one processor, so that the order of stages applies. Raises SettingsError."""
        new = self.process_messages
        prefixes = {f"name == {_quoted(name)}": prefix for name, prefix in self.change_unit_prefix.items()}
        merged = replace(
            new,
            drop_messages=new.drop_messages + self.drop_metrics,
            drop_messages_if=new.drop_messages_if + self.drop_metrics_if,
            add_tags_if=new.add_tags_if + self.add_tags,
            delete_tags_if=new.delete_tags_if + self.delete_tags,
            rename_messages={**self.rename_metrics, **new.rename_messages},
            normalize_units=new.normalize_units or self.normalize_units,
            change_unit_prefix={**prefixes, **new.change_unit_prefix},
        )
        return Processor(merged, key="router.process_messages")


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


ReceivedSample = Tuple[RawSeries, float, int]
"""A sample from elsewhere: its series, value, and time in seconds."""


class Batch(NamedTuple):
    """Encoded lines, each with its newline, and their number."""

    lines: bytes
    samples: int


class _SeriesRoute(NamedTuple):
    prefix: bytes
    factor: float


_DROPPED, _DYNAMIC = "dropped", "dynamic"


class Router:
    """Encodes readings as lines.

    `base_tags` are added to a series that lacks them. The result of the rules for a series is cached. `precision` is
    the unit of the timestamps in the lines.
    """

    def __init__(self, processors: Sequence[Processor], base_tags: Mapping[str, str], *, precision: str = "s") -> None:
        self._precision = precision
        self._time_zeros = PRECISION_ZEROS[precision]
        self._processors = [processor for processor in processors if processor]
        self._base_tags = dict(base_tags)
        self._routes: Dict[RawSeries, Union[_SeriesRoute, str]] = {}

    def encode(self, readings: Sequence[Reading], time_s: int) -> Batch:
        """The lines of all samples of one tick, which share one time; NaN and infinities are left out."""
        if len(self._routes) > len(readings) + _MAX_EXTRA_ROUTES:  # devices came and went: drop the cache
            self._routes = {}
        lines: List[bytes] = []
        suffix = b" %d%b\n" % (time_s, self._time_zeros)
        routes = self._routes
        for series, value in readings:
            route = routes.get(series)
            if route is None:
                route = routes[series] = self._make_route(series)
            if isinstance(route, str):
                if route is _DROPPED:
                    continue
                single = self._apply(RuleInput(series.metric, series.tags, series.meta, value, time_s))
                if single is None:
                    continue
                route = single
            try:
                number = value * route.factor
                if number - number == 0.0:  # neither NaN nor infinite
                    lines.append(route.prefix + _format_number(number) + suffix)
            except OverflowError:  # an integer that no float can hold
                continue
        return Batch(b"".join(lines), len(lines))

    def encode_received(self, samples: Sequence[ReceivedSample]) -> Batch:
        """The lines of samples from elsewhere, each with its own time; NaN and infinities are left out."""
        if len(self._routes) > _MAX_RECEIVED_ROUTES:
            self._routes = {}
        lines: List[bytes] = []
        for series, value, time_s in samples:
            route = self._routes.get(series)
            if route is None:
                route = self._routes[series] = self._make_route(series)
            if isinstance(route, str):
                if route is _DROPPED:
                    continue
                single = self._apply(RuleInput(series.metric, series.tags, series.meta, value, time_s))
                if single is None:
                    continue
                route = single
            try:
                number = value * route.factor
                if number - number == 0.0:  # neither NaN nor infinite
                    lines.append(b"%b%b %d%b\n" % (route.prefix, _format_number(number), time_s, self._time_zeros))
            except OverflowError:  # an integer that no float can hold
                continue
        return Batch(b"".join(lines), len(lines))

    def encode_message(self, message: Message, kind: str, meta: Mapping[str, str]) -> bytes:
        """The line of an event, log or control message; empty if the rules drop it or it cannot be written."""
        changed = RuleInput(message.name, message.tags, meta, math.nan, message.time_s, kind=kind)
        if not self._process(changed):
            return b""
        try:
            line = encode_message(changed.name, changed.tags, message.fields, message.time_s, precision=self._precision)
        except LineProtocolError as error:
            logger.warning("message not sent name=%r reason=%s", changed.name, error)
            return b""
        return line + b"\n"

    def preview(self, series: RawSeries) -> Optional[RuleInput]:
        """Name, tags and unit of a series as sent; None if it is dropped or depends on the value of a sample."""
        message = RuleInput(series.metric, series.tags, series.meta)
        try:
            return message if self._process(message) else None
        except NeedsSampleError:
            return None

    def _make_route(self, series: RawSeries) -> Union[_SeriesRoute, str]:
        try:
            return self._apply(RuleInput(series.metric, series.tags, series.meta)) or _DROPPED
        except NeedsSampleError:
            return _DYNAMIC

    def _apply(self, message: RuleInput) -> Optional[_SeriesRoute]:
        if not self._process(message):
            return None
        if message.tags.get("type") == "node":
            message.tags.pop("type-id", None)  # the store would take it for a part of the node
        try:
            return _SeriesRoute(series_prefix(message.name, message.tags), message.factor)
        except LineProtocolError as error:
            logger.warning("series not sent metric=%r reason=%s", message.name, error)
            return None

    def _process(self, message: RuleInput) -> bool:
        for key, value in self._base_tags.items():
            message.tags.setdefault(key, value)
        return all(processor.process(message) for processor in self._processors)


def _format_number(number: float) -> bytes:
    """A number with nine significant digits: all that a 32-bit float can hold, in the fewest bytes.

    Integers up to 64 bits keep all digits. Raises OverflowError for one that no float can hold.
    """
    if isinstance(number, int) and -_MAX_INTEGER <= number <= _MAX_INTEGER:
        return b"%d" % number
    return b"%.9g" % float(number)


def build_router(
    settings: RouterSettings,
    *,
    hostname: str,
    cluster: str,
    before: Iterable[Processor] = (),
    more: Iterable[Processor] = (),
    precision: str = "s",
) -> Router:
    """The router of a configuration; `before` are the rules of a receiver, `more` those of a sink.

    Raises SettingsError.
    """
    base_tags = {settings.hostname_tag: hostname, "cluster": cluster}
    tags = {key: value for key, value in base_tags.items() if value}
    return Router([*before, settings.processor(), *more], tags, precision=precision)
