"""The agent: collectors, router, sinks and loop, assembled from a configuration."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import logging
import signal
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from cc_agent.aggregates import Aggregator
from cc_agent.collectors.base import PausableCollector, RawSeries
from cc_agent.collectors.registry import collector_intervals_s, make_collectors
from cc_agent.control.client import SOCKET_NAME
from cc_agent.control.marks import JobMarks
from cc_agent.control.requests import ControlRequest, MarkRequest, PauseRequest, StatusRequest
from cc_agent.control.server import ControlServer
from cc_agent.control.status import collector_documents
from cc_agent.errors import AgentError
from cc_agent.loop import Loop, SystemClock
from cc_agent.node_report import NodeReporter
from cc_agent.options import AgentOptions
from cc_agent.receivers.base import Receiver
from cc_agent.receivers.intake import Intake, IntakeOutput
from cc_agent.receivers.registry import make_receiver
from cc_agent.router import Batch, Router
from cc_agent.sampler import CircuitBreaker, Sampler
from cc_agent.settings import AgentConfiguration, load_configuration
from cc_agent.sinks.base import Sink
from cc_agent.sinks.http import HttpSettings
from cc_agent.sinks.registry import SinkDescription, make_sink
from cc_common import __version__
from cc_common.errors import CockpitError, SettingsError
from cc_common.logging_setup import set_up_logging
from cc_common.systemd_notify import Notifier

logger = logging.getLogger(__name__)

CLOSE_DEADLINE_S = 5.0
_GARBAGE_COLLECTION_PERIOD_S = 300
_END_OF_TICK = RawSeries("ccmc-end", {"type": "node"}, {})


class RoutedSink(NamedTuple):
    """A sink with the router that encodes its lines."""

    router: Router
    sink: Sink
    gets_samples: bool = True


class Pipeline:
    """The work of the loop: sample, encode lines, pass them to the sinks; `markers` end the samples of each tick."""

    def __init__(
        self,
        sampler: Sampler,
        outputs: List[RoutedSink],
        interval_s: int,
        marks: Optional[JobMarks] = None,
        *,
        markers: bool = False,
        receivers: Sequence[Receiver] = (),
        reporter: Optional[NodeReporter] = None,
        aggregator: Optional[Aggregator] = None,
    ) -> None:
        self._reporter = reporter
        self._sampler = sampler
        self._outputs = outputs
        self._marks = marks or JobMarks()
        self._interval_s = interval_s
        self._markers = markers
        self._receivers = receivers
        self._aggregator = aggregator
        self._waiting: List[Tuple[Sink, Batch]] = []
        self._ticks = 0

    def sample(self, time_s: int, /) -> None:
        """Read all collectors and encode the lines, which wait for `hand_over`."""
        readings = self._sampler.sample(time_s, self._interval_s) + self._marks.take()
        if self._aggregator is not None:
            readings += self._aggregator.add(readings, time_s)
        if self._markers:
            readings.append((_END_OF_TICK, 1))
        batches: Dict[int, Batch] = {}
        for router, sink, gets_samples in self._outputs:
            if gets_samples:
                if id(router) not in batches:
                    batches[id(router)] = router.encode(readings, time_s)
                self._waiting.append((sink, batches[id(router)]))
        logger.debug("sampled time=%d readings=%d", time_s, len(readings))

    def hand_over(self) -> None:
        """Pass the lines to the sinks; a failing sink does not affect the others."""
        waiting, self._waiting = self._waiting, []
        for sink, batch in waiting:
            _put_logging_errors(sink, batch)

    def rest(self) -> None:
        """Collect garbage every 300 s here instead of in the middle of a tick."""
        if self._ticks == 0:
            gc.collect()
            gc.freeze()
            gc.disable()
        elif self._ticks % max(_GARBAGE_COLLECTION_PERIOD_S // self._interval_s, 1) == 0:
            gc.collect()
        self._ticks += 1
        if self._reporter is not None:
            self._reporter.consider(self._sampler.statuses)

    @property
    def intakes(self) -> List[Intake]:
        """What the receivers have given their messages to."""
        return [receiver.intake for receiver in self._receivers]

    @property
    def sampler(self) -> Sampler:
        """The collectors."""
        return self._sampler

    def close(self, deadline_s: float) -> None:
        """Hand over the last lines, and close receivers, sinks and collectors."""
        for receiver in self._receivers:
            receiver.close()
        self.hand_over()
        for output in self._outputs:
            output.sink.close(deadline_s)
        self._sampler.close()
        gc.enable()


def _put_logging_errors(sink: Sink, batch: Batch) -> None:
    try:
        sink.put(batch)
    except OSError as error:
        logger.warning("samples lost sink=%s samples=%d reason=%s", sink.name, batch.samples, error.strerror)


def make_routed_sinks(configuration: AgentConfiguration) -> List[RoutedSink]:
    """The sinks with their routers; those without rules or precision of their own share one. Raises SettingsError."""
    common = configuration.make_router()
    outputs: List[RoutedSink] = []
    for description in configuration.sinks:
        router = configuration.make_router(description) if _needs_own_router(description) else common
        sink = make_sink(description, configuration.spool_folder)
        outputs.append(RoutedSink(router, sink, "metric" in description.settings.message_classes))
    return outputs


def _needs_own_router(description: SinkDescription) -> bool:
    settings = description.settings
    return any(settings.make_processors(description.name)) or settings.time_precision != "s"


def make_receivers(configuration: AgentConfiguration, sinks: Sequence[Sink]) -> List[Receiver]:
    """The receivers, each with an intake to all sinks, which are in the order of the configuration.

    Raises SettingsError.
    """
    receivers: List[Receiver] = []
    for receiver in configuration.receivers:
        before = [receiver.settings.make_processor(receiver.name)]
        common = configuration.make_router(before=before)
        outputs = [
            IntakeOutput(
                configuration.make_router(description, before) if _needs_own_router(description) else common,
                sink,
                frozenset(description.settings.message_classes),
            )
            for description, sink in zip(configuration.sinks, sinks)
        ]
        receivers.append(make_receiver(receiver, Intake(receiver.name, outputs)))
    return receivers


def start_pipeline(
    configuration: AgentConfiguration,
    root: Path = Path("/"),
    *,
    kept: Optional[Mapping[str, CircuitBreaker]] = None,
    marks: Optional[JobMarks] = None,
) -> Pipeline:
    """The pipeline with its sinks and receivers started and its collectors opened, but for those that are `kept` open.

    Raises CockpitError.
    """
    outputs = make_routed_sinks(configuration)
    if not outputs:
        raise SettingsError("sinks", f"{configuration.source}: no sink to send to; give --url or a sink")
    receivers = make_receivers(configuration, [output.sink for output in outputs])
    aggregator = configuration.make_aggregator(root)
    with contextlib.ExitStack() as undo:
        for output in outputs:
            output.sink.start()
            undo.callback(output.sink.close, 0.0)
        for receiver in receivers:
            receiver.start()
            undo.callback(receiver.close)
        collectors = configuration.settings.collectors
        sampler = Sampler(make_collectors(collectors, root), collector_intervals_s(collectors), kept=kept)
        sampler.attach_sinks([output.sink for output in outputs])
        sampler.open(configuration.interval_s)
        undo.pop_all()
    return Pipeline(
        sampler,
        outputs,
        configuration.interval_s,
        marks,
        markers=configuration.settings.main.markers_enabled,
        receivers=receivers,
        reporter=make_reporter(configuration, root),
        aggregator=aggregator,
    )


def make_reporter(configuration: AgentConfiguration, root: Path = Path("/")) -> Optional[NodeReporter]:
    """What reports the node to the backends among the sinks; None if that is switched off."""
    if not configuration.settings.main.report_node:
        return None

    def describe() -> Dict[str, Any]:
        from cc_agent.cluster_file import describe_cluster  # noqa: PLC0415 it is needed once in a while

        return describe_cluster(configuration, root=root).document

    return NodeReporter(
        [(sink.name, sink.settings) for sink in configuration.sinks if isinstance(sink.settings, HttpSettings)],
        cluster=configuration.cluster,
        hostname=configuration.hostname,
        describe=describe,
    )


def unchanged_collectors(old: AgentConfiguration, new: AgentConfiguration) -> List[str]:
    """Names of the collectors with the same options in both configurations."""
    before, after = old.settings.collectors, new.settings.collectors
    names = [field.name for field in dataclasses.fields(after)]
    return [name for name in names if getattr(before, name) == getattr(after, name) is not None]


class Agent:
    """Runs until SIGTERM or SIGINT; SIGHUP reads the configuration again."""

    def __init__(self, options: AgentOptions, environment: Mapping[str, str]) -> None:
        self._options = options
        self._environment = environment
        self._notifier = Notifier.from_environment(environment)
        self._clock = SystemClock()
        self._loop: Optional[Loop] = None
        self._control: Optional[ControlServer] = None
        self._marks = JobMarks()
        self._started_s = time.monotonic()
        self._skipped_before = 0
        self._stopped = False

    def run(self) -> None:
        """Run until the agent is stopped. Raises CockpitError if it cannot start."""
        configuration = load_configuration(self._options, self._environment)
        pipeline = self._start_pipeline(configuration)
        try:
            self._start_control(configuration, pipeline)
            while not self._stopped and self._run_loop(configuration):
                candidate = self._load_new_configuration()
                if candidate is not None:
                    self._close_control()
                    configuration, pipeline = self._replace_pipeline(pipeline, configuration, candidate)
                    self._start_control(configuration, pipeline)
                self._notifier.ready()
        finally:
            self._notifier.stopping()
            self._close_control()
            pipeline.close(CLOSE_DEADLINE_S)
            self._clock.close()
        logger.info("stopped")

    def stop(self) -> None:
        """End soon; safe in a signal handler."""
        self._stopped = True
        if self._loop is not None:
            self._loop.stop()

    def reload(self) -> None:
        """Read the configuration again soon; safe in a signal handler."""
        if self._loop is not None:
            self._loop.reload()

    def _start_control(self, configuration: AgentConfiguration, pipeline: Pipeline) -> None:
        folder, loop = configuration.control_folder, self._loop
        if folder is None or loop is None:
            return

        def answer(request: ControlRequest, job: str) -> Dict[str, Any]:
            if isinstance(request, StatusRequest):
                return self._status(configuration, pipeline, loop)
            if isinstance(request, MarkRequest):
                self._marks.put(job, request.values)
                return {"job": job, "marks": len(request.values)}
            return {"collectors": _pause_or_resume(request, pipeline)}

        control = ControlServer(folder / SOCKET_NAME, answer, loop.call)
        try:
            control.start()
        except AgentError as error:  # samples matter more than being asked
            logger.warning(
                "nobody can ask this agent: %s; main.control-directory must name a folder that it may write", error
            )
        else:
            self._control = control

    def _close_control(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None

    def _status(self, configuration: AgentConfiguration, pipeline: Pipeline, loop: Loop) -> Dict[str, Any]:
        return {
            "version": __version__,
            "hostname": configuration.hostname,
            "cluster": configuration.cluster,
            "configuration": configuration.source,
            "interval_s": configuration.interval_s,
            "uptime_s": round(time.monotonic() - self._started_s),
            "skipped_ticks": self._skipped_before + loop.skipped,
            "collectors": collector_documents(pipeline.sampler.statuses),
            "sinks": [sink.name for sink in configuration.sinks],
            "receivers": [
                {"name": intake.name, "accepted": intake.accepted, "rejected": intake.rejected}
                for intake in pipeline.intakes
            ],
        }

    def _start_pipeline(
        self, configuration: AgentConfiguration, kept: Optional[Mapping[str, CircuitBreaker]] = None
    ) -> Pipeline:
        for warning in configuration.warnings:
            logger.warning("configuration %s", warning)
        pipeline = start_pipeline(configuration, kept=kept, marks=self._marks)
        self._skipped_before += self._loop.skipped if self._loop is not None else 0
        self._loop = Loop(
            pipeline,
            interval_s=configuration.interval_s,
            hostname=configuration.hostname,
            clock=self._clock,
            notifier=self._notifier,
        )
        logger.info(
            "started hostname=%s cluster=%s interval_s=%d configuration=%s sinks=%s",
            configuration.hostname,
            configuration.cluster,
            configuration.interval_s,
            configuration.source,
            ",".join(sink.name for sink in configuration.sinks),
        )
        return pipeline

    def _replace_pipeline(
        self, pipeline: Pipeline, old: AgentConfiguration, new: AgentConfiguration
    ) -> Tuple[AgentConfiguration, Pipeline]:
        """The configuration in effect and its pipeline: the old one again if the new one cannot be started.

        Only a start shows whether a port is free or a certificate can be read.
        """
        kept = pipeline.sampler.release(unchanged_collectors(old, new))
        pipeline.close(CLOSE_DEADLINE_S)
        try:
            return new, self._start_pipeline(new, kept)
        except CockpitError as error:
            logger.error("configuration cannot be started, the old one stays in effect: %s", error)  # noqa: TRY400 no traceback for a port in use
        return old, self._start_pipeline(old, kept)

    def _run_loop(self, configuration: AgentConfiguration) -> bool:
        """Run the loop; whether it ended for a reload."""
        if self._loop is None:
            return False
        self._notifier.ready()
        self._notifier.status(f"sampling every {configuration.interval_s} s, sending {len(configuration.sinks)} way(s)")
        return self._loop.run().reload

    def _load_new_configuration(self) -> Optional[AgentConfiguration]:
        """The new configuration; None, with a log line, if it is invalid: then the old one stays in effect."""
        try:
            candidate = load_configuration(self._options, self._environment)
            candidate.make_aggregator()
            make_receivers(candidate, [output.sink for output in make_routed_sinks(candidate)])
            if not candidate.sinks:
                raise SettingsError("sinks", f"{candidate.source}: there is nowhere to send to")
        except CockpitError as error:
            logger.error("configuration rejected, the old one stays in effect: %s", error)  # noqa: TRY400 no traceback for a typing error
            return None
        return candidate


def _pause_or_resume(request: ControlRequest, pipeline: Pipeline) -> List[str]:
    """Names of the collectors that were paused or resumed."""
    pausable = [collector for collector in pipeline.sampler.collectors if isinstance(collector, PausableCollector)]
    for collector in pausable:
        if isinstance(request, PauseRequest):
            collector.pause(request.seconds, request.job)
        else:
            collector.resume()
    return [collector.name for collector in pausable]


def run(options: AgentOptions, environment: Mapping[str, str]) -> int:
    """Run the agent in the foreground until it is stopped; the exit status. Raises CockpitError."""
    set_up_logging(options.log_level, environment)
    agent = Agent(options, environment)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: agent.stop())
    signal.signal(signal.SIGHUP, lambda *_: agent.reload())
    agent.run()
    sys.stdout.flush()
    return 0
