"""Names on lines that the configuration does not have: for the sender, with the nearest known name, and for the log.

A misspelt cluster is no fault of a line, so its samples go without an error; here is what tells somebody of it. The
work is bounded: of a batch its begin is looked at, keys that were seen are remembered, and only so many names a second
are compared with the known ones.
"""

import difflib
import logging
import re
import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from itertools import islice

from cc_backend.metricstore.ingest.host_config import HostConfig
from cc_backend.metricstore.ingest.identity import Rejection, identify
from cc_backend.metricstore.model import Identity, MetricTable, RejectReason, UnknownName
from cc_common.errors import LineProtocolError
from cc_common.line_protocol import parse_series

logger = logging.getLogger(__name__)

MAX_NAMES_PER_REASON = 10
"""Maximum names of one batch by reason."""

SEARCHED_BATCH_BYTES = 256 * 1024
"""Names are looked for in this much of the begin of a batch."""

MAX_LOGGED_NAMES = 1000
"""Maximum names that are remembered as known to the log."""

MAX_SEARCHES_PER_SECOND = 20
"""Maximum names that are compared with the known ones in a second; those beyond get no nearest name."""

NAMED_REASONS = frozenset({RejectReason.UNKNOWN_METRIC, RejectReason.UNKNOWN_CLUSTER, RejectReason.UNKNOWN_HOST})

_MAX_CACHED_KEY_BYTES = 512
_MAX_CACHED_KEYS = 4096
_MAX_NAME_LENGTH = 100
_MAX_COMPARED_LENGTH = 64
_MAX_COMPARED_NAMES = 500
_MAX_COMPARED_HOSTS = 20_000
_BLANK = re.compile(rb"(?<!\\) ")
_DIGIT = re.compile(r"\d")
_PADDED = re.compile(r"(?<!\d)0+(?=\d)")


class UnknownNames:
    """Names that lines had and the configuration has not, each logged once. Safe in threads."""

    def __init__(self, metrics: MetricTable, host_config: HostConfig) -> None:
        self._lock = threading.Lock()
        self._metrics, self._host_config = metrics, host_config
        self._keys: dict[tuple[str, bytes], tuple[RejectReason, UnknownName] | None] = {}
        self._observed: dict[tuple[RejectReason, str, str], UnknownName] = {}
        self._second_s = 0
        self._searches = 0

    def reload(self, metrics: MetricTable, host_config: HostConfig) -> None:
        """Take over new metrics and hosts; what was unknown may be known now."""
        with self._lock:
            self._metrics, self._host_config = metrics, host_config
            self._keys.clear()
            self._observed.clear()

    def find_in_lines(
        self,
        batch: bytes,
        quiet: Iterable[tuple[RejectReason, int]],
        *,
        default_cluster: str,
        received_s: int,
        allowed_clusters: Collection[str] = (),
    ) -> Mapping[RejectReason, tuple[UnknownName, ...]]:
        """The first unknown names by reason, from lines of a batch at positions that count from 0.

        A sender that may write to some clusters only gets no names of other clusters.
        """
        wanted = sorted(position for reason, position in quiet if reason in NAMED_REASONS)
        if not wanted:
            return {}
        lines = batch[:SEARCHED_BATCH_BYTES].split(b"\n", wanted[-1] + 1)
        found: dict[RejectReason, dict[tuple[str, str], UnknownName]] = {}
        for position in wanted:
            if position >= len(lines):
                break
            line = lines[position].strip(b" \t\r")
            blank = _BLANK.search(line)
            if blank is None:  # cut off by the limit
                continue
            named = self._find_cached(default_cluster, line[: blank.start()], received_s)
            if named is not None:
                reason, name = named
                if allowed_clusters and not name.cluster:  # compared with the names of all clusters
                    name = replace(name, nearest="")
                names = found.setdefault(reason, {})
                if len(names) < MAX_NAMES_PER_REASON:
                    names[name.cluster, name.name] = name
        self._log_new(found)
        return {reason: tuple(names.values()) for reason, names in found.items()}

    def describe_hosts(self, hosts: Iterable[tuple[str, str]], *, received_s: int) -> tuple[UnknownName, ...]:
        """The names of hosts, given with their clusters, whose samples were kept though nobody configured them."""
        names = {key: self._unknown_host(*key, received_s) for key in islice(hosts, MAX_NAMES_PER_REASON)}
        self._log_new({RejectReason.UNKNOWN_HOST: names})
        return tuple(names.values())

    def observed(self) -> list[tuple[RejectReason, UnknownName]]:
        """What was met since the start or the last change of the configuration, oldest first."""
        with self._lock:
            return [(reason, name) for (reason, _, _), name in self._observed.items()]

    def _find_cached(
        self, default_cluster: str, key: bytes, received_s: int
    ) -> tuple[RejectReason, UnknownName] | None:
        cached = self._keys.get((default_cluster, key), False)
        if not isinstance(cached, bool):
            return cached
        found = self._find(default_cluster, key, received_s)
        if len(key) <= _MAX_CACHED_KEY_BYTES:
            with self._lock:
                if len(self._keys) >= _MAX_CACHED_KEYS:
                    self._keys.clear()
                self._keys[default_cluster, key] = found
        return found

    def _find(self, default_cluster: str, key: bytes, received_s: int) -> tuple[RejectReason, UnknownName] | None:
        """The name in a key that is not known, None if all are (any more)."""
        try:
            metric, tags = parse_series(key)
        except LineProtocolError:
            return None
        metrics, nodes = self._metrics, self._host_config
        found = identify(metric, tags, default_cluster=default_cluster, metrics=metrics, host_config=nodes)
        cluster = tags.get("cluster") or default_cluster
        if isinstance(found, Identity):  # strict about hosts
            known = nodes.is_configured(found.cluster, found.host)
            return (
                None
                if known
                else (RejectReason.UNKNOWN_HOST, self._unknown_host(found.cluster, found.host, received_s))
            )
        return self._name_in_rejection(found, metric, cluster, received_s)

    def _name_in_rejection(
        self, rejection: Rejection, metric: str, cluster: str, received_s: int
    ) -> tuple[RejectReason, UnknownName] | None:
        if rejection.reason is RejectReason.UNKNOWN_CLUSTER:
            nearest = self._nearest(cluster, self._metrics, received_s)
            return rejection.reason, UnknownName(printable(cluster), nearest=nearest)
        if rejection.reason is not RejectReason.UNKNOWN_METRIC:
            return None
        tables = [self._metrics[cluster]] if cluster in self._metrics else list(self._metrics.values())
        if any(metric in table for table in tables):  # left out for its subcluster on purpose
            return rejection.reason, UnknownName(printable(metric), printable(cluster), configured_elsewhere=True)
        names = dict.fromkeys(name for table in tables for name in table)
        return rejection.reason, UnknownName(
            printable(metric), printable(cluster), self._nearest(metric, names, received_s)
        )

    def _unknown_host(self, cluster: str, host: str, received_s: int) -> UnknownName:
        hosts = self._host_config.configured_hosts(cluster)
        short = host.partition(".")[0]
        nearest = short if short != host and short in hosts else ""
        if not nearest and len(host) <= _MAX_COMPARED_LENGTH and self._may_search(received_s):
            nearest = nearest_host(short, hosts)
        return UnknownName(printable(host), printable(cluster), nearest)

    def _nearest(self, name: str, known: Iterable[str], received_s: int) -> str:
        return nearest_name(name, known) if len(name) <= _MAX_COMPARED_LENGTH and self._may_search(received_s) else ""

    def _may_search(self, received_s: int) -> bool:
        with self._lock:
            if received_s != self._second_s:
                self._second_s, self._searches = received_s, 0
            self._searches += 1
            return self._searches <= MAX_SEARCHES_PER_SECOND

    def _log_new(self, found: Mapping[RejectReason, Mapping[tuple[str, str], UnknownName]]) -> None:
        for reason, names in found.items():
            new = self._record_new(reason, names.values())
            if new:
                texts = ", ".join(describe(name) for name in new)
                logger.warning("samples came with an %s names=%s", str(reason).replace("_", " "), texts)

    def _record_new(self, reason: RejectReason, names: Iterable[UnknownName]) -> list[UnknownName]:
        new = []
        for name in names:
            key = (reason, name.cluster, name.name)
            if key in self._observed or name.configured_elsewhere:
                continue
            with self._lock:
                if len(self._observed) < MAX_LOGGED_NAMES and key not in self._observed:
                    self._observed[key] = name
                    new.append(name)
                    if len(self._observed) == MAX_LOGGED_NAMES:
                        logger.warning("no further unknown names are logged until the configuration changes")
        return new


def nearest_name(name: str, known: Iterable[str]) -> str:
    """The known name that is most like this one, whatever its case; empty if none is alike."""
    candidates = {other.casefold(): other for other in islice(known, _MAX_COMPARED_NAMES)}
    found = difflib.get_close_matches(name.casefold(), candidates, n=1)
    return candidates[found[0]] if found else ""


def nearest_host(host: str, known: Iterable[str]) -> str:
    """The known host with the same letters and numbers, else the most similar of those that begin alike."""
    same, begin = _unpadded(host), _DIGIT.split(host.casefold(), maxsplit=1)[0]
    alike = []
    for name in islice(known, _MAX_COMPARED_HOSTS):
        if name.casefold().startswith(begin):
            if _unpadded(name) == same:
                return name
            alike.append(name)
    return nearest_name(host, alike)


def _unpadded(host: str) -> str:
    return _PADDED.sub("", host.casefold())


def describe(name: UnknownName) -> str:
    """An unknown name with its cluster and the nearest known one, for a line of text."""
    text = f"{name.name!r} of cluster {name.cluster!r}" if name.cluster else repr(name.name)
    return f"{text} (nearest known: {name.nearest!r})" if name.nearest else text


def printable(name: str) -> str:
    """A name as it may be printed: of bounded length, without what cannot be printed."""
    return "".join(char if char.isprintable() else "?" for char in name[:_MAX_NAME_LENGTH])
