"""`cluster diff`: what differs between two configurations of a cluster."""

from pathlib import Path
from typing import Annotated

import typer

from cc_backend.cli.cluster_show import named_cluster
from cc_backend.cli.common import DEFAULT_CONFIG, Config, load_config, opened_database
from cc_backend.clusters import Cluster, ClusterRegistry, describe_differences, load_clusters, parse_cluster
from cc_backend.clusters.generations import content_digest
from cc_backend.db.database import Database
from cc_backend.errors import InvalidInput, NotFound
from cc_backend.jobs.cluster_generations import ClusterGenerations
from cc_common.settings import read_json


def cluster_diff(
    before: Annotated[str, typer.Argument(help="A file, the name of a cluster, or NAME@GENERATION.")],
    after: Annotated[
        str | None,
        typer.Argument(
            help="The same; without it a file is compared with what is configured, a cluster with what it was before."
        ),
    ] = None,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Print what differs between two configurations of a cluster, a line each; nothing if they mean the same.

    `cluster show NAME --generations` lists the generations.
    """
    settings = load_config(config).value
    clusters, _ = load_clusters(Path(settings.archive.path))
    with opened_database(settings) as database:
        first = _configuration(before, clusters, database)
        if after is not None:
            second = _configuration(after, clusters, database)
        elif _is_file(before):
            first, second = named_cluster(clusters, first.name), first
        else:
            first, second = _previous(first, ClusterGenerations(database)), first
    for line in describe_differences(first, second):
        typer.echo(line)


def _is_file(text: str) -> bool:
    return "/" in text or text.endswith(".json")


def _configuration(text: str, clusters: ClusterRegistry, database: Database) -> Cluster:
    """The cluster in a file, as it is configured, or as it was in a generation."""
    if _is_file(text):
        return parse_cluster(read_json(Path(text)), source=text)[0]
    name, at, number = text.partition("@")
    if not at:
        return named_cluster(clusters, name)
    if not (number.isascii() and number.isdigit() and len(number) <= 18):  # noqa: PLR2004 what the database can store
        raise InvalidInput(
            f"'{text}': the generation behind @ must be a number; see `cluster show {name} --generations`"
        )
    found = ClusterGenerations(database).load(int(number))
    if found is None or found.name != name:
        raise NotFound(f"'{name}' has no generation {int(number)}; see `cluster show {name} --generations`")
    return found


def _previous(cluster: Cluster, generations: ClusterGenerations) -> Cluster:
    """The newest generation with another content."""
    digest = content_digest(cluster)
    for entry in generations.entries(cluster.name):
        found = generations.load(entry.id)
        if found is not None and content_digest(found) != digest:
            return found
    raise NotFound(
        f"no other generation of '{cluster.name}' is known: its cluster.json has not changed since it was added"
    )
