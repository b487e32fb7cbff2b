"""Which nodes of a cluster report, for those who look after it: before the first job there is nothing else to see."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import tzinfo

from cc_backend.clusters import Cluster
from cc_backend.metricstore import Reason, UnknownName
from cc_backend.wording.format import count, duration, moment, number
from cc_common.hostlist import fold

SLOTS = 3
"""A node reports if its newest sample is at most so many timesteps of its fastest metric old."""
MIN_WINDOW_S = 120
MOST_SILENT = 8
MOST_UNKNOWN = 20
LONGEST_LIST = 400
"""Characters of one list of nodes."""


@dataclass(frozen=True, slots=True)
class SilentNodes:
    """Nodes without samples, and since when in words."""

    names: str
    since: str


@dataclass(frozen=True, slots=True)
class ReportingNodes:
    """The nodes of a cluster in words, those that are silent, and what the scheduler says of them."""

    cluster: str
    words: str
    all_report: bool
    silent: tuple[SilentNodes, ...] = ()
    more_silent: int = 0
    scheduler: str = ""


def reporting_nodes(
    cluster: Cluster,
    last_seen_s: Mapping[str, int],
    *,
    now_s: int,
    states: Mapping[str, int] | None = None,
    zone: tzinfo | None = None,
) -> ReportingNodes:
    """What to say of a cluster: `last_seen_s` is the newest sample of each host, `states` counts by scheduler state."""
    window_s = window_of(cluster)
    listed = list(dict.fromkeys(host for sub in cluster.sub_clusters.values() for host in sub.hosts))
    hosts = listed or sorted(last_seen_s)
    silent = [host for host in hosts if last_seen_s.get(host, 0) < now_s - window_s]
    heard = len(hosts) - len(silent)
    known = f"{number(heard)} of {count(len(hosts), 'node')}" if listed else count(heard, "node")
    groups = _groups(silent, last_seen_s, now_s=now_s, zone=zone)
    return ReportingNodes(
        cluster.name,
        f"{known} reported in the last {duration(window_s)}",
        all_report=bool(hosts) and not silent,
        silent=tuple(group for group, _ in groups[:MOST_SILENT]),
        more_silent=sum(size for _, size in groups[MOST_SILENT:]),
        scheduler=", ".join(f"{number(n)} {state}" for state, n in sorted((states or {}).items())),
    )


def window_of(cluster: Cluster) -> int:
    """How old the newest sample of a node that reports may be, in seconds."""
    timesteps = [metric.timestep_s for sub in cluster.sub_clusters.values() for metric in sub.metrics.values()]
    return max(MIN_WINDOW_S, SLOTS * min(timesteps, default=0))


def _groups(
    silent: Iterable[str], last_seen_s: Mapping[str, int], *, now_s: int, zone: tzinfo | None
) -> list[tuple[SilentNodes, int]]:
    """The silent nodes, those that fell silent last first and together what fell silent in the same minute."""
    by_minute: dict[int, list[str]] = {}
    for host in silent:
        by_minute.setdefault(last_seen_s.get(host, 0) // 60 * 60, []).append(host)
    return [
        (
            SilentNodes(
                _short(fold(hosts)), f"last heard of {moment(at_s, zone, now_s=now_s)}" if at_s else "never heard of"
            ),
            len(hosts),
        )
        for at_s, hosts in sorted(by_minute.items(), reverse=True)
    ]


def _short(names: str) -> str:
    return names if len(names) <= LONGEST_LIST else f"{names[:LONGEST_LIST]}\N{HORIZONTAL ELLIPSIS}"


def unknown_words(seen: Iterable[tuple[Reason, UnknownName]]) -> tuple[list[str], int]:
    """Sentences about names that came and are not configured, the newest first, and how many more there are."""
    lines = [
        f"{_WHAT[reason]} {name.name}"
        + (f" of {name.cluster}" if name.cluster else "")
        + (f": did you mean {name.nearest}?" if name.nearest else "")
        for reason, name in seen
        if reason in _WHAT
    ]
    lines.reverse()
    return lines[:MOST_UNKNOWN], max(0, len(lines) - MOST_UNKNOWN)


_WHAT = {Reason.UNKNOWN_CLUSTER: "cluster", Reason.UNKNOWN_METRIC: "metric", Reason.UNKNOWN_HOST: "node"}
