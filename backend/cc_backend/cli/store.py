"""Commands of the metric store: capacity forecast, and import of samples from another store."""

import time
from pathlib import Path
from typing import Annotated

import typer

from cc_backend.cli.common import DEFAULT_CONFIG, Config, load_config
from cc_backend.clusters import ClusterFiles
from cc_backend.errors import BackendError, InvalidInput
from cc_backend.runtime.log import configure_logging

_MAX_NODES, _MAX_SERIES = 1_000_000, 100_000


def capacity(
    config: Config = DEFAULT_CONFIG,
    nodes: Annotated[
        int, typer.Option(help="Nodes of a cluster that is not configured, or that lists none.", min=0, max=_MAX_NODES)
    ] = 0,
    series: Annotated[
        int, typer.Option(help="Series of each such node: metrics times parts that they have.", min=0, max=_MAX_SERIES)
    ] = 0,
    timestep: Annotated[int, typer.Option(help="Seconds between their samples.", min=1, max=86400)] = 60,
) -> None:
    """Forecast the memory and disk that the metric store needs for the configured clusters, or for others."""
    from cc_backend.app import open_clusters  # noqa: PLC0415 - the other commands need none
    from cc_backend.cli.sizing import node_groups  # noqa: PLC0415
    from cc_backend.metricstore import NodeKind, forecast, format_forecast  # noqa: PLC0415

    settings = load_config(config).value
    if series and not nodes:
        raise InvalidInput("--series needs --nodes: how many nodes have so many")
    if series:
        kinds = [NodeKind(nodes, series, timestep_s=timestep)]
    else:
        kinds = node_groups(open_clusters(ClusterFiles(Path(settings.archive.path))), catch_all_nodes=nodes)
    store = settings.metric_store
    found = forecast(
        kinds,
        retention_s=int(store.retention_in_memory_s),
        hot_s=int(store.hot_s),
        snapshot_interval_s=int(store.snapshot_interval_s),
    )
    typer.echo(format_forecast(found))
    cap_bytes = store.memory_cap_gb * 10**9
    if cap_bytes and found.memory_bytes > cap_bytes:
        typer.echo(
            f"note: memory-cap is {store.memory_cap_gb} GB; beyond it the oldest samples are on disk only", err=True
        )


def import_checkpoints(
    directory: Annotated[Path, typer.Argument(help="The other store's checkpoint folder, with CLUSTER/HOST in it.")],
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Take over the samples that cc-metric-store or cc-backend 1.5 has left; the server must not run."""
    from cc_backend.app import open_clusters  # noqa: PLC0415 - the other commands need none
    from cc_backend.jobdata.store_tables import build_metric_table, build_node_table  # noqa: PLC0415
    from cc_backend.metricstore.migrate import checkpoint_import  # noqa: PLC0415
    from cc_backend.startup.store_opening import open_store  # noqa: PLC0415

    configure_logging()
    settings = load_config(config).value
    clusters, now_s = open_clusters(ClusterFiles(Path(settings.archive.path))), int(time.time())
    retention_s = int(settings.metric_store.retention_in_memory_s)
    with open_store(
        settings.metric_store, build_metric_table(clusters), now_s, nodes=build_node_table(clusters)
    ) as store:
        for report in checkpoint_import.import_checkpoints(
            store, directory, build_metric_table(clusters), now_s=now_s, retention_s=retention_s
        ):
            if report.hosts % 100 == 99:  # noqa: PLR2004 now and then
                typer.echo(f"hosts={report.hosts} samples={report.samples}", err=True)
        store.snapshot(now_s)  # a tenth of the size of the log, and much faster to read
    for line in report.text_lines():
        typer.echo(line)
    if not report.durable:
        raise BackendError("not all samples could be written to the log; make room, then run this again")
