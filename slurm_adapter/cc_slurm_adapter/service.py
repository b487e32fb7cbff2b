"""The adapter assembled from a configuration: the commands `run` and `once`."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Callable, Iterator, Mapping, NamedTuple, Optional

from cc_common.logging_setup import set_up_logging
from cc_common.node_states import NodeStateReport
from cc_common.systemd_notify import Notifier
from cc_common.wake_event import WakeEvent
from cc_slurm_adapter.delivery import EventDelivery, SentCounts
from cc_slurm_adapter.errors import AdapterError, SlurmError
from cc_slurm_adapter.journal import Journal
from cc_slurm_adapter.latest_node_states import LatestNodeStates
from cc_slurm_adapter.options import AdapterOptions
from cc_slurm_adapter.poll import TOPOLOGY, SiteConfig, SlurmPoller
from cc_slurm_adapter.settings import AdapterConfiguration, load_configuration
from cc_slurm_adapter.sources.commands import CommandRunner
from cc_slurm_adapter.sources.slurm import SlurmClient
from cc_slurm_adapter.topology import ClusterTopology, TopologyCache, file_stamp, read_topology

logger = logging.getLogger(__name__)

JOURNAL, LOCK, TOPOLOGY_FILE, CLUSTER_FILE = "journal.sqlite", "lock", "topology.json", "slurm-cluster"
ONCE_DEADLINE_S = 60.0
STOP_DEADLINE_S = 5.0
_MAX_WAIT_S = 30.0
_SLURM_RETRY_S = 10.0
_REFRESH_TOPOLOGY_S = 60.0
"""Minimum seconds between requests for the description of the cluster when jobs start."""


class AdapterParts(NamedTuple):
    """Poller and delivery, each with its own connection to the journal; `wake` tells the latter of new events."""

    poller: SlurmPoller
    journal: Journal
    delivery: EventDelivery
    nodes: LatestNodeStates
    wake: WakeEvent


class DeliveryThread:
    """Delivers in a thread of its own, so that a slow poll does not delay events, nor a slow backend polls.

    `failed` is called in that thread if an error ends it; `check` raises that error.
    """

    def __init__(self, parts: AdapterParts, failed: Callable[[], None]) -> None:
        self._parts = parts
        self._failed = failed
        self._error: Optional[BaseException] = None
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise the error that ended the thread, if there is one."""
        if self._error is not None:
            raise self._error

    def stop(self, timeout_s: float) -> None:
        """End the thread after its current request, or abandon it after `timeout_s`."""
        self._parts.wake.end()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        delivery, nodes, wake = self._parts.delivery, self._parts.nodes, self._parts.wake
        try:
            while not wake.ended:
                nodes.send_latest()
                delivery.deliver()
                wait_s = delivery.wait_s()
                if not nodes.waiting:
                    wake.wait(_MAX_WAIT_S if wait_s is None else min(wait_s, _MAX_WAIT_S))
        except BaseException as error:  # noqa: BLE001 raised again by `check`
            if not wake.ended:  # an abandoned thread finds its journal closed
                self._error = error
                self._failed()


@contextlib.contextmanager
def hold_state_directory(directory: Path) -> Iterator[None]:
    """Lock the state directory. Raises AdapterError if another process has it, or it cannot be used."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise AdapterError(f"state directory {directory} cannot be used: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise AdapterError(f"state directory {directory} is in use by another cc-slurm-adapter") from error
        yield
    finally:
        os.close(descriptor)


def make_slurm(
    configuration: AdapterConfiguration,
    environment: Mapping[str, str],
    should_continue: Callable[[], bool] = lambda: True,
) -> SlurmClient:
    """A client of Slurm for these settings; a command is killed once `should_continue` returns false."""
    settings = configuration.settings.slurm
    runner = CommandRunner(
        environment, directory=settings.command_directory, timeout_s=settings.timeout_s, should_continue=should_continue
    )
    return SlurmClient(runner)


def make_topology(
    configuration: AdapterConfiguration, cluster: str, cache_file: Optional[Path] = None
) -> TopologyCache:
    """The topology from the file of the settings, or from the backend; read again when it changes.

    The backend's description is saved to `cache_file`, for jobs that start while the backend is unavailable.
    """
    file = configuration.settings.topology_file
    if file:
        path = Path(file)
        return TopologyCache(lambda: read_topology(path, cluster), stamp=lambda: file_stamp(path))

    def fetch() -> ClusterTopology:
        from cc_slurm_adapter.backend_client import fetch_topology  # noqa: PLC0415 loaded only if something is requested

        return fetch_topology(configuration.url, configuration.settings.backend, cluster, cache_file)

    return TopologyCache(fetch, refresh_s=_REFRESH_TOPOLOGY_S)


@contextlib.contextmanager
def open_parts(
    configuration: AdapterConfiguration,
    environment: Mapping[str, str],
    slurm_cluster: str,
    *,
    command_may_run: Callable[[], bool],
    should_continue: Callable[[], bool],
) -> Iterator[AdapterParts]:
    """Poller and delivery, closed at the end. Raises CockpitError.

    A command of Slurm is killed once `command_may_run` returns false, a delivery pass ends once `should_continue` does.
    """
    from cc_slurm_adapter.backend_client import WORKERS, make_senders, send_node_states  # noqa: PLC0415 not every command sends

    settings = configuration.settings
    senders = make_senders(configuration.url, settings.backend)
    cluster = settings.cluster or slurm_cluster
    site = SiteConfig(
        cluster=cluster,
        slurm_cluster=slurm_cluster,
        slurm=settings.slurm,
        gpu_rules=configuration.gpu_rules,
        ignored=configuration.ignored,
        first_begin_s=_last_run_time_s(settings.last_run_file),
    )
    path = configuration.state_directory / JOURNAL
    with contextlib.ExitStack() as stack:
        wake = stack.enter_context(contextlib.closing(WakeEvent()))
        journal, outgoing = (stack.enter_context(contextlib.closing(Journal(path))) for _ in range(2))
        nodes = LatestNodeStates(lambda report: send_node_states(senders["nodes"], report))

        def report_nodes(report: NodeStateReport) -> None:
            nodes.put(report)
            wake.set()

        delivery = EventDelivery(
            outgoing,
            senders,
            clock=time.monotonic,
            should_continue=lambda: should_continue() and not (wake.ended or nodes.waiting),
            workers=WORKERS,
        )
        poller = SlurmPoller(
            site,
            make_slurm(configuration, environment, command_may_run),
            journal,
            topology=make_topology(configuration, cluster, configuration.state_directory / TOPOLOGY_FILE),
            report_nodes=report_nodes,
            clock=time.time,
            on_recorded=wake.set,
        )
        stack.callback(delivery.close)
        yield AdapterParts(poller, journal, delivery, nodes, wake)


def _last_run_time_s(name: str) -> Optional[int]:
    """When the reference's cc-slurm-adapter last polled; None if it never did here."""
    if not name:
        return None
    try:
        return int(Path(name).stat().st_mtime)
    except OSError:
        return None


def _read_name(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _write_name(path: Path, name: str) -> None:
    """Save the name for a start while Slurm is unavailable; a failure is only logged."""
    if _read_name(path) == name:
        return
    fresh = path.with_suffix(".new")
    try:
        fresh.write_text(name + "\n", encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        logger.warning("cannot save the cluster name file=%s reason=%s", path, error.strerror)


def run_once(options: AdapterOptions, environment: Mapping[str, str]) -> int:
    """Poll and deliver once, and print what was sent; the status is 1 if events are left. Raises CockpitError."""
    set_up_logging(options.log_level if options.log_level != "info" else "warning", environment)
    configuration = load_configuration(options, environment)
    for warning in configuration.warnings:
        logger.warning("configuration %s", warning)
    configuration.require_complete()
    with hold_state_directory(configuration.state_directory):
        slurm_cluster = make_slurm(configuration, environment).cluster_name()
        deadline_s = time.monotonic() + ONCE_DEADLINE_S

        def in_time() -> bool:
            return time.monotonic() < deadline_s

        with open_parts(
            configuration, environment, slurm_cluster, command_may_run=in_time, should_continue=in_time
        ) as parts:
            parts.poller.poll()
            parts.nodes.send_latest()
            sent = SentCounts()
            while True:
                report = parts.delivery.deliver()
                sent.starts += report.starts
                sent.stops += report.stops
                sent.parked += report.parked
                wait_s = parts.delivery.wait_s()
                if wait_s is None or time.monotonic() + wait_s >= deadline_s:
                    break
                time.sleep(min(wait_s, 1.0))
            waiting = parts.journal.counts().waiting
            sys.stdout.write(
                f"sent: {sent.starts} starts, {sent.stops} stops, {parts.nodes.sent} node states; waiting: {waiting}\n"
            )
            # without the topology events have fewer fields, but all are sent
            failing = parts.nodes.problem or parts.poller.failing.keys() - {TOPOLOGY}
            return int(bool(waiting or sent.parked or failing))


class AdapterService:
    """Runs until SIGTERM or SIGINT."""

    def __init__(self, options: AdapterOptions, environment: Mapping[str, str]) -> None:
        self._configuration = load_configuration(options, environment)
        self._configuration.require_complete()
        self._environment = environment
        self._notifier = Notifier.from_environment(environment)
        self._stop = WakeEvent()
        self._next_poll_s = 0.0

    def stop(self) -> None:
        """End soon; safe in a signal handler."""
        self._stop.end()

    def run(self) -> None:
        """Run until the service is stopped. Raises CockpitError if it cannot start."""
        configuration = self._configuration
        for warning in configuration.warnings:
            logger.warning("configuration %s", warning)
        try:
            with hold_state_directory(configuration.state_directory):
                slurm_cluster = self._cluster_name()
                if slurm_cluster is not None:
                    with open_parts(
                        configuration,
                        self._environment,
                        slurm_cluster,
                        command_may_run=self._beat_and_continue,
                        should_continue=self._should_continue,
                    ) as parts:
                        self._poll_until_stopped(parts, slurm_cluster)
        finally:
            self._notifier.stopping()
            self._stop.close()
        logger.info("stopped")

    def _cluster_name(self) -> Optional[str]:
        """Slurm's name of the cluster, or the one saved by an earlier start; None if the service is stopped first.

        Events of the journal can be delivered while Slurm is unavailable, so only the very first start has to wait.
        """
        slurm = make_slurm(self._configuration, self._environment, self._beat_and_continue)
        saved = self._configuration.state_directory / CLUSTER_FILE
        self._notifier.ready()
        last_problem = ""
        while not self._stop.ended:
            self._notifier.ping_watchdog()
            try:
                name = slurm.cluster_name()
            except SlurmError as error:
                known = _read_name(saved)
                if known:
                    logger.warning("Slurm is unavailable, using the cluster name of an earlier start cluster=%s", known)
                    return known
                if str(error) != last_problem:
                    last_problem = str(error)
                    logger.warning("waiting for Slurm reason=%r", last_problem)
                    self._notifier.status(f"waiting for Slurm: {last_problem}")
            else:
                _write_name(saved, name)
                return name
            self._stop.wait(_SLURM_RETRY_S)
        return None

    def _poll_until_stopped(self, parts: AdapterParts, slurm_cluster: str) -> None:
        interval_s = self._configuration.settings.interval_s
        logger.info(
            "started cluster=%s slurm=%s interval_s=%g backend=%s waiting=%d",
            self._configuration.settings.cluster or slurm_cluster,
            slurm_cluster,
            interval_s,
            self._configuration.url,
            parts.journal.counts().waiting,
        )
        delivery_thread = DeliveryThread(parts, self._stop.end)
        try:
            while not self._stop.ended:
                self._notifier.ping_watchdog()
                begun_s = time.monotonic()
                if begun_s >= self._next_poll_s:
                    self._next_poll_s = begun_s + interval_s
                    starts, stops = parts.poller.poll()
                    if starts or stops:
                        logger.info("found starts=%d stops=%d", starts, stops)
                    parts.poller.prune()
                self._notifier.status(_status(parts))
                self._stop.wait(min(self._next_poll_s - time.monotonic(), _MAX_WAIT_S))
        finally:
            delivery_thread.stop(STOP_DEADLINE_S)
        delivery_thread.check()

    def _beat_and_continue(self) -> bool:
        self._notifier.ping_watchdog()
        return not self._stop.ended

    def _should_continue(self) -> bool:
        """As `_beat_and_continue`, without the heartbeat: that belongs to the polling thread."""
        return not self._stop.ended


def _status(parts: AdapterParts) -> str:
    counts = parts.journal.counts()
    failing = f"; cannot get {', '.join(parts.poller.failing)}" if parts.poller.failing else ""
    failing += "; cannot send node states" if parts.nodes.problem else ""
    return f"{counts.waiting} events wait, {counts.parked} parked{failing}"


def run(options: AdapterOptions, environment: Mapping[str, str]) -> int:
    """Run the adapter in the foreground until it is stopped; the exit status. Raises CockpitError."""
    set_up_logging(options.log_level, environment)
    service = AdapterService(options, environment)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: service.stop())
    service.run()
    return 0
