"""`cluster propose`: a cluster.json from the descriptions of all its nodes."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer

from cc_backend.cli.common import DEFAULT_CONFIG, Config, load_config, opened_database
from cc_backend.clusters import Cluster, Proposal, Severity, check_file, load_clusters, parse_cluster, propose_cluster
from cc_backend.errors import InvalidInput
from cc_backend.jobs.node_reports import NodeReports
from cc_common.settings import read_json

MAX_REPORTS = 20_000


def cluster_propose(
    folder: Annotated[
        Path | None,
        typer.Argument(
            help="A folder with a file NODE.json for each node, as `cc-agent topology` prints it there; "
            "without one, what the agents have reported to this server."
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="The name of the cluster; by default the one that the agents have.")] = "",
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Print a cluster.json for the nodes that have described themselves; nodes of the same hardware are one subcluster.

    Nothing that is configured is changed: `cluster check` says what is odd in the proposal, `cluster diff FILE` how it
    differs from what is configured.
    """
    if folder is not None:
        _print_proposal(propose_cluster(_reports(folder), name))
        return
    settings = load_config(config).value
    with opened_database(settings) as database:
        reports = NodeReports(database, load_clusters(Path(settings.archive.path))[0])
        cluster = name or _only_cluster(reports.counts())
        _print_proposal(propose_cluster(reports.described(cluster), cluster))


def _only_cluster(counts: Mapping[str, int]) -> str:
    """The cluster of all reports. Raises InvalidInput if there is none, or more than one."""
    if len(counts) == 1:
        return next(iter(counts))
    if not counts:
        raise InvalidInput("no agent has reported its node to this server yet; name a folder with reports instead")
    found = ", ".join(f"{cluster} ({count} nodes)" for cluster, count in counts.items())
    raise InvalidInput(f"agents have reported nodes of {found}; say which with --name")


def _print_proposal(proposal: Proposal) -> None:
    typer.echo(json.dumps(proposal.document, indent=2))
    for note in proposal.notes:
        typer.echo(f"note: {note}", err=True)


def _reports(folder: Path) -> Iterator[tuple[str, Cluster]]:
    """The readable reports of a folder by the names of their files; others are named on standard error."""
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix == ".json")
    except OSError as error:
        raise InvalidInput(f"{folder}: cannot be read: {error.strerror}") from error
    if not files:
        raise InvalidInput(f"{folder}: has no file *.json; put what `cc-agent topology` prints on each node there")
    if len(files) > MAX_REPORTS:
        raise InvalidInput(f"{folder}: has {len(files)} files *.json, more than the {MAX_REPORTS} that are read")
    for path in files:
        errors = [fault for fault in check_file(path) if fault.severity is Severity.ERROR]
        if errors:
            typer.echo(f"note: {path} is left out: {errors[0]}", err=True)
        else:
            yield path.name, parse_cluster(read_json(path), source=path.name)[0]
