"""Samples of a site's own: from commands and files that give line protocol, in the background."""

from __future__ import annotations

import logging
import os
import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Optional, Tuple

from cc_agent.collectors.base import MetricDescription, RawSeries, Reading, SeriesPool, Tick
from cc_agent.collectors.commands import BackgroundOptions, SlowSource, run_command
from cc_agent.errors import NotAvailableError
from cc_common.line_protocol import Point, decode
from cc_common.settings import option

logger = logging.getLogger(__name__)

_MAX_BYTES = 1024 * 1024
_MAX_SERIES = 10_000
_TAGS = ("type", "type-id", "stype", "stype-id")
_SCOPES = ("node", "socket", "die", "memoryDomain", "core", "hwthread", "accelerator", "job")


@dataclass(frozen=True)
class CustomcmdOptions(BackgroundOptions):
    """Options of the collector customcmd."""

    commands: Tuple[str, ...] = option(
        (), "programs with their arguments, which print line protocol; no shell reads them", key="commands"
    )
    files: Tuple[str, ...] = option((), "files with line protocol", key="files")


class SourceOutput(NamedTuple):
    """The samples of a command or file, and what was wrong with it."""

    source: str
    points: List[Point]
    problem: str


class CustomcmdCollector:
    """Samples as commands and files give them, with the time of the tick and the tags of a part of the node only."""

    name = "customcmd"

    def __init__(self, options: CustomcmdOptions, root: Path = Path("/")) -> None:
        self.metrics: Tuple[MetricDescription, ...] = (
            MetricDescription("*", "as given", "node", "What commands and files give.", "gauge"),
        )
        self._options = options
        self._root = root
        self._table = SeriesPool((), source="CustomCmdCollector", group="Custom")
        self._series: Dict[Tuple[str, Tuple[str, ...]], RawSeries] = {}
        self._problems: Dict[str, str] = {}
        self._source = SlowSource("customcmd", self._read_all, options.interval_s)

    def open(self) -> None:
        """Check that there is something to read."""
        self._source.close()
        if not self._options.commands and not self._options.files:
            raise NotAvailableError(
                "no command or file is configured, nothing can be read", 'name "commands" or "files"'
            )

    def read(self, tick: Tick) -> List[Reading]:
        """The samples of all commands and files, when a round is done."""
        measured = self._source.poll(tick)
        if measured is None:
            return []
        readings: Dict[RawSeries, float] = {}
        for output in measured.value:
            self._log_problem(output)
            for point in output.points:
                series = self._series_of(point)
                if series is not None and self._options.allows(point.metric):
                    readings[series] = point.value
        return list(readings.items())

    def _series_of(self, point: Point) -> Optional[RawSeries]:
        """The series of a sample; None beyond 10,000 series, or for a scope that is not known."""
        scope = point.tags.get("type", "node")
        tags = tuple(point.tags.get(name, "") for name in _TAGS)
        if scope not in _SCOPES or (scope != "node" and not tags[1]):
            return None
        key = (point.metric, tags)
        series = self._series.get(key)
        if series is None and len(self._series) < _MAX_SERIES:
            unit = point.tags.get("unit", "")
            self._table.declare(MetricDescription(point.metric, unit, scope, "From a command or file.", "gauge"))
            type_id = "" if scope == "node" else tags[1]
            series = self._series[key] = self._table.get(point.metric, scope, type_id, tags[2], tags[3])
        return series

    def _log_problem(self, output: SourceOutput) -> None:
        if output.problem and self._problems.get(output.source) != output.problem:
            logger.warning("samples lost collector=customcmd source=%r reason=%s", output.source, output.problem)
        self._problems[output.source] = output.problem

    def _read_all(self) -> List[SourceOutput]:
        sources = [(text, self._run) for text in self._options.commands]
        sources += [(text, self._load) for text in self._options.files]
        return [self._read_one(text, read) for text, read in sources]

    def _read_one(self, text: str, read: Callable[[str], bytes]) -> SourceOutput:
        try:
            points, errors = decode(read(text), received_s=int(time.time()))
        except (OSError, ValueError) as error:
            return SourceOutput(text, [], str(error))
        problem = f"line {errors[0].line_number}: {errors[0].reason} ({len(errors)} lines)" if errors else ""
        return SourceOutput(text, points, problem)

    def _run(self, text: str) -> bytes:
        return run_command(shlex.split(text), timeout_s=self._options.timeout_s, max_bytes=_MAX_BYTES)

    def _load(self, text: str) -> bytes:
        path = self._root / text.lstrip("/")
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe without a writer is empty
        with os.fdopen(descriptor, "rb") as file:
            content = file.read(_MAX_BYTES + 1) or b""
        if len(content) > _MAX_BYTES:
            raise ValueError(f"{path} is larger than {_MAX_BYTES} bytes")
        return content

    def close(self) -> None:
        """Drop a round that is under way."""
        self._source.close()
