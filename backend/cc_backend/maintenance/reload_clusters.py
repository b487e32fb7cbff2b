"""Reloads changed cluster.json files in a running server."""

import logging

from cc_backend.clusters import ClusterRegistry, find_removals
from cc_backend.errors import ArchiveError, BackendError
from cc_backend.jobdata.store_tables import build_tables
from cc_backend.jobs.cluster_generations import describe_dependent_jobs
from cc_backend.services import Services

logger = logging.getLogger(__name__)


def reload_clusters(services: Services) -> bool:
    """Reload the cluster.json files if one changed; returns whether the new configuration was applied.

    If a file is invalid, that is logged once and the old configuration stays. A cluster whose file is missing stays
    until the next start: a temporarily unmounted archive must not stop samples from being accepted. Removed parts are
    logged with the jobs that depend on them; these jobs keep the configuration they started with.
    Nothing is reloaded while the store is restoring, as all samples must be restored by the same rules.
    """
    if services.store.restoring:
        return False
    if not services.cluster_files.have_changed():
        _drop_unused_tables(services)
        return False
    try:
        loaded, warnings = services.cluster_files.read()
    except ArchiveError as error:
        logger.error("cluster configuration changed and cannot be used, the old one stays: %s", error)  # noqa: TRY400
        return False
    for warning in warnings:
        logger.warning("cluster configuration: %s", warning)
    try:
        clusters = _apply(services, loaded)
    except BackendError:
        services.cluster_files.mark_changed()  # the database is unavailable: try again at the next call
        raise
    logger.info("took over cluster configuration clusters=%s", ",".join(clusters.names()))
    return True


def _apply(services: Services, loaded: ClusterRegistry) -> ClusterRegistry:
    missing = {name: services.clusters[name] for name in services.clusters if name not in loaded}
    merged = {**dict(loaded.items()), **missing}
    numbers = services.cluster_generations.record(merged, now_s=services.now_s())
    clusters = ClusterRegistry(merged, generations=numbers, earlier=services.cluster_generations)
    notes = [
        line
        for name, before in services.clusters.items()
        for line in describe_dependent_jobs(services.database, find_removals(before, clusters[name]))
    ]
    _reload_store(services, clusters)
    services.clusters.replace_with(clusters)
    for name in missing:
        logger.warning("cluster configuration: the file of %r is missing; the cluster stays until the next start", name)
    for note in notes:
        logger.warning("cluster configuration: %s; they keep what they started with", note)
    return clusters


def _drop_unused_tables(services: Services) -> None:
    """Stop accepting samples of removed metrics and hosts once no job needs them."""
    if services.tables_in_use is not None:
        _reload_store(services, services.clusters)


def _reload_store(services: Services, clusters: ClusterRegistry) -> None:
    wanted, plain = build_tables(clusters, services.cluster_generations.hosts_in_use()), build_tables(clusters)
    if services.tables_in_use != wanted or wanted == plain:
        services.store.reload(wanted[0], host_table=wanted[1])
    services.tables_in_use = None if wanted == plain else wanted
