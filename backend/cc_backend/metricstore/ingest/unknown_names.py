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

from cc_backend.metricstore.ingest.host_config import Nodes
from cc_backend.metricstore.ingest.identity import Refusal, identify
from cc_backend.metricstore.model import Identity, MetricTable, Reason, UnknownName
from cc_common.errors import LineProtocolError
from cc_common.line_protocol import parse_series

logger = logging.getLogger(__name__)

NAMES_PER_REASON = 10
"""Maximum names of one batch by reason."""

BATCH_BYTES = 256 * 1024
"""Names are looked for in this much of the begin of a batch."""

LOGGED_NAMES = 1000
"""Maximum names that are remembered as known to the log."""

SEARCHES_PER_SECOND = 20
"""Maximum names that are compared with the known ones in a second; those beyond are told without a nearest one."""

NAMED_REASONS = frozenset({Reason.UNKNOWN_METRIC, Reason.UNKNOWN_CLUSTER, Reason.UNKNOWN_HOST})

_KEY_BYTES = 512
_KEYS = 4096
_NAME_LENGTH = 100
_COMPARED_LENGTH = 64
_COMPARED_NAMES = 500
_LISTED_HOSTS = 20_000
_BLANK = re.compile(rb"(?<!\\) ")
_DIGIT = re.compile(r"\d")
_PADDED = re.compile(r"(?<!\d)0+(?=\d)")


class UnknownNames:
    """Names that lines had and the configuration has not, each logged once. Safe in threads."""

    def __init__(self, metrics: MetricTable, nodes: Nodes) -> None:
        self._lock = threading.Lock()
        self._metrics, self._nodes = metrics, nodes
        self._keys: dict[tuple[str, bytes], tuple[Reason, UnknownName] | None] = {}
        self._seen: dict[tuple[Reason, str, str], UnknownName] = {}
        self._second_s = 0
        self._searches = 0

    def reload(self, metrics: MetricTable, nodes: Nodes) -> None:
        """Take over new metrics and hosts; what was unknown may be known now."""
        with self._lock:
            self._metrics, self._nodes = metrics, nodes
            self._keys.clear()
            self._seen.clear()

    def of_lines(
        self,
        batch: bytes,
        quiet: Iterable[tuple[Reason, int]],
        *,
        default_cluster: str,
        received_s: int,
        bound: Collection[str] = (),
    ) -> Mapping[Reason, tuple[UnknownName, ...]]:
        """The first unknown names by reason, from lines of a batch at positions that count from 0.

        Who is bound to clusters is told no names of others.
        """
        wanted = sorted(position for reason, position in quiet if reason in NAMED_REASONS)
        if not wanted:
            return {}
        lines = batch[:BATCH_BYTES].split(b"\n", wanted[-1] + 1)
        found: dict[Reason, dict[tuple[str, str], UnknownName]] = {}
        for position in wanted:
            if position >= len(lines):
                break
            line = lines[position].strip(b" \t\r")
            blank = _BLANK.search(line)
            if blank is None:  # cut off by the bound
                continue
            named = self._named(default_cluster, line[: blank.start()], received_s)
            if named is not None:
                reason, name = named
                if bound and not name.cluster:  # compared with the names of all clusters
                    name = replace(name, nearest="")
                names = found.setdefault(reason, {})
                if len(names) < NAMES_PER_REASON:
                    names[name.cluster, name.name] = name
        self._tell(found)
        return {reason: tuple(names.values()) for reason, names in found.items()}

    def of_hosts(self, hosts: Iterable[tuple[str, str]], *, received_s: int) -> tuple[UnknownName, ...]:
        """The names of hosts, given with their clusters, whose samples were kept though nobody configured them."""
        names = {key: self._host(*key, received_s) for key in islice(hosts, NAMES_PER_REASON)}
        self._tell({Reason.UNKNOWN_HOST: names})
        return tuple(names.values())

    def seen(self) -> list[tuple[Reason, UnknownName]]:
        """What was met since the start or the last change of the configuration, oldest first."""
        with self._lock:
            return [(reason, name) for (reason, _, _), name in self._seen.items()]

    def _named(self, default_cluster: str, key: bytes, received_s: int) -> tuple[Reason, UnknownName] | None:
        cached = self._keys.get((default_cluster, key), False)
        if not isinstance(cached, bool):
            return cached
        found = self._name(default_cluster, key, received_s)
        if len(key) <= _KEY_BYTES:
            with self._lock:
                if len(self._keys) >= _KEYS:
                    self._keys.clear()
                self._keys[default_cluster, key] = found
        return found

    def _name(self, default_cluster: str, key: bytes, received_s: int) -> tuple[Reason, UnknownName] | None:
        """The name in a key that is not known, None if all are (any more)."""
        try:
            metric, tags = parse_series(key)
        except LineProtocolError:
            return None
        metrics, nodes = self._metrics, self._nodes
        found = identify(metric, tags, default_cluster=default_cluster, metrics=metrics, nodes=nodes)
        cluster = tags.get("cluster") or default_cluster
        if isinstance(found, Identity):  # strict about hosts
            known = nodes.lists(found.cluster, found.host)
            return None if known else (Reason.UNKNOWN_HOST, self._host(found.cluster, found.host, received_s))
        return self._refused(found, metric, cluster, received_s)

    def _refused(
        self, refusal: Refusal, metric: str, cluster: str, received_s: int
    ) -> tuple[Reason, UnknownName] | None:
        if refusal.reason is Reason.UNKNOWN_CLUSTER:
            nearest = self._nearest(cluster, self._metrics, received_s)
            return refusal.reason, UnknownName(shown(cluster), nearest=nearest)
        if refusal.reason is not Reason.UNKNOWN_METRIC:
            return None
        tables = [self._metrics[cluster]] if cluster in self._metrics else list(self._metrics.values())
        if any(metric in table for table in tables):  # left out for its subcluster on purpose
            return refusal.reason, UnknownName(shown(metric), shown(cluster), configured_elsewhere=True)
        names = dict.fromkeys(name for table in tables for name in table)
        return refusal.reason, UnknownName(shown(metric), shown(cluster), self._nearest(metric, names, received_s))

    def _host(self, cluster: str, host: str, received_s: int) -> UnknownName:
        hosts = self._nodes.listed(cluster)
        short = host.partition(".")[0]
        nearest = short if short != host and short in hosts else ""
        if not nearest and len(host) <= _COMPARED_LENGTH and self._may_search(received_s):
            nearest = nearest_host(short, hosts)
        return UnknownName(shown(host), shown(cluster), nearest)

    def _nearest(self, name: str, known: Iterable[str], received_s: int) -> str:
        return nearest_name(name, known) if len(name) <= _COMPARED_LENGTH and self._may_search(received_s) else ""

    def _may_search(self, received_s: int) -> bool:
        with self._lock:
            if received_s != self._second_s:
                self._second_s, self._searches = received_s, 0
            self._searches += 1
            return self._searches <= SEARCHES_PER_SECOND

    def _tell(self, found: Mapping[Reason, Mapping[tuple[str, str], UnknownName]]) -> None:
        for reason, names in found.items():
            new = self._first_seen(reason, names.values())
            if new:
                texts = ", ".join(described(name) for name in new)
                logger.warning("samples came with an %s names=%s", str(reason).replace("_", " "), texts)

    def _first_seen(self, reason: Reason, names: Iterable[UnknownName]) -> list[UnknownName]:
        new = []
        for name in names:
            key = (reason, name.cluster, name.name)
            if key in self._seen or name.configured_elsewhere:
                continue
            with self._lock:
                if len(self._seen) < LOGGED_NAMES and key not in self._seen:
                    self._seen[key] = name
                    new.append(name)
                    if len(self._seen) == LOGGED_NAMES:
                        logger.warning("no further unknown names are logged until the configuration changes")
        return new


def nearest_name(name: str, known: Iterable[str]) -> str:
    """The known name that is most like this one, whatever its case; empty if none is alike."""
    candidates = {other.casefold(): other for other in islice(known, _COMPARED_NAMES)}
    found = difflib.get_close_matches(name.casefold(), candidates, n=1)
    return candidates[found[0]] if found else ""


def nearest_host(host: str, known: Iterable[str]) -> str:
    """The known host with the same letters and numbers, else the most similar of those that begin alike."""
    same, begin = _unpadded(host), _DIGIT.split(host.casefold(), maxsplit=1)[0]
    alike = []
    for name in islice(known, _LISTED_HOSTS):
        if name.casefold().startswith(begin):
            if _unpadded(name) == same:
                return name
            alike.append(name)
    return nearest_name(host, alike)


def _unpadded(host: str) -> str:
    return _PADDED.sub("", host.casefold())


def described(name: UnknownName) -> str:
    """An unknown name with its cluster and the nearest known one, for a line of text."""
    text = f"{name.name!r} of cluster {name.cluster!r}" if name.cluster else repr(name.name)
    return f"{text} (nearest known: {name.nearest!r})" if name.nearest else text


def shown(name: str) -> str:
    """A name as it may be printed: of bounded length, without what is no character."""
    return "".join(char if char.isprintable() else "?" for char in name[:_NAME_LENGTH])
