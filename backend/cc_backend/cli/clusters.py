"""Commands for the descriptions of clusters."""

from pathlib import Path
from typing import Annotated

import typer

from cc_backend.archive.file import FileArchive
from cc_backend.cli.common import DEFAULT_CONFIG, Config, load, new_app
from cc_backend.clusters import Level, check_file
from cc_backend.errors import InvalidInput
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
    archive.store_cluster(document)
    typer.echo(f"added cluster '{name}'; a running server sees it within seconds")


@app.command("check")
def cluster_check(file: Path) -> None:
    """Say what is wrong or odd in a cluster.json; exit status 1 if it cannot be used."""
    _check(file)
    typer.echo(f"{file}: can be used")


def _check(file: Path) -> None:
    findings = check_file(file)
    for finding in findings:
        typer.echo(f"{file}: {finding}", err=True)
    if any(finding.level is Level.ERROR for finding in findings):
        raise InvalidInput(f"{file} cannot be used as it is; see above")
