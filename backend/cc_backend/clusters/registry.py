"""Registry of all clusters of an installation, loaded from the job archive, with lookup by name and host."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from cc_backend.clusters.generations import GenerationStore, merge_started_with_current, restricted_metrics
from cc_backend.clusters.load import MAX_DOCUMENT_BYTES, parse_cluster
from cc_backend.clusters.model import Cluster, SubCluster
from cc_backend.errors import ArchiveError, InvalidInput, NotFound
from cc_backend.model import Job
from cc_common.error_codes import ErrorCode

logger = logging.getLogger(__name__)

_CACHE_SIZE = 1000


@dataclass(frozen=True, slots=True)
class _RegistryState:
    """Immutable state of a `ClusterRegistry`, replaced as a whole when the configuration changes."""

    clusters: dict[str, Cluster]
    generations: dict[str, int]
    earlier: GenerationStore | None
    as_started_cache: dict[tuple[str, str, int], SubCluster] = field(default_factory=dict)

    def sub_cluster_at_start(
        self, cluster: str, sub_cluster: str, generation: int, current: SubCluster | None
    ) -> SubCluster | None:
        """The subcluster in a generation, or, without that and a current one, in the newest generation that has it."""
        if self.earlier is None:
            return None
        earlier = self.earlier.load(generation) if generation else None
        if current is None and (earlier is None or sub_cluster not in earlier.sub_clusters):
            earlier = self.earlier.newest_with_sub_cluster(cluster, sub_cluster)
        return None if earlier is None else earlier.sub_clusters.get(sub_cluster)


class ClusterRegistry:
    """The configured clusters by name, in the order of their folders in the archive.

    `generations` are the numbers of their present configurations, and `earlier` reads previous ones, if there are any.
    """

    def __init__(
        self,
        clusters: Mapping[str, Cluster],
        *,
        generations: Mapping[str, int] | None = None,
        earlier: GenerationStore | None = None,
    ) -> None:
        self._state = _RegistryState(dict(clusters), dict(generations or {}), earlier)

    def __contains__(self, name: object) -> bool:
        return name in self._state.clusters

    def __iter__(self) -> Iterator[str]:
        return iter(self._state.clusters)

    def __len__(self) -> int:
        return len(self._state.clusters)

    def __getitem__(self, name: str) -> Cluster:
        return self._state.clusters[name]

    def replace_with(self, other: "ClusterRegistry") -> None:
        """Take the content of the other registry; users of this one see the change at their next call."""
        self._state = other.state

    @property
    def state(self) -> "_RegistryState":
        """Consistent state at one moment."""
        return self._state

    def generation(self, cluster: str) -> int:
        """The generation of a cluster's present configuration, 0 if unknown."""
        return self._state.generations.get(cluster, 0)

    def names(self) -> list[str]:
        """The names of all clusters."""
        return list(self._state.clusters)

    def items(self) -> Iterable[tuple[str, Cluster]]:
        """The clusters with their names."""
        return self._state.clusters.items()

    def get(self, name: str) -> Cluster:
        """The cluster of this name; raises NotFound if there is none."""
        cluster = self._state.clusters.get(name)
        if cluster is None:
            raise NotFound(f"there is no cluster {name!r}", code=ErrorCode.UNKNOWN_CLUSTER)
        return cluster

    def sub_cluster_of_job(self, job: Job) -> SubCluster:
        """The subcluster of a job, even if it was removed from the configuration since.

        Raises NotFound if no present or previous configuration has it.
        """
        found = self.sub_cluster_as_started(job.cluster, job.sub_cluster, job.cluster_config)
        if found is None:
            raise NotFound(f"no configuration of {job.cluster!r} is known that has the subcluster {job.sub_cluster!r}")
        return found

    def sub_cluster_as_started(self, cluster: str, sub_cluster: str, generation: int) -> SubCluster | None:
        """A subcluster for jobs that started with a generation (0 if unknown); None if no configuration has it."""
        state = self._state
        known = state.clusters.get(cluster)
        current = None if known is None else known.sub_clusters.get(sub_cluster)
        if current is not None and generation in (0, state.generations.get(cluster, 0)):
            return current
        key = (cluster, sub_cluster, generation)
        found = state.as_started_cache.get(key)
        if found is None:
            started = state.sub_cluster_at_start(cluster, sub_cluster, generation, current)
            found = current if started is None else merge_started_with_current(started, current)
            if found is not None and len(state.as_started_cache) < _CACHE_SIZE:
                state.as_started_cache[key] = found
        return found

    def ever_restricted_metrics(self, cluster: str) -> frozenset[str]:
        """The metrics of a cluster that its present or a previous configuration restricts to staff."""
        state = self._state
        present = restricted_metrics(state.clusters[cluster]) if cluster in state.clusters else frozenset[str]()
        return present if state.earlier is None else present | state.earlier.ever_restricted_metrics(cluster)

    def restriction_test(self, job: Job) -> Callable[[str], bool]:
        """A function of a metric: whether its values of this job are restricted to staff.

        The present configuration of the job's subcluster decides; a metric that it lacks is restricted if the cluster
        ever restricted it.
        """
        try:
            metrics = self.sub_cluster_of_job(job).metrics
        except NotFound:
            metrics = {}
        ever: list[frozenset[str]] = []

        def restricted(metric: str) -> bool:
            if metric in metrics:
                return metrics[metric].restrict
            if not ever:  # rare, and needs the database
                ever.append(self.ever_restricted_metrics(job.cluster))
            return metric in ever[0]

        return restricted

    def clusters_restricting_energy(self) -> frozenset[str]:
        """The clusters that restrict a metric from which the energy of their jobs is computed."""
        return frozenset(name for name, cluster in self.items() if _restricts_energy(cluster))

    def sub_cluster_for(self, cluster: str, host: str, given: str = "") -> SubCluster:
        """The subcluster of a host: the given one, else the first that lists the host, else the catch-all one.

        Raises InvalidInput if the cluster or the given subcluster is unknown, or no subcluster has the host.
        """
        found = self._state.clusters.get(cluster)
        if found is None:
            raise InvalidInput(f"cluster: there is no cluster {cluster!r}", code=ErrorCode.UNKNOWN_CLUSTER)
        if given:
            if given not in found.sub_clusters:
                raise InvalidInput(
                    f"subCluster: cluster {cluster!r} has no subcluster {given!r}", code=ErrorCode.UNKNOWN_SUBCLUSTER
                )
            return found.sub_clusters[given]
        sub_cluster = found.find_sub_cluster(host)
        if sub_cluster is None:
            raise InvalidInput(
                f"resources: no subcluster of {cluster!r} has the host {host!r}", code=ErrorCode.UNKNOWN_HOST
            )
        return sub_cluster


def _restricts_energy(cluster: Cluster) -> bool:
    tables = [cluster.metrics, *(sub_cluster.metrics for sub_cluster in cluster.sub_clusters.values())]
    return any(config.energy and config.restrict for table in tables for config in table.values())


def load_clusters(archive_root: Path) -> tuple[ClusterRegistry, list[str]]:
    """All clusters of a job archive, `<root>/<cluster>/cluster.json`, and warnings about lenient reading.

    Hidden folders are skipped. Raises ArchiveError that names the file if one is invalid.
    """
    try:
        folders = sorted(path for path in archive_root.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise ArchiveError(f"{archive_root}: the job archive cannot be listed: {error.strerror}") from error
    clusters: dict[str, Cluster] = {}
    warnings: list[str] = []
    for folder in folders:
        path = folder / "cluster.json"
        if not path.is_file():
            warnings.append(f"{folder}: has no cluster.json and is left out")
            continue
        cluster, notes = _load_cluster(path)
        warnings += notes
        if cluster.name != folder.name:
            warnings.append(f"{path}: is called {cluster.name!r}, unlike its folder; jobs are looked for by that name")
        if cluster.name in clusters:
            raise ArchiveError(f"{path}: there is another cluster {cluster.name!r} in this archive")
        clusters[cluster.name] = cluster
    logger.info("loaded clusters count=%d warnings=%d root=%s", len(clusters), len(warnings), archive_root)
    return ClusterRegistry(clusters), warnings


def _load_cluster(path: Path) -> tuple[Cluster, list[str]]:
    try:
        if path.stat().st_size > MAX_DOCUMENT_BYTES:
            raise ArchiveError(f"{path}: is larger than {MAX_DOCUMENT_BYTES >> 20} MiB")
        return parse_cluster(orjson.loads(path.read_bytes()), source=str(path))
    except OSError as error:
        raise ArchiveError(f"{path}: cannot be read: {error.strerror}") from error
    except orjson.JSONDecodeError as error:
        raise ArchiveError(f"{path}: is not JSON, line {error.lineno}, column {error.colno}: {error.msg}") from error
    except InvalidInput as error:
        raise ArchiveError(str(error)) from error
