"""Which scopes of a metric go into a job's archive."""

from cc_backend.clusters.model import MetricConfig
from cc_backend.model import Job, Scope

MAX_NODES_WITH_CORE_DATA = 8
"""Up to this many nodes a job keeps what is finer than a node, down to cores, if nothing else is configured."""


def archived_scopes(job: Job, metric: MetricConfig, limit: int = MAX_NODES_WITH_CORE_DATA) -> list[Scope]:
    """The scopes to load and keep, coarsest first; none for an accelerator metric of a job without accelerators.

    Always the node; for a job of at most `limit` nodes also the core, or what the metric is measured at if that is
    coarser; for an accelerator metric each accelerator, whatever the size of the job.
    """
    if metric.scope is Scope.ACCELERATOR:
        return [Scope.NODE, Scope.ACCELERATOR] if _has_accelerators(job) else []
    scopes = [Scope.NODE]
    fine = max(metric.scope, Scope.CORE, key=lambda scope: scope.rank)
    if job.num_nodes <= limit and fine is not Scope.NODE:
        scopes.append(fine)
    return scopes


def _has_accelerators(job: Job) -> bool:
    return job.num_acc > 0 or any(resource.accelerators for resource in job.resources)
