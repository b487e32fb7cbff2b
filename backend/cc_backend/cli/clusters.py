"""Commands for the descriptions of clusters."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cc_backend.archive.file import FileArchive
from cc_backend.cli.common import DEFAULT_CONFIG, Config, load, new_app, opened_database
from cc_backend.clusters import Level, check_file, departures, load_clusters, parse_cluster
from cc_backend.errors import ArchiveError, InvalidInput
from cc_backend.jobs.generations import dependents
from cc_backend.settings import BackendSettings
from cc_common.settings import read_json

app = new_app("Descriptions of clusters.")


@app.command("add")
def cluster_add(
    file: Annotated[Path, typer.Argument(help="A cluster.json, as `cc-agent topology` prints it.")],
    config: Config = DEFAULT_CONFIG,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the description of a known cluster.")] = False,
) -> None:
    """Add a cluster; a running server sees it within seconds."""
    settings = load(config).value
    _check(file)
    archive = FileArchive(Path(settings.archive.path))
    document = read_json(file)
    name = str(document["name"])
    if name in archive.clusters() and not replace:
        raise InvalidInput(f"the cluster '{name}' exists already; --replace overwrites its description")
    notes = _dependents(settings, document)
    archive.store_cluster(document)
    for note in notes:
        typer.echo(f"note: {note}; they keep what they started with", err=True)
    typer.echo(f"added cluster '{name}'; a running server sees it within seconds")


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
    _check(file)
    if config is not None:
        for note in _dependents(load(config).value, read_json(file)):
            typer.echo(f"{file}: note: {note}; they keep what they started with", err=True)
    typer.echo(f"{file}: can be used")


def _dependents(settings: BackendSettings, document: Mapping[str, Any]) -> list[str]:
    """Which jobs depend on what leaves if a configured cluster is described by this document from now on."""
    try:
        clusters, _ = load_clusters(Path(settings.archive.path))
    except ArchiveError:  # nothing is known of what was; this file may be the one that mends it
        return []
    after, _ = parse_cluster(document, source="cluster.json")
    if after.name not in clusters:
        return []
    leaving = departures(clusters[after.name], after)
    if not leaving:
        return []
    with opened_database(settings) as database:
        return dependents(database, leaving)


def _check(file: Path) -> None:
    findings = check_file(file)
    for finding in findings:
        typer.echo(f"{file}: {finding}", err=True)
    if any(finding.level is Level.ERROR for finding in findings):
        raise InvalidInput(f"{file} cannot be used as it is; see above")
