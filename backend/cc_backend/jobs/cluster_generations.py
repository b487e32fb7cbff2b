"""History of the cluster configurations, kept in the job database, and the jobs that depend on each."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import peewee

from cc_backend.clusters import Cluster, ClusterRegistry, HostsInUse, Removals, parse_cluster
from cc_backend.clusters.generations import content_digest, restricted_metrics
from cc_backend.db.database import Database
from cc_backend.errors import InvalidInput
from cc_backend.jobs.tables import UNARCHIVED, ClusterConfigRow, JobHostRow, JobRow
from cc_backend.model import JobState

logger = logging.getLogger(__name__)

_CACHE_SIZE = 64
_MAX_GENERATIONS_READ = 1000
_HOSTS_PER_QUERY = 1000
_MAX_NAMES_SHOWN = 5
_RUNNING = JobRow.state == str(JobState.RUNNING)


@dataclass(frozen=True, slots=True)
class DependentJobs:
    """Numbers of running, waiting (to be archived) and finished jobs."""

    running: int = 0
    waiting: int = 0
    finished: int = 0

    def __bool__(self) -> bool:
        return bool(self.running or self.waiting or self.finished)

    def __str__(self) -> str:
        return f"{self.running} running, {self.waiting} not archived yet, {self.finished} archived"


@dataclass(frozen=True, slots=True)
class GenerationEntry:
    """A generation of a cluster: when it was first seen, and how many jobs started with it."""

    id: int
    first_seen_s: int
    jobs: int


class ClusterGenerations:
    """The generations of each cluster.json: its distinct contents, each with a number."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.load = lru_cache(maxsize=_CACHE_SIZE)(self._load)
        """The cluster as configured in a generation, None if that is unknown; cached."""

    def record(self, clusters: Mapping[str, Cluster] | ClusterRegistry, *, now_s: int) -> dict[str, int]:
        """The generation of each of these clusters by name; a new content gets a new number."""
        digests = {name: content_digest(clusters[name]) for name in clusters}
        with self._database.write():
            for name, digest in digests.items():
                ClusterConfigRow.insert(
                    cluster=name, digest=digest, document=clusters[name].document, first_seen_s=now_s
                ).on_conflict_ignore().execute(self._database)
            query = ClusterConfigRow.select(ClusterConfigRow.id, ClusterConfigRow.cluster, ClusterConfigRow.digest)
            query = query.where(ClusterConfigRow.digest.in_(list(digests.values())))
            found = {(name, digest): id_ for id_, name, digest in query.tuples().execute(self._database)}
        return {name: found[name, digest] for name, digest in digests.items()}

    def entries(self, cluster: str) -> list[GenerationEntry]:
        """The generations of a cluster, newest first, at most 1000."""
        ids = self._newest_ids(cluster)
        jobs = peewee.fn.COUNT(JobRow.id)
        query = JobRow.select(JobRow.cluster_config, jobs).where(JobRow.cluster == cluster)
        counts = dict(query.group_by(JobRow.cluster_config).tuples().execute(self._database))
        seen = ClusterConfigRow.select(ClusterConfigRow.id, ClusterConfigRow.first_seen_s)
        times = dict(seen.where(ClusterConfigRow.id.in_(ids)).tuples().execute(self._database))
        return [GenerationEntry(id_, times[id_], counts.get(id_, 0)) for id_ in ids]

    def newest_with_sub_cluster(self, cluster: str, sub_cluster: str) -> Cluster | None:
        """The newest configuration of a cluster that has this subcluster, None if none has."""
        return next((found for found in self._newest_first(cluster) if sub_cluster in found.sub_clusters), None)

    def ever_restricted_metrics(self, cluster: str) -> frozenset[str]:
        """The metrics of a cluster that any of its configurations restricts to staff."""
        return frozenset().union(*map(restricted_metrics, self._newest_first(cluster)))

    def hosts_in_use(self) -> list[HostsInUse]:
        """The hosts of running and unarchived jobs by cluster, subcluster and generation of the jobs, sorted."""
        hosts: defaultdict[tuple[str, str, int], set[str]] = defaultdict(set)
        for which in (_RUNNING, UNARCHIVED):
            query = (
                JobRow.select(JobRow.cluster, JobRow.sub_cluster, JobRow.cluster_config, JobHostRow.hostname)
                .join(JobHostRow, on=JobHostRow.job == JobRow.id)
                .where(which)
                .distinct()
            )
            for cluster, sub_cluster, generation, host in self._database.raw_rows(query):
                if isinstance(cluster, str) and isinstance(sub_cluster, str) and isinstance(host, str):
                    hosts[cluster, sub_cluster, generation if isinstance(generation, int) else 0].add(host)
        return [HostsInUse(*key, frozenset(names)) for key, names in sorted(hosts.items())]

    def _newest_first(self, cluster: str) -> Iterator[Cluster]:
        """The configurations of a cluster, newest first, at most 1000."""
        return (found for found in map(self.load, self._newest_ids(cluster)) if found is not None)

    def _newest_ids(self, cluster: str) -> Sequence[int]:
        query = (
            ClusterConfigRow.select(ClusterConfigRow.id)
            .where(ClusterConfigRow.cluster == cluster)
            .order_by(ClusterConfigRow.id.desc())
            .limit(_MAX_GENERATIONS_READ)
        )
        return [id_ for (id_,) in query.tuples().execute(self._database)]

    def _load(self, generation: int) -> Cluster | None:
        query = ClusterConfigRow.select(ClusterConfigRow.document).where(ClusterConfigRow.id == generation)
        document: Any = query.scalar(self._database)
        if document is None:
            return None
        try:
            return parse_cluster(document, source=f"cluster configuration {generation}")[0]
        except InvalidInput as error:  # written by another version of this program
            logger.error("cluster configuration cannot be used id=%d reason=%s", generation, error)  # noqa: TRY400
            return None


def describe_dependent_jobs(database: Database, removals: Removals) -> list[str]:
    """A line for each removed subcluster, metric and group of hosts that jobs depend on."""
    counts = _count_by_sub_cluster(database, removals.cluster)
    lines = [
        f"subcluster {name!r} of {removals.cluster!r} leaves; jobs there: {counts[name]}"
        for name in removals.sub_clusters
        if counts.get(name)
    ]
    metrics: defaultdict[str, list[str]] = defaultdict(list)
    for name, metric in removals.metrics:
        metrics[name].append(metric)
    lines += [
        f"{_first_names('metric', names)} of subcluster {name!r} of {removals.cluster!r} "
        f"{'leaves' if len(names) == 1 else 'leave'}; jobs there: {counts[name]}"
        for name, names in metrics.items()
        if counts.get(name)
    ]
    if used := _count_running_by_host(database, removals.cluster, removals.hosts):
        lines.append(
            f"{_first_names('host', sorted(used))} of {removals.cluster!r} {'leaves' if len(used) == 1 else 'leave'}; "
            f"running jobs there: {sum(used.values())}"
        )
    return lines


def _first_names(what: str, names: list[str]) -> str:
    shown = ", ".join(names[:_MAX_NAMES_SHOWN]) + (
        f" and {len(names) - _MAX_NAMES_SHOWN} more" if len(names) > _MAX_NAMES_SHOWN else ""
    )
    return f"{what}{'' if len(names) == 1 else 's'} {shown}"


def _count_by_sub_cluster(database: Database, cluster: str) -> dict[str, DependentJobs]:
    waiting = peewee.Case(None, ((UNARCHIVED, 1),), 0)
    query = (
        JobRow.select(
            JobRow.sub_cluster,
            peewee.fn.COUNT(JobRow.id),
            peewee.fn.SUM(peewee.Case(None, ((_RUNNING, 1),), 0)),
            peewee.fn.SUM(waiting),
        )
        .where(JobRow.cluster == cluster)
        .group_by(JobRow.sub_cluster)
    )
    return {
        name: DependentJobs(running, queued, total - running - queued)
        for name, total, running, queued in query.tuples().execute(database)
    }


def _count_running_by_host(database: Database, cluster: str, hosts: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    names = list(hosts)
    for at in range(0, len(names), _HOSTS_PER_QUERY):
        query = (
            JobHostRow.select(JobHostRow.hostname, peewee.fn.COUNT(JobRow.id))
            .join(JobRow, on=JobHostRow.job == JobRow.id)
            .where(_RUNNING, JobRow.cluster == cluster, JobHostRow.hostname.in_(names[at : at + _HOSTS_PER_QUERY]))
            .group_by(JobHostRow.hostname)
        )
        found.update(dict(query.tuples().execute(database)))
    return found
