"""The metrics that the store keeps: one table for all clusters."""

from collections.abc import Iterator, Mapping

from cc_backend.metricstore import MetricSpec, MetricTable
from cc_backend.storeservice.settings import StoreServiceSettings

_ANY = "*"


class AnyCluster(Mapping[str, Mapping[str, MetricSpec]]):
    """A table in which every name is a cluster with the same metrics; iterating gives the single key `*`."""

    def __init__(self, metrics: Mapping[str, MetricSpec]) -> None:
        self._metrics = metrics

    def __getitem__(self, cluster: str) -> Mapping[str, MetricSpec]:
        return self._metrics

    def __contains__(self, cluster: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter((_ANY,))

    def __len__(self) -> int:
        return 1


def metric_table(settings: StoreServiceSettings) -> MetricTable:
    """The metric table of the settings: for the clusters that they name, or for any cluster."""
    metrics = {
        name: MetricSpec(metric.frequency, metric.aggregation or "") for name, metric in settings.metrics.items()
    }
    if settings.main.clusters:
        return dict.fromkeys(settings.main.clusters, metrics)
    return AnyCluster(metrics)
