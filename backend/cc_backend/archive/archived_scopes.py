"""The scopes of a metric that are archived with a job."""

from cc_backend.clusters.model import MetricConfig
from cc_backend.model import Job, Scope

MAX_NODES_WITH_CORE_DATA = 8
"""Default maximum of nodes of a job whose samples are archived at finer scopes than the node, down to cores."""


def archived_scopes(job: Job, metric: MetricConfig, limit: int = MAX_NODES_WITH_CORE_DATA) -> list[Scope]:
    """The scopes to load and archive, coarsest first; none for an accelerator metric of a job without accelerators.

    Always the node; for a job of at most `limit` nodes also the core, or the native scope of the metric if that is
    coarser; for an accelerator metric also each accelerator, regardless of the size of the job.
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
