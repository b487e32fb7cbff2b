"""Lists of jobs as CSV, one row for each, and as JSON."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import orjson

from cc_backend.auth.caller import Caller
from cc_backend.clusters import ClusterRegistry
from cc_backend.exports.csv_text import Cell, csv_parts, time_cell
from cc_backend.jobs.job_json import job_to_json, judgement_to_json
from cc_backend.jobs.tags import visible_tags
from cc_backend.model import Job, MetricUnit
from cc_backend.wording.format import format_unit
from cc_common.hostlist import fold

MAX_JOBS = 100_000
"""Maximum jobs of a file."""

_COLUMNS: Mapping[str, Callable[[Job], Cell]] = {
    "id": lambda job: job.id,
    "jobId": lambda job: job.job_id,
    "arrayJobId": lambda job: job.array_job_id or None,
    "cluster": lambda job: job.cluster,
    "subCluster": lambda job: job.sub_cluster,
    "partition": lambda job: job.partition,
    "project": lambda job: job.project,
    "user": lambda job: job.user,
    "jobName": lambda job: job.name,
    "jobState": lambda job: job.state.value,
    "shared": lambda job: job.shared,
    "submitTime": lambda job: time_cell(job.submit_time),
    "startTime": lambda job: time_cell(job.start_time),
    "duration (s)": lambda job: job.duration,
    "walltime (s)": lambda job: job.walltime or None,
    "numNodes": lambda job: job.num_nodes,
    "numHwthreads": lambda job: job.num_hwthreads,
    "numAcc": lambda job: job.num_acc,
    "smt": lambda job: job.smt,
    "requestedMemory (MB)": lambda job: job.requested_memory or None,
    "energy (kWh)": lambda job: job.energy,
    "monitoringStatus": lambda job: job.monitoring_status,
    "verdict": lambda job: judgement_to_json(job).get("verdict"),
    "finding": lambda job: judgement_to_json(job).get("finding", {}).get("text"),
    "tags": lambda job: " ".join(f"{tag.type}:{tag.name}" for tag in job.tags),
    "nodes": lambda job: fold([resource.hostname for resource in job.resources]),
    "damaged": lambda job: " ".join(job.damaged_columns),
}


def job_table_parts(
    batches: Iterable[list[Job]],
    caller: Caller,
    clusters: ClusterRegistry,
    *,
    only_clusters: Collection[str] = (),
    with_meta_data: bool = False,
) -> Iterator[bytes]:
    """The jobs as CSV, as parts to join; with a column for each footprint of the configured clusters.

    `only_clusters` limits these columns. Meta data is one column with a JSON object.
    """
    footprints = _footprint_units(clusters, caller, only_clusters)
    header = [*_COLUMNS, *(f"{key} ({unit})" if unit else key for key, unit in footprints.items())]

    def rows() -> Iterator[list[Cell]]:
        for job in _visible(batches, caller):
            values = job.footprint or {}
            row = [*(read(job) for read in _COLUMNS.values()), *(values.get(key) for key in footprints)]
            yield [*row, _json_text(dict(job.meta_data or {}))] if with_meta_data else row

    return csv_parts([*header, "metaData"] if with_meta_data else header, rows())


def job_list_parts(batches: Iterable[list[Job]], caller: Caller) -> Iterator[bytes]:
    """The jobs as `{"jobs": [...], "total": <number>}`, each as the REST API writes it, as parts to join."""
    yield b'{"jobs":['
    total = 0
    for job in _visible(batches, caller):
        yield (b"," if total else b"") + orjson.dumps(job_to_json(job))
        total += 1
    yield b'],"total":%d}' % total


def _visible(batches: Iterable[list[Job]], caller: Caller) -> Iterator[Job]:
    for batch in batches:
        for job in batch:
            yield replace(job, tags=visible_tags(job.tags, caller))


def _footprint_units(clusters: ClusterRegistry, caller: Caller, only: Collection[str]) -> dict[str, str]:
    """Footprint key -> unit, of what the caller may see; no unit where clusters differ."""
    units: dict[str, MetricUnit] = {}
    found: dict[str, str] = {}
    for name, cluster in clusters.items():
        if not caller.may_use_cluster(name) or (only and name not in only):
            continue
        hidden = frozenset() if caller.sees_restricted_metrics else clusters.ever_restricted_metrics(name)
        for sub_cluster in cluster.sub_clusters.values():
            for metric in sub_cluster.metrics.values():
                if metric.footprint and metric.name not in hidden:
                    key = f"{metric.name}_{metric.footprint}"
                    is_same = units.setdefault(key, metric.unit) == metric.unit
                    found[key] = format_unit(metric.unit) if is_same and found.get(key, " ") else ""
    return found


def _json_text(document: Any) -> str:
    return orjson.dumps(document).decode()
