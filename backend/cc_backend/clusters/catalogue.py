"""All clusters of an installation: found in the job archive, asked by name and by host."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import orjson

from cc_backend.clusters.load import parse_cluster
from cc_backend.clusters.model import Cluster, SubCluster
from cc_backend.errors import ArchiveError, InvalidInput, NotFound
from cc_common.errorcodes import ErrorCode

logger = logging.getLogger(__name__)

_LARGEST_DOCUMENT_BYTES = 16 << 20


class Clusters:
    """The configured clusters by name, in the order of their names in the archive."""

    def __init__(self, clusters: Mapping[str, Cluster]) -> None:
        self._clusters = dict(clusters)

    def __contains__(self, name: object) -> bool:
        return name in self._clusters

    def __iter__(self) -> Iterator[str]:
        return iter(self._clusters)

    def __len__(self) -> int:
        return len(self._clusters)

    def __getitem__(self, name: str) -> Cluster:
        return self._clusters[name]

    def take_over(self, other: "Clusters") -> None:
        """Be what the other one is; for whoever holds this one already, clusters change from one call to the next."""
        self._clusters = {name: other[name] for name in other}

    def names(self) -> list[str]:
        """The names of all clusters."""
        return list(self._clusters)

    def get(self, name: str) -> Cluster:
        """The cluster of this name; raises NotFound if there is none."""
        cluster = self._clusters.get(name)
        if cluster is None:
            raise NotFound(f"there is no cluster {name!r}", code=ErrorCode.UNKNOWN_CLUSTER)
        return cluster

    def sub_cluster_for(self, cluster: str, host: str, given: str = "") -> SubCluster:
        """The subcluster of a host: the given one, else the first that lists the host, else the one for all.

        Raises InvalidInput if the cluster or the given subcluster is unknown, or no subcluster has the host.
        """
        found = self._clusters.get(cluster)
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


def load_clusters(archive_root: Path) -> tuple[Clusters, list[str]]:
    """All clusters of a job archive, `<root>/<cluster>/cluster.json`, and warnings about what was read leniently.

    Hidden folders are no clusters. Raises ArchiveError that names the file if one cannot be used.
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
    return Clusters(clusters), warnings


def metric_table(clusters: Clusters) -> dict[str, dict[str, tuple[int, str]]]:
    """Cluster -> metric -> (seconds between samples, aggregation), for a metric store."""
    return {
        name: {metric: (config.timestep_s, config.aggregation) for metric, config in clusters[name].metrics.items()}
        for name in clusters
    }


def _load_cluster(path: Path) -> tuple[Cluster, list[str]]:
    try:
        if path.stat().st_size > _LARGEST_DOCUMENT_BYTES:
            raise ArchiveError(f"{path}: is larger than {_LARGEST_DOCUMENT_BYTES >> 20} MiB")
        return parse_cluster(orjson.loads(path.read_bytes()), source=str(path))
    except OSError as error:
        raise ArchiveError(f"{path}: cannot be read: {error.strerror}") from error
    except orjson.JSONDecodeError as error:
        raise ArchiveError(f"{path}: is no JSON, line {error.lineno}, column {error.colno}: {error.msg}") from error
    except InvalidInput as error:
        raise ArchiveError(str(error)) from error
