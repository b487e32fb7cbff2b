"""Takes over the job database of a server of ClusterCockpit 1.5."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from cc_backend.archive.file_archive import FileArchive
from cc_backend.cli.common import DEFAULT_CONFIG, Config, configured_clusters, load_config, opened_database
from cc_backend.cli.progress import ProgressBar
from cc_backend.errors import ArchiveError, InvalidInput
from cc_backend.model import JobKey, MetricStatistic

_HOUR_S = 3600


def import_db(
    file: Annotated[Path, typer.Argument(help="The SQLite file of the old server, `main.db` of its configuration.")],
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Take over accounts, tags, jobs and node states of a job database of ClusterCockpit 1.5 (schema 10 or 11).

    The file is only read. What is there already stays, so that the command may be repeated, also after it was
    interrupted. The exit status is 1 if a row was left out.
    """
    from cc_backend.jobs.reference_database import open_reference_database  # noqa: PLC0415 - the others need none
    from cc_backend.jobs.reference_import import ReferenceImport  # noqa: PLC0415

    settings, now_s = load_config(config).value, int(time.time())
    archive = FileArchive(Path(settings.archive.path))

    def is_archived(key: JobKey) -> bool:
        try:
            return archive.exists(key)
        except InvalidInput:  # a name that no folder of an archive has
            return False

    def statistics_of(key: JobKey) -> Mapping[str, MetricStatistic] | None:
        try:
            return archive.load_meta(key).statistics
        except (ArchiveError, InvalidInput):
            return None

    with open_reference_database(file) as reference, opened_database(settings) as database:
        typer.echo(f"{file}: job database of ClusterCockpit 1.5, schema {reference.version}", err=True)
        report = ReferenceImport(
            database,
            reference,
            clusters=configured_clusters(settings),
            is_archived=is_archived,
            statistics_of=statistics_of,
            now_s=now_s,
            samples_from_s=now_s - int(settings.metric_store.retention_in_memory_s),
            states_from_s=now_s - _HOUR_S * settings.main.nodestate_retention.age,
        ).run(ProgressBar().show)
        database.analyze()
    for fault in report.faults:
        typer.echo(fault, err=True)
    for line in report.text_lines():
        typer.echo(line)
    if report.refused:
        raise typer.Exit(1)
