"""Configuration of clusters: metrics with thresholds, and nodes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from cc_backend.clusters.topology import NodeTopology
from cc_backend.errors import NotFound
from cc_backend.model import MetricUnit, Scope
from cc_common.error_codes import ErrorCode
from cc_common.hostlist import HostSet

Aggregation = Literal["sum", "avg", ""]
FootprintStatistic = Literal["avg", "min", "max", ""]
EnergyKind = Literal["power", "energy", ""]

CATCH_ALL = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class OverridableConfig:
    """Fields that a metric and its entries for subclusters share; missing keys are 0, empty or false."""

    peak: float = 0.0
    normal: float = 0.0
    caution: float = 0.0
    alert: float = 0.0
    footprint: FootprintStatistic = ""
    energy: EnergyKind = ""
    lower_is_better: bool = False
    restrict: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricConfig(OverridableConfig):
    """Configuration of a metric in a cluster or subcluster: how it is measured, and its thresholds."""

    name: str
    unit: MetricUnit
    scope: Scope
    timestep_s: int
    aggregation: Aggregation = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Override(OverridableConfig):
    """A metric's entry for one subcluster."""

    sub_cluster: str
    remove: bool = False


@dataclass(frozen=True, slots=True)
class MetricEntry:
    """A metric of the cluster with its entries for single subclusters."""

    config: MetricConfig
    overrides: tuple[Override, ...] = ()

    def effective_in(self, name: str) -> MetricConfig | None:
        """The effective metric in a subcluster, None if it is removed there.

        An entry replaces all of thresholds, footprint, energy, direction and restriction, including those it omits,
        as other readers of the same file do.
        """
        entry = next((override for override in self.overrides if override.sub_cluster == name), None)
        if entry is None:
            return self.config
        if entry.remove:
            return None
        return replace(self.config, **{item.name: getattr(entry, item.name) for item in fields(OverridableConfig)})


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with its unit."""

    unit: MetricUnit
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SubCluster:
    """Nodes of one type; `metrics` are the effective ones here, in file order, `job_metrics` those of single jobs."""

    name: str
    nodes: str
    hosts: HostSet
    processor_type: str
    sockets_per_node: int
    cores_per_socket: int
    threads_per_core: int
    flop_rate_scalar: Quantity
    flop_rate_simd: Quantity
    memory_bandwidth: Quantity
    topology: NodeTopology
    metrics: Mapping[str, MetricConfig]
    job_metrics: Mapping[str, MetricConfig] = field(default_factory=dict)

    @property
    def is_catch_all(self) -> bool:
        """Whether its node list has `*`, which matches every host that no other subcluster lists."""
        return self.hosts.wildcard

    @property
    def all_metrics(self) -> dict[str, MetricConfig]:
        """The metrics, and those of single jobs."""
        return {**self.metrics, **{name: job for name, job in self.job_metrics.items() if name not in self.metrics}}

    @property
    def footprint_metrics(self) -> tuple[str, ...]:
        """The metrics of a job's footprint here."""
        return tuple(name for name, metric in self.metrics.items() if metric.footprint)

    @property
    def energy_metrics(self) -> tuple[str, ...]:
        """The metrics from which a job's energy is computed here."""
        return tuple(name for name, metric in self.metrics.items() if metric.energy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """One cluster; `document` is its JSON object in the API."""

    name: str
    metrics: Mapping[str, MetricConfig]
    sub_clusters: Mapping[str, SubCluster]
    document: Mapping[str, Any] = field(repr=False)
    job_metrics: Mapping[str, MetricConfig] = field(default_factory=dict)

    @property
    def all_metrics(self) -> dict[str, MetricConfig]:
        """The metrics, and those of single jobs."""
        return {**self.job_metrics, **self.metrics}

    def sub_cluster(self, name: str) -> SubCluster:
        """The subcluster of this name; raises NotFound if there is none."""
        try:
            return self.sub_clusters[name]
        except KeyError:
            raise NotFound(
                f"the cluster '{self.name}' has no subcluster '{name}'", code=ErrorCode.UNKNOWN_SUBCLUSTER
            ) from None

    def find_sub_cluster(self, host: str) -> SubCluster | None:
        """The first subcluster that lists the host, else the first catch-all one, else None."""
        catch_all = None
        for sub_cluster in self.sub_clusters.values():
            if sub_cluster.is_catch_all:
                catch_all = catch_all or sub_cluster
            elif host in sub_cluster.hosts:
                return sub_cluster
        return catch_all
