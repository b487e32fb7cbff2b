"""Commands for the descriptions of clusters."""

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cc_backend.archive.file_archive import FileArchive
from cc_backend.cli.common import (
    DEFAULT_CONFIG,
    Config,
    configured_clusters,
    load_config,
    nearest_name_hint,
    new_command_group,
    opened_database,
    print_table,
)
from cc_backend.clusters import Severity, check_file, find_removals, load_clusters, parse_cluster
from cc_backend.errors import ArchiveError, Conflict, InvalidInput, NotFound
from cc_backend.jobs.archive_queue import ArchiveQueue
from cc_backend.jobs.cluster_generations import describe_dependent_jobs
from cc_backend.jobs.filters import JobFilter
from cc_backend.jobs.job_queries import JobQueries
from cc_backend.jobs.node_states import NodeStates
from cc_backend.model import JobState, RowRule
from cc_backend.settings import BackendSettings
from cc_common.settings import read_json

app = new_command_group("Descriptions of clusters.")
RUNNING = JobFilter(states=(JobState.RUNNING,))


@app.command("add")
def cluster_add(
    file: Annotated[Path, typer.Argument(help="A cluster.json, as `cc-agent topology` prints it.")],
    config: Config = DEFAULT_CONFIG,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the description of a known cluster.")] = False,
) -> None:
    """Add a cluster; a running server sees it within seconds."""
    settings = load_config(config).value
    _check_or_fail(file)
    document = read_json(file)
    name = str(document["name"])
    if name in configured_clusters(settings) and not replace:
        raise InvalidInput(f"the cluster '{name}' exists already; --replace overwrites its description")
    notes = _describe_dependent_jobs(settings, document)
    archive = FileArchive(Path(settings.archive.path))
    if (archive.root / name).is_dir():
        archive.store_cluster(document)
    else:
        with opened_database(settings) as database:  # knows which jobs exist, in case the folder was moved away
            archive.folders.expect_clusters((), JobQueries(database).has_archived)
            archive.store_cluster(document)
    for note in notes:
        typer.echo(f"note: {note}; they keep what they started with", err=True)
    typer.echo(f"added cluster '{name}'; a running server sees it within seconds")


@app.command("list")
def cluster_list(config: Config = DEFAULT_CONFIG) -> None:
    """Print the configured clusters: subclusters, hosts, nodes that were reported, metrics, all and running jobs."""
    settings = load_config(config).value
    clusters, _ = load_clusters(Path(settings.archive.path))
    with opened_database(settings) as database:
        jobs = JobQueries(database).count_by_cluster(JobFilter(), RowRule(all_jobs=True), now_s=int(time.time()))
        reported = NodeStates(database, clusters).count_by_state()
    rows = [
        (
            name,
            ",".join(cluster.sub_clusters) or "-",
            str(sum(len(sub_cluster.hosts) for sub_cluster in cluster.sub_clusters.values())),
            str(sum(reported.get(name, {}).values())),
            str(len(cluster.metrics)),
            str(sum(jobs.get(name, {}).values())),
            str(jobs.get(name, {}).get(JobState.RUNNING, 0)),
        )
        for name, cluster in clusters.items()
    ]
    print_table(("NAME", "SUBCLUSTERS", "HOSTS", "REPORTED", "METRICS", "JOBS", "RUNNING"), rows)


@app.command("del")
def cluster_del(
    name: Annotated[str, typer.Argument(help="The name of the cluster.")],
    config: Config = DEFAULT_CONFIG,
    force: Annotated[bool, typer.Option("--force", help="Also while there are jobs of it.")] = False,
) -> None:
    """Remove the description of a cluster; its jobs stay, and a running server keeps it until its next start."""
    settings = load_config(config).value
    known = configured_clusters(settings)
    if name not in known:
        raise NotFound(f"there is no cluster '{name}'{nearest_name_hint(name, known)}")
    with opened_database(settings) as database:
        job_queries, everything, now_s = JobQueries(database), RowRule(all_jobs=True), int(time.time())
        here = JobFilter(clusters=(name,))
        total = job_queries.count(here, everything, now_s=now_s)
        waiting = ArchiveQueue(database).count(RowRule(all_jobs=True, allowed_clusters=(name,)))
        running = job_queries.count(dataclasses.replace(RUNNING, clusters=(name,)), everything, now_s=now_s)
    if total and not force:
        raise Conflict(
            f"there are {total} jobs of '{name}', of which {running} run and {waiting} wait to be archived; --force "
            "removes its description all the same, and they keep what they started with"
        )
    FileArchive(Path(settings.archive.path)).remove_cluster(name)
    typer.echo(f"removed cluster '{name}'; a running server keeps it until its next start", err=True)
    if total:
        typer.echo(f"note: {total} jobs of it stay; they keep what they started with", err=True)


@app.command("check")
def cluster_check(
    file: Annotated[Path, typer.Argument(help="A cluster.json.")],
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            envvar="CC_BACKEND_CONFIG",
            help="A configuration: say also which of its jobs depend on what the file no longer has.",
        ),
    ] = None,
) -> None:
    """Say what is wrong or odd in a cluster.json; exit status 1 if it cannot be used."""
    _check_or_fail(file)
    if config is not None:
        for note in _describe_dependent_jobs(load_config(config).value, read_json(file)):
            typer.echo(f"{file}: note: {note}; they keep what they started with", err=True)
    typer.echo(f"{file}: can be used")


def _describe_dependent_jobs(settings: BackendSettings, document: Mapping[str, Any]) -> list[str]:
    """A line for each part that this document removes from a configured cluster and that jobs depend on."""
    try:
        clusters, _ = load_clusters(Path(settings.archive.path))
    except ArchiveError:  # the present configuration is unreadable, and this file may repair it
        return []
    after, _ = parse_cluster(document, source="cluster.json")
    if after.name not in clusters:
        return []
    leaving = find_removals(clusters[after.name], after)
    if not leaving:
        return []
    with opened_database(settings) as database:
        return describe_dependent_jobs(database, leaving)


def _check_or_fail(file: Path) -> None:
    faults = check_file(file)
    errors = [fault for fault in faults if fault.severity is Severity.ERROR]
    if errors and not errors[0].path:  # the file as a whole, such as a missing one
        raise InvalidInput(f"{file}: {errors[0]}")
    for fault in faults:
        typer.echo(f"{file}: {'' if fault.severity is Severity.ERROR else 'warning: '}{fault}", err=True)
    if errors:
        raise InvalidInput(f"{file} cannot be used as it is; see above")
