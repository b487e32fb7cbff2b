"""`cluster propose`: a cluster.json from the descriptions of all its nodes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from cc_backend.clusters import Cluster, Severity, check_file, parse_cluster, propose_cluster
from cc_backend.errors import InvalidInput
from cc_common.settings import read_json

MAX_REPORTS = 20_000


def cluster_propose(
    folder: Annotated[
        Path,
        typer.Argument(help="A folder with a file NODE.json for each node, as `cc-agent topology` prints it there."),
    ],
    name: Annotated[str, typer.Option(help="The name of the cluster; by default the one that the agents have.")] = "",
) -> None:
    """Print a cluster.json for the nodes that have printed their own; nodes of the same hardware are one subcluster.

    `cluster check` says what is odd in it, `cluster diff FILE` how it differs from what is configured.
    """
    proposal = propose_cluster(_reports(folder), name)
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
