"""Lets a running server take over what changed in the cluster.json files."""

import logging

from cc_backend.clusters import ClusterRegistry, find_removals
from cc_backend.errors import ArchiveError, BackendError
from cc_backend.jobdata.store_tables import build_tables
from cc_backend.jobs.cluster_generations import describe_dependent_jobs
from cc_backend.services import Services

logger = logging.getLogger(__name__)


def reload_clusters(services: Services) -> bool:
    """Take over the cluster.json files if one changed; says whether something was taken over.

    A file that cannot be used is told in the log, once, and everything stays as it was. So does a cluster whose file is
    gone, until the next start: an archive that is not mounted for a moment must not stop samples from being taken.
    What leaves is told in the log, too, with the jobs that depend on it; they keep what they started with.
    While the store is restoring this waits, so that nothing is restored by two rules.
    """
    if services.store.restoring:
        return False
    if not services.cluster_files.have_changed():
        _drop_unused_tables(services)
        return False
    try:
        read, warnings = services.cluster_files.read()
    except ArchiveError as error:
        logger.error("cluster configuration changed and cannot be used, the old one stays: %s", error)  # noqa: TRY400
        return False
    for warning in warnings:
        logger.warning("cluster configuration: %s", warning)
    try:
        clusters = _apply(services, read)
    except BackendError:
        services.cluster_files.mark_changed()  # the database is away: once more at the next look
        raise
    logger.info("took over cluster configuration clusters=%s", ",".join(clusters.names()))
    return True


def _apply(services: Services, read: ClusterRegistry) -> ClusterRegistry:
    gone = {name: services.clusters[name] for name in services.clusters if name not in read}
    every = {**dict(read.items()), **gone}
    numbers = services.cluster_generations.record(every, now_s=services.now_s())
    clusters = ClusterRegistry(every, generations=numbers, earlier=services.cluster_generations)
    notes = [
        line
        for name, before in services.clusters.items()
        for line in describe_dependent_jobs(services.database, find_removals(before, clusters[name]))
    ]
    _reload_store(services, clusters)
    services.clusters.replace_with(clusters)
    for name in gone:
        logger.warning("cluster configuration: the file of %r is gone; the cluster stays until the next start", name)
    for note in notes:
        logger.warning("cluster configuration: %s; they keep what they started with", note)
    return clusters


def _drop_unused_tables(services: Services) -> None:
    """Take no more samples of what has left the configuration once no job needs them."""
    if services.tables_in_use is not None:
        _reload_store(services, services.clusters)


def _reload_store(services: Services, clusters: ClusterRegistry) -> None:
    wanted, plain = build_tables(clusters, services.cluster_generations.hosts_in_use()), build_tables(clusters)
    if services.tables_in_use != wanted or wanted == plain:
        services.store.reload(wanted[0], host_table=wanted[1])
    services.tables_in_use = None if wanted == plain else wanted
