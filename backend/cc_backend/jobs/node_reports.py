"""What agents report about their nodes: hardware, version, and which sensors work.

A report is kept as it was sent; one that says the same as before only tells that the agent is still there.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cc_backend.clusters import Cluster, ClusterRegistry, parse_cluster
from cc_backend.db.database import Database
from cc_backend.errors import InvalidInput, NotFound, TooLarge
from cc_backend.jobs.limits import MAX_NAME
from cc_common.error_codes import ErrorCode

MAX_REPORT_BYTES = 1024 * 1024
MAX_COLLECTORS = 200
MAX_TEXT = 1000
MAX_NODES = 100_000
"""Maximum nodes of a cluster with a report."""
MAX_UNCONFIGURED_NODES = 20_000
"""Maximum nodes with a report in all clusters that are not configured."""
KEPT_S = 90 * 86_400
"""How long the report of a node is kept from which nothing is heard."""

_STATES = ("works", "absent", "fails")
_FIND = "SELECT content, description, received_s, changed_s FROM node_report WHERE cluster = ? AND hostname = ?"
_FIND_HASH = "SELECT content_hash FROM node_report WHERE cluster = ? AND hostname = ?"
_STORE = """INSERT INTO node_report
(cluster, hostname, content, failing, description, content_hash, received_s, changed_s) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (cluster, hostname) DO UPDATE SET content = excluded.content, failing = excluded.failing,
description = excluded.description, content_hash = excluded.content_hash, received_s = excluded.received_s,
changed_s = excluded.changed_s"""
_TOUCH = "UPDATE node_report SET received_s = ? WHERE cluster = ? AND hostname = ?"
_COUNT = "SELECT COUNT(*) FROM node_report WHERE cluster = ?"
_COUNT_BY_CLUSTER = "SELECT cluster, COUNT(*) FROM node_report GROUP BY cluster ORDER BY cluster"
_OF_CLUSTER = """SELECT content, description, received_s, changed_s FROM node_report WHERE cluster = ?
ORDER BY hostname"""
_FAILING = "SELECT failing, hostname FROM node_report WHERE cluster = ? AND failing <> '' ORDER BY hostname"
_PRUNE = "DELETE FROM node_report WHERE received_s <= ?"


@dataclass(frozen=True, slots=True)
class CollectorState:
    """A collector of an agent: `works`, `absent` (the node has no such source) or `fails`, with the reason."""

    name: str
    state: str
    problem: str = ""
    advice: str = ""


@dataclass(frozen=True, slots=True)
class NodeReport:
    """What an agent says about its node; `description` is a cluster.json of this node alone, None if unknown.

    `received_s` is the time of the last report, `changed_s` that of the first in a row that said the same.
    """

    cluster: str
    hostname: str
    agent_version: str
    collectors: tuple[CollectorState, ...]
    description: Mapping[str, Any] | None = None
    received_s: int = 0
    changed_s: int = 0

    @property
    def failing(self) -> tuple[CollectorState, ...]:
        """The collectors that somebody can help."""
        return tuple(collector for collector in self.collectors if collector.state == "fails")


def parse_report(document: Any) -> NodeReport:
    """The report in a JSON document.

    Raises:
        InvalidInput: it is not a report, or its description is not one of this node alone.
    """
    if not isinstance(document, dict):
        raise InvalidInput("a report must be an object")
    cluster = _text(document, "cluster", required=True, limit=MAX_NAME)
    hostname = _text(document, "hostname", required=True, limit=MAX_NAME)
    collectors = document.get("collectors", [])
    if not isinstance(collectors, list) or len(collectors) > MAX_COLLECTORS:
        raise InvalidInput(f"collectors: must be an array of up to {MAX_COLLECTORS} objects")
    description = document.get("description")
    if description is not None:
        _check_description(description, cluster, hostname)
    return NodeReport(
        cluster,
        hostname,
        _text(document, "agentVersion", limit=100),
        tuple(_collector(entry, f"collectors[{at}]") for at, entry in enumerate(collectors)),
        description,
    )


def _check_description(description: Any, cluster: str, hostname: str) -> None:
    described, _ = parse_cluster(description, source="description")
    hosts = [host for sub_cluster in described.sub_clusters.values() for host in sub_cluster.hosts]
    if described.name != cluster or hosts != [hostname]:
        raise InvalidInput(f"description: must be of cluster {cluster[:60]!r} and its host {hostname[:60]!r} alone")


def _collector(entry: Any, where: str) -> CollectorState:
    if not isinstance(entry, dict):
        raise InvalidInput(f"{where}: must be an object")
    state = entry.get("state")
    if state not in _STATES:
        raise InvalidInput(f"{where}.state: must be one of {', '.join(_STATES)}")
    return CollectorState(
        _text(entry, "name", where, required=True, limit=MAX_NAME),
        state,
        _text(entry, "problem", where),
        _text(entry, "advice", where),
    )


def _text(
    document: Mapping[str, Any], key: str, where: str = "", *, required: bool = False, limit: int = MAX_TEXT
) -> str:
    path = f"{where}.{key}" if where else key
    text = document.get(key, "")
    if not isinstance(text, str) or len(text) > limit or (required and not text):
        raise InvalidInput(f"{path}: must be a string of {'1' if required else '0'} to {limit} characters")
    if not text.isprintable():
        raise InvalidInput(f"{path}: must not have control characters")
    return text


def report_to_json(report: NodeReport) -> dict[str, Any]:
    """The report as the API shows it; times are Unix seconds."""
    return {
        **_summary(report),
        "description": report.description,
        "received": report.received_s,
        "changed": report.changed_s,
    }


def _summary(report: NodeReport) -> dict[str, Any]:
    return {
        "cluster": report.cluster,
        "hostname": report.hostname,
        "agentVersion": report.agent_version,
        "collectors": [
            {"name": entry.name, "state": entry.state, "problem": entry.problem, "advice": entry.advice}
            for entry in report.collectors
        ],
    }


def _compact(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


class NodeReports:
    """The latest report of each node."""

    def __init__(self, database: Database, clusters: ClusterRegistry) -> None:
        self._database = database
        self._clusters = clusters

    def store(self, report: NodeReport, now_s: int) -> bool:
        """Store a report; whether it says something else than the last one of its node.

        Raises:
            InvalidInput: the cluster is configured, and has no such host.
            TooLarge: there are as many reports as there may be.
        """
        known = self._clusters.get(report.cluster) if report.cluster in self._clusters else None
        if known is not None and known.find_sub_cluster(report.hostname) is None:
            raise InvalidInput(
                f"hostname: cluster {report.cluster!r} has no host {report.hostname[:60]!r}",
                code=ErrorCode.UNKNOWN_HOST,
            )
        content, description = _compact(_summary(report)), _compact(report.description)
        digest = hashlib.sha256(f"{content}{description}".encode("utf-8", "surrogatepass")).hexdigest()
        failing = (
            _compact([[each.name, each.problem, each.advice] for each in report.failing]) if report.failing else ""
        )
        names = (report.cluster, report.hostname)
        with self._database.write():
            found = self._database.first_row(_FIND_HASH, *names)
            if found is not None and found[0] == digest:
                self._database.run_sql(_TOUCH, now_s, *names)
                return False
            if found is None:
                self._check_room(report.cluster, is_configured=known is not None)
            self._database.run_sql(_STORE, *names, content, failing, description, digest, now_s, now_s)
        return True

    def _check_room(self, cluster: str, *, is_configured: bool) -> None:
        (count,) = self._database.first_row(_COUNT, cluster) or (0,)
        if count >= MAX_NODES:
            raise TooLarge(f"there are reports of {MAX_NODES} nodes of cluster {cluster[:60]!r} already")
        if not is_configured:
            unconfigured = sum(count for name, count in self.counts().items() if name not in self._clusters)
            if unconfigured >= MAX_UNCONFIGURED_NODES:
                raise TooLarge(f"there are {unconfigured} nodes of clusters that are not configured; add the cluster")

    def load(self, cluster: str, hostname: str) -> NodeReport:
        """The last report of a node.

        Raises:
            NotFound: it has sent none.
        """
        row = self._database.first_row(_FIND, cluster, hostname)
        report = None if row is None else _read(*row)
        if report is None:
            text = f"host {hostname[:60]!r} of cluster {cluster[:60]!r} has sent no report"
            raise NotFound(text, code=ErrorCode.NOT_FOUND)
        return report

    def of_cluster(self, cluster: str) -> Iterator[NodeReport]:
        """The last report of each node of a cluster, by host name; one that cannot be read is left out."""
        for row in self._database.all_rows(_OF_CLUSTER, cluster):
            report = _read(*row)
            if report is not None:
                yield report

    def described(self, cluster: str) -> Iterator[tuple[str, Cluster]]:
        """Source and description of each node of a cluster whose agent knows its hardware."""
        for report in self.of_cluster(cluster):
            if report.description is not None:
                source = f"the report of {report.hostname}"
                yield source, parse_cluster(report.description, source=source)[0]

    def failures(self, cluster: str) -> list[tuple[CollectorState, list[str]]]:
        """The collectors that fail in a cluster for one reason, each with its hosts; those of most hosts first."""
        hosts_by_text: dict[Any, list[str]] = {}
        for text, hostname in self._database.all_rows(_FAILING, cluster):
            hosts_by_text.setdefault(text, []).append(str(hostname))
        failures: dict[CollectorState, list[str]] = {}
        for text, hosts in hosts_by_text.items():
            for name, problem, advice in _read_failing(text):
                failures.setdefault(CollectorState(name, "fails", problem, advice), []).extend(hosts)
        return sorted(failures.items(), key=lambda failure: (-len(failure[1]), failure[0].name))

    def counts(self) -> dict[str, int]:
        """Numbers of nodes with a report by cluster, configured or not."""
        return {str(cluster): int(count) for cluster, count in self._database.all_rows(_COUNT_BY_CLUSTER)}

    def prune(self, now_s: int) -> int:
        """Remove reports of nodes from which nothing was heard for 90 days; how many."""
        return self._database.run_sql(_PRUNE, now_s - KEPT_S)


def _read(content: Any, description: Any, received_s: Any, changed_s: Any) -> NodeReport | None:
    try:
        report = parse_report({**json.loads(content), "description": json.loads(description)})
        return replace(report, received_s=int(received_s), changed_s=int(changed_s))
    except (ValueError, TypeError, InvalidInput):
        return None


def _read_failing(text: Any) -> list[tuple[str, str, str]]:
    try:
        return [(str(name), str(problem), str(advice)) for name, problem, advice in json.loads(text)]
    except (ValueError, TypeError):
        return []
