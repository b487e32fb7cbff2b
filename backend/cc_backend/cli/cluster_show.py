"""`cluster show`: what is configured for a cluster, with all derived values."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from cc_backend.archive.file_archive import FileArchive
from cc_backend.cli.common import (
    DEFAULT_CONFIG,
    Config,
    format_local_time,
    load_config,
    nearest_name_hint,
    opened_database,
    print_table,
)
from cc_backend.clusters import Cluster, ClusterRegistry, MetricConfig, SubCluster, load_clusters
from cc_backend.errors import InvalidInput, NotFound
from cc_backend.insight.metric_explanation import explain_metric
from cc_backend.jobs.cluster_generations import ClusterGenerations
from cc_backend.settings import BackendSettings
from cc_common.hostlist import fold


def cluster_show(
    name: Annotated[str, typer.Argument(help="The name of the cluster.")],
    config: Config = DEFAULT_CONFIG,
    sub_cluster: Annotated[str, typer.Option(help="Only this subcluster.")] = "",
    explain: Annotated[
        str, typer.Option(metavar="METRIC", help="Say where each setting of a metric comes from, and how it rates.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the JSON of the API.")] = False,
    generations: Annotated[bool, typer.Option("--generations", help="List what cluster.json was before.")] = False,
) -> None:
    """Print a cluster with its subclusters, and its metrics as they are in effect there."""
    settings = load_config(config).value
    clusters, _ = load_clusters(Path(settings.archive.path))
    if generations:
        _print_generations(settings, clusters, name)
        return
    cluster = named_cluster(clusters, name)
    if sub_cluster and sub_cluster not in cluster.sub_clusters:
        known = list(cluster.sub_clusters)
        raise NotFound(f"'{name}' has no subcluster '{sub_cluster}'{nearest_name_hint(sub_cluster, known)}")
    shown = [cluster.sub_clusters[sub_cluster]] if sub_cluster else list(cluster.sub_clusters.values())
    if as_json:
        typer.echo(json.dumps(cluster.document, indent=2))
    elif explain:
        _print_explanation(settings, cluster, shown, explain)
    else:
        for part in shown:
            for line in _describe(part):
                typer.echo(line)
            print_table(
                ("METRIC", "UNIT", "SCOPE", "TIMESTEP", "PEAK", "NORMAL", "CAUTION", "ALERT", "SETTINGS"),
                [_metric_row(metric) for metric in part.metrics.values()],
            )


def named_cluster(clusters: ClusterRegistry, name: str) -> Cluster:
    """The configured cluster of this name; raises NotFound with the nearest known name."""
    if name not in clusters:
        raise NotFound(f"there is no cluster '{name}'{nearest_name_hint(name, clusters.names())}")
    return clusters[name]


def _describe(part: SubCluster) -> Iterator[str]:
    hosts = "all other hosts" if part.is_catch_all else f"{len(part.hosts)} hosts: {fold(part.hosts) or '-'}"
    topology = part.topology
    yield f"subcluster {part.name}: {hosts}"
    yield (
        f"  {part.processor_type or 'unknown processor'}: {len(topology.socket)} sockets, "
        f"{len(topology.memory_domain)} memory domains, {len(topology.core)} cores, "
        f"{len(topology.node)} hardware threads, {len(topology.accelerators)} accelerators"
    )
    rates = (part.flop_rate_scalar, part.flop_rate_simd, part.memory_bandwidth)
    scalar, simd, bandwidth = (f"{rate.value:.15g} {rate.unit}".rstrip() for rate in rates)
    yield f"  peak rates: scalar {scalar}, SIMD {simd}, memory {bandwidth}"
    yield f"  footprint: {', '.join(part.footprint_metrics) or 'none'}"
    yield f"  energy: {', '.join(part.energy_metrics) or 'none'}"


def _metric_row(metric: MetricConfig) -> tuple[str, ...]:
    settings = [
        metric.aggregation,
        f"footprint {metric.footprint}" if metric.footprint else "",
        f"energy {metric.energy}" if metric.energy else "",
        "lower is better" if metric.lower_is_better else "",
        "restricted" if metric.restrict else "",
    ]
    limits = (f"{value:.15g}" for value in (metric.peak, metric.normal, metric.caution, metric.alert))
    words = ", ".join(filter(None, settings))
    return (metric.name, str(metric.unit) or "-", metric.scope.value, f"{metric.timestep_s} s", *limits, words or "-")


def _print_explanation(settings: BackendSettings, cluster: Cluster, shown: list[SubCluster], metric: str) -> None:
    if metric not in cluster.metrics:
        hint = nearest_name_hint(metric, list(cluster.metrics))
        raise NotFound(f"the cluster '{cluster.name}' has no metric '{metric}'{hint}")
    document = FileArchive(Path(settings.archive.path)).load_cluster(cluster.name)
    for part in shown:
        typer.echo(f"metric {metric} in subcluster {part.name}:")
        for line in explain_metric(document, part, metric):
            typer.echo(f"  {line}")


def _print_generations(settings: BackendSettings, clusters: ClusterRegistry, name: str) -> None:
    with opened_database(settings) as database:
        found = ClusterGenerations(database).entries(name)
    if not found and name not in clusters:
        raise InvalidInput(f"no generation of a cluster '{name}' is known{nearest_name_hint(name, clusters.names())}")
    if not found:
        typer.echo("none yet: a server records the first generation when it starts with the cluster", err=True)
        return
    rows = [(str(entry.id), format_local_time(entry.first_seen_s, "-"), str(entry.jobs)) for entry in found]
    print_table(("GENERATION", "FIRST SEEN", "JOBS STARTED WITH IT"), rows)
