"""Lets a running server take over what changed in the cluster.json files."""

import logging

from cc_backend.clusters import Clusters
from cc_backend.errors import ArchiveError
from cc_backend.services import Services
from cc_backend.storetable import node_table, store_table

logger = logging.getLogger(__name__)


def reload_clusters(services: Services) -> bool:
    """Take over the cluster.json files if one changed; says whether something was taken over.

    A file that cannot be used is told in the log, once, and everything stays as it was. So does a cluster whose file is
    gone, until the next start: an archive that is not mounted for a moment must not stop samples from being taken.
    While the store is restoring this waits, so that nothing is restored by two rules.
    """
    if services.store.restoring or not services.cluster_files.changed():
        return False
    try:
        read, warnings = services.cluster_files.read()
    except ArchiveError as error:
        logger.error("cluster configuration changed and cannot be used, the old one stays: %s", error)  # noqa: TRY400
        return False
    for warning in warnings:
        logger.warning("cluster configuration: %s", warning)
    gone = {name: services.clusters[name] for name in services.clusters if name not in read}
    for name in gone:
        logger.warning("cluster configuration: the file of %r is gone; the cluster stays until the next start", name)
    clusters = Clusters({**{name: read[name] for name in read}, **gone})
    services.store.reload(store_table(clusters), nodes=node_table(clusters))
    services.clusters.take_over(clusters)
    logger.info("took over cluster configuration clusters=%s", ",".join(clusters.names()))
    return True
