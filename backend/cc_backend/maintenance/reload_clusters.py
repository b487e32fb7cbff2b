"""Lets a running server take over what changed in the cluster.json files."""

import logging

from cc_backend.clusters import Clusters, departures
from cc_backend.errors import ArchiveError, BackendError
from cc_backend.jobdata.store_tables import tables
from cc_backend.jobs.cluster_generations import dependents
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
    if not services.cluster_files.changed():
        _let_go(services)
        return False
    try:
        read, warnings = services.cluster_files.read()
    except ArchiveError as error:
        logger.error("cluster configuration changed and cannot be used, the old one stays: %s", error)  # noqa: TRY400
        return False
    for warning in warnings:
        logger.warning("cluster configuration: %s", warning)
    try:
        clusters = _taken_over(services, read)
    except BackendError:
        services.cluster_files.forget()  # the database is away: once more at the next look
        raise
    logger.info("took over cluster configuration clusters=%s", ",".join(clusters.names()))
    return True


def _taken_over(services: Services, read: Clusters) -> Clusters:
    gone = {name: services.clusters[name] for name in services.clusters if name not in read}
    every = {**dict(read.items()), **gone}
    numbers = services.generations.record(every, now_s=services.now_s())
    clusters = Clusters(every, generations=numbers, earlier=services.generations)
    notes = [
        line
        for name, before in services.clusters.items()
        for line in dependents(services.database, departures(before, clusters[name]))
    ]
    _reload_store(services, clusters)
    services.clusters.take_over(clusters)
    for name in gone:
        logger.warning("cluster configuration: the file of %r is gone; the cluster stays until the next start", name)
    for note in notes:
        logger.warning("cluster configuration: %s; they keep what they started with", note)
    return clusters


def _let_go(services: Services) -> None:
    """Take no more samples of what has left the configuration once no job needs them."""
    if services.held_tables is not None:
        _reload_store(services, services.clusters)


def _reload_store(services: Services, clusters: Clusters) -> None:
    wanted, plain = tables(clusters, services.generations.held()), tables(clusters)
    if services.held_tables != wanted or wanted == plain:
        services.store.reload(wanted[0], nodes=wanted[1])
    services.held_tables = None if wanted == plain else wanted
