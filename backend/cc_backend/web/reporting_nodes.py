"""Which nodes of a cluster report samples, in words for its administrators."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo

from cc_backend.clusters import Cluster
from cc_backend.jobs.node_reports import CollectorState
from cc_backend.metricstore import RejectReason, UnknownName
from cc_backend.wording.format import count_noun, format_duration, format_moment, format_number
from cc_common.hostlist import fold

MAX_SILENT_TIMESTEPS = 3
"""Maximum age of the newest sample of a reporting node, in timesteps of its fastest metric."""
MIN_WINDOW_S = 120
MAX_SILENT_GROUPS = 8
MAX_UNKNOWN_NAMES = 20
MAX_FAILURES = 8
MAX_LIST_CHARACTERS = 400
"""Maximum characters of one list of nodes."""


@dataclass(frozen=True, slots=True)
class SilentNodes:
    """Nodes that are silent, and since when, in words."""

    names: str
    since: str


@dataclass(frozen=True, slots=True)
class ReportingNodes:
    """How many nodes of a cluster report, which are silent, and their states by the scheduler, in words."""

    cluster: str
    words: str
    all_report: bool
    silent: tuple[SilentNodes, ...] = ()
    more_silent: int = 0
    scheduler: str = ""


@dataclass(frozen=True, slots=True)
class FailingSensors:
    """Sensors of a cluster that fail for one reason: where, why, and what to do."""

    cluster: str
    collector: str
    names: str
    problem: str
    advice: str


def describe_failing_sensors(
    cluster: str, failures: Sequence[tuple[CollectorState, Sequence[str]]]
) -> tuple[tuple[FailingSensors, ...], int]:
    """What the agents of a cluster cannot read, the most frequent first, and how many more there are."""
    shown = tuple(
        FailingSensors(
            cluster,
            collector.name,
            f"{_truncate(fold(hosts))} ({count_noun(len(hosts), 'node')})",
            collector.problem,
            collector.advice,
        )
        for collector, hosts in failures[:MAX_FAILURES]
    )
    return shown, len(failures) - len(shown)


def describe_reporting_nodes(
    cluster: Cluster,
    last_seen_s: Mapping[str, int],
    *,
    now_s: int,
    states: Mapping[str, int] | None = None,
    zone: tzinfo | None = None,
) -> ReportingNodes:
    """The report on a cluster: `last_seen_s` is the newest sample of each host, `states` counts by scheduler state."""
    window_s = reporting_window_s(cluster)
    listed = list(dict.fromkeys(host for sub in cluster.sub_clusters.values() for host in sub.hosts))
    hosts = listed or sorted(last_seen_s)
    silent = [host for host in hosts if last_seen_s.get(host, 0) < now_s - window_s]
    heard = len(hosts) - len(silent)
    known = f"{format_number(heard)} of {count_noun(len(hosts), 'node')}" if listed else count_noun(heard, "node")
    groups = _group_silent_nodes(silent, last_seen_s, now_s=now_s, zone=zone)
    return ReportingNodes(
        cluster.name,
        f"{known} reported in the last {format_duration(window_s)}",
        all_report=bool(hosts) and not silent,
        silent=tuple(group for group, _ in groups[:MAX_SILENT_GROUPS]),
        more_silent=sum(size for _, size in groups[MAX_SILENT_GROUPS:]),
        scheduler=", ".join(f"{format_number(n)} {state}" for state, n in sorted((states or {}).items())),
    )


def reporting_window_s(cluster: Cluster) -> int:
    """Maximum age of the newest sample of a reporting node, in seconds."""
    timesteps = [metric.timestep_s for sub in cluster.sub_clusters.values() for metric in sub.metrics.values()]
    return max(MIN_WINDOW_S, MAX_SILENT_TIMESTEPS * min(timesteps, default=0))


def _group_silent_nodes(
    silent: Iterable[str], last_seen_s: Mapping[str, int], *, now_s: int, zone: tzinfo | None
) -> list[tuple[SilentNodes, int]]:
    """Groups of nodes that fell silent in the same minute, the latest first, each with its size."""
    by_minute: dict[int, list[str]] = {}
    for host in silent:
        by_minute.setdefault(last_seen_s.get(host, 0) // 60 * 60, []).append(host)
    return [
        (
            SilentNodes(
                _truncate(fold(hosts)),
                f"last heard of {format_moment(at_s, zone, now_s=now_s)}" if at_s else "never heard of",
            ),
            len(hosts),
        )
        for at_s, hosts in sorted(by_minute.items(), reverse=True)
    ]


def _truncate(names: str) -> str:
    return names if len(names) <= MAX_LIST_CHARACTERS else f"{names[:MAX_LIST_CHARACTERS]}\N{HORIZONTAL ELLIPSIS}"


def describe_unknown_names(seen: Iterable[tuple[RejectReason, UnknownName]]) -> tuple[list[str], int]:
    """Sentences about received names that are not configured, newest first, at most 20; and the number of others."""
    lines = [
        f"{_KINDS[reason]} {name.name}"
        + (f" of {name.cluster}" if name.cluster else "")
        + (f": did you mean {name.nearest}?" if name.nearest else "")
        for reason, name in seen
        if reason in _KINDS
    ]
    lines.reverse()
    return lines[:MAX_UNKNOWN_NAMES], max(0, len(lines) - MAX_UNKNOWN_NAMES)


_KINDS = {
    RejectReason.UNKNOWN_CLUSTER: "cluster",
    RejectReason.UNKNOWN_METRIC: "metric",
    RejectReason.UNKNOWN_HOST: "node",
}
